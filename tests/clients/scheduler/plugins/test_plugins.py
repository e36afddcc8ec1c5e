"""Each plugin, over all nodes at once, over some, and over one, says what a plain function of one node says.

`URSA_SOAK=1 pytest tests/clients/scheduler/plugins` runs 100,000 cases of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.framework.calls import FilterCall, ScoreCall
from ursa.clients.scheduler.framework.interface import Normalize, Plugin, Skip
from ursa.clients.scheduler.plugins.image_locality import ImageLocality
from ursa.clients.scheduler.plugins.node_affinity import NodeAffinity
from ursa.clients.scheduler.plugins.node_name import NodeName
from ursa.clients.scheduler.plugins.node_ports import NodePorts
from ursa.clients.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from ursa.clients.scheduler.plugins.node_resources_fit import NodeResourcesFit
from ursa.clients.scheduler.plugins.node_unschedulable import NodeUnschedulable
from ursa.clients.scheduler.plugins.taint_toleration import TaintToleration

from . import naive
from .cases import CASES, FPGA, GPU, Case, PlainNode, draw_affinity

cases = st.integers(0, 2**48).map(Case)
many = settings(max_examples=CASES, deadline=None)


def filtered(plugin: Plugin, case: Case) -> list[bool]:
    """By each way of asking, which must agree."""
    call = FilterCall(plugin, trusted=False)
    state = call.state(case.shape, case.columns)
    if isinstance(state, Skip):
        return [True] * len(case.nodes)
    everywhere = call.over(state, case.shape, case.columns, slice(0, case.columns.high)).tolist()
    backwards = np.arange(case.columns.high, dtype=np.intp)[::-1]
    assert call.over(state, case.shape, case.columns, backwards).tolist() == everywhere[::-1]
    of_slot = call.of_slot(state, case.shape, case.columns)
    assert [of_slot(slot) for slot in range(case.columns.high)] == everywhere
    refused = np.array([slot for slot, fits in enumerate(everywhere) if not fits], np.intp)
    if len(refused):
        reasons = call.reasons(state, case.shape, case.columns, refused)
        assert sum(reasons.values()) >= len(refused)
        assert all(0 < count <= len(refused) for count in reasons.values())
    return [everywhere[case.columns.slot("rp-1", node.name)] for node in case.nodes]


def scored(plugin: Plugin, case: Case, feasible: list[bool] | None = None) -> list[int] | None:
    """Normalised, over the feasible nodes; None: it has nothing to say."""
    call = ScoreCall(plugin, 1, trusted=False)
    columns, shape = case.columns, case.shape
    state = call.state(shape, columns, lambda: columns.present[: columns.high])
    if isinstance(state, Skip):
        return None
    raw = call.over(state, shape, columns, slice(0, columns.high))
    backwards = np.arange(columns.high, dtype=np.intp)[::-1]
    assert call.over(state, shape, columns, backwards).tolist() == raw.tolist()[::-1]
    of_slot = call.of_slot(state, shape, columns)
    assert [of_slot(slot) for slot in range(columns.high)] == raw.tolist()
    mask = np.array(feasible or [True] * columns.high)
    result = call.normalized(state, shape, raw, mask)
    assert call.normalize is not Normalize.NONE or result is raw
    return [int(each) for each in result[mask]]


def agrees(plugin: Plugin, case: Case, plain: Callable[[Any, PlainNode], bool]) -> None:
    assert filtered(plugin, case) == [plain(case.spec, node) for node in case.nodes]


@many
@given(cases)
def test_node_name(case: Case) -> None:
    agrees(NodeName(), case, naive.node_name)


@many
@given(cases)
def test_node_ports(case: Case) -> None:
    agrees(NodePorts(), case, naive.node_ports)


@many
@given(cases)
def test_node_unschedulable(case: Case) -> None:
    agrees(NodeUnschedulable(), case, naive.node_unschedulable)


def some_feasible(case: Case) -> list[bool]:
    feasible = [case.random.random() < 0.7 for _ in case.nodes]
    return feasible if any(feasible) else [True] * len(feasible)


@many
@given(cases)
def test_taint_toleration(case: Case) -> None:
    agrees(TaintToleration(), case, naive.taints_tolerated)
    feasible = some_feasible(case)
    raw = [naive.taints_disliked(case.spec, node) for node, fits in zip(case.nodes, feasible, strict=True) if fits]
    got = scored(TaintToleration(), case, feasible)
    assert (got or [100] * len(raw)) == naive.by_greatest(raw, reverse=True)


@many
@given(cases, st.booleans())
def test_node_affinity(case: Case, added: bool) -> None:
    extra = draw_affinity(case.random) if added else {}
    plugin = NodeAffinity({"addedAffinity": extra} if extra else None)
    of_all = {"affinity": {"nodeAffinity": extra}}
    expected = [
        naive.required_affinity(case.spec, node) and naive.required_affinity(of_all, node) for node in case.nodes
    ]
    assert filtered(plugin, case) == expected
    feasible = some_feasible(case)
    left = [node for node, fits in zip(case.nodes, feasible, strict=True) if fits]
    raw = [naive.preferred_affinity(case.spec, node) + naive.preferred_affinity(of_all, node) for node in left]
    assert (scored(plugin, case, feasible) or [0] * len(raw)) == naive.by_greatest(raw, reverse=False)


WEIGHTS = [{"cpu": 1, "memory": 1}, {"cpu": 3}, {GPU: 5, "cpu": 1}, {"memory": 2, GPU: 1, FPGA: 7}]


def known(weights: dict[str, int], case: Case) -> dict[str, int]:
    """A resource that no node has ever had counts nowhere: who requests it fits nowhere."""
    return {name: weight for name, weight in weights.items() if name in case.columns.resource_columns} or {"cpu": 1}


SHAPES = [[(0, 0), (100, 10)], [(0, 10), (100, 0)], [(20, 3), (50, 10), (81, 1)], [(40, 7)]]


@many
@given(cases, st.sampled_from(WEIGHTS), st.sampled_from(SHAPES))
def test_node_resources_fit(case: Case, weights: dict[str, int], shape: list[tuple[int, int]]) -> None:
    weights = known(weights, case)
    ignored = case.random.choice([[], [GPU], ["example.com"]])
    resources = [{"name": name, "weight": weight} for name, weight in weights.items()]
    for strategy in ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"):
        scoring: dict[str, Any] = {"type": strategy, "resources": resources}
        if strategy == "RequestedToCapacityRatio":
            points = [{"utilization": at, "score": score} for at, score in shape]
            scoring["requestedToCapacityRatio"] = {"shape": points}
        names = {"ignoredResourceGroups" if "example.com" in ignored else "ignoredResources": ignored}
        plugin = NodeResourcesFit({"scoringStrategy": scoring, **(names if ignored else {})})
        fits = [naive.resources_fit(case.requests, node, ignored) for node in case.nodes]
        assert filtered(plugin, case) == fits
        expected = [naive.resources_score(case.requests, node, strategy, weights, shape) for node in case.nodes]
        assert (scored(plugin, case) or [0] * len(case.nodes)) == expected


@many
@given(cases, st.sampled_from(WEIGHTS))
def test_node_resources_balanced_allocation(case: Case, weights: dict[str, int]) -> None:
    weights = known(weights, case)
    plugin = NodeResourcesBalancedAllocation({"resources": [{"name": n, "weight": w} for n, w in weights.items()]})
    got = scored(plugin, case)
    if got is not None:
        assert got == [naive.balance(case.requests, node, weights) for node in case.nodes]
    else:
        counted = [name for name in weights if name in ("cpu", "memory") or case.requests.get(name)]
        assert len(counted) < 2 or not any(case.requests.get(name) for name in counted)


@many
@given(cases)
def test_image_locality(case: Case) -> None:
    got = scored(ImageLocality(), case)
    assert (got or [0] * len(case.nodes)) == [naive.images(case.spec, node, case.nodes) for node in case.nodes]
