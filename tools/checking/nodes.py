"""No claim over-commits a node, at any revision; and every placement is accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object
from ..load.checks import FINISHED_PHASES, LedgerCheck
from .changes import Change, resource_of
from .recorded import History, Recording, object_of
from .violations import Violation

LEDGER = "No claim over-commits"
ACCOUNTED = "Every placement accounted for"

NODES, PLACEMENTS, PODS = "nodes", "placements.ursa.dev", "pods"


def no_node_is_overcommitted(recording: Recording) -> Iterator[Violation]:
    """**No claim over-commits a node, at any revision**: when one is admitted, what the placements on its node request
    does not exceed what that has allocatable, nor what they hold of one of its GPUs that GPU, nor is a GPU asked for as
    a whole shared; and what is claimed of a node never does. A placement made again for a
    pod that is bound there is no claim. (partitions/admission/ledger.py)"""
    for history in recording.histories.values():
        if history.store == "main" and history.by_resource.get(PLACEMENTS):
            yield from _overcommitted(history)


def _overcommitted(history: History) -> Iterator[Violation]:
    check = LedgerCheck(history.partition)
    changes = [*history.by_resource.get(NODES, ()), *history.by_resource[PLACEMENTS]]
    after = max(history.known(NODES)[0], history.known(PLACEMENTS)[0])
    for change in sorted(changes, key=lambda each: each.revision):
        apply = check.apply_node if resource_of(change.key) == NODES else check.apply_placement
        apply(_event_of(change))
        if change.revision <= after:
            check.violations.clear()  # Of what was there at first, not all has been told yet.
        for found in check.violations:
            yield Violation(LEDGER, str(found), f"/registry/{NODES}///{found.node}", change.time)
        check.violations.clear()


def _event_of(change: Change) -> pb.WatchEvent:
    kind = pb.WatchEvent.DELETED if change.deleted else pb.WatchEvent.MODIFIED
    return pb.WatchEvent(type=kind, object=change.message, resource_version=change.revision)


class _Place(NamedTuple):
    resource_partition: str
    node: str


def placements_are_accounted_for(recording: Recording) -> Iterator[Violation]:
    """**When all has come to rest, each Placement belongs to a pod that is bound there and lives, and each bound pod
    that lives has its Placement.** A Placement is named by its pod's uid. (clients/scheduler/binder.py,
    clients/controllers/placement_release.py) Judged only of a run that was healed."""
    if not recording.healed:
        return
    mains = {history.partition: history for history in recording.last_histories if history.store == "main"}
    known = {name: history for name, history in mains.items() if history.known(PODS)[1]}
    pods = {
        (name, each.uid): each for name, history in known.items() for each in _objects(history, PODS) if _is_held(each)
    }
    placements: dict[tuple[str, str], list[tuple[_Place, Object]]] = {}
    for name, history in mains.items():
        for placement in _objects(history, PLACEMENTS):
            place = _Place(name, placement.spec["node"])
            placements.setdefault((placement.spec["tenantPartition"], placement.name), []).append((place, placement))
    for pod_name, held in placements.items():
        if pod_name[0] in known:
            for place, placement in held:
                yield from _placement(place, placement, pods.get(pod_name))
    for pod_name, pod in pods.items():
        bound = _place_of(pod)
        if bound.resource_partition in mains and bound not in (place for place, _ in placements.get(pod_name, ())):
            yield Violation(
                ACCOUNTED,
                f"it runs on {bound.node} of {bound.resource_partition} and has no Placement",
                _key(PODS, pod),
            )


def _placement(place: _Place, placement: Object, pod: Object | None) -> Iterator[Violation]:
    where = f"Placement {placement.name} on {place.node} of {place.resource_partition}"
    key = _key(PLACEMENTS, placement)
    if pod is None:
        yield Violation(ACCOUNTED, f"{where} is of no pod that is bound and lives", key)
    elif _place_of(pod) != place:
        bound = _place_of(pod)
        yield Violation(ACCOUNTED, f"{where}: its pod runs on {bound.node} of {bound.resource_partition}", key)


def _objects(history: History, resource: str) -> list[Object]:
    return [
        object_of(change, history.partition) for change in history.last_state() if resource_of(change.key) == resource
    ]


def _is_held(pod: Object) -> bool:
    return bool(pod.spec.get("nodeName")) and pod.status.get("phase") not in FINISHED_PHASES


def _place_of(pod: Object) -> _Place:
    return _Place(pod.spec.get("resourcePartition", ""), pod.spec.get("nodeName", ""))


def _key(resource: str, obj: Object) -> str:
    return f"/registry/{resource}/{obj.tenant}/{obj.namespace}/{obj.name}"
