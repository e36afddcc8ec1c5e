"""A disk whose commits take time, and which a crash takes by surprise.

LMDB runs for real, without syncs, in a directory that is kept in memory where there is such a place. A commit is handed
over, waits for its turn and its time, and only then is written and reported. A crash finds some commits waiting: it may
come before they were written, or after, with nobody told; either way nothing that was reported is lost.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from random import Random

from ...partitions.pacing import Runtime
from ...storage.committer import Done, Work

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    where = _IN_MEMORY if _IN_MEMORY.is_dir() and os.access(_IN_MEMORY, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="ursa-simulation-", dir=where)


class SimulatedCrash(BaseException):
    """The part that runs this is dead. Not an Exception: nothing may handle it but who simulates."""


class SimulatedDisk:
    """A Committer: see the module. `seconds` are bounds of what a commit takes, and may be changed at any time."""

    def __init__(
        self,
        runtime: Runtime,
        random: Random,
        seconds: tuple[float, float],
        on_crash: Callable[[], None],
        *,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.seconds = seconds
        self._runtime = runtime
        self._random = random
        self._on_crash = on_crash
        self._around = around  # Everything that is done on it.
        self._waiting: deque[tuple[Work, Done]] = deque()
        self._running = False
        self._gone = False

    def submit(self, work: Work, done: Done) -> None:
        if self._gone:
            return
        self._waiting.append((work, done))
        if not self._running:
            self._running = True
            self._next()

    def crash(self) -> None:
        """Write a drawn number of what waits, tell nobody, and do nothing more."""
        if self._gone:
            return
        self._gone = True
        for _ in range(self._random.randint(0, len(self._waiting))):
            work, _ = self._waiting.popleft()
            try:
                work()
            except (SimulatedCrash, Exception):  # noqa: BLE001 - it is dead, whatever it died of
                break
        self._waiting.clear()

    def close(self) -> None:
        """A part that stops well finishes what it has begun."""
        while self._waiting and not self._gone:
            self._one()
        self._gone = True

    def _next(self) -> None:
        self._runtime.call_later(self._random.uniform(*self.seconds), self._on_time)

    def _on_time(self) -> None:
        if self._gone or not self._waiting:
            self._running = False
            return
        self._one()
        if self._waiting and not self._gone:
            self._next()
        else:
            self._running = False

    def _one(self) -> None:
        work, done = self._waiting.popleft()
        error: BaseException | None = None
        try:
            with self._around():
                try:
                    work()
                except Exception as failed:  # noqa: BLE001 - the store decides; it is handed on
                    error = failed
                done(error)
        except SimulatedCrash:
            self._on_crash()
