"""When faults are over, everything converges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...clients.kubelet.static_pods import is_mirror
from ...proto.objects import Object
from ..load.checks import FINISHED_PHASES
from .changes import Change, resource_of
from .instances import running_at_the_end
from .recorded import Recording, object_of
from .room import Room
from .violations import Violation

CONVERGED = "Converged"

PODS, REPLICA_SETS, DEPLOYMENTS = "pods", "replicasets.apps", "deployments.apps"
STATEFUL_SETS = "statefulsets.apps"
NODES, PLACEMENTS = "nodes", "placements.ursa.dev"


def everything_converges(recording: Recording) -> Iterator[Violation]:
    """**Once faults are over, what was asked for becomes true**: nothing is left terminating, every pod runs or has
    ended (or it is said why no node takes it, or none has room for it), each Deployment, ReplicaSet and StatefulSet
    has, and says that it has, just the pods that it asks for, and what runs on the nodes is what the partitions say.
    Judged only of a run that was healed."""
    if not recording.healed:
        return
    if recording.instances:
        yield from _instances(recording)
    room = _room(recording)
    for history in recording.last_histories:
        changes = history.last_state()
        objects = {each.key: (resource_of(each.key), object_of(each, history.partition)) for each in changes}
        pods = [obj for resource, obj in objects.values() if resource == PODS]
        active = _active_by_owner(pods)
        held_up = _held_up([obj for resource, obj in objects.values() if resource == REPLICA_SETS], pods, room)
        for change in changes:
            resource, obj = objects[change.key]
            if resource in (DEPLOYMENTS, STATEFUL_SETS) and obj.uid in held_up:
                continue
            for wrong in _wrong(resource, obj, active.get(obj.uid, 0), room):
                yield _violation(change, obj, wrong)


def _instances(recording: Recording) -> Iterator[Violation]:
    """What runs, beside what the partitions say: of a static pod nothing, for its mirror is another pod."""
    running = running_at_the_end(recording)
    said: dict[tuple[str, str], Change] = {}
    for history in recording.last_histories:
        for change in history.last_state():
            if resource_of(change.key) == PODS:
                pod = object_of(change, history.partition)
                if pod.status.get("phase") == "Running" and not is_mirror(pod.message):
                    said[history.partition, pod.uid] = change
    for name, instance in running.items():
        if instance.pod_partition and name not in said:
            text = f"{instance.key} ({instance.uid}) still runs on {instance.node} of {instance.node_partition}, and"
            yield Violation(CONVERGED, f"{text} {instance.pod_partition} has no such pod that does", instance.key)
    for name, change in said.items():
        if name not in running:
            yield Violation(CONVERGED, f"{name[0]} says that {change.key} runs, and no kubelet runs it", change.key)


def _room(recording: Recording) -> Room | None:
    """None: not all resource partitions are known."""
    found: dict[str, list[Object]] = {NODES: [], PLACEMENTS: []}
    for history in recording.last_histories:
        if history.store != "main":
            continue
        for change in history.last_state():
            if resource_of(change.key) in found:
                found[resource_of(change.key)].append(object_of(change, history.partition))
    return Room(found[NODES], found[PLACEMENTS]) if found[NODES] else None


def _violation(change: Change, obj: Object, wrong: str) -> Violation:
    return Violation(CONVERGED, f"{change.key} of {obj.partition}, revision {change.revision}: {wrong}", change.key)


def _active_by_owner(pods: list[Object]) -> dict[str, int]:
    """How many pods that live and stay each ReplicaSet has, by its uid."""
    active: dict[str, int] = {}
    for pod in pods:
        owner = pod.controller
        if owner is not None and not pod.deletion_ms and pod.status.get("phase") not in FINISHED_PHASES:
            active[owner.uid] = active.get(owner.uid, 0) + 1
    return active


def _held_up(replica_sets: list[Object], pods: list[Object], room: Room | None) -> dict[str, None]:
    """The Deployments and StatefulSets that have pods which no node has room for: they go on when there is some."""
    if room is None:
        return {}
    waiting = dict.fromkeys(
        pod.controller.uid
        for pod in pods
        if pod.controller is not None and not pod.spec.get("nodeName") and not room.node_for(pod)
    )
    owners = [each.controller.uid for each in replica_sets if each.controller and each.uid in waiting]
    return dict.fromkeys([*owners, *waiting])


def _wrong(resource: str, obj: Object, active: int, room: Room | None) -> Iterator[str]:
    if obj.deletion_ms:
        yield "it is still being deleted"
    elif resource == PODS:
        yield from _wrong_with_pod(obj, room)
    elif resource in (REPLICA_SETS, DEPLOYMENTS, STATEFUL_SETS):
        yield from _wrong_with_workload(obj)
        if resource != DEPLOYMENTS and active != _replicas(obj):
            yield f"it asks for {_replicas(obj)} pods and has {active}"


def _wrong_with_pod(pod: Object, room: Room | None) -> Iterator[str]:
    phase = pod.status.get("phase")
    if phase == "Running" or phase in FINISHED_PHASES:
        return
    conditions: list[dict[str, Any]] = pod.status.get("conditions") or []
    if not pod.spec.get("nodeName"):
        said = any(each.get("reason") == "Unschedulable" for each in conditions)
        if not said and (room is None or (node := room.node_for(pod))):
            yield "it is bound to no node, and nothing says why" + (f": {node} has room for it" if room else "")
    else:
        yield f"it is bound to {pod.spec['nodeName']} and {phase or 'without a phase'}"


def _wrong_with_workload(workload: Object) -> Iterator[str]:
    status = workload.status
    if status.get("observedGeneration", 0) != workload.generation:
        yield f"generation {workload.generation} was not observed, but {status.get('observedGeneration', 0)}"
    elif status.get("replicas", 0) != _replicas(workload):
        yield f"it asks for {_replicas(workload)} replicas and counts {status.get('replicas', 0)}"


def _replicas(workload: Object) -> int:
    replicas = workload.spec.get("replicas")
    return 1 if replicas is None else int(replicas)
