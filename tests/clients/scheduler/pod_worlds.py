"""Random clusters with pods that say things of each other, for a reference and as the scheduler sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.template import Templates
from ursa.proto.objects import Object, encode

from .objects import node as node_object
from .objects import pod_spec
from .reference.cluster import Cluster, Node, Pod

HOSTNAME = "kubernetes.io/hostname"
TENANTS = ["acme", "umbrella"]
NAMESPACES = ["default", "prod"]
KEYS = ["zone", HOSTNAME, "rack"]
TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
SOFT_TAINT = {"key": "old", "value": "", "effect": "PreferNoSchedule"}
OFF_RACK_1 = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["1"]}]},
        {
            "matchExpressions": [
                {"key": "disk", "operator": "Exists"},
                {"key": "zone", "operator": "In", "values": ["a"]},
            ]
        },
    ]
}
TOLERATION = {"key": "dedicated", "operator": "Exists"}

labels = st.fixed_dictionaries({}, optional={"app": st.sampled_from(["web", "db"]), "v": st.sampled_from(["1", "2"])})
# Mostly something that other pods have.
common_labels = st.sampled_from([{"app": "web", "v": "1"}, {"app": "web"}, {"app": "db", "v": "1"}, {}]) | labels
expressions = st.sampled_from(
    [
        {"key": "app", "operator": "In", "values": ["web"]},
        {"key": "app", "operator": "NotIn", "values": ["db"]},
        {"key": "v", "operator": "Exists"},
        {"key": "v", "operator": "DoesNotExist"},
        {"key": "v", "operator": "In", "values": ["1", "2"]},
    ]
)
selectors = st.one_of(
    st.sampled_from([{"matchLabels": {"app": "web"}}, {"matchLabels": {"app": "db"}}, {}]),
    st.builds(lambda each: {"matchExpressions": each}, st.lists(expressions, min_size=1, max_size=2)),
    st.none(),
)


@st.composite
def terms(draw: st.DrawFn) -> dict[str, Any]:
    term: dict[str, Any] = {"topologyKey": draw(st.sampled_from(KEYS)), "labelSelector": draw(selectors)}
    if draw(st.integers(0, 3)) == 0:
        term["namespaces"] = draw(st.lists(st.sampled_from(NAMESPACES), max_size=2))
        term["namespaceSelector"] = draw(st.sampled_from([None, {}, {"matchLabels": {"team": "a"}}]))
    if term["labelSelector"] is not None and draw(st.integers(0, 3)) == 0:
        term[draw(st.sampled_from(["matchLabelKeys", "mismatchLabelKeys"]))] = ["v"]
    return term


weighted_terms = st.builds(
    lambda weight, term: {"weight": weight, "podAffinityTerm": term}, st.sampled_from([1, 7, 100]), terms()
)


def _some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.just([]) | st.lists(strategy, min_size=1, max_size=2)


@st.composite
def affinities(draw: st.DrawFn) -> dict[str, Any]:
    affinity = {}
    for part in ("podAffinity", "podAntiAffinity"):
        found = {
            "requiredDuringSchedulingIgnoredDuringExecution": draw(_some(terms())),
            "preferredDuringSchedulingIgnoredDuringExecution": draw(_some(weighted_terms)),
        }
        if any(found.values()):
            affinity[part] = found
    return affinity


@st.composite
def constraints(draw: st.DrawFn) -> dict[str, Any]:
    hard = draw(st.booleans())
    selector = draw(selectors)
    found = {
        "maxSkew": draw(st.integers(1, 2)),
        "topologyKey": draw(st.sampled_from(KEYS)),
        "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
        "labelSelector": selector,
    }
    if hard and draw(st.booleans()):
        found["minDomains"] = draw(st.integers(1, 3))
    if selector is not None and draw(st.integers(0, 3)) == 0:
        found["matchLabelKeys"] = ["v"]
    for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if draw(st.integers(0, 2)) == 0:
            found[policy] = draw(st.sampled_from(["Honor", "Ignore"]))
    return found


@st.composite
def specs(draw: st.DrawFn, *, affinity: bool = False, spread: bool = False) -> dict[str, Any]:
    spec = pod_spec()
    if affinity:
        spec["affinity"] = draw(affinities())
    if spread:
        spec["topologySpreadConstraints"] = draw(_some(constraints()))
        if draw(st.integers(0, 2)) == 0:
            spec["nodeSelector"] = {"disk": "ssd"}
        if draw(st.integers(0, 2)) == 0:
            spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": OFF_RACK_1}}
        if draw(st.integers(0, 2)) == 0:
            spec["tolerations"] = [TOLERATION]
    return spec


@st.composite
def nodes(draw: st.DrawFn, number: int) -> Node:
    found = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "zone": st.sampled_from(["a", "b", "c"]),
                HOSTNAME: st.just(f"node-{number}"),
                "rack": st.sampled_from(["1", "2"]),
                "disk": st.just("ssd"),
            },
        )
    )
    # Two partitions may have nodes of the same name.
    partition = draw(st.sampled_from(["rp-1", "rp-2"]))
    taints = draw(st.sampled_from([[], [], [TAINT], [SOFT_TAINT]]))
    return Node(partition, f"node-{number}", found, list(taints), draw(st.integers(0, 7)) == 0)


@st.composite
def pods(draw: st.DrawFn, uid: str, spec: st.SearchStrategy[dict[str, Any]]) -> Pod:
    tenant = draw(st.sampled_from([*TENANTS, TENANTS[0], TENANTS[0]]))
    namespace = draw(st.sampled_from([*NAMESPACES, NAMESPACES[0]]))
    return Pod(uid, tenant, namespace, draw(common_labels), draw(spec), terminating=draw(st.integers(0, 7)) == 0)


class Twin:
    """A cluster and the node table that was told of it, event by event."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.columns = NodeColumns()
        self.columns.pods.wanted = True
        self.templates = Templates()
        self._shapes: dict[str, Shape] = {}

    def put_node(self, node: Node) -> None:
        self.cluster.nodes[node.key] = node
        self.columns.set_node(node.partition, node.name, read_node(_node_object(node)))

    def remove_node(self, node: Node) -> None:
        del self.cluster.nodes[node.key]
        slot = self.columns.find(*node.key)
        assert slot is not None
        self.columns.clear_node(slot)

    def put_pod(self, pod: Pod) -> None:
        self.cluster.pods[pod.uid] = pod
        self.columns.pods.seen(pod_object(pod))

    def remove_pod(self, uid: str) -> None:
        del self.cluster.pods[uid]
        self.columns.pods.gone(uid)

    def put_namespace(self, tenant: str, name: str, labels: dict[str, str]) -> None:
        self.cluster.namespaces[tenant, name] = labels
        self.columns.pods.tallies.namespace_seen(tenant, name, labels)

    def rebuilt(self) -> Twin:
        """The same world, told to another table from nothing."""
        other = Twin()
        for (tenant, name), found in self.cluster.namespaces.items():
            other.put_namespace(tenant, name, found)
        for node in self.cluster.nodes.values():
            other.put_node(node)
        for pod in self.cluster.pods.values():
            other.put_pod(pod)
        return other

    def shape(self, pod: Pod) -> Shape:
        key = repr((pod.tenant, pod.namespace, pod.labels, pod.spec))
        if key not in self._shapes:
            template = self.templates.of(encode(pod.spec))
            assert not template.error, template.error
            self._shapes[key] = Shape(len(self._shapes) + 1, template, pod.tenant, pod.namespace, pod.labels)
        return self._shapes[key]

    def slot(self, node: Node) -> int:
        slot = self.columns.find(*node.key)
        assert slot is not None
        return slot


