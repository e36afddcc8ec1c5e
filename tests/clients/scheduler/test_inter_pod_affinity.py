"""InterPodAffinity is what a plain loop over nodes and pods says, whatever has happened before."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.framework.interface import SKIP
from ursa.clients.scheduler.plugins.inter_pod_affinity import InterPodAffinity

from .pod_worlds import Twin, change, mask_of, pods, specs, twins
from .reference import inter_pod_affinity as reference
from .reference.cluster import Node, Pod

# Each with some sixteen questions: a pod, a cluster, and Filter or Score.
EXAMPLES = 7_000 if "URSA_SOAK" in os.environ else 150

SPECS = specs(affinity=True)
ARGS = st.sampled_from(
    [{}, {"hardPodAffinityWeight": 0}, {"hardPodAffinityWeight": 50}, {"ignorePreferredTermsOfExistingPods": True}]
)


@settings(max_examples=EXAMPLES)
@given(st.data(), twins(SPECS), ARGS)
def test_any_story_gives_what_the_reference_says(data: st.DataObject, twin: Twin, args: dict[str, Any]) -> None:
    plugin = InterPodAffinity(args)
    asked = [data.draw(pods(f"new-{number}", SPECS)) for number in range(2)]
    for number in range(data.draw(st.integers(1, 4))):
        for pod in asked:
            check_filter(plugin, twin, pod)
            check_score(plugin, twin, pod, data.draw(st.integers(0, 2**8)))
        change(data.draw, twin, SPECS, number)
    for pod in asked:
        check_filter(plugin, twin, pod)
        check_filter(plugin, twin.rebuilt(), pod)
        check_score(plugin, twin, pod, data.draw(st.integers(0, 2**8)))
        check_score(plugin, twin.rebuilt(), pod, data.draw(st.integers(0, 2**8)))


def check_filter(plugin: InterPodAffinity, twin: Twin, pod: Pod) -> None:
    shape, nodes = twin.shape(pod), twin.columns
    why = {node.key: reference.filter_node(pod, node, twin.cluster) for node in twin.cluster.nodes.values()}
    wanted = mask_of(twin, lambda node: not why[node.key])
    state = plugin.pre_filter(shape, nodes)
    if state is SKIP:
        assert not any(why.values())
        return
    there = nodes.present[: nodes.high]
    got = plugin.filter(state, shape, nodes, slice(0, nodes.high))
    assert (got & there).tolist() == wanted.tolist()
    some = np.flatnonzero(there)[::-1]
    assert plugin.filter(state, shape, nodes, some).tolist() == wanted[some].tolist()
    refused = np.flatnonzero(there & ~wanted)
    assert plugin.reasons(state, shape, nodes, refused) == counted(why)


def counted(why: dict[tuple[str, str], str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for reason in why.values():
        if reason:
            found[reason] = found.get(reason, 0) + 1
    return found


def check_score(plugin: InterPodAffinity, twin: Twin, pod: Pod, mask: int) -> None:
    """`mask`: which of the nodes are feasible, the others having failed some filter."""
    shape, nodes, cluster = twin.shape(pod), twin.columns, twin.cluster
    feasible = [node for at, node in enumerate(sorted(cluster.nodes.values(), key=twin.slot)) if not mask >> at & 1]
    if not feasible:
        return
    weight, own_only = plugin._hard_weight, plugin._own_only
    raw = [reference.score_node(pod, node, cluster, weight, own_only) for node in feasible]
    slots = np.array([twin.slot(node) for node in feasible])
    fits = np.zeros(nodes.high, np.bool_)
    fits[slots] = True
    state = plugin.pre_score(shape, nodes, fits)
    assert (state is SKIP) == plugin.skips(shape, nodes)
    if state is SKIP:
        assert raw == [0] * len(raw)
        return
    got = plugin.score(state, shape, nodes, slice(0, nodes.high))[fits]
    assert got.tolist() == raw
    assert plugin.score(state, shape, nodes, slots).tolist() == raw
    assert plugin.normalize_scores(state, shape, got).tolist() == reference.normalize(raw)


def near(**term: Any) -> dict[str, Any]:
    wanted = {"topologyKey": "zone", **term}
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [wanted]}}}


def fitting(twin: Twin, pod: Pod) -> list[str]:
    """The zones in which it may run."""
    plugin, shape, nodes = InterPodAffinity(), twin.shape(pod), twin.columns
    check_filter(plugin, twin, pod)
    fits = plugin.filter(plugin.pre_filter(shape, nodes), shape, nodes, slice(0, nodes.high))
    return [twin.cluster.nodes["rp-1", nodes.names[slot]].labels["zone"] for slot in np.flatnonzero(fits)]


def three_zones() -> Twin:
    twin = Twin()
    for zone in "abc":
        twin.put_node(Node("rp-1", f"n-{zone}", {"zone": zone}))
    return twin


def test_the_first_of_a_group_goes_where_it_likes_and_the_others_to_it() -> None:
    twin, spec = three_zones(), near(labelSelector={"matchLabels": {"app": "web"}})
    pods_of_group = [Pod(f"web-{number}", "acme", "default", {"app": "web"}, spec) for number in range(2)]
    assert fitting(twin, pods_of_group[0]) == ["a", "b", "c"]
    pods_of_group[0].node = ("rp-1", "n-b")
    twin.put_pod(pods_of_group[0])
    assert fitting(twin, pods_of_group[1]) == ["b"]
    stranger = Pod("db", "acme", "default", {"app": "db"}, spec)
    twin.remove_pod("web-0")
    assert fitting(twin, stranger) == []


def test_a_namespace_is_known_by_its_name_as_a_label_and_by_labels_that_change() -> None:
    twin = three_zones()
    twin.put_pod(Pod("web", "acme", "prod", {"app": "web"}, {}, ("rp-1", "n-b")))
    of_name, of_team = ({key: value} for key, value in (("kubernetes.io/metadata.name", "prod"), ("team", "a")))
    by_name, by_team = (
        Pod(f"new-{number}", "acme", "default", {}, near(labelSelector={}, namespaceSelector={"matchLabels": labels}))
        for number, labels in enumerate((of_name, of_team))
    )
    assert (fitting(twin, by_name), fitting(twin, by_team)) == (["b"], [])
    twin.put_namespace("acme", "prod", {"team": "a"})
    assert (fitting(twin, by_name), fitting(twin, by_team)) == (["b"], ["b"])
    twin.put_namespace("acme", "prod", {})
    assert (fitting(twin, by_name), fitting(twin, by_team)) == (["b"], [])


def test_whether_a_pod_means_itself_changes_with_the_labels_of_its_namespace() -> None:
    twin = three_zones()
    spec = near(labelSelector={}, namespaceSelector={"matchLabels": {"team": "a"}})
    first = Pod("first", "acme", "prod", {}, spec)
    assert fitting(twin, first) == []
    twin.put_namespace("acme", "prod", {"team": "a"})
    assert fitting(twin, first) == ["a", "b", "c"]


def test_a_term_of_a_pod_on_a_node_means_who_is_in_a_namespace_that_is_labelled_later() -> None:
    twin = three_zones()
    term = {"topologyKey": "zone", "labelSelector": {}, "namespaceSelector": {"matchLabels": {"team": "a"}}}
    spec = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    twin.put_pod(Pod("apart", "acme", "default", {}, spec, ("rp-1", "n-b")))
    plain = Pod("plain", "acme", "prod", {}, {})
    assert InterPodAffinity().pre_filter(twin.shape(plain), twin.columns) is SKIP
    twin.put_namespace("acme", "prod", {"team": "a"})
    assert fitting(twin, plain) == ["a", "c"]


# ------------------------------------------------------------------------------------------------ the talks' case


def kube_dns(**affinity: Any) -> dict[str, Any]:
    return {"containers": [{"name": "dns", "image": "dns:1"}], **affinity}


ALONE = {
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
            ]
        }
    }
}


@pytest.mark.parametrize(("spec", "nodes_used"), [(kube_dns(), 1), (kube_dns(**ALONE), 3)])
def test_dns_replicas_pile_up_on_the_best_node_unless_they_avoid_each_other(
    spec: dict[str, Any], nodes_used: int
) -> None:
    """One node is better than the others by far, so all replicas go there, and are lost with it."""
    twin = Twin()
    for number in range(3):
        twin.put_node(Node("rp-1", f"n{number}", {"kubernetes.io/hostname": f"n{number}"}))
    plugin, shape_pods = InterPodAffinity(), []
    for number in range(3):
        pod = Pod(f"dns-{number}", "acme", "kube-system", {"k8s-app": "kube-dns"}, spec)
        state = plugin.pre_filter(twin.shape(pod), twin.columns)
        fits = range(3)
        if state is not SKIP:
            fits = np.flatnonzero(plugin.filter(state, twin.shape(pod), twin.columns, slice(0, 3)))
        pod.node = ("rp-1", twin.columns.names[min(fits)])  # The first node is the best one.
        twin.put_pod(pod)
        shape_pods.append(pod)
    assert len({pod.node for pod in shape_pods}) == nodes_used


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"hardPodAffinityWeight": 101}, "from 0 to 100"),
        ({"hardPodAffinityWeight": -1}, "from 0 to 100"),
        ({"hardPodAffinityWeight": True}, "from 0 to 100"),
        ({"ignorePreferredTermsOfExistingPods": "no"}, "true or false"),
        ({"weight": 3}, "weight"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(args: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        InterPodAffinity(args)
