"""Workers over a queue of keys: the shell that most controllers share.

A handler of an informer adds keys; a worker takes one, looks at the newest state and does what is missing. What fails
is tried again after a pause that doubles.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from ...proto.errors import UrsaError
from ..actor import Actor
from ..work_queue import WorkQueue

Key = TypeVar("Key", bound=Hashable)

# A partition that is back after an outage shall not find its controllers asleep for another quarter of an hour.
RETRY_SECONDS_MAX = 15.0


class Reconciler(Generic[Key]):
    """`sync` brings one key to its wanted state and returns after how many seconds to look again, or None.

    It may raise any UrsaError: the key is then tried again. Never is one key synced twice at the same time.
    """

    def __init__(self, actor: Actor, name: str, sync: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(actor, name)
        self._name = name
        self._log = actor.log
        self._sync = sync
        self._workers = workers

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.queue.run)
            for _ in range(self._workers):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                again_seconds = await self._sync(key)
            except UrsaError as error:
                self._log.info("%s %s: %s; it will be tried again", self._name, key, error)
                self.retry(key)
            else:
                self.queue.forget(key)
                if again_seconds is not None:
                    self.queue.add_after(key, again_seconds)
            finally:
                self.queue.done(key)

    def retry(self, key: Key) -> None:
        """Add the key after a pause that doubles with each failure, up to `RETRY_SECONDS_MAX`."""
        self.queue.add_rate_limited(key)
        self.queue.add_after(key, RETRY_SECONDS_MAX)
