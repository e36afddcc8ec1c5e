"""A client that holds itself back: so many requests a second, and so many at once.

What counts is a message that asks for something: a get, a list, a batch of writes, a message that starts watches. (A
batch of 256 writes is one request here; the partition counts what is in it.) Tokens drop into a bucket at a steady rate
and a request takes one; where there is none it waits for the next, in the order of asking. What a client held back
itself is not the partition's slowness, so it is measured apart, and said when it is long.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import trio
from google.protobuf.message import Message

from .actor import Actor
from .metrics import histogram
from .transport.interface import UNARY_TIMEOUT_SECONDS, Stream, Transport

# A request that waits for its token counts as under way: slower, and it would be given up before it was sent.
REQUESTS_PER_SECOND_MIN = 0.1
# As client-go: who waits longer for himself is told, once in a while.
LONG_SECONDS = 1.0
LOG_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class RateLimit:
    """At most `burst` requests at once, and `requests_per_second` in the long run."""

    requests_per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (REQUESTS_PER_SECOND_MIN <= self.requests_per_second < math.inf and self.burst >= 1):
            raise ValueError(
                f"{self}: at least {REQUESTS_PER_SECOND_MIN:g} a second, in bursts of 1 and more; "
                "for no limit, give none"
            )


class RequestBucket:
    """Who may ask when. Without a clock: times come in."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._seconds_each = 1 / limit.requests_per_second
        self._saved_seconds = (limit.burst - 1) * self._seconds_each
        self._next = now - self._saved_seconds  # When the next token drops, or would have, were the bucket not full.

    def take(self, now: float) -> float:
        """Take the next token; returns how many seconds there are to wait for it."""
        at = max(self._next, now - self._saved_seconds)
        self._next = at + self._seconds_each
        return max(0.0, at - now)

    def put_back(self) -> None:
        """Nobody waits any more for the token that was taken."""
        self._next -= self._seconds_each


class Throttle:
    """The bucket of one client."""

    def __init__(self, limit: RateLimit, partition: str, actor: Actor) -> None:
        self._limit = limit
        self._partition = partition
        self._bucket: RequestBucket | None = None  # Made at the first request: there may be no clock before.
        self._log: logging.Logger = actor.log
        self._logged_at = -math.inf
        self._seconds = histogram(
            actor.registry,
            "rest_client_rate_limiter_duration_seconds",
            "How long a client held back its own requests.",
            ["host", "verb"],
        )

    async def wait(self, verb: str) -> None:
        """Until the client may ask."""
        now = trio.current_time()
        if self._bucket is None:
            self._bucket = RequestBucket(self._limit, now)
        seconds = self._bucket.take(now)
        self._seconds.labels(self._partition, verb).observe(seconds)
        if not seconds:
            return
        if seconds >= LONG_SECONDS and now >= self._logged_at + LOG_EVERY_SECONDS:
            self._logged_at = now
            self._log.warning(
                "%s at %s waits %.1f s for this client's own limit (%g requests a second, burst %d), "
                "not for the partition",
                verb,
                self._partition,
                seconds,
                self._limit.requests_per_second,
                self._limit.burst,
            )
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self._bucket.put_back()
            raise


class ThrottledTransport(Transport):
    """A transport on which every request waits for its token first."""

    def __init__(self, transport: Transport, limit: RateLimit, actor: Actor) -> None:
        self.partition = transport.partition
        self._transport = transport
        self._throttle = Throttle(limit, transport.partition, actor)

    async def unary(
        self, method: str, request: Message, *, timeout_seconds: float = UNARY_TIMEOUT_SECONDS, trace: str = ""
    ) -> Any:
        await self._throttle.wait(method)
        return await self._transport.unary(method, request, timeout_seconds=timeout_seconds, trace=trace)

    def stream(self, method: str, *, trace: str = "") -> Stream:
        return _ThrottledStream(self._transport.stream(method, trace=trace), method, self._throttle)

    async def aclose(self) -> None:
        await self._transport.aclose()


class _ThrottledStream(Stream):
    def __init__(self, stream: Stream, method: str, throttle: Throttle) -> None:
        self._stream = stream
        self._method = method
        self._throttle = throttle

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.__aexit__(kind, error, trace)

    async def send(self, message: Message) -> None:
        await self._throttle.wait(self._method)
        await self._stream.send(message)

    async def receive(self) -> Sequence[Any]:
        return await self._stream.receive()

    async def deliver(self, take: Callable[[Any], None]) -> None:
        await self._stream.deliver(take)
