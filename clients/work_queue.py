"""A rate-limited work queue with the properties of Kubernetes' client-go.

Fair (first in, first out), stingy (a key added many times before it is processed is processed once), never the same key
by two workers at once, and a key added while it is processed is processed again afterwards.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

import trio

from .actor import Actor
from .metrics import counter, gauge, histogram

Key = TypeVar("Key", bound=Hashable)

# As in client-go: a conflict is over in milliseconds, and what fails for good is looked at every quarter of an hour.
RETRY_SECONDS_MIN = 0.005
RETRY_SECONDS_MAX = 1000.0
# From here on the wait is RETRY_SECONDS_MAX: 0.005 * 2 ** 18 > 1000.
RETRY_DOUBLINGS_MAX = 18


class WorkQueue(Generic[Key]):
    """`name` labels its metrics (workqueue_depth, workqueue_adds_total, workqueue_queue_duration_seconds, ...).

    Nothing in it is bounded but by the number of different keys: each is held at most once in each of its parts.
    """

    def __init__(self, actor: Actor, name: str) -> None:
        self._order: deque[Key] = deque()  # The keys of `_waiting`: taking the first of a large dict is slow.
        # Each with the time it was added at, or taken at.
        self._waiting: dict[Key, float] = {}
        self._again: dict[Key, float] = {}  # Added while processed.
        self._processing: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        # Keys to be added later. The heap may hold entries that `_due` no longer agrees with; they are passed over.
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._sequence = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._sleep = trio.CancelScope()  # Ends at the first of them.

        registry, label = actor.registry, ["name"]
        self._depth = gauge(registry, "workqueue_depth", "Keys waiting.", label).labels(name)
        self._adds = counter(registry, "workqueue_adds_total", "Adds handled.", label).labels(name)
        self._retries = counter(registry, "workqueue_retries_total", "Delayed adds handled.", label).labels(name)
        self._queue_seconds = histogram(
            registry, "workqueue_queue_duration_seconds", "How long a key waits before it is processed.", label
        ).labels(name)
        self._work_seconds = histogram(
            registry, "workqueue_work_duration_seconds", "How long processing a key takes.", label
        ).labels(name)

    def __len__(self) -> int:
        """Keys waiting, those being processed not included."""
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Have the key processed, once, however often it is added before that."""
        if key in self._waiting or key in self._again:
            return
        self._adds.inc()
        if key in self._processing:
            self._again[key] = trio.current_time()
        else:
            self._enqueue(key, trio.current_time())

    def add_after(self, key: Key, seconds: float) -> None:
        """Add later. Of several waits for one key the one that ends first counts."""
        if seconds <= 0:
            self.add(key)
            return
        self._retries.inc()
        due = trio.current_time() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        if due < self._sleep.deadline:  # Setting one costs, even to what it is.
            self._sleep.deadline = due

    def add_rate_limited(self, key: Key) -> None:
        """Add after a backoff that doubles with each failure of the key (5 ms to 1,000 s), until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(RETRY_SECONDS_MIN * 2 ** min(failures, RETRY_DOUBLINGS_MAX), RETRY_SECONDS_MAX))

    def failures(self, key: Key) -> int:
        """How often the key was added rate limited since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """The key has been processed well: its next failure waits shortly again."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Wait for the next key; the caller must call `done` for it."""
        if self._waiting:  # A worker whose work never waits must not keep others from theirs.
            await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._idle.park()
        key = self._order.popleft()
        now = trio.current_time()
        self._queue_seconds.observe(now - self._waiting.pop(key))
        self._depth.dec()
        self._processing[key] = now
        return key

    def done(self, key: Key) -> None:
        """The key is no longer processed; if it was added meanwhile, it waits again."""
        self._work_seconds.observe(trio.current_time() - self._processing.pop(key))
        added_at = self._again.pop(key, None)
        if added_at is not None:
            self._enqueue(key, added_at)

    async def run(self) -> None:
        """Serve `add_after` until cancelled."""
        while True:
            self._add_due()
            self._sleep = trio.CancelScope(deadline=self._heap[0][0] if self._heap else float("inf"))
            with self._sleep:
                await trio.sleep_forever()

    def _add_due(self) -> None:
        now = trio.current_time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    def _enqueue(self, key: Key, added_at: float) -> None:
        self._order.append(key)
        self._waiting[key] = added_at
        self._depth.inc()
        self._idle.unpark()
