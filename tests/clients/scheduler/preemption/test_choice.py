"""Whom a pod of higher priority evicts, and where. With URSA_SOAK by a hundred thousand cases each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ursa.clients.scheduler import change_log
from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.preemption import choice, levels
from ursa.clients.scheduler.preemption.choice import Candidates, Preemption, PreemptionArgs
from ursa.clients.scheduler.preemption.levels import LEVELS_MAX, NO_LEVEL, Level, PriorityLevels
from ursa.clients.scheduler.preemption.victims import RunningPod, Victims, victims_on

from ..objects import node as node_object
from .cases import CASES, Happening, cluster_of, draw_budgets, draw_cluster, draw_happenings, draw_requests
from .reference import Cost, Node, Pod, best_nodes, lowest_level

DEFAULT = PreemptionArgs()
seeds = st.integers(0, 2**48)
many = settings(max_examples=CASES)


class World:
    """The nodes in columns."""

    def __init__(self, cluster: list[Node]) -> None:
        self.nodes = NodeColumns(1)
        self.levels = PriorityLevels(self.nodes)
        self.pods: dict[int, list[RunningPod]] = {}
        self.counted: dict[str, Level] = {}
        self.slots: dict[str, int] = {}
        self.allowed = np.zeros(self.nodes.capacity, np.bool_)
        for node in cluster:
            self.add_node(node)

    def add_node(self, node: Node) -> None:
        cpu, memory = node.allocatable["cpu"], node.allocatable["memory"]
        self.nodes.set_node("rp-1", node.name, read_node(node_object(node.name, cpu=f"{cpu}m", memory=str(memory))))
        slot = self.slots[node.name] = self.nodes.slot("rp-1", node.name)
        self.allowed[slot] = node.suits
        self.nodes.hold(slot, self.charges(node.others))
        self.pods[slot] = []
        for pod in node.pods:
            charges = self.charges(pod.requests)
            self.add_pod(slot, RunningPod(pod.name, pod.priority, charges, pod.started, pod.budgets, pod.leaving))

    def add_pod(self, slot: int, pod: RunningPod) -> None:
        self.nodes.hold(slot, pod.charges)
        self.count_pod(slot, pod)

    def count_pod(self, slot: int, pod: RunningPod) -> None:
        self.counted[pod.uid] = self.levels.add(pod.priority, slot, pod.charges, leaving=pod.leaving)
        self.pods[slot].append(pod)

    def uncount_pod(self, slot: int) -> RunningPod:
        """The one that came first."""
        pod = self.pods[slot].pop(0)
        self.levels.remove(self.counted.pop(pod.uid), slot, pod.charges)
        return pod

    def charges(self, requests: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
        return tuple((self.nodes.resource_columns[name], units) for name, units in requests.items() if units)

    def choose(
        self,
        priority: int,
        wanted: Mapping[str, int],
        spare: Mapping[str, int],
        args: PreemptionArgs = DEFAULT,
    ) -> Preemption | None:
        return self.candidates(priority, wanted, spare).choose(self.in_use(), args.candidates(len(self.slots)))

    def candidates(self, priority: int, wanted: Mapping[str, int], spare: Mapping[str, int]) -> Candidates:
        return Candidates(self.nodes, self.levels, self.pods.__getitem__, self.charges(wanted), priority, spare)

    def in_use(self) -> NDArray[np.bool_]:
        return self.allowed[: self.nodes.high]


@many
@given(seeds)
def test_the_victims_are_those_of_the_reference(seed: int) -> None:
    random = Random(seed)
    cluster, priority = draw_cluster(random, -2, 4), random.randint(-1, 4)
    wanted, spare = draw_requests(random), draw_budgets(random)
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


@many
@given(seeds)
def test_of_two_nodes_the_one_is_better_that_kubernetes_would_take(seed: int) -> None:
    random = Random(seed)
    one, other = (
        [(random.randint(-2, 2), random.randint(0, 2)) for _ in range(random.randint(1, 3))] for _ in range(2)
    )
    violations, other_violations = random.randint(0, 1), random.randint(0, 1)
    costs, expected = [], []
    for pods, broken in ((one, violations), (other, other_violations)):
        ordered = sorted(pods, key=lambda pod: (-pod[0], pod[1]))
        costs.append(Victims(tuple(RunningPod("u", *pod_of) for pod_of in map(running, ordered)), broken).cost())
        cost = Cost([Pod("u", priority, {}, started, (), False) for priority, started in pods], broken)
        expected.append((cost.violated(), cost.highest(), cost.total(), cost.count(), cost.latest()))
    assert (costs[0] < costs[1]) == (expected[0] < expected[1])


def running(pod: tuple[int, int]) -> tuple[int, tuple[tuple[int, int], ...], int]:
    return pod[0], (), pod[1]


@many
@given(seeds)
def test_where_room_begins_is_found_for_all_nodes_at_once(seed: int) -> None:
    random = Random(seed)
    cluster, priority, wanted = draw_cluster(random, -2, 4), random.randint(-1, 4), draw_requests(random)
    world = World(cluster)
    begins = world.levels.begins(world.charges(wanted), priority, np.array(list(world.slots.values())))
    for slot, node in enumerate(cluster):
        lowest = lowest_level(replace(node, suits=True), priority, wanted)
        assert begins.fits[slot] == (lowest is not None)
        if lowest is not None:
            assert begins.level[slot] == (NO_LEVEL if lowest == -1000 else lowest)
        alone = world.levels.begins_at(world.charges(wanted), priority, slot)
        assert alone == (begins.level[slot] if begins.fits[slot] else None)


def test_more_priorities_than_levels_cost_no_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "LEVELS_MAX", 2)

    @many
    @given(seeds)
    def same(seed: int) -> None:
        random = Random(seed)
        cluster, priority, wanted = draw_cluster(random, -9, 9), random.randint(-9, 9), draw_requests(random)
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
    assert not columns.begins(((0, 1001),), 100, np.array([slot])).fits[0]


def test_what_pods_take_is_known_after_the_node_table_has_grown() -> None:
    nodes = NodeColumns(1)
    nodes.set_node("rp-1", "n", read_node(node_object("n", cpu="1")))
    slot = nodes.slot("rp-1", "n")
    columns = PriorityLevels(nodes)
    nodes.hold(slot, ((0, 1000),))
    columns.add(1, slot, ((0, 1000),), leaving=False)
    for number in range(100):
        nodes.set_node("rp-1", f"m{number}", read_node(node_object(f"m{number}", cpu="0")))
    begins = columns.begins(((0, 500),), 2, np.flatnonzero(nodes.present))
    assert np.flatnonzero(begins.fits).tolist() == [slot]


NEEDS = {"cpu": 2, "memory": 1}
SPARE = {"a": 0, "b": 1}
PREEMPTOR_PRIORITY = 3
# Each is looked at after some seven rounds.
STORIES = CASES // 6


def one_after_the_other(world: World, wanted: int, searched_max: int) -> Preemption | None:
    """All that is promised of the choice, with nothing kept: the first nodes in the order, until there are enough."""
    needs = world.charges(NEEDS)
    slots = np.flatnonzero(world.in_use())
    begins = world.levels.begins(needs, PREEMPTOR_PRIORITY, slots)
    found = slots[begins.fits].tolist()
    order = sorted(zip(begins.level[begins.fits].tolist(), (-world.nodes.tie[found]).tolist(), found, strict=True))
    best: Preemption | None = None
    candidates = 0
    for _, _, slot in order[: max(wanted, searched_max)]:
        free = {column: float(world.nodes.free[column, slot]) for column, _ in needs}
        victims = victims_on(world.pods[slot], free, needs, PREEMPTOR_PRIORITY, SPARE)
        if victims is None:
            continue
        candidates += 1
        if best is None or victims.cost() < best.victims.cost():
            best = Preemption(slot, victims)
        if candidates >= wanted and not best.victims.violations:
            break
    return best


def happen(world: World, what: str, number: int, priority: int, budgets: tuple[str, ...]) -> None:
    slot = list(world.pods)[number % len(world.pods)]
    charges = world.charges({"cpu": 1 + number % 2})
    if what == "comes":
        world.add_pod(slot, RunningPod(f"x{world.nodes.changes.end}", priority, charges, number, budgets))
    elif what == "ends" and world.pods[slot]:
        world.nodes.unhold(slot, world.uncount_pod(slot).charges)
    elif what == "is asked to go" and world.pods[slot]:
        world.count_pod(slot, world.uncount_pod(slot)._replace(leaving=True))
    elif what == "room goes":
        world.nodes.hold(slot, charges)
    elif what == "allowed or not":
        world.allowed[slot] = not world.allowed[slot]
    elif what == "node":
        world.add_node(
            cluster_of(len(world.slots), [(priority, {"cpu": 3, "memory": 1}, number, budgets, False)], 0, 0, 1)
        )


@pytest.mark.parametrize(
    ("levels_max", "changes_max", "single_slots_max"), [(16, 4096, 8), (16, 4096, 0), (2, 4096, 8), (16, 2, 8)]
)
def test_what_is_kept_from_one_pod_to_the_next_gives_the_answer_of_a_fresh_look(
    monkeypatch: pytest.MonkeyPatch, levels_max: int, changes_max: int, single_slots_max: int
) -> None:
    searched_max = 3
    monkeypatch.setattr(choice, "SEARCHED_MAX", searched_max)
    monkeypatch.setattr(choice, "SINGLE_SLOTS_MAX", single_slots_max)
    monkeypatch.setattr(levels, "LEVELS_MAX", levels_max)
    monkeypatch.setattr(change_log, "CHANGES_MAX", changes_max)

    def same(cluster: list[Node], rounds: list[list[Happening]], wanted: int) -> None:
        world = World(cluster)
        kept = world.candidates(PREEMPTOR_PRIORITY, NEEDS, SPARE)
        for happenings in [[], *rounds]:
            for each in happenings:
                happen(world, *each)
            assert kept.choose(world.in_use(), wanted) == one_after_the_other(world, wanted, searched_max)

    @settings(max_examples=STORIES)
    @given(seeds)
    def any_story(seed: int) -> None:
        random = Random(seed)
        rounds = [draw_happenings(random) for _ in range(random.randint(0, 12))]
        same(draw_cluster(random, -2, 4), rounds, random.randint(1, 5))

    same([cluster_of(0, [], 0, 0, 0)], [[("node", 0, 0, ())], [("allowed or not", 1, 0, ())]], 1)
    any_story()


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


def test_where_all_evictions_are_violations_not_every_node_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "SEARCHED_MAX", 5)
    world = World(
        [
            Node(f"g{n}", {"cpu": 4, "memory": 9}, {}, [Pod(f"g{n}", 0, {"cpu": 4}, 0, ("a",), False)], True)
            for n in range(20)
        ]
    )
    looked_at: list[int] = []

    def pods_on(slot: int) -> list[RunningPod]:
        looked_at.append(slot)
        return world.pods[slot]

    candidates = Candidates(world.nodes, world.levels, pods_on, world.charges({"cpu": 2}), 9, {"a": 0})
    for _ in range(3):
        assert candidates.choose(world.in_use(), 1) is not None
    assert len(looked_at) == 5, "and each once"


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