@st.composite
def twins(draw: st.DrawFn, spec: st.SearchStrategy[dict[str, Any]]) -> Twin:
    """A cluster with some pods in it."""
    twin = Twin()
    twin.put_namespace("acme", "prod", {"team": "a"})
    for number in range(draw(st.integers(1, 5))):
        twin.put_node(draw(nodes(number)))
    for number in range(draw(st.integers(0, 6))):
        put_somewhere(draw, twin, draw(pods(f"pod-{number}", spec)))
    return twin


def put_somewhere(draw: st.DrawFn, twin: Twin, pod: Pod) -> None:
    pod.node = draw(st.sampled_from([*twin.cluster.nodes, ("rp-1", "unknown")]))
    twin.put_pod(pod)


def change(draw: st.DrawFn, twin: Twin, spec: st.SearchStrategy[dict[str, Any]], number: int) -> None:
    """Something happens."""
    known_pods, known_nodes = list(twin.cluster.pods), list(twin.cluster.nodes.values())
    what = draw(st.sampled_from(["pod", "pod", "label", "pod gone", "node", "node", "node gone", "namespace"]))
    if what == "pod gone" and known_pods:
        twin.remove_pod(draw(st.sampled_from(known_pods)))
    elif what == "label" and known_pods:
        pod = twin.cluster.pods[draw(st.sampled_from(known_pods))]
        again = draw(pods(pod.uid, st.just(pod.spec)))
        again.tenant, again.namespace, again.node = pod.tenant, pod.namespace, pod.node
        twin.put_pod(again)
    elif what == "node":
        at = draw(st.integers(0, len(known_nodes)))
        node = draw(nodes(at))
        twin.put_node(node)
    elif what == "node gone" and len(known_nodes) > 1:
        twin.remove_node(draw(st.sampled_from(known_nodes)))
    elif what == "namespace":
        twin.put_namespace(
            draw(st.sampled_from(TENANTS)),
            draw(st.sampled_from(NAMESPACES)),
            draw(st.sampled_from([{}, {"team": "a"}])),
        )
    elif known_nodes:
        put_somewhere(draw, twin, draw(pods(f"late-{number}", spec)))


def mask_of(twin: Twin, fits: Callable[[Node], bool]) -> NDArray[np.bool_]:
    """By slot."""
    mask = np.zeros(twin.columns.high, np.bool_)
    for node in twin.cluster.nodes.values():
        mask[twin.slot(node)] = fits(node)
    return mask


def pod_object(pod: Pod) -> Object:
    partition, name = pod.node
    found = Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.uid,
                "namespace": pod.namespace,
                "tenant": pod.tenant,
                "uid": pod.uid,
                "labels": pod.labels,
            },
            "spec": {**pod.spec, "nodeName": name, "resourcePartition": partition},
            "status": {"phase": "Running"},
        }
    )
    if pod.terminating:
        found.message.metadata.deletion_ms = 1
    return found


def _node_object(node: Node) -> Object:
    return node_object(node.name, labels=node.labels, taints=node.taints, unschedulable=node.unschedulable)
