from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.tools.load.checks import requests_of
from ursa.tools.load.workload import REPLICAS_MAX, plan_sets, replica_set, replicas_per_set, tenants_of

PLACES = tenants_of(["tp-1", "tp-2"], per_partition=3)


def test_tenants_of_neighbouring_turns_live_in_different_partitions():
    assert [place.partition for place in PLACES] == ["tp-1", "tp-2"] * 3
    assert PLACES[2].tenant == "density-tp-1-1"
    assert len({place.tenant for place in PLACES}) == 6


@pytest.mark.parametrize(("qps", "replicas"), [(1, 1), (20, 1), (100, 5), (1000, 50), (3000, 100), (0.5, 1)])
def test_sets_are_as_small_as_keeps_the_rate_smooth(qps, replicas):
    assert replicas_per_set(qps) == replicas


@given(st.integers(0, 5000), st.floats(0.5, 5000))
def test_the_sets_of_a_plan_have_all_pods_at_the_rate_asked_for(pods, qps):
    plan = plan_sets(PLACES, pods, qps, replicas_per_set(qps))
    assert sum(planned.replicas for planned in plan) == pods
    assert len({planned.name for planned in plan}) == len(plan)
    assert all(1 <= planned.replicas <= REPLICAS_MAX for planned in plan)
    before = 0
    for planned in plan:
        assert planned.due_seconds == pytest.approx(before / qps)
        before += planned.replicas


@given(st.integers(1, 5000), st.floats(1, 5000))
def test_partitions_differ_by_one_set_at_most(pods, qps):
    plan = plan_sets(PLACES, pods, qps, replicas_per_set(qps))
    share = {"tp-1": 0, "tp-2": 0}
    for planned in plan:
        share[planned.place.partition] += planned.replicas
    assert abs(share["tp-1"] - share["tp-2"]) <= replicas_per_set(qps)


def test_a_set_selects_its_own_pods_and_they_ask_for_what_was_said():
    planned = plan_sets(PLACES, 7, 100, 5)[1]
    made = replica_set(planned, {"cpu": "100m", "memory": "200Mi"})
    assert (made.tenant, made.namespace, made.name) == ("density-tp-2-0", "default", "density-1")
    assert made.spec["replicas"] == 2
    template = made.spec["template"]
    assert template["metadata"]["labels"] == made.spec["selector"]["matchLabels"]
    pod = made.with_spec(template["spec"])
    assert requests_of(pod) == {"pods": 1, "cpu": 100, "memory": 200 * 2**20}
