"""All timers of a process in one heap, served by one task."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable

import trio

from ..actor import Clock
from ..wake import Wake
from .pod import Timer

# Timers fire on this grid, so that a thousand pods that start within a second cost 100 wake-ups and not a thousand.
GRID_SECONDS = 0.01


class Timers:
    """`clock`: by which timers say when they are due; should it jump, those set before fire after the time that they
    were set for. `fire` is called with all timers that are due."""

    def __init__(self, clock: Clock, fire: Callable[[list[Timer]], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._earlier = Wake()

    def add(self, timers: Iterable[Timer]) -> None:
        first, offset_seconds = self._next(), self._clock.offset_seconds
        for timer in timers:
            at = math.ceil((timer.when - offset_seconds) / GRID_SECONDS) * GRID_SECONDS
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, timer))
        if self._next() < first:
            self._earlier.ring()

    async def run(self) -> None:
        while True:
            with trio.move_on_at(self._next()):
                await self._earlier.wait()
            now = trio.current_time()
            due: list[Timer] = []
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
            if due:
                self._fire(due)

    def _next(self) -> float:
        return self._heap[0][0] if self._heap else math.inf
