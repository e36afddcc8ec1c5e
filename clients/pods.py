"""What the scheduler, the controllers and the kubelet all need to know of a pod. Pure functions, cheap to call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..proto.objects import Object, decode_shared
from ..proto.quantities import PODS, resource_list

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"


def phase(obj: Object) -> str:
    """Pending, Running, Succeeded or Failed."""
    return str(obj.status.get("phase") or PENDING)


def is_finished(obj: Object) -> bool:
    """Succeeded or failed: it needs no node any more and never will again."""
    return phase(obj) in (SUCCEEDED, FAILED)


def is_bound(obj: Object) -> bool:
    """It has been given a node."""
    return bool(obj.spec.get("nodeName"))


def is_deleting(obj: Object) -> bool:
    """Its deletion has been asked for."""
    return obj.deletion_ms != 0


def is_ready(obj: Object) -> bool:
    """Its Ready condition is true."""
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in obj.status.get("conditions") or ())


def node_name(obj: Object) -> str:
    """The node it is bound to; empty while it is not."""
    return obj.spec.get("nodeName") or ""


def resource_partition(obj: Object) -> str:
    """The partition of the node it is bound to; empty while it is not."""
    return obj.spec.get("resourcePartition") or ""


def requests_of(obj: Object) -> Mapping[str, int]:
    """`pod_requests` of a pod, cached by the bytes of its spec. Shared: do not change it.

    Raises:
        ValueError: a request is no quantity. The partitions let no such pod in.
    """
    return _requests_of_bytes(obj.message.spec)


# Pods of one template share their bytes until they are bound; then each node has its own. 100 bytes an entry.
@lru_cache(maxsize=16384)
def _requests_of_bytes(spec: bytes) -> Mapping[str, int]:
    return pod_requests(decode_shared(spec))


def pod_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod takes from a node, in the units of `proto.quantities`, with one of `pods`.

    As in Kubernetes: the sum of its containers, or what its init containers need at their worst moment if that is
    more, plus overhead. Init containers that go on running (restartPolicy Always) count in both. A container that names
    only a limit requests that much.

    Raises:
        ValueError: a request is no quantity.
    """
    running: dict[str, int] = {}
    for container in spec.get("containers") or ():
        _add(running, _container_requests(container))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        needs = _container_requests(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, needs)
            _add(running, needs)
            _raise_to(peak, sidecars)
        else:
            _add(needs, sidecars)
            _raise_to(peak, needs)
    _raise_to(running, peak)
    _add(running, resource_list(spec.get("overhead")))
    running[PODS] = 1
    return running


def _container_requests(container: Mapping[str, Any]) -> dict[str, int]:
    resources = container.get("resources") or {}
    return resource_list({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, units in more.items():
        total[name] = total.get(name, 0) + units


def _raise_to(total: dict[str, int], least: Mapping[str, int]) -> None:
    for name, units in least.items():
        if units > total.get(name, 0):
            total[name] = units
