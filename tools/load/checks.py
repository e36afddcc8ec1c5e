"""Promises checked from outside, by arithmetic on what the partitions say.

**No claim over-commits a node, at any revision.** A resource partition's nodes and placements, taken in the order of
its revisions, are a ledger. After each claim the requests placed on its node must not exceed the node's allocatable;
and whatever happens to a node, what is claimed of it must not. (A placement that was lost with a restored partition is
made again for a pod that is bound there: that is no claim, it tells what is so.) `LedgerCheck` replays that;
`overcommitted_nodes` looks at one moment, and does the same for the requests of the pods that are bound to a node,
whatever the ledger says of them. The same holds of each GPU of a node (`device_checks.py`).

**Nothing acknowledged is lost.** What a partition acknowledged, or showed in a watch (it shows only what is durable),
is there at the end, unless a watch showed its deletion: `missing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.devices import DEVICES_ANNOTATION
from ...proto.objects import Object, decode_shared
from ...proto.quantities import GPU_MILLI, PODS, resource_list
from .device_checks import UNNAMED, devices_of_node, devices_of_placement, devices_of_pod

Requests = Mapping[str, int]
NodeName = tuple[str, str]  # resource partition, name

FINISHED_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Overcommitment:
    """More was placed on a node than it has. `revision` is that of its resource partition; 0 for a look at the end."""

    partition: str
    node: str
    resource: str
    used: int
    allocatable: int
    revision: int = 0

    def __str__(self) -> str:
        when = f" at revision {self.revision}" if self.revision else ""
        return (
            f"node {self.node} of {self.partition} is over-committed{when}: "
            f"{self.used} {self.resource} placed, {self.allocatable} allocatable"
        )


class _Placed(NamedTuple):
    node: str
    requests: Requests
    bound: bool


class LedgerCheck:
    """The ledger of one resource partition, replayed. Feed it events in the order of their revisions.

    `gaps` counts how often revisions were missed: there the promise was not checked.
    """

    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.revision = 0
        self.placements_seen = 0
        self.gaps = 0
        self.violations: list[Overcommitment] = []
        self._allocatable: dict[str, Requests] = {}
        self._used: dict[str, dict[str, int]] = {}
        self._claimed: dict[str, dict[str, int]] = {}  # What claims take of it.
        self._placements: dict[str, _Placed] = {}

    def restart(self) -> None:
        """Everything there is will be fed again as ADDED; what happened since the last event was missed."""
        self.gaps += 1
        self._allocatable.clear()
        self._used.clear()
        self._claimed.clear()
        self._placements.clear()

    def apply_node(self, event: pb.WatchEvent) -> None:
        self.revision = max(self.revision, event.resource_version)
        name = event.object.metadata.name
        if event.type == pb.WatchEvent.DELETED:
            # Placements of a node that is gone wait to be released; they take room from nobody.
            self._allocatable.pop(name, None)
            return
        self._allocatable[name] = _with_devices(Object(event.object))
        self._check(name, self._claimed.get(name, {}))

    def apply_placement(self, event: pb.WatchEvent) -> None:
        self.revision = max(self.revision, event.resource_version)
        name = event.object.metadata.name
        if (placed := self._placements.pop(name, None)) is not None:
            self._add(placed, sign=-1)
        if event.type == pb.WatchEvent.DELETED:
            return
        spec = decode_shared(event.object.spec)
        self.placements_seen += placed is None
        requests = {**spec["requests"], **devices_of_placement(spec)}
        new = self._placements[name] = _Placed(spec["node"], requests, bool(spec.get("bound")))
        self._add(new, sign=1)
        if not new.bound:
            used = self._used[new.node]
            taken = {resource: used[resource] for resource, units in new.requests.items() if units}
            if requests.get(GPU_MILLI):
                taken[UNNAMED] = used.get(UNNAMED, 0)  # Where a pod runs that does not know its GPUs none is given.
            self._check(new.node, taken)

    def _add(self, placed: _Placed, sign: int) -> None:
        for sums in (self._used,) if placed.bound else (self._used, self._claimed):
            used = sums.setdefault(placed.node, {})
            for resource, amount in placed.requests.items():
                used[resource] = used.get(resource, 0) + sign * amount

    def _check(self, node: str, taken: Requests) -> None:
        allocatable = self._allocatable.get(node)
        if allocatable is None:
            return
        for resource, used in taken.items():
            if used > allocatable.get(resource, 0):
                self.violations.append(
                    Overcommitment(
                        self.partition, node, resource, used, allocatable.get(resource, 0), max(self.revision, 1)
                    )
                )


def allocatable_of(node: Object) -> dict[str, int]:
    """What a node has for pods, in units."""
    return resource_list(node.status.get("allocatable"))


def _with_devices(node: Object) -> dict[str, int]:
    allocatable = allocatable_of(node)
    return {**allocatable, **devices_of_node(allocatable)}


def requests_of(pod: Object) -> dict[str, int]:
    """What a pod takes of its node, in units: the sum over its containers, and itself as one of `pods`."""
    total = {PODS: 1}
    for container in pod.spec.get("containers") or ():
        requests = resource_list((container.get("resources") or {}).get("requests"))
        for resource, amount in requests.items():
            total[resource] = total.get(resource, 0) + amount
    return total


def placed_by_ledger(placements: Iterable[Object]) -> Iterable[tuple[NodeName, Requests]]:
    """Each placement's node, and what it takes of it and of its devices."""
    for placement in placements:
        spec = placement.spec
        devices = {} if spec.get("bound") and not spec.get("devices") else devices_of_placement(spec)
        yield (placement.partition, spec["node"]), {**spec["requests"], **devices}


def placed_by_binding(pods: Iterable[Object]) -> Iterable[tuple[NodeName, Requests]]:
    """The same of each pod that is bound and not finished; of devices, as far as it says which."""
    for pod in pods:
        node = pod.spec.get("nodeName")
        if node and pod.status.get("phase") not in FINISHED_PHASES:
            requests, annotations = requests_of(pod), pod.message.metadata.annotations
            devices = devices_of_pod(annotations, requests) if DEVICES_ANNOTATION in annotations else {}
            yield (pod.spec.get("resourcePartition", ""), node), {**requests, **devices}


def overcommitted_nodes(
    nodes: Iterable[Object], placed: Iterable[tuple[NodeName, Requests]]
) -> dict[NodeName, Overcommitment]:
    """The nodes on which more is placed than they have, each with one resource that shows it."""
    used: dict[NodeName, dict[str, int]] = {}
    for node_name, requests in placed:
        sums = used.setdefault(node_name, {})
        for resource, amount in requests.items():
            sums[resource] = sums.get(resource, 0) + amount
    found: dict[NodeName, Overcommitment] = {}
    for node in nodes:
        allocatable = _with_devices(node)
        name = node.partition, node.name
        for resource, amount in used.get(name, {}).items():
            if amount > allocatable.get(resource, 0):
                found[name] = Overcommitment(*name, resource, amount, allocatable.get(resource, 0))
    return found


def missing(acknowledged: Iterable[str], present: Iterable[Object]) -> list[str]:
    """The uids that were acknowledged and are not there."""
    there = dict.fromkeys(item.uid for item in present)
    return [uid for uid in acknowledged if uid not in there]
