"""What a kubelet reads of a pod's spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ...proto.host_ports import HostPort, read_host_ports
from ...proto.objects import decode
from ...proto.quantities import PODS, resource_units


class PodSpec(NamedTuple):
    """Shared between pods of equal spec: never change its maps.

    `requests` are in the units of `proto.quantities`, with pods: 1. `error` says why they could not be read.
    """

    node: str
    resource_partition: str
    requests: Mapping[str, int]
    host_ports: tuple[HostPort, ...]
    node_selector: Mapping[str, str]
    containers: tuple[tuple[str, str], ...]  # name and image of each
    runs_to_completion: bool
    restarts_on_failure: bool
    error: str


# Pods of one ReplicaSet on one node have equal specs; 8,192 of them are a few megabytes.
@lru_cache(maxsize=8192)
def pod_spec(data: bytes) -> PodSpec:
    spec = decode(data)
    containers = spec.get("containers") or ()
    requests: Mapping[str, int] = {PODS: 1}
    error = ""
    try:
        requests = _pod_requests(containers, spec.get("initContainers") or ())
    except ValueError as broken:
        error = str(broken)
    return PodSpec(
        node=spec.get("nodeName") or "",
        resource_partition=spec.get("resourcePartition") or "",
        requests=requests,
        host_ports=read_host_ports(spec),
        node_selector=spec.get("nodeSelector") or {},
        containers=tuple((container.get("name", ""), container.get("image", "")) for container in containers),
        runs_to_completion=spec.get("restartPolicy") in ("Never", "OnFailure"),
        restarts_on_failure=spec.get("restartPolicy") == "OnFailure",
        error=error,
    )


def _pod_requests(containers: Iterable[Mapping[str, Any]], init: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The sum over the containers, and no less than the largest init container, which runs alone."""
    total = {PODS: 1}
    for container in containers:
        for name, units in _requests(container).items():
            total[name] = total.get(name, 0) + units
    for container in init:
        for name, units in _requests(container).items():
            total[name] = max(total.get(name, 0), units)
    return total


def _requests(container: Mapping[str, Any]) -> dict[str, int]:
    requests = (container.get("resources") or {}).get("requests") or {}
    return _units(tuple(requests.items()))


@lru_cache(maxsize=4096)
def _units(requests: tuple[tuple[str, str | float], ...]) -> dict[str, int]:
    return {name: resource_units(name, quantity) for name, quantity in requests}
