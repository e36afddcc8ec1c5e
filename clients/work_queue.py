"""A rate-limited work queue with the properties of Kubernetes' client-go.

Fair (first in, first out), stingy (a key added many times before it is processed is processed once), never the same key
by two workers at once, and a key added while it is processed is processed again afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from .actor import Actor

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """`name` labels its metrics (workqueue_depth, workqueue_adds_total, workqueue_queue_duration_seconds, ...)."""

    def __init__(self, actor: Actor, name: str) -> None: ...

    def __len__(self) -> int:
        raise NotImplementedError

    def add(self, key: Key) -> None: ...

    def add_after(self, key: Key, seconds: float) -> None: ...

    def add_rate_limited(self, key: Key) -> None:
        """Add after a backoff that doubles with each failure of the key (5 ms to 1,000 s), until `forget`."""

    def forget(self, key: Key) -> None: ...

    async def get(self) -> Key:
        """Wait for the next key; the caller must call `done` for it."""
        raise NotImplementedError

    def done(self, key: Key) -> None: ...

    async def run(self) -> None:
        """Serve `add_after` until cancelled."""
