"""The same run again: trio's scheduling and clock from a seed.

Trio runs the tasks that are ready in an order drawn at random, on purpose. Here that order comes from the seed; time
jumps whenever all tasks wait. What remains to make a run repeatable is the program's own doing:
no wall clock, no global randomness, no iteration over sets.
"""

# ruff: noqa: SLF001 - trio keeps this switch private, for exactly this use (it is Hypothesis' too).

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from ..clients.transport.timers import use_timers
from .jumping_clock import JumpingClock

_Result = TypeVar("_Result")


def seeded_run(seed: int, main: Callable[[], Awaitable[_Result]]) -> _Result:
    """`trio.run(main)` on a clock that jumps, with the order of tasks drawn from the seed; afterwards trio is as it
    was."""
    from trio._core import _run as scheduler

    clock = JumpingClock()

    async def main_with_timers() -> _Result:
        use_timers(clock.timers)
        return await main()

    allowed, state = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)
    try:
        return trio.run(main_with_timers, clock=clock)
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # type: ignore[misc]
        scheduler._r.setstate(state)


class Trace:
    """Lines, each with the time it was written at. Two runs are the same if their traces are."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


def first_difference(one: list[str], other: list[str]) -> str:
    """Where two traces part, with both lines; empty if they are the same."""
    for number, (mine, theirs) in enumerate(zip(one, other, strict=False), 1):
        if mine != theirs:
            return f"line {number}:\n  {mine}\n  {theirs}"
    if len(one) != len(other):
        number = min(len(one), len(other)) + 1
        longer = one if len(one) > len(other) else other
        return f"line {number} is only in one of them:\n  {longer[number - 1]}"
    return ""
