"""What is counted of pods on nodes is what counting anew gives; an assumption ends when its outcome is seen."""

from __future__ import annotations

import gc
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.revisions import Revision
from ursa.clients.scheduler import pod_tallies
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.shape import Shapes
from ursa.clients.scheduler.pending import PendingPod
from ursa.clients.scheduler.pod_counts import DomainCounts, Inclusion
from ursa.clients.scheduler.pod_tallies import Selections
from ursa.clients.scheduler.pod_terms import PodSelection
from ursa.clients.scheduler.template import Templates
from ursa.clients.scheduler.topology import EACH_NODE, HOSTNAME
from ursa.proto.objects import Object
from ursa.proto.selectors import Requirement

from .pod_worlds import TENANTS, Twin, change, pod_object, specs, twins
from .reference.cluster import Node, Pod

EXAMPLES = 5_000 if "URSA_SOAK" in os.environ else 100

SPECS = specs(affinity=True)
WEB = Requirement("app", "In", ("web",))
SELECTIONS = [
    Selections(PodSelection("acme", ("default",), None, (WEB,))),
    Selections(PodSelection("acme", None, None, ())),
    Selections(PodSelection("acme", ("default", "prod"), None, (WEB,), terminating=False)),
    Selections(PodSelection("acme", ("default",), (Requirement("team", "In", ("a",)),), ())),
    Selections(PodSelection("acme", None, None, (WEB,)), PodSelection("acme", ("prod",), None, ())),
    Selections(PodSelection("umbrella", None, None, ())),
    Selections(PodSelection("acme", None, None, None)),
]
KEYS = ["zone", "rack", HOSTNAME, EACH_NODE]


