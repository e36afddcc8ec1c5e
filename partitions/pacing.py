"""When to commit.

CPU goes into messages and wake-ups, not into storage, and every commit makes some of both for everyone who watches. So
commits are paced by a token bucket; a full batch goes at once, and a quiet partition commits without delay. One commit
is in flight at a time; what arrives meanwhile is the next one.

Waiting is worth it only where it gathers something. A lone writer that waits for each answer before it writes again
gathers nothing, and would be held to the bucket's pace for no one's good: so each wait in a row that gathered nothing
saves up twice the tokens that the one before it did, and one that gathered something sets that back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..storage import Record, Store

# Measured: at 100 commits a second and 1,000 pods/s the whole chain costs a third of what it costs unpaced.
COMMITS_PER_SECOND = 100.0
COMMIT_BURST = 8.0
# What vain waits save up at most. A lone writer waits for one write in so many.
COMMIT_BURST_MAX = 512.0
# Less than this short of a token is a token: the time that is missing may be too little to be added to a clock, and a
# mock clock would then stand still for ever.
ROUNDING_TOKENS = 1e-6
# This many changes are worth a commit of their own at any time.
FULL_BATCH_CHANGES = 256


class Runtime(Protocol):
    """The loop an apiserver lives on: asyncio in its own process, trio in one process with everything else."""

    def monotonic(self) -> float:
        """Seconds from some start."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None: ...


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up: as many at first, and as many owed at most."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.burst = burst
        self._rate = rate
        self._debt_max = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, *, force: bool = False) -> bool:
        """Take a token if there is one; with `force` in any case, the debt is paid by later ones."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1 - ROUNDING_TOKENS and not force:
            return False
        self._tokens = max(self._tokens - 1, -self._debt_max)
        return True

    def fill(self) -> None:
        self._tokens = self.burst

    @property
    def wait_seconds(self) -> float:
        """From the last `take` until there is a token."""
        return max(0.0, (1 - self._tokens) / self._rate)


class CommitDriver:
    """Commits what is staged, at the pace of the bucket, and publishes what was committed."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        publish: Callable[[Sequence[Record]], None],
        *,
        commits_per_second: float = COMMITS_PER_SECOND,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._publish = publish
        self._bucket = TokenBucket(commits_per_second, COMMIT_BURST, runtime.monotonic())
        self._in_flight = False
        self._timer_set = False
        self._waiting_since_head = 0  # What was staged when the wait began.
        self._stopped = False
        self._published_head = store.head

    def poke(self) -> None:
        """Something was staged."""
        waiting = self._store.staged_head - self._published_head
        if self._stopped or self._in_flight or not waiting:
            return
        if self._bucket.take(self._runtime.monotonic(), force=waiting >= FULL_BATCH_CHANGES):
            self._commit()
        elif not self._timer_set:
            self._timer_set = True
            self._waiting_since_head = self._store.staged_head
            self._runtime.call_later(self._bucket.wait_seconds, self._on_timer)

    def stop(self) -> None:
        """Commit nothing more. What is in flight is still published; what is not was never acknowledged."""
        self._stopped = True

    def _on_timer(self) -> None:
        self._timer_set = False
        if self._store.staged_head > self._waiting_since_head:
            self._bucket.burst = COMMIT_BURST
        else:
            self._bucket.burst = min(2 * self._bucket.burst, COMMIT_BURST_MAX)
            self._bucket.fill()
        self.poke()

    def _commit(self) -> None:
        self._in_flight = True
        self._store.commit(self._done)

    def _done(self, records: Sequence[Record]) -> None:
        self._in_flight = False
        self._published_head = self._store.head
        self._publish(records)
        self.poke()
