"""PodTopologySpread is what a plain loop over nodes and pods says, whatever has happened before."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.framework.interface import SKIP
from ursa.clients.scheduler.plugins.pod_topology_spread import PodTopologySpread

from .pod_worlds import TAINT, Twin, change, mask_of, pods, specs, twins
from .reference import pod_topology_spread as reference
from .reference.cluster import Node, Pod
from .test_inter_pod_affinity import counted

# Each with some sixteen questions: a pod, a cluster, and Filter or Score.
EXAMPLES = 7_000 if "URSA_SOAK" in os.environ else 150

SPECS = specs(spread=True)
SYSTEM = [
    {"maxSkew": 3, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
    {"maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
]
OWN = [
    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
    {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
]
ARGS = st.sampled_from(
    [({}, []), ({"defaultingType": "System"}, SYSTEM), ({"defaultingType": "List", "defaultConstraints": OWN}, OWN)]
)


@settings(max_examples=EXAMPLES)
@given(st.data(), twins(SPECS), ARGS)
def test_any_story_gives_what_the_reference_says(
    data: st.DataObject, twin: Twin, args: tuple[dict[str, Any], list[dict[str, Any]]]
) -> None:
    plugin = PodTopologySpread(args[0])
    asked = [data.draw(pods(f"new-{number}", SPECS)) for number in range(2)]
    for number in range(data.draw(st.integers(1, 4))):
        for pod in asked:
            check_filter(plugin, twin, pod, args[1])
            check_score(plugin, twin, pod, args[1], data.draw(st.integers(0, 2**8)))
        change(data.draw, twin, SPECS, number)
    for pod in asked:
        for world in (twin, twin.rebuilt()):
            check_filter(plugin, world, pod, args[1])
            check_score(plugin, world, pod, args[1], data.draw(st.integers(0, 2**8)))


def check_filter(plugin: PodTopologySpread, twin: Twin, pod: Pod, defaults: list[dict[str, Any]]) -> None:
    shape, nodes = twin.shape(pod), twin.columns
    why = {n.key: reference.filter_node(pod, n, twin.cluster, defaults) for n in twin.cluster.nodes.values()}
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
    assert plugin.reasons(state, shape, nodes, np.flatnonzero(there & ~wanted)) == counted(why)


def check_score(plugin: PodTopologySpread, twin: Twin, pod: Pod, defaults: list[dict[str, Any]], mask: int) -> None:
    """`mask`: which of the nodes are feasible, the others having failed some filter."""
    shape, nodes, cluster = twin.shape(pod), twin.columns, twin.cluster
    feasible = [node for at, node in enumerate(sorted(cluster.nodes.values(), key=twin.slot)) if not mask >> at & 1]
    if not feasible:
        return
    wanted = reference.scores(pod, feasible, cluster, defaults, system=defaults is SYSTEM)
    slots = np.array([twin.slot(node) for node in feasible])
    fits = np.zeros(nodes.high, np.bool_)
    fits[slots] = True
    state = plugin.pre_score(shape, nodes, fits)
    assert (state is SKIP) == plugin.skips(shape, nodes) == (wanted is None)
    if state is SKIP:
        return
    got = plugin.score(state, shape, nodes, slice(0, nodes.high))[fits]
    assert plugin.score(state, shape, nodes, slots).tolist() == got.tolist()
    assert plugin.normalize_scores(state, shape, got).tolist() == wanted


# ------------------------------------------------------------------------------------------------ the talks' case


def zone_spread(action: str) -> dict[str, Any]:
    return {
        "containers": [{"name": "web", "image": "web:1"}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": action,
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
    }


@pytest.mark.parametrize(
    ("action", "placed"), [("ScheduleAnyway", ["a", "b", "a", "a"]), ("DoNotSchedule", ["a", "b", "a"])]
)
def test_a_spread_that_suggests_gives_way_where_one_that_enforces_leaves_pods_unplaced(
    action: str, placed: list[str]
) -> None:
    """Zone b has room for one pod only."""
    twin, room = Twin(), {"a": 9, "b": 1}
    for zone in room:
        twin.put_node(Node("rp-1", f"n-{zone}", {"zone": zone}))
    plugin, zones = PodTopologySpread(), []
    for number in range(4):
        pod = Pod(f"web-{number}", "acme", "default", {"app": "web"}, zone_spread(action))
        shape, nodes = twin.shape(pod), twin.columns
        feasible = np.array([room[zone] > 0 for zone in room])
        state = plugin.pre_filter(shape, nodes)
        if state is not SKIP:
            feasible &= plugin.filter(state, shape, nodes, slice(0, 2))
        if not feasible.any():
            continue
        best = np.flatnonzero(feasible)
        state = plugin.pre_score(shape, nodes, feasible)
        if state is not SKIP:
            scores = plugin.normalize_scores(state, shape, plugin.score(state, shape, nodes, best))
            best = best[scores == scores.max()]
        zone = list(room)[best[0]]
        zones.append(zone)
        room[zone] -= 1
        pod.node = ("rp-1", f"n-{zone}")
        twin.put_pod(pod)
    assert zones == placed


def test_with_fewer_domains_than_wanted_no_domain_takes_more_than_the_skew() -> None:
    twin, spec = Twin(), zone_spread("DoNotSchedule")
    for zone in "ab":
        twin.put_node(Node("rp-1", f"n-{zone}", {"zone": zone}))
        twin.put_pod(Pod(f"web-{zone}", "acme", "default", {"app": "web"}, spec, ("rp-1", f"n-{zone}")))
    fits = {}
    for domains in (2, 3):
        spec = zone_spread("DoNotSchedule")
        spec["topologySpreadConstraints"][0]["minDomains"] = domains
        pod = Pod("new", "acme", "default", {"app": "web"}, spec)
        check_filter(PodTopologySpread(), twin, pod, [])
        shape, nodes = twin.shape(pod), twin.columns
        state = PodTopologySpread().pre_filter(shape, nodes)
        fits[domains] = PodTopologySpread().filter(state, shape, nodes, slice(0, 2)).tolist()
    assert fits == {2: [True, True], 3: [False, False]}


def test_a_pod_that_is_going_counts_no_longer() -> None:
    twin, spec = Twin(), zone_spread("DoNotSchedule")
    for zone in "ab":
        twin.put_node(Node("rp-1", f"n-{zone}", {"zone": zone}))
    going = Pod("web", "acme", "default", {"app": "web"}, spec, ("rp-1", "n-a"))
    pod = Pod("new", "acme", "default", {"app": "web"}, spec)
    shape, nodes, plugin = twin.shape(pod), twin.columns, PodTopologySpread()
    for going.terminating, fits in ((False, [False, True]), (True, [True, True])):
        twin.put_pod(going)
        check_filter(plugin, twin, pod, [])
        assert plugin.filter(plugin.pre_filter(shape, nodes), shape, nodes, slice(0, 2)).tolist() == fits


def test_a_node_without_the_labels_is_no_domain_of_the_others_either() -> None:
    """By the number of domains a constraint weighs."""
    twin, spec = Twin(), zone_spread("ScheduleAnyway")
    spec["topologySpreadConstraints"] *= 2
    spec["topologySpreadConstraints"][1] = {**spec["topologySpreadConstraints"][0], "topologyKey": "rack"}
    for number, zone in enumerate("aab"):
        twin.put_node(Node("rp-1", f"n{number}", {"zone": zone, "rack": str(number)}))
    for number, zone in enumerate("cdefgh", start=3):
        twin.put_node(Node("rp-1", f"n{number}", {"zone": zone}))
    for number in (0, 0, 0, 1, 2, 2):
        twin.put_pod(
            Pod(f"web-{len(twin.cluster.pods)}", "acme", "default", {"app": "web"}, spec, ("rp-1", f"n{number}"))
        )
    check_score(PodTopologySpread(), twin, Pod("new", "acme", "default", {"app": "web"}, spec), [], 0)


@pytest.mark.parametrize(
    ("policies", "fits"),
    [
        ({}, [False, True]),
        ({"nodeTaintsPolicy": "Honor"}, [True, True]),
        ({"nodeTaintsPolicy": "Honor", "nodeAffinityPolicy": "Ignore"}, [False, True]),
    ],
)
def test_a_zone_whose_nodes_do_not_count_for_the_pod_is_none(policies: dict[str, str], fits: list[bool]) -> None:
    """Zone a has a pod. b has none, and a taint; c has none, and the pod does not select it."""
    twin, spec = Twin(), zone_spread("DoNotSchedule")
    twin.put_node(Node("rp-1", "n-a", {"zone": "a", "disk": "ssd"}))
    twin.put_node(Node("rp-1", "n-b", {"zone": "b", "disk": "ssd"}, [TAINT]))
    twin.put_node(Node("rp-1", "n-c", {"zone": "c"}))
    twin.put_pod(Pod("web", "acme", "default", {"app": "web"}, spec, ("rp-1", "n-a")))
    spec = {**zone_spread("DoNotSchedule"), "nodeSelector": {"disk": "ssd"}}
    spec["topologySpreadConstraints"][0].update(policies)
    pod = Pod("new", "acme", "default", {"app": "web"}, spec)
    check_filter(PodTopologySpread(), twin, pod, [])
    shape, nodes = twin.shape(pod), twin.columns
    state = PodTopologySpread().pre_filter(shape, nodes)
    assert PodTopologySpread().filter(state, shape, nodes, slice(0, 2)).tolist() == fits


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"defaultingType": "Lists"}, "defaultingType"),
        ({"defaultingType": "System", "defaultConstraints": OWN}, "no defaultConstraints"),
        ({"defaultConstraints": [{**OWN[0], "labelSelector": {}}]}, "no labelSelector"),
        ({"defaultConstraints": [OWN[0], OWN[0]]}, "same topologyKey"),
        ({"defaultConstraints": [{**OWN[0], "maxSkew": 0}]}, r"defaultConstraints\[0\].maxSkew"),
        ({"defaultConstraints": [{**OWN[0], "whenUnsatisfiable": "Never"}]}, "whenUnsatisfiable"),
        ({"constraints": []}, "constraints"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(args: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        PodTopologySpread(args)