@settings(max_examples=EXAMPLES)
@given(st.data(), twins(SPECS), st.sampled_from([1, 3, 256]), st.sampled_from([1, 256]))
def test_counts_kept_up_to_date_are_those_counted_anew(
    data: st.DataObject, twin: Twin, counts_max: int, topologies_max: int
) -> None:
    """Also where most of them are dropped before they are asked for again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pod_tallies, "COUNTS_MAX", counts_max)
        patch.setattr(pod_tallies, "TOPOLOGIES_MAX", topologies_max)
        for number in range(data.draw(st.integers(1, 6))):
            same_as_rebuilt(twin)
            change(data.draw, twin, SPECS, number)
        same_as_rebuilt(twin)


def same_as_rebuilt(twin: Twin) -> None:
    other = twin.rebuilt()
    for selections in SELECTIONS:
        for key in KEYS:
            for honour in (False, True):
                assert seen(twin, selections, key, honour) == seen(other, selections, key, honour)
    for tenant in TENANTS:
        terms = [amounts(world, tenant) for world in (twin, other)]
        assert terms[0] == terms[1]


def seen(twin: Twin, selections: Selections, key: str, honour: bool) -> dict[Any, Any]:
    """By the domain of each node, and what is asked of all of them."""
    columns = twin.columns
    inclusion: Inclusion | None = None
    if honour:
        inclusion = columns.pods.tallies.inclusion("ssd", lambda: ssd(columns))
    counts = columns.pods.tallies.of_selection(selections, key, inclusion)
    return {**by_node(twin, counts), "domains": counts.domains, "fewest": counts.fewest(), "total": counts.total()}


def ssd(columns: NodeColumns) -> Any:
    return np.array([facts is not None and "disk" in facts.labels for facts in columns.facts], np.bool_)


def by_node(twin: Twin, counts: DomainCounts) -> dict[tuple[str, str], int]:
    domains = {key: int(counts.topology.ids[twin.slot(node)]) for key, node in twin.cluster.nodes.items()}
    return {key: int(counts.counts[domain]) if domain else -1 for key, domain in domains.items()}


def amounts(twin: Twin, tenant: str) -> dict[str, Any]:
    tallies = twin.columns.pods.tallies
    terms = tallies._terms_of_tenant.get(tenant, [])
    return {term.key: by_node(twin, tallies.of_term(term)) for term in terms if term.slots}


# --------------------------------------------------------------------------------------------------- assumptions


def world() -> Twin:
    twin = Twin()
    for number in range(3):
        twin.put_node(Node("rp-1", f"n{number}", {"zone": "ab"[number % 2]}))
    return twin


def assumed(twin: Twin, uid: str, node: str) -> PendingPod:
    slot = twin.columns.find("rp-1", node)
    assert slot is not None
    obj = unbound(Pod(uid, "acme", "default", {"app": "web"}, {"containers": []}))
    pod = PendingPod(obj, Shapes().of(obj, Templates().of(obj.message.spec)), 1, 0.0)
    pod.slot = slot
    twin.columns.pods.assume(pod)
    return pod


def unbound(pod: Pod) -> Object:
    return pod_object(pod)


def bound(uid: str, node: str) -> Object:
    return pod_object(Pod(uid, "acme", "default", {"app": "web"}, {"containers": []}, ("rp-1", node)))


def zones(twin: Twin) -> list[int]:
    """How many pods there are in a and b."""
    counts = twin.columns.pods.tallies.of_selection(SELECTIONS[0], "zone")
    return [int(counts.counts[int(counts.topology.ids[slot])]) for slot in (0, 1)]


def test_a_pod_of_ours_counts_from_the_moment_a_node_is_chosen() -> None:
    twin = world()
    assumed(twin, "p", "n0")
    assert zones(twin) == [1, 0]
    twin.columns.pods.withdraw("p")
    assert zones(twin) == [0, 0]


def test_a_pod_that_is_seen_bound_counts_once_and_no_longer_ends_with_its_claim() -> None:
    twin = world()
    assumed(twin, "p", "n0")
    twin.columns.pods.seen(bound("p", "n0"))
    twin.columns.pods.withdraw("p")
    assert zones(twin) == [1, 0]
    twin.columns.pods.gone("p")
    assert zones(twin) == [0, 0]


def test_a_pod_bound_elsewhere_counts_where_it_is_bound() -> None:
    twin = world()
    assumed(twin, "p", "n0")
    twin.columns.pods.seen(bound("p", "n1"))
    assert zones(twin) == [0, 1]


def test_a_pod_that_came_and_went_unseen_ends_once_the_view_is_past_its_binding() -> None:
    twin = world()
    known = twin.columns.pods
    assumed(twin, "p", "n0")
    known.bound("p", Revision("tp-1", 7))
    known.seen_up_to(Revision("tp-1", 6))
    assert zones(twin) == [1, 0]
    known.seen_up_to(Revision("tp-1", 7))
    assert zones(twin) == [0, 0]


def test_a_binding_of_a_history_that_was_set_back_counts_no_longer() -> None:
    twin = world()
    assumed(twin, "p", "n0")
    twin.columns.pods.bound("p", Revision("tp-1", 7))
    twin.columns.pods.set_back()
    assert zones(twin) == [0, 0]


def test_nothing_is_kept_before_somebody_asks() -> None:
    twin = world()
    twin.columns.pods.wanted = False
    assumed(twin, "p", "n0")
    assert len(twin.columns.pods) == 0


def test_the_slot_of_a_node_that_is_gone_is_not_given_away_while_a_pod_is_there() -> None:
    twin = world()
    twin.columns.pods.seen(bound("p", "n0"))
    twin.columns.clear_node(0)
    assert twin.columns.slot("rp-1", "other") == 3
    twin.columns.pods.gone("p")
    assert twin.columns.slot("rp-1", "another") == 0


def test_what_is_remembered_is_bounded() -> None:
    """Tenants choose selectors, topology keys and labels; pods and terms that are gone leave nothing behind."""
    twin = world()
    tallies = twin.columns.pods.tallies
    for number in range(3000):
        label = Requirement("app", "In", (f"web-{number}",))
        selections = Selections(PodSelection("acme", ("default",), None, (label,)))
        tallies.of_selection(selections, f"key-{number}", tallies.inclusion(f"{number}", lambda: np.ones(3, np.bool_)))
        term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": f"web-{number}"}}}
        spec = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
        pod = Pod(f"p{number}", "acme", "default", {"app": f"web-{number}"}, spec, ("rp-1", "n0"))
        twin.put_pod(pod)
        if number >= 10:
            twin.remove_pod(f"p{number - 10}")
    gc.collect()
    assert len(tallies._counts) <= pod_tallies.COUNTS_MAX
    assert len(tallies._selections) <= pod_tallies.COUNTS_MAX
    assert len(tallies._topologies) <= pod_tallies.TOPOLOGIES_MAX
    assert len(tallies._inclusions) <= pod_tallies.INCLUSIONS_MAX
    assert len(tallies._classes) == 10
    assert len(tallies._terms) <= 2 * pod_tallies.IDLE_TERMS_MAX + 20
