"""One way of a connection through a relay: order, loss and delay, whatever is done to it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.transport._relay_core import BYTES_MAX, Lane, Mark
from ursa.clients.transport.conditions import FREE, Conditions, Way

_WAYS = st.sampled_from([FREE, Way(frozen=True), Way(delay_seconds=1.5), Way(delay_seconds=4.0), Way(cut=True)])
_STEPS = st.one_of(st.just("put"), st.just("take"), _WAYS, st.floats(0.0, 3.0))


def taken(lane: Lane, now: float) -> list[bytes]:
    items = []
    while (item := lane.take(now)) is not None:
        assert isinstance(item, bytes)
        items.append(item)
    return items


@given(st.lists(_STEPS, max_size=40))
def test_what_arrives_is_a_beginning_of_what_was_sent_unless_the_lane_says_that_it_is_broken(
    steps: list[str | Way | float],
) -> None:
    lane, now, sent, arrived = Lane(FREE), 0.0, [], []
    for step in steps:
        if step == "put":
            item = str(len(sent)).encode()
            sent.append(item)
            lane.put(now, item)
        elif step == "take":
            arrived += taken(lane, now)
        elif isinstance(step, Way):
            lane.set_way(now, step)
        else:
            assert isinstance(step, float)
            now += step
        if not lane.broken:
            assert arrived == sent[: len(arrived)]
    lane.set_way(now, FREE)
    arrived += taken(lane, now)
    assert lane.broken or arrived == sent, "free again, all of it is due at once"
    assert lane.next_due == math.inf


def test_a_delayed_way_delivers_after_its_delay_and_never_out_of_order() -> None:
    lane = Lane(Way(delay_seconds=2.0))
    lane.put(0.0, b"1")
    assert taken(lane, 1.9) == []
    assert lane.next_due == 2.0
    assert taken(lane, 2.0) == [b"1"]
    lane.put(3.0, b"2")
    lane.set_way(3.0, Way(delay_seconds=0.5))
    lane.put(3.1, b"3")
    assert taken(lane, 3.5) == [b"2"]
    assert taken(lane, 3.6) == [b"3"]


def test_a_frozen_way_holds_and_a_cut_one_loses_even_an_end() -> None:
    lane = Lane(Way(frozen=True))
    lane.put(0.0, b"1")
    assert (lane.next_due, taken(lane, 1e9), lane.free) == (math.inf, [], False)
    lane.set_way(1.0, Way(cut=True))
    assert lane.broken, "what it held is lost"
    lane = Lane(Way(cut=True))
    assert not lane.broken, "nothing has been lost so far"
    lane.put(0.0, Mark.END)
    assert lane.broken


def test_a_lane_that_does_not_move_is_full_before_it_holds_much() -> None:
    lane = Lane(Way(frozen=True))
    lane.put(0.0, bytes(BYTES_MAX - 1))
    assert not lane.full
    lane.put(0.0, b"1")
    assert lane.full


def test_conditions_add_up_to_the_worse_of_each() -> None:
    slow, cut = Conditions(requests=Way(delay_seconds=1.0)), Conditions(replies=Way(cut=True))
    both = slow.and_also(cut).and_also(Conditions(requests=Way(delay_seconds=0.5)))
    assert both == Conditions(Way(delay_seconds=1.0), Way(cut=True))
    assert both.silent
    assert not both.and_also(Conditions(refused=True)).silent, "both ends are told"
