"""All timers of a process in one heap, served by one task."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable

import trio

from .pod import Timer
from .wake import Wake

# Timers fire on this grid, so that a thousand pods that start within a second cost 100 wake-ups and not a thousand.
GRID_SECONDS = 0.01


class Timers:
    """`offset_seconds`: wall time minus trio time, see `actor.Clock`. `fire` is called with all timers that are due."""

    def __init__(self, offset_seconds: float, fire: Callable[[list[Timer]], None]) -> None:
        self._offset_seconds = offset_seconds
        self._fire = fire
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._earlier = Wake()

    def add(self, timers: Iterable[Timer]) -> None:
        first = self._next()
        for timer in timers:
            at = math.ceil((timer.when - self._offset_seconds) / GRID_SECONDS) * GRID_SECONDS
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
