"""What scheduling needs to know of a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...proto.objects import Object, decode
from ...proto.quantities import resource_list
from .taints import UNSCHEDULABLE, Taint, read_taints


class NodeFacts(NamedTuple):
    """`allocatable` in the units of `proto.quantities`; `taints` are the hard ones, cordoned included."""

    uid: str
    ready: bool
    allocatable: Mapping[str, int]
    taints: tuple[Taint, ...]
    labels: Mapping[str, str]


def read_node(node: Object) -> NodeFacts:
    spec = node.spec
    # A node's status is like no other's and changes with every heartbeat: it would only push others from the cache.
    status = decode(node.message.status)
    taints = read_taints(spec.get("taints"))
    return NodeFacts(
        uid=node.uid,
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        allocatable=_allocatable(status.get("allocatable")),
        taints=(UNSCHEDULABLE, *taints) if spec.get("unschedulable") else taints,
        labels=dict(node.labels),
    )


def _allocatable(quantities: Mapping[str, str] | None) -> dict[str, int]:
    try:
        return resource_list(quantities)
    except ValueError:
        # The apiserver lets no such node in. If one is there all the same, nothing fits on it, and the others go on.
        return {}
