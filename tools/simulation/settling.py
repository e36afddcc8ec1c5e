"""Whether a cluster has come to rest: all is as its owner wants it, nothing is on its way, and who watches knows it.

**Everything converges**: once nothing fails any more, that is so within a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...clients.informer import Informer
from ...proto import ursa_pb2 as pb
from ...proto.kinds import SYSTEM_TENANT
from ...proto.objects import Object
from ...proto.tenants import ACTIVE, ARRIVING, MOVED, TENANTS, record_of
from ...storage import Store
from ..checking.room import Room
from .services import unsettled_services

FINISHED_PHASES = ("Succeeded", "Failed")
_SERVICES = ("services", "endpointslices.discovery.k8s.io", "endpoints")
_LOOKED_AT = (
    TENANTS,
    "pods",
    "replicasets.apps",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "namespaces",
    "nodes",
    "placements.ursa.dev",
    *_SERVICES,
)


class State:
    """The objects of all partitions, by resource, each with its partition."""

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._objects: dict[str, list[Object]] = {resource: [] for resource in _LOOKED_AT}
        for partition, store in stores.items():
            for resource, found in self._objects.items():
                for record in store.range(f"/registry/{resource}/"):
                    found.append(Object(pb.Object.FromString(record.value), partition))

    def __getitem__(self, resource: str) -> list[Object]:
        return self._objects[resource]


def unseen(informers: Iterable[Informer], stores: Mapping[str, Store]) -> Iterator[str]:
    """Of which informers hold something else than their partition: one line each. A view that is old but true of its
    time breaks no other promise, however old it is."""
    for informer in informers:
        store = stores[informer.partition]
        stored = [record.revision for record in store.range(f"/registry/{informer.resource}/")]
        name = f"the informer of {informer.resource} of {informer.partition}"
        if informer.incarnation != store.incarnation:
            yield f"{name} is still at revision {informer.resource_version} of another incarnation"
        elif sorted(stored) != sorted(each.resource_version for each in informer.objects.values()):
            yield f"{name} does not hold what the partition does at revision {store.head}"


def unsettled(state: State) -> Iterator[str]:
    """What is not as it should be, one line each."""
    for resource in _LOOKED_AT:
        for obj in state[resource]:
            if obj.deletion_ms:
                yield f"{resource} {obj.partition}/{obj.key} is still being deleted"
    yield from _of_tenants(state[TENANTS])
    yield from _of_nodes(state["nodes"])
    room = Room(state["nodes"], state["placements.ursa.dev"])
    waiting = {pod.uid: pod for pod in state["pods"] if _waits_for_room(pod, room)}
    yield from _of_pods(pod for pod in state["pods"] if pod.uid not in waiting)
    yield from _of_replica_sets(state["replicasets.apps"], state["pods"], waiting)
    yield from _of_deployments(state["deployments.apps"], state["replicasets.apps"], waiting.values())
    yield from _of_stateful_sets(state["statefulsets.apps"], state["pods"], waiting.values())
    yield from _of_daemon_sets(state["daemonsets.apps"], state["pods"], state["nodes"])
    yield from _of_placements(state["placements.ursa.dev"], state["pods"])
    services, slices, endpoints = (state[resource] for resource in _SERVICES)
    yield from unsettled_services(services, slices, endpoints, state["pods"])


def _of_tenants(tenants: Iterable[Object]) -> Iterator[str]:
    """None is on its way, or in two partitions. What arrives of a move that was never begun waits for long, and may."""
    homes: dict[str, str] = {}
    for each in tenants:
        state = record_of(each).state
        if each.name == SYSTEM_TENANT or state in (ARRIVING, MOVED):
            continue
        if state != ACTIVE:
            yield f"tenant {each.name} is {state} in {each.partition}"
        if each.name in homes:
            yield f"tenant {each.name} is in {homes[each.name]} and in {each.partition}"
        homes[each.name] = each.partition


def _of_nodes(nodes: Iterable[Object]) -> Iterator[str]:
    for node in nodes:
        conditions = {each["type"]: each["status"] for each in node.status.get("conditions") or ()}
        if conditions.get("Ready") != "True":
            yield f"node {node.partition}/{node.name} is not ready"
        for taint in node.spec.get("taints") or ():
            yield f"node {node.partition}/{node.name} is tainted {taint.get('key')}"


def _waits_for_room(pod: Object, room: Room) -> bool:
    """It is bound nowhere, and no node could take it: that is rest, too."""
    bound = pod.spec.get("nodeName") or pod.status.get("phase") in FINISHED_PHASES
    return not bound and not room.node_for(pod)


def _of_pods(pods: Iterable[Object]) -> Iterator[str]:
    for pod in pods:
        phase = pod.status.get("phase")
        if phase not in ("Running", *FINISHED_PHASES):
            node = pod.spec.get("nodeName") or "no node"
            yield f"pod {pod.partition}/{pod.key} on {node} is {phase}"


def _owner(obj: Object) -> str:
    return next((owner.uid for owner in obj.message.metadata.owner_references if owner.controller), "")


def _of_replica_sets(
    replica_sets: Iterable[Object], pods: Iterable[Object], waiting: Mapping[str, Object]
) -> Iterator[str]:
    running: dict[str, int] = {}
    not_ready: dict[str, int] = {}
    for pod in pods:
        if pod.status.get("phase") not in FINISHED_PHASES and not pod.deletion_ms:
            running[_owner(pod)] = running.get(_owner(pod), 0) + 1
            not_ready[_owner(pod)] = not_ready.get(_owner(pod), 0) + (pod.uid in waiting)
    for each in replica_sets:
        wanted = each.spec.get("replicas", 1)
        name = f"replicaset {each.partition}/{each.key}"
        if running.get(each.uid, 0) != wanted:
            yield f"{name} has {running.get(each.uid, 0)} pods and wants {wanted}"
        elif each.status.get("observedGeneration", 0) != each.generation:
            yield f"{name} has not said yet that it has seen generation {each.generation}"
        elif each.status.get("replicas", 0) != wanted:
            yield f"{name} counts {each.status.get('replicas', 0)} and wants {wanted}"
        elif each.status.get("readyReplicas", 0) != wanted - not_ready.get(each.uid, 0):
            yield f"{name} says {each.status.get('readyReplicas', 0)} are ready of {wanted}"


def _of_deployments(
    deployments: Iterable[Object], replica_sets: Iterable[Object], waiting: Iterable[Object]
) -> Iterator[str]:
    """A rollout whose pods wait for room goes on when there is some."""
    short = dict.fromkeys(_owner(pod) for pod in waiting)
    owned: dict[str, list[int]] = {}
    held_up: dict[str, None] = {}
    for each in replica_sets:
        owned.setdefault(_owner(each), []).append(each.spec.get("replicas", 1))
        if each.uid in short:
            held_up[_owner(each)] = None
    for each in deployments:
        if each.uid in held_up:
            continue
        wanted = each.spec.get("replicas", 1)
        if sorted(owned.get(each.uid, []))[-1:] != [wanted] or sum(owned.get(each.uid, [])) != wanted:
            yield f"deployment {each.partition}/{each.key} wants {wanted}, its replicasets {owned.get(each.uid, [])}"
        elif each.status.get("replicas", 0) != wanted or each.status.get("observedGeneration", 0) != each.generation:
            yield f"deployment {each.partition}/{each.key} wants {wanted} and says {each.status.get('replicas', 0)}"


def _of_stateful_sets(
    stateful_sets: Iterable[Object], pods: Iterable[Object], waiting: Iterable[Object]
) -> Iterator[str]:
    """One whose pod waits for room waits with it."""
    short = dict.fromkeys(_owner(pod) for pod in waiting)
    names: dict[str, list[str]] = {}
    for pod in pods:
        names.setdefault(_owner(pod), []).append(pod.name)
    for each in stateful_sets:
        if each.uid in short:
            continue
        wanted, status = each.spec.get("replicas", 1), each.status
        told = [status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")]
        name = f"statefulset {each.partition}/{each.key}"
        if sorted(names.get(each.uid, ())) != sorted(f"{each.name}-{number}" for number in range(wanted)):
            yield f"{name} has {sorted(names.get(each.uid, ()))} and wants {wanted}"
        elif told != [wanted] * 3 or status.get("observedGeneration", 0) != each.generation:
            yield f"{name} wants {wanted} and says {told}"


def _of_daemon_sets(daemon_sets: Iterable[Object], pods: Iterable[Object], nodes: Iterable[Object]) -> Iterator[str]:
    """One on each node, unless there is no room; never two. A node that lacks one is all that may be unavailable, so an
    update waits for it, as in Kubernetes."""
    on: dict[str, list[str]] = {}
    for pod in pods:
        on.setdefault(_owner(pod), []).append(pod.spec.get("nodeName", ""))
    for each in daemon_sets:
        there = [node.name for node in nodes if node.partition == each.partition]
        has = on.get(each.uid, [])
        name = f"daemonset {each.partition}/{each.key}"
        if len(dict.fromkeys(has)) != len(has) or any(node not in there for node in has):
            yield f"{name} has pods on {sorted(has)}, of the nodes {there}"
        elif each.status.get("desiredNumberScheduled", 0) != len(there):
            yield f"{name} says that {each.status.get('desiredNumberScheduled', 0)} of {len(there)} nodes want a pod"
        elif len(has) == len(there) and each.status.get("updatedNumberScheduled", 0) != len(has):
            yield f"{name} says that {each.status.get('updatedNumberScheduled', 0)} of {len(has)} pods are updated"


def _of_placements(placements: Iterable[Object], pods: Iterable[Object]) -> Iterator[str]:
    """Each has a pod that lives there, and each pod that lives somewhere has one."""
    placements = list(placements)
    speakers = {each.name: each.spec["tenantPartition"] for each in placements}
    placed: dict[str, tuple[str, str]] = {}
    for each in placements:
        if each.name in placed:
            yield f"pod {each.name} has two placements, in {placed[each.name][0]} and in {each.partition}"
        placed[each.name] = each.partition, each.spec["node"]
    for pod in pods:
        if not pod.spec.get("nodeName") or pod.status.get("phase") in FINISHED_PHASES:
            continue
        there = pod.spec["resourcePartition"], pod.spec["nodeName"]
        found = placed.pop(pod.uid, None)
        if found != there:
            yield f"pod {pod.partition}/{pod.key} runs on {'/'.join(there)}, its placement is {found}"
        elif speakers[pod.uid] != pod.partition:
            yield f"the placement of pod {pod.partition}/{pod.key} says that it is of {speakers[pod.uid]}"
    for uid, (partition, node) in placed.items():
        yield f"placement {uid} on {partition}/{node} is of no pod that lives there"


def untold(pods: Iterable[Object], running: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What kubelets run, and have not said, or do not run any more, and say that they do."""
    said = {(pod.partition, pod.uid): pod for pod in pods if pod.status.get("phase") == "Running"}
    for partition, uid in running:
        if said.pop((partition, uid), None) is None:
            yield f"a kubelet runs pod {uid} of {partition}, which is not said to run"
    for pod in said.values():
        yield f"pod {pod.partition}/{pod.key} is said to run, and no kubelet runs it"
