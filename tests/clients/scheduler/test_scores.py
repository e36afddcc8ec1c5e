"""The cached column of keys is the same as one made anew, and both choose what a plain loop over nodes would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.change_log import CHANGES_MAX
from ursa.clients.scheduler.columns import OWN_SHARD, TIE_BITS, NodeColumns, Shard, tie_bits
from ursa.clients.scheduler.framework.column import INFEASIBLE, Column
from ursa.clients.scheduler.node_facts import NodeFacts, read_node
from ursa.clients.scheduler.options import ScoringStrategy
from ursa.clients.scheduler.taints import UNSCHEDULABLE, untolerated
from ursa.clients.scheduler.template import Template, Templates
from ursa.proto.objects import encode

from .objects import GI, node, picker, pod_spec, shape

GPU = "ursa.dev/gpu-milli"
SPECS = [
    pod_spec({"cpu": "500m", "memory": "1Gi"}),
    pod_spec(),
    pod_spec({"cpu": "1", "memory": "2Gi"}, nodeSelector={"zone": "a"}),
    pod_spec({"cpu": "100m", GPU: 500}),
    pod_spec({"cpu": "2"}, tolerations=[{"key": "dedicated", "operator": "Exists"}]),
    pod_spec({"memory": "3Gi"}, nodeSelector={"zone": "b", "disk": "ssd"}),
]


def templates() -> list[Template]:
    cache = Templates()
    return [cache.of(encode(spec)) for spec in SPECS]


@dataclass
class NaiveNode:
    """What the columns should know of a node, in plain numbers."""

    facts: NodeFacts | None = None
    held: list[Mapping[str, int]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def score(self, template: Template, is_open: bool, strategy: ScoringStrategy) -> int:
        facts = self.facts
        if facts is None or not facts.ready or not is_open or template.id in self.refused:
            return INFEASIBLE
        if facts.unschedulable and untolerated([UNSCHEDULABLE], template.tolerations) is not None:
            return INFEASIBLE
        if untolerated(facts.taints, template.tolerations) is not None:
            return INFEASIBLE
        if any(facts.labels.get(key) != value for key, value in template.node_selector):
            return INFEASIBLE
        for resource, units in template.requests.items():
            used = sum(requests.get(resource, 0) for requests in self.held)
            if units and used + units > facts.allocatable.get(resource, 0):
                return INFEASIBLE
        total = weights = 0
        for resource, weight in strategy.resources:
            default = DEFAULTS.get(resource, 0)
            if not (template.requests.get(resource) or default):
                continue
            allocatable = facts.allocatable.get(resource) or 1
            used = sum(requests.get(resource) or default for requests in [*self.held, template.requests])
            used = min(used, allocatable)
            share = allocatable - used if strategy.type == "LeastAllocated" else used
            total += weight * (share * 100 // allocatable)
            weights += weight
        return (total // weights if weights else 0) + self.balance(template)

    def balance(self, template: Template) -> int:
        """NodeResourcesBalancedAllocation, of cpu and memory as they are requested."""
        if not (template.requests["cpu"] or template.requests["memory"]):
            return 0
        assert self.facts is not None
        shares = []
        for resource in ("cpu", "memory"):
            has = self.facts.allocatable.get(resource, 0)
            takes = sum(requests.get(resource, 0) for requests in [*self.held, template.requests])
            shares.append(min(takes / has, 1.0) if has else 1.0)
        return int((1 - abs((shares[0] - shares[1]) / 2)) * 100)


DEFAULTS = {"cpu": 100, "memory": 200 * 1024**2}
STRATEGIES = [
    ScoringStrategy(),
    ScoringStrategy("MostAllocated"),
    ScoringStrategy("MostAllocated", (("cpu", 1), (GPU, 5))),
    ScoringStrategy("LeastAllocated", ((GPU, 1),)),
]
NODES = st.integers(0, 7)
EVENTS = st.one_of(
    st.tuples(
        st.just("node"),
        NODES,
        st.sampled_from(["0", "1", "2500m", "16"]),
        st.sampled_from(["0", "3Gi", "7Gi"]),
        st.sampled_from([{}, {"zone": "a"}, {"zone": "b", "disk": "ssd"}]),
        st.sampled_from([(), ({"key": "dedicated", "value": "x", "effect": "NoSchedule"},)]),
        st.sampled_from([None, 0, 1000]),
        st.integers(0, 9),
    ),
    st.tuples(st.just("clear"), NODES),
    st.tuples(st.just("hold"), NODES, st.integers(0, len(SPECS) - 1)),
    st.tuples(st.just("unhold"), NODES, st.integers(0, 5)),
    st.tuples(st.just("refuse"), NODES, st.integers(0, len(SPECS) - 1)),
    st.tuples(st.just("news"), NODES),
    st.tuples(st.just("open"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("many nodes"), st.integers(1, 90)),
    st.tuples(st.just("pick"), st.integers(0, len(SPECS) - 1)),
    st.tuples(st.just("pick"), st.integers(0, len(SPECS) - 1)),
)


class Comparison:
    """Columns, and what they should be."""

    def __init__(self, columns_max: int, strategy: ScoringStrategy = STRATEGIES[0]) -> None:
        self.nodes = NodeColumns(seed=7)
        self.strategy = strategy
        self.picker = picker(self.nodes, columns_max, scoring_strategy=strategy)
        self.templates = templates()
        self.naive: dict[tuple[str, str], NaiveNode] = {}
        self.open = {"rp-0": False, "rp-1": False}
        self.extra = 0

    def key(self, number: int) -> tuple[str, str]:
        return (f"rp-{number % 2}", f"n{number}")

    def at(self, number: int) -> NaiveNode:
        return self.naive.setdefault(self.key(number), NaiveNode())

    def apply(self, event: tuple[Any, ...]) -> None:
        getattr(self, "do_" + event[0].replace(" ", "_"))(*event[1:])

    def do_node(
        self, number: int, cpu: str, memory: str, labels: Any, taints: Any, gpus: int | None, dice: int
    ) -> None:
        extended = {} if gpus is None else {"gpu_milli": gpus}
        made = node(
            f"n{number}",
            cpu=cpu,
            memory=memory,
            pods=5,
            labels=labels,
            taints=taints,
            ready=dice > 0,
            unschedulable=dice == 1,
            **extended,
        )
        facts, naive = read_node(made), self.at(number)
        assert self.nodes.set_node(*self.key(number), facts) == (naive.facts != facts)
        if naive.facts != facts:
            naive.facts = facts
            naive.refused.clear()

    def do_clear(self, number: int) -> None:
        slot = self.nodes.find(*self.key(number))
        if slot is not None:
            self.nodes.clear_node(slot)
            self.at(number).facts = None
            self.at(number).refused.clear()

    def do_hold(self, number: int, template: int) -> None:
        requests = self.templates[template].requests
        self.nodes.hold(self.nodes.slot(*self.key(number)), self.nodes.charges(requests))
        self.at(number).held.append(requests)

    def do_unhold(self, number: int, which: int) -> None:
        held = self.at(number).held
        if held:
            requests = held.pop(which % len(held))
            slot = self.nodes.slot(*self.key(number))
            self.nodes.unhold(slot, self.nodes.charges(requests))
            if self.nodes.find(*self.key(number)) is None:
                self.at(number).refused.clear()

    def do_refuse(self, number: int, template: int) -> None:
        slot = self.nodes.find(*self.key(number))
        if slot is not None:
            self.nodes.refuse(slot, self.templates[template].id)
            self.at(number).refused.append(self.templates[template].id)

    def do_news(self, number: int) -> None:
        slot = self.nodes.find(*self.key(number))
        if slot is not None:
            self.nodes.view_changed(slot)
            self.at(number).refused.clear()

    def do_open(self, number: int, is_open: bool) -> None:
        self.nodes.set_open(f"rp-{number}", is_open)
        self.open[f"rp-{number}"] = is_open

    def do_many_nodes(self, count: int) -> None:
        for _ in range(count):
            self.extra += 1
            facts = read_node(node(f"extra{self.extra}", cpu="1", memory="1Gi"))
            self.nodes.set_node("rp-1", f"extra{self.extra}", facts)
            self.naive[("rp-1", f"extra{self.extra}")] = NaiveNode(facts)

    def do_pick(self, template_number: int) -> None:
        template = self.templates[template_number]
        picked = self.picker.pick(shape(template))
        fresh = Column(self.nodes, shape(template), self.picker.algorithm)
        fresh.refresh()
        cached = self.picker.column(shape(template))
        high = self.nodes.high
        assert cached.keys[:high].tolist() == fresh.keys[:high].tolist()
        scores = {key: naive.score(template, self.open[key[0]], self.strategy) for key, naive in self.naive.items()}
        best = max(scores.values(), default=INFEASIBLE)
        if best == INFEASIBLE:
            assert picked == INFEASIBLE
        else:
            assert scores[self.nodes.partitions[picked], self.nodes.names[picked]] == best
            assert (cached.cells[picked] & (OWN_SHARD - 1)) >> TIE_BITS == best
        for key, score in scores.items():
            slot = self.nodes.find(*key)
            if slot is not None:
                assert (cached.cells[slot] >= 0) == (score >= 0)


@settings(max_examples=120, deadline=None)
@given(st.lists(EVENTS, min_size=20, max_size=80), st.sampled_from([1, 3, 10]), st.sampled_from(STRATEGIES))
def test_cached_keys_equal_fresh_ones_and_the_plain_choice_after_any_events(
    events: list[tuple[Any, ...]], columns_max: int, strategy: ScoringStrategy
) -> None:
    comparison = Comparison(columns_max, strategy)
    comparison.do_open(0, is_open=True)
    comparison.do_open(1, is_open=True)
    for event in events:
        comparison.apply(event)
    for template in range(len(SPECS)):
        comparison.do_pick(template)


def test_a_reader_that_was_away_for_longer_than_the_log_reads_everything() -> None:
    comparison = Comparison(10)
    comparison.do_open(1, is_open=True)
    comparison.do_many_nodes(200)
    comparison.do_pick(0)
    slot = comparison.nodes.slot("rp-1", "extra1")
    charges = comparison.nodes.charges({"cpu": 1, "memory": 0, "pods": 1})
    comparison.nodes.hold(comparison.nodes.slot("rp-1", "extra150"), charges)
    comparison.naive["rp-1", "extra150"].held.append({"cpu": 1, "memory": 0, "pods": 1})
    for _ in range(CHANGES_MAX):
        comparison.nodes.hold(slot, charges)
        comparison.nodes.unhold(slot, charges)
    comparison.do_pick(0)


def test_scattered_changes_of_a_large_table_are_seen() -> None:
    comparison = Comparison(10)
    comparison.do_open(1, is_open=True)
    comparison.do_many_nodes(600)
    comparison.do_pick(0)
    requests = comparison.templates[0].requests
    for number in range(1, 600, 10):
        slot = comparison.nodes.slot("rp-1", f"extra{number}")
        comparison.nodes.hold(slot, comparison.nodes.charges(requests))
        comparison.naive["rp-1", f"extra{number}"].held.append(requests)
    comparison.nodes.refuse(comparison.nodes.slot("rp-1", "extra1"), comparison.templates[0].id)
    comparison.naive["rp-1", "extra1"].refused.append(comparison.templates[0].id)
    comparison.do_pick(0)


def test_a_slot_is_used_again_when_nothing_is_left_of_its_node() -> None:
    nodes = NodeColumns()
    nodes.set_node("rp-1", "a", read_node(node("a")))
    slot = nodes.slot("rp-1", "a")
    charges = nodes.charges({"cpu": 100, "memory": GI, "pods": 1})
    nodes.hold(slot, charges)
    nodes.clear_node(slot)
    assert nodes.find("rp-1", "a") == slot, "something is held on it"
    nodes.unhold(slot, charges)
    assert nodes.find("rp-1", "a") is None
    nodes.set_node("rp-2", "b", read_node(node("b", cpu="2")))
    assert nodes.find("rp-2", "b") == slot
    assert nodes.free[0, slot] == 2000


def shards() -> list[NodeColumns]:
    made = []
    for number in range(2):
        nodes = NodeColumns(seed=number, shard=Shard(number, 2))
        nodes.set_open("rp-1", True)
        for index in range(40):
            nodes.set_node("rp-1", f"n{index}", read_node(node(f"n{index}", cpu="4")))
        made.append(nodes)
    return made


def test_each_scheduler_fills_its_own_shard_before_it_takes_from_others() -> None:
    template = templates()[0]
    owned = []
    for nodes in shards():
        picks = picker(nodes)
        mine = [slot for slot in range(nodes.high) if nodes.tie_cells[slot] >= OWN_SHARD]
        owned.append({nodes.names[slot] for slot in mine})
        for _ in range(8 * len(mine)):  # 4 cpus are room for 8
            slot = picks.pick(shape(template))
            assert slot in mine
            nodes.hold(slot, nodes.charges(template.requests))
        assert picks.pick(shape(template)) not in mine
    assert not owned[0] & owned[1]
    assert len(owned[0] | owned[1]) == 40
    assert all(len(names) > 10 for names in owned)


def test_on_overflow_schedulers_spread_over_many_good_nodes() -> None:
    nodes = NodeColumns(shard=Shard(1, 2))
    nodes.set_open("rp-1", True)
    foreign = [name for name in (f"n{index}" for index in range(1000)) if not Shard(1, 2).owns(name)]
    for name in foreign:
        nodes.set_node("rp-1", name, read_node(node(name)))
    for name in foreign[: len(foreign) // 2]:
        nodes.hold(nodes.slot("rp-1", name), nodes.charges({"cpu": 2000, "memory": 8 * GI, "pods": 1}))
    picks = picker(nodes)
    template = templates()[0]
    picked = [picks.pick(shape(template)) for _ in range(50)]
    assert len(set(picked)) > 20, "the best 100 are to choose from"
    assert all(nodes.names[slot] in foreign[len(foreign) // 2 :] for slot in picked), "full nodes are not among them"


def test_overflow_never_picks_a_node_without_room() -> None:
    nodes = NodeColumns(shard=Shard(1, 2))
    nodes.set_open("rp-1", True)
    foreign = [name for name in (f"n{index}" for index in range(300)) if not Shard(1, 2).owns(name)]
    for name in foreign:
        nodes.set_node("rp-1", name, read_node(node(name, cpu="4" if name == foreign[5] else "100m")))
    picks = picker(nodes)
    assert {nodes.names[picks.pick(shape(templates()[0]))] for _ in range(20)} == {foreign[5]}


def test_equal_nodes_are_taken_in_another_order_by_each_seed() -> None:
    orders = []
    for seed in (1, 2):
        nodes = NodeColumns(seed)
        nodes.set_open("rp-1", True)
        for index in range(30):
            nodes.set_node("rp-1", f"n{index}", read_node(node(f"n{index}")))
        picks = picker(nodes)
        order = []
        for _ in range(30):
            slot = picks.pick(shape(templates()[0]))
            nodes.hold(slot, nodes.charges(templates()[0].requests))
            order.append(nodes.names[slot])
        assert len(set(order)) == 30, "an emptier node scores better"
        orders.append(order)
    assert orders[0] != orders[1]


def test_tie_bits_are_spread_evenly() -> None:
    buckets = [0] * 64
    for slot in range(1000):
        for generation in range(10):
            buckets[tie_bits(99, slot, generation) >> (TIE_BITS - 6)] += 1
    assert min(buckets) > 100
    assert max(buckets) < 220


@pytest.mark.parametrize("resource", ["ursa.dev/fpga", GPU])
def test_a_resource_that_no_node_has_ever_had_fits_nowhere(resource: str) -> None:
    nodes = NodeColumns()
    nodes.set_open("rp-1", True)
    nodes.set_node("rp-1", "n", read_node(node("n")))
    picks = picker(nodes)
    template = Templates().of(encode(pod_spec({resource: 1})))
    assert picks.pick(shape(template)) == INFEASIBLE
    nodes.set_node("rp-1", "g", read_node(node("g", gpu_milli=8000)))
    assert (picks.pick(shape(template)) != INFEASIBLE) == (resource == GPU)


def test_more_resources_than_there_were_columns() -> None:
    nodes = NodeColumns()
    nodes.set_open("rp-1", True)
    slot = nodes.slot("rp-1", "n")
    names = [f"example.com/r{index}" for index in range(20)]
    allocatable = {"cpu": 100, "memory": GI, "pods": 9, **dict.fromkeys(names, 20)}
    nodes.set_node("rp-1", "n", NodeFacts("u", ready=True, allocatable=allocatable, taints=(), labels={}))
    nodes.hold(slot, nodes.charges({"cpu": 10, "memory": 0, "pods": 1, **dict.fromkeys(names, 19)}))
    template = Templates().of(encode(pod_spec({names[18]: 1})))
    assert picker(nodes).pick(shape(template)) == slot
    assert nodes.free[nodes.resource_columns[names[18]], slot] == 1
    nodes.hold(slot, nodes.charges({names[18]: 1, "pods": 1}))
    assert picker(nodes).pick(shape(template)) == INFEASIBLE


def test_most_allocated_fills_a_node_before_it_begins_the_next() -> None:
    nodes = NodeColumns(seed=1)
    nodes.set_open("rp-1", True)
    for index in range(4):
        nodes.set_node("rp-1", f"n{index}", read_node(node(f"n{index}", cpu="2")))
    template = templates()[0]  # four of them fill a node
    picks = picker(nodes, scoring_strategy=ScoringStrategy("MostAllocated"))
    picked = []
    for _ in range(16):
        picked.append(picks.pick(shape(template)))
        nodes.hold(picked[-1], nodes.charges(template.requests))
    assert [len(set(picked[begin : begin + 4])) for begin in range(0, 16, 4)] == [1, 1, 1, 1]


@pytest.mark.parametrize("weights", [(), (("cpu", 0),), (("cpu", 101),)])
def test_a_strategy_without_sensible_weights_is_refused(weights: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(ValueError, match="weights from 1 to 100"):
        ScoringStrategy("LeastAllocated", weights)
