"""Where a commit runs: on a thread of its own, or inline.

The loop that owns a store hands finished records to a committer and goes on serving; disk latency never becomes loop
latency. LMDB demands that a write transaction stays on one thread, so the thread does the whole of it and nothing else.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol

Work = Callable[[], None]
Done = Callable[[BaseException | None], None]


class Committer(Protocol):
    """Runs one piece of work at a time and reports how it ended."""

    def submit(self, work: Work, done: Done) -> None:
        """Run `work` off the loop, then `done(None)`, or `done(error)`, on the loop."""

    def close(self) -> None:
        """Finish what was submitted, then stop."""


class InlineCommitter:
    """Commits where it stands: for tests, tools and the in-process cluster."""

    def submit(self, work: Work, done: Done) -> None:
        try:
            work()
        except Exception as error:
            done(error)
        else:
            done(None)

    def close(self) -> None:
        pass


class ThreadCommitter:
    """One writer thread. `call_soon` carries `done` back to the loop (asyncio: `loop.call_soon_threadsafe`)."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._work: queue.SimpleQueue[tuple[Work, Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ursa-store-writer")
        self._thread.start()

    def submit(self, work: Work, done: Done) -> None:
        self._work.put((work, done))

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, done = item
            outcome: BaseException | None = None
            try:
                work()
            except BaseException as error:
                outcome = error
            self._call_soon(lambda done=done, outcome=outcome: done(outcome))  # type: ignore[misc]
