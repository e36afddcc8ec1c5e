"""What scheduling needs to know of a node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ...proto.objects import Object, decode
from ...proto.quantities import resource_list
from .framework.interface import EventAction
from .taints import ALL_EFFECTS, Taint, read_taints

# The columns are floats, which hold whole numbers exactly up to this. A node that has more counts as if it had this
# much; what requests more fits nowhere.
UNITS_MAX: Final = 2**53


class NodeFacts(NamedTuple):
    """`allocatable` in the units of `proto.quantities`; `images` in bytes, by each of their names."""

    uid: str
    ready: bool
    allocatable: Mapping[str, int]
    taints: tuple[Taint, ...]
    labels: Mapping[str, str]
    unschedulable: bool = False
    images: Mapping[str, int] = {}


def read_node(node: Object) -> NodeFacts:
    spec = node.spec
    # A node's status is like no other's and changes with every heartbeat: it would only push others from the cache.
    status = decode(node.message.status)
    return NodeFacts(
        uid=node.uid,
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        allocatable=_allocatable(status.get("allocatable")),
        taints=read_taints(spec.get("taints"), ALL_EFFECTS),
        labels=dict(node.labels),
        unschedulable=bool(spec.get("unschedulable")),
        images=_images(status.get("images")),
    )


def what_changed(before: NodeFacts | None, after: NodeFacts) -> EventAction:
    """For those that the node has refused; `before` is None where there was none, or another of its name."""
    if before is None or before.uid != after.uid:
        return EventAction.ADD
    changed = EventAction(0)
    if before.labels != after.labels:
        changed |= EventAction.UPDATE_LABELS
    if before.taints != after.taints or before.unschedulable != after.unschedulable:
        changed |= EventAction.UPDATE_TAINTS
    if before.allocatable != after.allocatable:
        changed |= EventAction.UPDATE_ALLOCATABLE
    if before.ready != after.ready or before.images != after.images:
        changed |= EventAction.UPDATE_CONDITIONS
    return changed


def _allocatable(quantities: Mapping[str, str] | None) -> dict[str, int]:
    try:
        return {resource: min(units, UNITS_MAX) for resource, units in resource_list(quantities).items()}
    except ValueError:
        # The apiserver lets no such node in. If one is there all the same, nothing fits on it, and the others go on.
        return {}


def _images(images: Iterable[Mapping[str, Any]] | None) -> dict[str, int]:
    return {name: int(image.get("sizeBytes") or 0) for image in images or () for name in image.get("names") or ()}
