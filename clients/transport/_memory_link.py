"""What a link in memory is made of: the state its calls and streams share, and a line that delays and keeps order."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, Unreachable, from_status
from ...proto.sessions import Caller, Method, Service


class InFlight(Protocol):
    """A call or a stream: it ends when the link does."""

    def lose(self, error: Unreachable) -> None: ...
    def resume(self) -> None:
        """What is silent may have changed: look again at what waits to arrive."""


@dataclass
class Link:
    """What the calls and the streams of one transport share."""

    partition: str
    service: Service
    random: Random
    latency_seconds: tuple[float, float]
    user: str
    trace: Callable[[str], None] | None
    down: str = ""  # the reason, while it is
    requests_silent: bool = False  # nothing arrives that way, and nobody is told
    replies_silent: bool = False
    slowed_seconds: tuple[float, float] = (0.0, 0.0)  # that much later than the latency says: requests, replies
    in_flight: dict[InFlight, None] = field(default_factory=dict)
    stranded: dict[InFlight, None] = field(default_factory=dict)  # of them: nothing of theirs arrives any more

    @property
    def caller(self) -> Caller:
        return Caller(self.user, "ursa/memory")

    @property
    def delays(self) -> bool:
        return self.latency_seconds[1] > 0 or any(self.slowed_seconds)

    @property
    def request_seconds(self) -> tuple[float, float]:
        """Bounds of what a request takes."""
        return self._bounds(self.slowed_seconds[0])

    @property
    def reply_seconds(self) -> tuple[float, float]:
        return self._bounds(self.slowed_seconds[1])

    def _bounds(self, slowed_seconds: float) -> tuple[float, float]:
        low, high = self.latency_seconds
        return low + slowed_seconds, high + slowed_seconds

    def cut(self, reason: str) -> None:
        self.down = reason
        for each in list(self.in_flight):
            each.lose(self.unreachable(reason))

    def silence(self, *, requests: bool, replies: bool) -> None:
        self.requests_silent, self.replies_silent = requests, replies
        for each in list(self.in_flight):
            each.resume()

    def strand(self) -> None:
        """All that is under way is silent for good; what comes now is not concerned."""
        self.stranded.update(self.in_flight)
        for each in list(self.in_flight):
            each.resume()

    def drop(self, reason: str, *, stranded: bool = False) -> None:
        """Lose all that is under way (or what is stranded of it); what comes now is not concerned."""
        for each in list(self.stranded if stranded else self.in_flight):
            each.lose(self.unreachable(reason))

    def over(self, each: InFlight) -> None:
        del self.in_flight[each]
        self.stranded.pop(each, None)

    def unreachable(self, message: str) -> Unreachable:
        return Unreachable(self.partition, message)

    def delivered(self, shape: Method, direction: str, data: bytes, now: float) -> None:
        if self.trace is not None:
            who = f"{self.user}->{self.partition} {shape.name}"
            self.trace(f"{now:.6f} {who} {direction} {len(data)} {zlib.crc32(data):08x}")

    def refusal(self, shape: Method, error: Exception) -> Exception:
        """The error as the client gets it: a refusal travels as bytes too, as a Status."""
        if not isinstance(error, ApiError):
            return error
        data = error.status.SerializeToString(deterministic=True)
        self.delivered(shape, "!", data, trio.current_time())
        return from_status(pb.Status.FromString(data))


class End(NamedTuple):
    """The last item of a stream's replies."""

    error: Exception | None


class Line:
    """One direction of a stream: items in the order sent, each with the time at which it arrives.

    `now` is trio's time; a clock's own method is a third of the way to it.
    """

    def __init__(
        self,
        random: Random,
        latency_seconds: tuple[float, float],
        now: Callable[[], float] = trio.current_time,
        *,
        silent: bool = False,
    ) -> None:
        self.silent = silent
        self._now = now
        self._random = random
        self._latency_seconds = latency_seconds
        self._items: deque[tuple[float, bytes | End]] = deque()
        self._last_due = -math.inf
        self._lost = False
        self.bytes = 0

    def put(self, item: bytes | End) -> None:
        low, high = self._latency_seconds
        latency = self._random.uniform(low, high) if high > 0 else 0.0
        due = self._now() + latency
        if due > self._last_due:
            self._last_due = due
        self._items.append((self._last_due, item))
        if not isinstance(item, End):
            self.bytes += len(item)

    @property
    def next_due(self) -> float:
        return self._items[0][0] if self._items and not (self.silent and not self._lost) else math.inf

    @property
    def arrived(self) -> bool:
        return self.next_due <= self._now()

    def take_arrived(self) -> list[bytes]:
        """What has arrived, up to the end of the stream, which stays in the line for good."""
        taken: list[bytes] = []
        items = self._items
        if not items or (self.silent and not self._lost):
            return taken
        now = self._now()
        while items and items[0][0] <= now:
            item = items[0][1]
            if isinstance(item, End):
                break
            items.popleft()
            self.bytes -= len(item)
            taken.append(item)
        return taken

    def take_next(self, now: float) -> bytes | End | None:
        """The first that has arrived; None: nothing has. The end of the stream stays in the line for good."""
        items = self._items
        if not items or (self.silent and not self._lost):
            return None
        due, item = items[0]
        if due > now:
            return None
        if not isinstance(item, End):
            items.popleft()
            self.bytes -= len(item)
        return item

    @property
    def end(self) -> End | None:
        """The end of the stream, once it has arrived, whether or not what came before it has been taken."""
        item = self._items[-1][1] if self.end_due <= self._now() else None
        return item if isinstance(item, End) else None

    @property
    def end_due(self) -> float:
        """When the end arrives, where it is known."""
        if self.silent and not self._lost:
            return math.inf
        return self._items[-1][0] if self._items and isinstance(self._items[-1][1], End) else math.inf

    def lose(self, error: Unreachable) -> None:
        """Drop what has not arrived, and end."""
        now = self._now()
        while self._items and (self.silent or self._items[-1][0] > now):
            _, item = self._items.pop()
            if not isinstance(item, End):
                self.bytes -= len(item)
        self._lost = True
        if self.end is None:
            self._items.append((now, End(error)))
