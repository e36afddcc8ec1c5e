"""Where a commit runs: on a thread of its own, or inline.

The loop that owns a store hands finished records to a committer and goes on serving; disk latency never becomes loop
latency. LMDB demands that a write transaction stays on one thread, so the thread does the whole of it and nothing else.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

Work = Callable[[], None]
Done = Callable[[BaseException | None], None]


class Committer(Protocol):
    """Runs one piece of work at a time, in the order given, and reports how each ended."""

    def submit(self, work: Work, done: Done) -> None:
        """Run `work` off the loop, then `done(None)`, or `done(error)`, on the loop. Waits for nothing."""

    def close(self) -> None:
        """Finish what was submitted and report it, then stop. To be called on the loop."""


class InlineCommitter:
    """Commits where it stands: for tests, tools and the in-process cluster."""

    def submit(self, work: Work, done: Done) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  The store decides; it is handed on, not swallowed.
            done(error)
        else:
            done(None)

    def close(self) -> None:
        pass


class ThreadCommitter:
    """One writer thread. `call_soon` carries a call back to the loop (asyncio: `loop.call_soon_threadsafe`).

    `close` itself reports what the loop has not yet come round to: nothing that was done goes unreported, and nothing
    is reported to a loop that has ended.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._work: queue.SimpleQueue[tuple[Work, Done] | None] = queue.SimpleQueue()
        self._outcomes: deque[tuple[Done, BaseException | None]] = deque()
        # A daemon: a process that fails before `close` must still end; the store survives it as it survives a kill.
        self._thread = threading.Thread(target=self._run, name="ursa-store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, done: Done) -> None:
        self._work.put((work, done))

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()
        self._report_all()
        while not self._work.empty():  # What a report has submitted in turn.
            item = self._work.get()
            if item is not None:
                self._do(*item)
            self._report_all()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            self._do(*item)
            # A loop that has ended refuses the call (asyncio and trio alike); then `close` reports.
            with suppress(RuntimeError):
                self._call_soon(self._report)

    def _do(self, work: Work, done: Done) -> None:
        outcome: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001  The store decides; it is handed on, not swallowed.
            outcome = error
        self._outcomes.append((done, outcome))

    def _report_all(self) -> None:
        while self._outcomes:
            self._report()

    def _report(self) -> None:
        """On the loop: one call an outcome, unless `close` was faster."""
        if self._outcomes:
            done, outcome = self._outcomes.popleft()
            done(outcome)
