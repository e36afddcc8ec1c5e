"""Timers are called at their times, in order, and signals wake whoever waits."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from ursa.clients.transport._flow import Signal
from ursa.clients.transport.timers import Timers, running_timers, use_timers


def run(main: Callable[[], Awaitable[Any]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(1000.0):
            await main()

    trio.run(bounded, clock=MockClock(autojump_threshold=0))


@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, math.inf]), max_size=20), st.sampled_from([0.0, 1.0, 2.0]))
def test_what_is_due_is_called_once_in_order_and_nothing_else_is(times: list[float], now: float) -> None:
    timers, called = Timers(), list[tuple[float, int]]()
    for number, when in enumerate(times):
        timers.call_at(when, partial(called.append, (when, number)))
    timers.fire(now)
    assert called == sorted((when, number) for number, when in enumerate(times) if when <= now)
    assert timers.next_due == min((when for when in times if when > now), default=math.inf)


def test_what_a_timer_adds_for_now_is_called_now() -> None:
    timers, called = Timers(), list[str]()

    def first() -> None:
        called.append("first")
        timers.call_at(1.0, lambda: called.append("second"))
        timers.call_at(2.0, lambda: called.append("later"))

    timers.call_at(1.0, first)
    timers.fire(1.0)
    assert called == ["first", "second"]


def test_a_task_of_the_program_calls_them_in_time_also_what_is_to_come_sooner_than_all_before() -> None:
    async def main() -> None:
        timers, called = running_timers(), list[tuple[str, float]]()
        assert running_timers() is timers
        timers.call_at(5.0, lambda: called.append(("late", trio.current_time())))
        await trio.sleep(1.0)
        timers.call_at(2.0, lambda: called.append(("soon", trio.current_time())))
        await trio.sleep(10.0)
        assert called == [("soon", 2.0), ("late", 5.0)]

    run(main)


def test_timers_that_somebody_drives_are_driven_by_nobody_else() -> None:
    async def main() -> None:
        timers, called = Timers(), list[str]()
        use_timers(timers)
        assert running_timers() is timers
        timers.call_at(1.0, lambda: called.append("called"))
        await trio.sleep(2.0)
        assert called == []

    run(main)


def test_a_ring_that_nobody_waits_for_is_kept_once() -> None:
    async def main() -> None:
        signal = Signal()
        signal.ring()
        signal.ring()
        await signal.wait()
        with trio.move_on_after(1.0) as waiting:
            await signal.wait()
        assert waiting.cancelled_caught

    run(main)


def test_a_ring_wakes_all_who_wait_and_is_not_kept() -> None:
    async def main() -> None:
        signal, woken = Signal(), list[int]()

        async def wait(number: int) -> None:
            await signal.wait()
            woken.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(wait, number)
            await trio.sleep(1.0)
            assert signal.waited_for
            signal.ring()
        assert sorted(woken) == [0, 1, 2]
        assert not signal.waited_for
        with trio.move_on_after(1.0) as waiting:
            await signal.wait()
        assert waiting.cancelled_caught

    run(main)


def test_who_has_given_up_waiting_takes_no_ring_from_others() -> None:
    async def main() -> None:
        signal = Signal()
        with trio.move_on_after(1.0):
            await signal.wait()
        assert not signal.waited_for
        signal.ring()
        with trio.fail_after(1.0):
            await signal.wait()

    run(main)
