"""Who holds what of a node: its placements, beside what the tenant partitions say of their pods.

A placement that its pod does not need, or not here, is an orphan: its controller releases it, once the pod's tenant
partition has said so. A tenant partition that does not answer says nothing of its pods.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...proto.objects import Object, ObjectKey
from ...proto.quantities import CPU, MEMORY, PODS, format_quantity, resource_list
from .printing import aligned


class State(enum.Enum):
    """Of a pod, as far as its placement is concerned."""

    RUNNING = "Running"  # The kubelet says so.
    BOUND = "Bound"  # And the kubelet does not run it yet.
    CLAIMED = "Claimed"  # It is not bound yet.
    TERMINATING = "Terminating"
    GONE = "ORPHAN, no such pod"
    FINISHED = "ORPHAN, its pod has finished"
    ELSEWHERE = "ORPHAN, its pod is elsewhere"
    UNKNOWN = "unknown"  # Its partition does not answer, or is none any more.

    @property
    def is_orphan(self) -> bool:
        return self in (State.GONE, State.FINISHED, State.ELSEWHERE)


class Claim(NamedTuple):
    """A placement, read."""

    tenant_partition: str
    pod: ObjectKey
    uid: str
    requests: Mapping[str, int]
    devices: Sequence[int] = ()


class Held(NamedTuple):
    claim: Claim
    state: State


def claim_of(placement: Object) -> Claim:
    spec = placement.spec
    pod = spec["pod"]
    key = ObjectKey(pod["tenant"], pod["namespace"], pod["name"])
    return Claim(spec["tenantPartition"], key, pod["uid"], spec["requests"], spec.get("devices") or ())


def state_of(claim: Claim, pod: Object | None, partition: str, node: str) -> State:
    """`pod`: what its partition has under its name, None if nothing. `partition`, `node`: where the placement is."""
    if pod is None or pod.uid != claim.uid:
        return State.GONE
    phase = pod.status.get("phase")
    if phase in ("Succeeded", "Failed"):
        return State.FINISHED
    bound = pod.spec.get("nodeName")
    if not bound:
        return State.CLAIMED
    if (pod.spec.get("resourcePartition"), bound) != (partition, node):
        return State.ELSEWHERE
    if pod.deletion_ms:
        return State.TERMINATING
    return State.RUNNING if phase == "Running" else State.BOUND


def placement_lines(held: Sequence[Held]) -> Iterator[str]:
    """Whose pods hold what: those of one tenant beside one another."""
    orphans = sum(each.state.is_orphan for each in held)
    told = f", {orphans} of them orphans" if orphans else ""
    if not held:
        yield "Placements:   <none>"
        return
    yield f"Placements:   {len(held)}{told}"
    others = sorted({name: None for each in held for name in each.claim.requests if name not in (CPU, MEMORY, PODS)})
    resources = [CPU, MEMORY, *others]
    titles = ["TENANT-PARTITION", "TENANT", "NAMESPACE", "POD", "STATE", *(name.upper() for name in resources)]
    tells_devices = any(each.claim.devices for each in held)
    titles += ["DEVICES"] if tells_devices else []
    rows = []
    for each in sorted(held, key=lambda each: (each.claim.tenant_partition, each.claim.pod)):
        claim = each.claim
        amounts = [format_quantity(name, claim.requests.get(name, 0)) for name in resources]
        devices = [",".join(str(number) for number in claim.devices) or "-"] if tells_devices else []
        rows.append([claim.tenant_partition, *claim.pod, each.state.value, *amounts, *devices])
    for line in aligned(titles, rows, left=5):
        yield f"  {line}"


def total_lines(node: Object, held: Iterable[Held]) -> Iterator[str]:
    """What is held of what the node has, and how much of that by orphans."""
    allocatable = resource_list(node.status.get("allocatable"))
    used: dict[str, int] = dict.fromkeys(allocatable, 0)
    orphaned: dict[str, int] = {}
    for each in held:
        for name, units in each.claim.requests.items():
            used[name] = used.get(name, 0) + units
            if each.state.is_orphan:
                orphaned[name] = orphaned.get(name, 0) + units
    titles = ["RESOURCE", "HELD", "ALLOCATABLE", "SHARE", *(["BY ORPHANS"] if orphaned else [])]
    rows = []
    for name, units in used.items():
        room = allocatable.get(name, 0)
        row = [name, format_quantity(name, units), format_quantity(name, room), _share(units, room)]
        rows.append([*row, format_quantity(name, orphaned.get(name, 0))] if orphaned else row)
    yield "Allocated:"
    for line in aligned(titles, rows, left=1):
        yield f"  {line}"


def homeless_lines(pods: Iterable[Object]) -> Iterator[str]:
    """Pods that are bound to the node and hold no room of it."""
    names = sorted(f"{pod.key} of {pod.partition}" for pod in pods)
    if names:
        yield f"Without a placement:  {len(names)}"
        yield from (f"  {name}" for name in names)


def _share(units: int, room: int) -> str:
    if room:
        return f"{round(100 * units / room)}%"
    return "0%" if not units else "-"


def is_live(pod: Object) -> bool:
    """Whether it needs room on its node."""
    status: Any = pod.status
    return status.get("phase") not in ("Succeeded", "Failed")
