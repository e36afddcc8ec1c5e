"""The ports of its node that a pod takes: no two pods on a node may have one in common.

A Placement has those of its pod as `hostPorts`, so that a node's ledger, and every scheduler, knows of all tenants'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

# A pod that names no address takes the port on all of them.
EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104  # nothing listens here


class HostPort(NamedTuple):
    """As a container's `ports` have it, defaults filled in."""

    protocol: str
    port: int
    address: str

    def __str__(self) -> str:
        return f"{self.address}:{self.port}/{self.protocol}"

    def written(self) -> dict[str, Any]:
        """As the `hostPorts` of a Placement have it."""
        return {"protocol": self.protocol, "port": self.port, "address": self.address}

    def collides(self, other: HostPort) -> bool:
        return (
            self.port == other.port
            and self.protocol == other.protocol
            and (self.address == other.address or EVERY_ADDRESS in (self.address, other.address))
        )


def read_written(ports: Iterable[Mapping[str, Any]]) -> tuple[HostPort, ...]:
    """The `hostPorts` of a Placement."""
    return tuple(HostPort(each["protocol"], each["port"], each["address"]) for each in ports)


def read_host_ports(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    """Of all containers that run for the pod's whole life; those of init containers only if they do."""
    containers = [
        *(spec.get("containers") or ()),
        *(each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"),
    ]
    ports = [
        HostPort(port.get("protocol") or "TCP", port["hostPort"], port.get("hostIP") or EVERY_ADDRESS)
        for container in containers
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]
    return tuple(sorted(dict.fromkeys(ports)))
