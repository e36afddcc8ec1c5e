"""Room that has just become free on a scarce node is offered to one scheduler after the other."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.columns import NodeColumns, Shard
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.framework.column import INFEASIBLE
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.template import Templates
from ursa.clients.scheduler.turns import EXTENSION_MAX, TURN_SECONDS, TURNS_MAX, Turns
from ursa.proto.objects import encode

from .objects import node, picker, placement, pod, pod_spec, shape

FULL = {"cpu": 4000, "memory": 0, "pods": 1}


class OneNode:
    """What one of several schedulers knows of one node, which is full."""

    def __init__(self, name: str, shard: Shard) -> None:
        self.nodes = NodeColumns(seed=shard.number, shard=shard)
        self.nodes.set_open("rp-1", True)
        self.nodes.set_node("rp-1", name, read_node(node(name, cpu="4")))
        self.slot = self.nodes.slot("rp-1", name)
        self.turns = Turns(self.nodes)
        self.picker = picker(self.nodes)
        self.shape = shape(Templates().of(encode(pod_spec({"cpu": "4"}))))
        self.nodes.hold(self.slot, self.nodes.charges(FULL))

    def free(self) -> None:
        self.nodes.room_made(self.slot)
        self.nodes.unhold(self.slot, self.nodes.charges(FULL))

    def picks(self, now: float) -> bool:
        self.turns.advance(now)
        return self.picker.pick(self.shape) != INFEASIBLE

    def first_pick(self) -> float:
        """After how many seconds it takes what has become free, looking whenever it says that it must."""
        self.free()
        now = 0.0
        while not self.picks(now):
            now = self.turns.next_deadline()
        return now


@settings(max_examples=100, deadline=None)
@given(st.text("abcdefgh-0123456789", min_size=1, max_size=12), st.integers(1, TURNS_MAX + 1))
def test_schedulers_take_what_has_become_free_one_after_the_other(name: str, schedulers: int) -> None:
    times = [OneNode(name, Shard(number, schedulers)).first_pick() for number in range(schedulers)]
    owner = next(number for number in range(schedulers) if Shard(number, schedulers).owns(name))
    assert times[owner] == 0.0, "who owns the node need not wait"
    ordered = sorted(times)
    assert all(later - sooner >= TURN_SECONDS * 0.999 for sooner, later in pairwise(ordered))


def test_no_scheduler_waits_for_longer_than_the_longest_turn() -> None:
    times = [OneNode("n", Shard(number, 40)).first_pick() for number in range(40)]
    assert max(times) <= TURNS_MAX * TURN_SECONDS


def test_the_first_one_differs_from_node_to_node() -> None:
    last = [max(range(3), key=lambda number, name=name: Shard(number, 3).turn(name)) for name in "abcdefghijkl"]
    assert sorted(set(last)) == [0, 1, 2]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.0, TURN_SECONDS), max_size=20))
def test_a_turn_counts_from_what_became_free_last_but_not_for_ever(gaps: list[float]) -> None:
    other = next(number for number in range(2) if not Shard(number, 2).owns("n"))
    known = OneNode("n", Shard(other, 2))
    known.free()
    now, latest = 0.0, EXTENSION_MAX * TURN_SECONDS
    assert not known.picks(now)
    for gap in gaps:
        if now + gap >= latest:
            break
        now += gap
        known.nodes.room_made(known.slot)
        assert not known.picks(now), "the last of it has only just become free"
    due = known.turns.next_deadline()
    while not known.picks(due):
        later = known.turns.next_deadline()
        assert later > due, "it would look again and again"
        due = later
    assert due == min(now + TURN_SECONDS, latest)


def test_a_node_that_is_gone_takes_its_turn_with_it() -> None:
    other = next(number for number in range(2) if not Shard(number, 2).owns("n"))
    known = OneNode("n", Shard(other, 2))
    known.nodes.clear_node(known.slot)
    known.free()
    assert known.nodes.find("rp-1", "n") is None
    known.turns.advance(0.0)
    known.nodes.set_node("rp-1", "n", read_node(node("n", cpu="4")))
    assert known.picks(0.0), "it is a new node, and nobody's news"


def test_a_pod_that_waits_for_room_gets_it_when_it_is_its_schedulers_turn() -> None:
    name = next(f"n{number}" for number in range(99) if not Shard(0, 2).owns(f"n{number}"))
    core = SchedulingCore("tp-1", ["tp-1", "tp-2"], ["rp-1"], Random(1))
    core.node_seen("rp-1", node(name, cpu="4"))
    core.placement_seen("rp-1", placement("other", name, FULL).message)
    core.partition_synced("rp-1")
    core.pods_synced()
    core.pod_seen(pod("p", {"cpu": "4"}), 0.0)
    assert not core.step(20.0).actions
    core.placement_gone("rp-1", "other")
    assert not core.step(30.0).actions
    wakes = core.next_deadline()
    assert 30.0 < wakes <= 30.0 + TURN_SECONDS + 1e-9
    assert core.step(wakes).actions["rp-1"], "it claims the node"
