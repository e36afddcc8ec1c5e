"""What both transports share: how much may be on its way, and how a task waits for news."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
import trio.lowlevel

# Received and not yet taken by `receive`, per stream. Four chunks of a list: enough to keep a reader busy while the
# next ones arrive, and 200 stalled streams still fit in 200 MB. One message above it may be held.
INBOUND_BYTES_MAX = 1024 * 1024
# Sent and not yet handed to the link, per stream. A full batch of 256 pods is about 250 KB, so four of them.
OUTBOUND_BYTES_MAX = 1024 * 1024


class Signal:
    """Wakes the tasks that wait; a ring while nobody waits is kept for the next one. Trio's thread only.

    Every message on a link rings one, so it parks its tasks itself: an Event can be set once, and would have to be made
    anew for each.
    """

    __slots__ = ("_rung", "_waiting")

    def __init__(self) -> None:
        self._rung = False
        self._waiting: dict[trio.lowlevel.Task, None] = {}

    @property
    def waited_for(self) -> bool:
        return bool(self._waiting)

    def ring(self) -> None:
        if not self._waiting:
            self._rung = True
            return
        waiting, self._waiting = self._waiting, {}
        for task in waiting:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        if self._rung:
            self._rung = False
            await trio.lowlevel.checkpoint()
            return
        task = trio.lowlevel.current_task()
        self._waiting[task] = None

        def leave(_raise_cancel: Any) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)


class Delivery:
    """To who takes messages as they arrive (`Stream.deliver`). `error`: with which it is over."""

    __slots__ = ("error", "over", "take")

    def __init__(self, take: Callable[[Any], None]) -> None:
        self.take = take
        self.over = False
        self.error: BaseException | None = None

    async def until_over(self, arrival: Signal, hand_over: Callable[[Delivery], None]) -> None:
        """The reader's task sees to what is there already, to what took too long, and to the end. Raises `error`."""
        arrival.ring()
        while not self.over:
            await arrival.wait()
            hand_over(self)
        if self.error is not None:
            raise self.error
