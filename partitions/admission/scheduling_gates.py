"""Scheduling gates: a pod that has any is not to be scheduled yet, says so in its status, and is not bound.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/. The condition is what Kubernetes'
apiserver gives such a pod when it is created. There it stays until the scheduler writes another in its place; the
schedulers here write none, so it goes with the last gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...proto.objects import decode_shared, encode

POD_SCHEDULED: Final = "PodScheduled"
SCHEDULING_GATED: Final = "SchedulingGated"
CONDITION: Final = {
    "type": POD_SCHEDULED,
    "status": "False",
    "reason": SCHEDULING_GATED,
    "message": "not before all of spec.schedulingGates have been removed",
}

_FIELD: Final = b"schedulingGates"
_PENDING: Final = encode({"phase": "Pending"})
_GATED: Final = encode({"phase": "Pending", "conditions": [CONDITION]})


def gates_of(spec: Mapping[str, Any]) -> list[str]:
    """Their names."""
    return [gate["name"] for gate in spec.get("schedulingGates") or ()]


def is_gated(spec: bytes) -> bool:
    """Of a pod, by its encoded spec. Nearly all have no such field, and are not decoded for it."""
    return _FIELD in spec and bool(gates_of(decode_shared(spec)))


def status_of_new(spec: bytes) -> bytes:
    return _GATED if is_gated(spec) else _PENDING


def without_condition(status: bytes) -> bytes:
    """The encoded status of a pod that has lost its last gate."""
    read = decode_shared(status)
    conditions = [each for each in read.get("conditions") or () if not _says_gated(each)]
    kept = {name: value for name, value in read.items() if name != "conditions"}
    return encode({**kept, "conditions": conditions} if conditions else kept)


def _says_gated(condition: Any) -> bool:
    return (
        isinstance(condition, Mapping)
        and condition.get("type") == POD_SCHEDULED
        and condition.get("reason") == SCHEDULING_GATED
    )
