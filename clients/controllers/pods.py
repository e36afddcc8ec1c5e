"""What controllers ask of a pod, read from its bytes as cheaply as the question allows.

A controller manager sees every change of every pod, and most changes concern it little. A status of a running pod is
unlike any other (its IP, its start time), so decoding it through the shared cache would only fill that cache: the
functions here look for a word in the encoded map first, and decode only where it occurs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, decode, parse_time
from ..pods import FAILED, RUNNING, SUCCEEDED

FINISHED_PHASES = (SUCCEEDED, FAILED)


class NodeName(NamedTuple):
    """A node's identity for those who only have a pod: nodes of different partitions may share a name."""

    partition: str
    node: str


def controller_of(message: pb.Object, kind: str) -> pb.OwnerReference | None:
    """The controlling owner, if it is of this kind."""
    for owner in message.metadata.owner_references:
        if owner.controller and owner.kind == kind:
            return owner
    return None


def is_finished(pod: Object) -> bool:
    """Its containers have ended for good and what it held of its node is free."""
    status = pod.message.status
    if b"Succeeded" not in status and b"Failed" not in status:
        return False
    return decode(status).get("phase") in FINISHED_PHASES


def node_of(pod: Object) -> NodeName | None:
    """Where it is bound, None if it is not."""
    spec = pod.message.spec
    if b"nodeName" not in spec:
        return None
    decoded = decode(spec)
    if not decoded.get("nodeName"):
        return None
    return NodeName(decoded.get("resourcePartition", ""), decoded["nodeName"])


def ready_condition(status: Any) -> Any:
    """The Ready condition of a decoded status if it is True, else None."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            return condition if condition.get("status") == "True" else None
    return None


def ready_since_ms(pod: Object) -> int:
    """0: it is not running and ready."""
    if b"Ready" not in pod.message.status:
        return 0
    status = decode(pod.message.status)
    condition = ready_condition(status)
    if condition is None or status.get("phase") != RUNNING:
        return 0
    return max(transition_ms(condition) or pod.creation_ms, 1)


def transition_ms(condition: Any) -> int:
    """When a condition became what it is; 0 where it does not say."""
    try:
        return parse_time(condition.get("lastTransitionTime", ""))
    except ValueError:
        return 0
