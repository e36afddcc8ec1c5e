"""Reads that ask for a revision which the watch cache has not reached: they wait for it, but not for long.

A client may know a newer revision than the cache: it has read elsewhere, or the store is ahead of what was published.
Answering from the older state would let it go back in time, so it waits, as in Kubernetes, a few seconds. If the cache
has not come that far by then, the answer is Timeout, "too large resource version", with a hint when to ask again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from ...proto.errors import ApiError, Cause, Timeout, TooManyRequests

# As long as Kubernetes waits: a cache that lags behind is usually there long before.
WAIT_SECONDS_MAX = 3.0
# And as soon as there, the client may ask again.
RETRY_AFTER_MS = 1000
# Waiting costs little, but every commit may have to look at all who wait.
WAITING_MAX = 1000


class Timers(Protocol):
    """What this needs of a `pacing.Runtime`."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None: ...


class Waiting:
    """A read that waits for a revision."""

    __slots__ = ("_freshness", "_then", "revision")

    def __init__(self, freshness: Freshness, revision: int, then: Callable[[ApiError | None], None]) -> None:
        self._freshness = freshness
        self.revision = revision
        self._then = then

    def cancel(self) -> None:
        """Nobody waits any more. May be called at any time."""
        self._freshness.forget(self)

    def end(self, error: ApiError | None) -> None:
        if self._freshness.forget(self):
            self._then(error)

    def time_out(self) -> None:
        self.end(too_large(self.revision, self._freshness.reached))


class Freshness:
    """Who waits for which revision of one store."""

    def __init__(self, timers: Timers, reached: int) -> None:
        self.reached = reached  # The newest revision that reads can see.
        self._timers = timers
        self._waiting: dict[Waiting, None] = {}  # In order of arrival.
        self._lowest: float = math.inf  # Nobody waits for a revision below it.
        self._stopped: ApiError | None = None

    def wait(self, revision: int, then: Callable[[ApiError | None], None]) -> Waiting:
        """Call `then` once reads can see the revision, with None; or with the error, when its time is over.

        It is not called in here: whoever asks for a revision that is there need not wait.

        Raises:
            TooManyRequests: too many wait already.
            ServiceUnavailable: the partition is stopping.
        """
        if self._stopped is not None:
            raise self._stopped
        if len(self._waiting) >= WAITING_MAX:
            raise TooManyRequests(
                f"{WAITING_MAX} reads wait for revisions not yet reached: ask again later",
                retry_after_ms=RETRY_AFTER_MS,
            )
        waiting = Waiting(self, revision, then)
        self._waiting[waiting] = None
        self._lowest = min(self._lowest, revision)
        self._timers.call_later(WAIT_SECONDS_MAX, waiting.time_out)
        return waiting

    def published(self, revision: int) -> None:
        """Reads can see everything up to this revision."""
        self.reached = revision
        if revision < self._lowest:
            return
        for waiting in [waiting for waiting in self._waiting if waiting.revision <= revision]:
            waiting.end(None)
        self._lowest = min((waiting.revision for waiting in self._waiting), default=math.inf)

    def forget(self, waiting: Waiting) -> bool:
        """Whether it was waiting."""
        if waiting not in self._waiting:
            return False
        del self._waiting[waiting]
        return True

    def stop(self, error: ApiError) -> None:
        """Nobody gets what he waits for."""
        self._stopped = error
        for waiting in list(self._waiting):
            waiting.end(error)


def too_large(revision: int, reached: int) -> Timeout:
    """As Kubernetes words it; its clients look for the cause."""
    return Timeout(
        f"too large resource version: {revision}, the newest is {reached}: ask again",
        resource_version=reached,
        causes=[Cause("", "too large resource version", "ResourceVersionTooLarge")],
        retry_after_ms=RETRY_AFTER_MS,
    )
