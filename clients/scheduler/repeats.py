"""What is to be asked once more, and when. No I/O."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import Final

from ...proto import ursa_pb2 as pb
from ...proto.errors import InternalError, ServiceUnavailable, Timeout, TooManyRequests
from .actions import Action
from .partition_view import retry_seconds

# Answers after which it is not known whether it happened, or that only time can change: the same is asked again.
MAYBE_DONE: Final = (InternalError.reason, Timeout.reason)
ASK_AGAIN: Final = (*MAYBE_DONE, ServiceUnavailable.reason, TooManyRequests.reason)


class Repeats:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._made = 0

    def later(self, action: Action, now: float, error: pb.Status | None = None) -> None:
        """Repeat it after a wait that grows with its failures. `error`: what the partition has answered, if it did."""
        action.failures += 1
        action.waiting = True
        wait_seconds = retry_seconds(action.failures)
        if error is not None:
            wait_seconds = max(wait_seconds, error.retry_after_ms / 1000)
        self._made += 1
        heappush(self._heap, (now + wait_seconds, self._made, action))

    def due(self, now: float) -> list[Action]:
        """Those whose time has come."""
        due: list[Action] = []
        while self._heap and self._heap[0][0] <= now:
            _, _, action = heappop(self._heap)
            action.waiting = False
            due.append(action)
        return due

    def next_deadline(self) -> float:
        """When `due` next has some; infinity: never."""
        return self._heap[0][0] if self._heap else math.inf
