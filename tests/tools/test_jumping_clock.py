"""Time stands still while a task can run, then jumps to the next thing to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing
from ursa.clients.transport.timers import running_timers
from ursa.tools.determinism import seeded_run
from ursa.tools.jumping_clock import JumpingClock


def run(main: Callable[[JumpingClock], Awaitable[Any]]) -> None:
    clock = JumpingClock()

    async def bounded() -> None:
        with trio.fail_after(1000.0):
            await main(clock)

    trio.run(bounded, clock=clock)


def test_sleepers_wake_at_exactly_their_times() -> None:
    async def main(clock: JumpingClock) -> None:
        for seconds in (0.1, 0.2, 1 / 3, 7.0):
            deadline = trio.current_time() + seconds
            await trio.sleep_until(deadline)
            assert trio.current_time() == deadline

    run(main)


def test_no_time_passes_while_a_task_can_run() -> None:
    async def main(clock: JumpingClock) -> None:
        clock.timers.call_at(0.5, lambda: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1.0)
            for _ in range(100):
                await trio.lowlevel.checkpoint()
                assert trio.current_time() == 0.0

    run(main)


def test_timers_and_deadlines_come_in_the_order_of_their_times_a_timer_before_a_deadline_of_its_time() -> None:
    async def main(clock: JumpingClock) -> None:
        seen: list[tuple[str, float]] = []
        for when in (1.0, 2.0, 3.0):
            clock.timers.call_at(when, lambda: seen.append(("timer", trio.current_time())))
        for when in (0.5, 2.0, 2.5):
            await trio.sleep_until(when)
            seen.append(("task", trio.current_time()))
        assert seen == [("task", 0.5), ("timer", 1.0), ("timer", 2.0), ("task", 2.0), ("task", 2.5)]

    run(main)


def test_what_a_timer_wakes_runs_before_time_goes_on() -> None:
    async def main(clock: JumpingClock) -> None:
        event = trio.Event()
        clock.timers.call_at(1.0, event.set)
        clock.timers.call_at(1.5, lambda: None)
        await event.wait()
        assert trio.current_time() == 1.0

    run(main)


def test_a_deadline_that_a_timer_moves_comes_before_the_next_timer() -> None:
    async def main(clock: JumpingClock) -> None:
        seen: list[tuple[str, float]] = []
        with trio.CancelScope() as scope:

            def move_deadline() -> None:
                scope.deadline = 1.25

            clock.timers.call_at(1.0, move_deadline)
            clock.timers.call_at(1.5, lambda: seen.append(("timer", trio.current_time())))
            await trio.sleep(2.0)
        seen.append(("task", trio.current_time()))
        await trio.sleep(1.0)
        assert seen == [("task", 1.25), ("timer", 1.5)]

    run(main)


def test_timers_that_wake_nobody_take_no_turn_of_the_loop() -> None:
    class Turns(trio.abc.Instrument):
        count = 0

        def before_io_wait(self, timeout: float) -> None:
            self.count += 1

    async def main(clock: JumpingClock) -> None:
        turns, fired = Turns(), []
        for number in range(100):
            clock.timers.call_at(1.0 + number / 100, lambda: fired.append(trio.current_time()))
        trio.lowlevel.add_instrument(turns)
        await trio.sleep(5.0)
        trio.lowlevel.remove_instrument(turns)
        assert len(fired) == 100
        assert turns.count < 5

    run(main)


def test_a_time_that_has_passed_does_not_bring_it_back() -> None:
    async def main(clock: JumpingClock) -> None:
        await trio.sleep(5.0)
        called: list[float] = []
        clock.timers.call_at(1.0, lambda: called.append(trio.current_time()))
        await trio.sleep(1.0)
        assert (called, trio.current_time()) == ([5.0], 6.0)

    run(main)


def test_a_seeded_run_has_it_and_its_links_use_its_timers() -> None:
    async def main() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, JumpingClock)
        assert running_timers() is clock.timers

    seeded_run(1, main)
