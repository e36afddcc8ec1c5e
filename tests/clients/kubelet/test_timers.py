"""The heap of timers."""

from __future__ import annotations

from typing import Any, cast

import trio
from trio.testing import MockClock
from ursa.clients.actor import Clock
from ursa.clients.kubelet.pod import Pod, Timer
from ursa.clients.kubelet.timers import GRID_SECONDS, Timers
from ursa.tools.simulation.parts import SimulatedClock

OFFSET_SECONDS = 1_790_000_000.0


def timer(when: float, token: int = 1) -> Timer:
    return Timer(OFFSET_SECONDS + when, cast("Pod", None), token)


def test_timers_fire_in_order_and_those_close_together_at_once() -> None:
    async def main() -> None:
        fired: list[tuple[float, list[int]]] = []
        timers = Timers(
            Clock(OFFSET_SECONDS), lambda due: fired.append((trio.current_time(), [each.token for each in due]))
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timers.run)
            timers.add([timer(5.0, 1), timer(2.001, 2), timer(2.004, 3)])
            await trio.sleep(1)
            timers.add([timer(1.5, 4), timer(-3.0, 5)])  # Earlier than all others.
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert [tokens for _, tokens in fired] == [[5], [4], [2, 3], [1]]
        for (at, _), due in zip(fired, (1.0, 1.5, 2.004, 5.0), strict=True):
            assert due <= at + 1e-6 <= due + 2 * GRID_SECONDS

    run(main)


def test_a_timer_fires_after_the_time_it_was_set_for_although_the_clock_has_jumped() -> None:
    async def main() -> None:
        fired: list[tuple[float, list[int]]] = []
        clock = SimulatedClock(OFFSET_SECONDS)
        timers = Timers(clock, lambda due: fired.append((trio.current_time(), [each.token for each in due])))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timers.run)
            timers.add([Timer(clock.now() + 5.0, cast("Pod", None), 1)])
            clock.jump(100.0)
            timers.add([Timer(clock.now() + 2.0, cast("Pod", None), 2)])
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert [(round(at), tokens) for at, tokens in fired] == [(2, [2]), (5, [1])]

    run(main)


def test_nothing_to_do_wakes_nobody() -> None:
    async def main() -> None:
        timers = Timers(Clock(OFFSET_SECONDS), [].append)
        with trio.move_on_after(1_000_000):
            await timers.run()

    run(main)


def run(main: Any) -> None:
    async def bounded() -> None:
        with trio.fail_after(10_000_000):
            await main()

    trio.run(bounded, clock=MockClock(autojump_threshold=0))
