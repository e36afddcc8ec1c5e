"""An apiserver inside a trio program: no ports, no threads, commits inline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from random import Random

import trio
from prometheus_client import CollectorRegistry

from ...proto.kinds import Role
from ...storage import Store
from ..apiserver import ApiServer
from ..pacing import COMMITS_PER_SECOND


class TrioRuntime:
    """Timers on trio's clock, one task for all of them. `wall_offset_seconds`: wall time minus trio time."""

    def __init__(self, wall_offset_seconds: float) -> None:
        self.wall_offset_seconds = wall_offset_seconds
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._changed = trio.Event()

    def monotonic(self) -> float:
        return trio.current_time()

    def wall_ms(self) -> int:
        return round((trio.current_time() + self.wall_offset_seconds) * 1000)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._count += 1  # Equal times fire in the order in which they were set.
        heappush(self._timers, (trio.current_time() + seconds, self._count, callback))
        if self._timers[0][1] == self._count:
            self._changed.set()

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            while self._timers and self._timers[0][0] <= trio.current_time():
                heappop(self._timers)[2]()
            self._changed = trio.Event()
            deadline = self._timers[0][0] if self._timers else float("inf")
            with trio.move_on_at(deadline):
                await self._changed.wait()


@asynccontextmanager
async def open_local_partition(
    name: str,
    role: Role,
    store: Store,
    random: Random,
    *,
    wall_offset_seconds: float,
    events_store: Store | None = None,
    registry: CollectorRegistry | None = None,
    commits_per_second: float = COMMITS_PER_SECOND,
) -> AsyncIterator[ApiServer]:
    """An apiserver that lives in this block. The stores are the caller's to close."""
    runtime = TrioRuntime(wall_offset_seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.run)
        server = ApiServer(
            name,
            role,
            store,
            runtime,
            random,
            registry,
            events_store=events_store,
            commits_per_second=commits_per_second,
        )
        try:
            yield server
        finally:
            server.close()
            nursery.cancel_scope.cancel()
