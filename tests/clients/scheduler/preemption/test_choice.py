"""Whom a pod of higher priority evicts, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.preemption import levels
from ursa.clients.scheduler.preemption.choice import Looked, Preemption, PreemptionArgs, choose_node
from ursa.clients.scheduler.preemption.levels import LEVELS_MAX, NO_LEVEL, PriorityLevels
from ursa.clients.scheduler.preemption.victims import RunningPod, Victims

from ..objects import node as node_object
from .reference import Cost, Node, Pod, best_nodes, lowest_level

DEFAULT = PreemptionArgs()
BUDGETS = ("a", "b")
amounts = st.integers(0, 3)
requests = st.fixed_dictionaries({"cpu": st.integers(0, 3), "memory": amounts})


def cluster_of(number: int, pods: list[tuple[int, dict[str, int], int, tuple[str, ...], bool]], *free: int) -> Node:
    named = [Pod(f"n{number}p{each}", *pod) for each, pod in enumerate(pods)]
    taken = {name: sum(pod.requests[name] for pod in named) for name in ("cpu", "memory")}
    cpu, memory, suits = free
    return Node(
        f"n{number}",
        {"cpu": taken["cpu"] + cpu, "memory": taken["memory"] + memory + 1},
        {"memory": 1},
        named,
        suits > 0,
    )


def clusters(priorities: st.SearchStrategy[int]) -> st.SearchStrategy[list[Node]]:
    """Nodes with little or less than nothing left."""
    budgets = st.sampled_from([(), (), (), ("a",), ("b",), ("a", "b")])
    pods = st.lists(
        st.tuples(priorities, requests, st.integers(0, 2), budgets, st.integers(0, 7).map(lambda n: n == 0)), max_size=5
    )
    free = st.integers(-1, 1)
    node = st.tuples(pods, free, free, st.integers(0, 7))
    return st.lists(node, min_size=1, max_size=4).map(
        lambda nodes: [cluster_of(number, *each) for number, each in enumerate(nodes)]
    )


class World:
    """The nodes in columns."""

    def __init__(self, cluster: list[Node]) -> None:
        self.nodes = NodeColumns(1)
        self.levels = PriorityLevels(self.nodes)
        self.pods: dict[int, list[RunningPod]] = {}
        self.slots: dict[str, int] = {}
        self.allowed = np.zeros(self.nodes.capacity, np.bool_)
        for node in cluster:
            cpu, memory = node.allocatable["cpu"], node.allocatable["memory"]
            self.nodes.set_node("rp-1", node.name, read_node(node_object(node.name, cpu=f"{cpu}m", memory=str(memory))))
            slot = self.slots[node.name] = self.nodes.slot("rp-1", node.name)
            self.allowed[slot] = node.suits
            self.nodes.hold(slot, self.charges(node.others))
            self.pods[slot] = []
            for pod in node.pods:
                charges = self.charges(pod.requests)
                self.nodes.hold(slot, charges)
                self.levels.add(pod.priority, slot, charges, leaving=pod.leaving)
                self.pods[slot].append(
                    RunningPod(pod.name, pod.priority, charges, pod.started, pod.budgets, pod.leaving)
                )

    def charges(self, requests: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
        return tuple((self.nodes.resource_columns[name], units) for name, units in requests.items() if units)

    def choose(
        self,
        priority: int,
        wanted: Mapping[str, int],
        spare: Mapping[str, int],
        args: PreemptionArgs = DEFAULT,
    ) -> Preemption | None:
        return choose_node(
            self.nodes, self.levels, self.pods.__getitem__, self.charges(wanted), priority, self.allowed, spare, args
        )


@given(
    clusters(st.integers(-2, 4)),
    st.integers(-1, 4),
    st.fixed_dictionaries({"cpu": st.integers(1, 6), "memory": amounts}),
    st.fixed_dictionaries({budget: st.integers(0, 2) for budget in BUDGETS}),
)
def test_the_victims_are_those_of_the_reference(
    cluster: list[Node], priority: int, wanted: dict[str, int], spare: dict[str, int]
) -> None:
    world = World(cluster)
    found = world.choose(priority, wanted, spare)
    best = best_nodes(cluster, priority, wanted, spare)
    if found is None:
        assert not best
        return
    name = world.nodes.names[found.slot]
    assert name in best
    assert sorted(pod.uid for pod in found.victims.pods) == sorted(pod.name for pod in best[name])
    priorities = [pod.priority for pod in found.victims.pods]
    assert priorities == sorted(priorities, reverse=True), "the most important first"


victims = st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2)), min_size=1, max_size=3)


@given(victims, victims, st.integers(0, 1), st.integers(0, 1))
def test_of_two_nodes_the_one_is_better_that_kubernetes_would_take(
    one: list[tuple[int, int]], other: list[tuple[int, int]], violations: int, other_violations: int
) -> None:
    costs, expected = [], []
    for pods, broken in ((one, violations), (other, other_violations)):
        ordered = sorted(pods, key=lambda pod: (-pod[0], pod[1]))
        costs.append(Victims(tuple(RunningPod("u", *pod_of) for pod_of in map(running, ordered)), broken).cost())
        cost = Cost([Pod("u", priority, {}, started, (), False) for priority, started in pods], broken)
        expected.append((cost.violated(), cost.highest(), cost.total(), cost.count(), cost.latest()))
    assert (costs[0] < costs[1]) == (expected[0] < expected[1])


def running(pod: tuple[int, int]) -> tuple[int, tuple[tuple[int, int], ...], int]:
    return pod[0], (), pod[1]


@given(
    clusters(st.integers(-2, 4)),
    st.integers(-1, 4),
    st.fixed_dictionaries({"cpu": st.integers(1, 6), "memory": amounts}),
)
def test_where_room_begins_is_found_for_all_nodes_at_once(
    cluster: list[Node], priority: int, wanted: dict[str, int]
) -> None:
    world = World(cluster)
    begins = world.levels.begins(world.charges(wanted), priority, world.allowed)
    for node in cluster:
        slot = world.slots[node.name]
        lowest = lowest_level(node, priority, wanted)
        assert begins.fits[slot] == (lowest is not None)
        if lowest is not None:
            assert begins.level[slot] == (NO_LEVEL if lowest == -1000 else lowest)


def test_more_priorities_than_levels_cost_no_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "LEVELS_MAX", 2)

    @given(
        clusters(st.integers(-9, 9)),
        st.integers(-9, 9),
        st.fixed_dictionaries({"cpu": st.integers(1, 6), "memory": amounts}),
    )
    def same(cluster: list[Node], priority: int, wanted: dict[str, int]) -> None:
        found = World(cluster).choose(priority, wanted, {"a": 0, "b": 0})
        best = best_nodes(cluster, priority, wanted, {"a": 0, "b": 0})
        assert (found is None) == (not best)
        if found is not None:
            assert World(cluster).nodes.names[found.slot] in best

    same()


def test_levels_go_with_their_pods_and_count_as_they_were_added() -> None:
    nodes = NodeColumns(1)
    nodes.set_node("rp-1", "n", read_node(node_object("n", cpu="1")))
    slot = nodes.slot("rp-1", "n")
    columns = PriorityLevels(nodes)
    charges = ((0, 10),)
    added = [columns.add(priority, slot, charges, leaving=False) for priority in range(LEVELS_MAX + 5)]
    lower = columns.add(-7, slot, charges, leaving=False)
    assert columns.lowest == -7
    for level in (*added, lower):
        columns.remove(level, slot, charges)
    assert columns.lowest is None
    assert not columns.begins(((0, 1001),), 100, nodes.present).fits[slot]


def test_what_pods_take_is_known_after_the_node_table_has_grown() -> None:
    nodes = NodeColumns(1)
    nodes.set_node("rp-1", "n", read_node(node_object("n", cpu="1")))
    slot = nodes.slot("rp-1", "n")
    columns = PriorityLevels(nodes)
    nodes.hold(slot, ((0, 1000),))
    columns.add(1, slot, ((0, 1000),), leaving=False)
    for number in range(100):
        nodes.set_node("rp-1", f"m{number}", read_node(node_object(f"m{number}", cpu="0")))
    begins = columns.begins(((0, 500),), 2, nodes.present)
    assert np.flatnonzero(begins.fits).tolist() == [slot]


@given(clusters(st.integers(-2, 4)), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=4))
def test_what_was_found_of_a_node_before_is_no_other_answer(
    cluster: list[Node], changes: list[tuple[int, int]]
) -> None:
    world = World(cluster)
    versions = dict.fromkeys(world.pods, 0)
    looked: dict[int, Looked] = {}
    needs = world.charges({"cpu": 1, "memory": 1})

    def choose(**memory: Any) -> Preemption | None:
        return choose_node(
            world.nodes, world.levels, world.pods.__getitem__, needs, 3, world.allowed, {"a": 0, "b": 1}, **memory
        )

    for number, priority in [(0, 0), *changes]:
        slot = list(world.pods)[number % len(cluster)]
        charges = ((0, 1),)
        world.nodes.hold(slot, charges)
        world.levels.add(priority, slot, charges, leaving=False)
        world.pods[slot].append(RunningPod(f"x{len(world.pods[slot])}", priority, charges))
        versions[slot] += 1
        kept = choose(version_of=lambda slot: (world.nodes.generation(slot), versions[slot]), looked=looked)
        assert kept == choose()


def pods_world(pods: list[Pod], cpu: int = 4) -> World:
    return World([Node("n", {"cpu": cpu, "memory": 9}, {}, pods, True)])


def test_who_is_leaving_anyhow_is_no_victim_and_saves_others() -> None:
    pods = [Pod("stays", 0, {"cpu": 2}, 0, (), False), Pod("leaves", 9, {"cpu": 2}, 0, (), True)]
    found = pods_world(pods).choose(1, {"cpu": 2}, {})
    assert found is not None
    assert not found.victims.pods


def test_a_budget_is_violated_where_nothing_else_makes_room() -> None:
    pods = [Pod("guarded", 0, {"cpu": 4}, 0, ("a",), False)]
    found = pods_world(pods).choose(1, {"cpu": 2}, {"a": 0})
    assert found is not None
    assert [pod.uid for pod in found.victims.pods] == ["guarded"]
    assert found.victims.violations == 1


def test_as_long_as_only_violations_are_found_the_search_goes_on() -> None:
    guarded = [
        Node(f"g{n}", {"cpu": 4, "memory": 9}, {}, [Pod(f"g{n}", 0, {"cpu": 4}, 0, ("a",), False)], True)
        for n in range(20)
    ]
    free = Node("f", {"cpu": 4, "memory": 9}, {}, [Pod("f", 5, {"cpu": 4}, 0, (), False)], True)
    world = World([*guarded, free])
    found = world.choose(9, {"cpu": 2}, {"a": 0}, PreemptionArgs(0, 1))
    assert found is not None
    assert world.nodes.names[found.slot] == "f"


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"minCandidateNodesPercentage": 101}, "at most 100"),
        ({"minCandidateNodesPercentage": -1}, "minCandidateNodesPercentage"),
        ({"minCandidateNodesAbsolute": "many"}, "minCandidateNodesAbsolute"),
        ({"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0}, "cannot both be 0"),
        ({"candidates": 3}, "candidates"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(args: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PreemptionArgs.read(args)


def test_how_many_nodes_are_looked_at_is_as_in_kubernetes() -> None:
    assert PreemptionArgs().candidates(5000) == 500
    assert PreemptionArgs().candidates(50) == 100
    assert PreemptionArgs.read({"minCandidateNodesAbsolute": 7}).candidates(10) == 7
