"""What is to happen later on the links in memory: one heap for all of them, and one task, or a clock, for it.

A task that sleeps costs a cancel scope, a deadline and two turns of the loop each time; a link that carries a message
wants a plain call at a given time, and there are thousands of those a second of a simulation. (The idea is the event
list of every discrete event simulation.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

import trio

from ._flow import Signal


class Timers:
    """Plain functions to be called at given times, in trio's seconds; equal times in the order in which they were set.

    They must not raise: whoever is concerned by an error has to be told by the function itself. `on_sooner` is called
    when something is to happen before all that was known.
    """

    def __init__(self, on_sooner: Callable[[], None] | None = None) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._on_sooner = on_sooner

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """`when` infinity: never."""
        if when == math.inf:
            return
        self._count += 1
        heappush(self._heap, (when, self._count, callback))
        if self._on_sooner is not None and self._heap[0][1] == self._count:
            self._on_sooner()

    @property
    def next_due(self) -> float:
        """Infinity: nothing is to happen."""
        return self._heap[0][0] if self._heap else math.inf

    def fire(self, now: float) -> None:
        """Call all that is due, what they add for this time included."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            heappop(heap)[2]()


_RUNNING: trio.lowlevel.RunVar[Timers] = trio.lowlevel.RunVar("ursa timers of the links in memory")


def running_timers() -> Timers:
    """Those of this trio program: who runs it has said so (`use_timers`), or a task of its own drives them."""
    try:
        return _RUNNING.get()
    except LookupError:
        sooner = Signal()
        timers = Timers(sooner.ring)
        _RUNNING.set(timers)
        trio.lowlevel.spawn_system_task(_drive, timers, sooner, name="timers of the links in memory")
        return timers


def use_timers(timers: Timers) -> None:
    """The caller drives these, for as long as this trio program runs."""
    _RUNNING.set(timers)


async def _drive(timers: Timers, sooner: Signal) -> None:
    while True:
        timers.fire(trio.current_time())
        with trio.CancelScope(deadline=timers.next_due):
            await sooner.wait()
