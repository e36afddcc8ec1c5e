"""A clock that jumps to the next thing to do as soon as every task waits, and calls the timers itself.

`trio.testing.MockClock` jumps, too; but each of its jumps takes an idle turn of the loop and the statistics of the
whole run, and each timer beside it a task and a cancel scope. A simulated run jumps for every message.
"""

from __future__ import annotations

import math

import trio.abc
from trio._core import _run as scheduler

from ..clients.transport.timers import Timers


class JumpingClock(trio.abc.Clock):
    """Seconds from 0. Nothing else may be waited for than time and other tasks: no threads, no sockets."""

    def __init__(self) -> None:
        self.timers = Timers()
        self._now = 0.0

    def start_clock(self) -> None:
        """Time stands still until all wait."""
        # What trio makes public of who can run, and of the next deadline, costs as much as what is saved by it.
        self._runner = scheduler.GLOBAL_RUN_CONTEXT.runner

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks when no task can run; `deadline` is when the first of them wants to.

        A turn of its loop costs more than most timers do, so they are called until one has woken a task.
        """
        timers, runner = self.timers, self._runner
        while not runner.runq:
            due = timers.next_due
            if due > deadline:
                self._now = max(self._now, deadline)
                return 0.0
            if due == math.inf:
                return math.inf
            self._now = max(self._now, due)
            timers.fire(self._now)
            deadline = runner.deadlines.next_deadline()
        return 0.0
