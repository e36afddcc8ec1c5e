"""What is scheduled: the workloads of Kubernetes' scheduler_perf, under its names and with its pods.

Each has pods that are there before (`before`), and pods that are measured. After scheduler_perf of Kubernetes 1.34
(test/integration/scheduler_perf), whose nodes have 4 cpu, 32 Gi and room for 110 pods, and whose pods ask for 100m and
500 Mi. As many pods are measured as there is room for, `MEASURED_MAX` at most.

    SchedulingBasic           nothing but requests
    PodAntiAffinity           one pod of its kind a node
    PodAffinity               only where others of its kind are, in one zone
    PreferredPodAffinity      rather where others of its kind are, on the same node
    NodeAffinity              only in a zone, in which all nodes are
    TopologySpreading         over three zones, at most five apart
    PreemptionBasic           all nodes are full of pods of low priority: each pod must evict some
    MixedSchedulingBasePods   nothing but requests, among pods of all the kinds above
    Unschedulable             nothing but requests, behind pods that fit nowhere
    SchedulingWithNodes       nothing but requests, while nodes come and go
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...proto.errors import InputError

MEASURED_MAX: Final = 10_000
# Of pods that are there before, for each thousand nodes.
BEFORE_A_THOUSAND: Final = 200
ZONES: Final = ("moon-1", "moon-2", "moon-3")
ZONE_LABEL: Final = "topology.kubernetes.io/zone"
HOST_LABEL: Final = "kubernetes.io/hostname"
NODE_CPUS: Final = 4
PODS_A_NODE: Final = 110
# A preemptor asks for three cpus of four, all of which are held, 900m by each of four pods: it evicts three of them.
LOW_A_NODE: Final = 4


@dataclass(frozen=True)
class Pods:
    """So many pods of one spec. `priority` as the apiserver would have resolved it."""

    spec: Mapping[str, Any]
    count: int
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "default"


@dataclass(frozen=True)
class Workload:
    """`churn`: every so many pods a node goes and another comes; 0: none does. `stuck`: pods that are seen before and
    fit nowhere. `waits`: a measured pod waits until its victims are gone."""

    name: str
    nodes: int
    zones: Sequence[str]
    before: Sequence[Pods]
    measured: Pods
    stuck: Sequence[Pods] = ()
    churn: int = 0


def _spec(cpu: str = "100m", memory: str = "500Mi", **more: Any) -> dict[str, Any]:
    requests = {"cpu": cpu, "memory": memory}
    return {"containers": [{"name": "pause", "image": "pause", "resources": {"requests": requests}}], **more}


def _term(color: str, key: str) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": {"color": color}}, "topologyKey": key}


def _pods(count: int, color: str, **spec: Any) -> Pods:
    return Pods(_spec(**spec), count, {"color": color})


def _anti_affinity(count: int) -> Pods:
    terms = [_term("green", HOST_LABEL)]
    return _pods(
        count, "green", affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    )


def _affinity(count: int) -> Pods:
    terms = [_term("blue", ZONE_LABEL)]
    return _pods(count, "blue", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})


def _preferred_affinity(count: int) -> Pods:
    terms = [{"weight": 1, "podAffinityTerm": _term("red", HOST_LABEL)}]
    return _pods(count, "red", affinity={"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}})


def _node_affinity(count: int, zone: str) -> Pods:
    expressions = [{"key": ZONE_LABEL, "operator": "In", "values": [zone, "elsewhere"]}]
    terms = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    return _pods(count, "", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})


def _spread(count: int) -> Pods:
    constraint = {
        "maxSkew": 5,
        "topologyKey": ZONE_LABEL,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "purple"}},
    }
    return _pods(count, "purple", topologySpreadConstraints=[constraint])


def workload_of(name: str, nodes: int) -> Workload:
    """One workload by its name.

    Raises:
        InputError: there is none of this name, or there are no nodes.
    """
    if nodes < 1:
        raise InputError(f"a workload needs nodes, not {nodes}")
    make = _MAKERS.get(name)
    if make is None:
        raise InputError(f"there is no workload {name!r}: choose one of {', '.join(_MAKERS)}")
    return make(name, nodes)


def filling(nodes: int) -> Workload:
    """SchedulingBasic, until there is no cpu left."""
    return Workload("SchedulingBasic", nodes, (), (), Pods(_spec(), nodes * NODE_CPUS * 10))


def _before(nodes: int) -> int:
    return max(1, nodes * BEFORE_A_THOUSAND // 1000)


def _room(nodes: int) -> int:
    """For pods of 100m, beside those that are there before, and with a tenth left."""
    return min(MEASURED_MAX, nodes * NODE_CPUS * 9 - _before(nodes))


def _basic(name: str, nodes: int) -> Workload:
    return Workload(name, nodes, (), [Pods(_spec(), _before(nodes))], Pods(_spec(), _room(nodes)))


def _with_anti_affinity(name: str, nodes: int) -> Workload:
    before = nodes // 5
    return Workload(name, nodes, (), [_anti_affinity(before)], _anti_affinity(min(MEASURED_MAX, nodes * 3 // 5)))


def _with_affinity(name: str, nodes: int) -> Workload:
    return Workload(name, nodes, ("zone1",), [_affinity(_before(nodes))], _affinity(_room(nodes)))


def _with_preferred_affinity(name: str, nodes: int) -> Workload:
    return Workload(name, nodes, (), [_preferred_affinity(_before(nodes))], _preferred_affinity(_room(nodes)))


def _with_node_affinity(name: str, nodes: int) -> Workload:
    before = [_node_affinity(_before(nodes), "zone1")]
    return Workload(name, nodes, ("zone1",), before, _node_affinity(_room(nodes), "zone1"))


def _with_spread(name: str, nodes: int) -> Workload:
    return Workload(name, nodes, ZONES, [Pods(_spec(), _before(nodes))], _spread(_room(nodes)))


def _preempting(name: str, nodes: int) -> Workload:
    low = Pods(_spec("900m"), nodes * LOW_A_NODE)
    return Workload(name, nodes, (), [low], Pods(_spec("3000m", priority=10), min(MEASURED_MAX, nodes)))


def _mixed(name: str, nodes: int) -> Workload:
    each = max(1, _before(nodes) // 5)
    before = [
        Pods(_spec(), each),
        _affinity(each),
        _preferred_affinity(each),
        _spread(each),
        _anti_affinity(min(each, nodes // 5)),
    ]
    return Workload(name, nodes, ("zone1",), before, Pods(_spec(), _room(nodes)))


def _behind_stuck(name: str, nodes: int) -> Workload:
    stuck = Pods(_spec("9"), 200)
    return Workload(name, nodes, (), [Pods(_spec(), _before(nodes))], Pods(_spec(), _room(nodes)), [stuck])


def _with_nodes(name: str, nodes: int) -> Workload:
    return Workload(name, nodes, (), [Pods(_spec(), _before(nodes))], Pods(_spec(), _room(nodes)), churn=10)


_MAKERS = {
    "SchedulingBasic": _basic,
    "PodAntiAffinity": _with_anti_affinity,
    "PodAffinity": _with_affinity,
    "PreferredPodAffinity": _with_preferred_affinity,
    "NodeAffinity": _with_node_affinity,
    "TopologySpreading": _with_spread,
    "PreemptionBasic": _preempting,
    "MixedSchedulingBasePods": _mixed,
    "Unschedulable": _behind_stuck,
    "SchedulingWithNodes": _with_nodes,
}
WORKLOADS: Final = tuple(_MAKERS)
