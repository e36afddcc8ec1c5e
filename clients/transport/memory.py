"""A link inside one process: the same bytes as over gRPC, carried by trio alone, with latency drawn from a seed.

Messages are serialized on the way in and parsed on the way out, so the two sides never share an object. Within a
stream nothing overtakes; streams and unary calls are independent of one another.

There are no tasks. Without latency `send` hands the request to the apiserver, and `receive` takes what the apiserver
has ready, the caller's own task doing the work; a burst costs its reader one wake-up. With latency the timers of the
program (`timers.py`) do both at the times drawn, and `deliver` costs no wake-up at all.

A trace has one line per message delivered, at the time of delivery; the last field is the CRC-32 of its bytes:

    12.003456 kubelet-1->tp-1 Watch > 123 9af0c3d2      a request of 123 bytes reached the partition
    12.004001 kubelet-1->tp-1 Watch < 4096 01d4f00a     a reply reached the client
    12.004001 kubelet-1->tp-1 Watch ! 57 7c1e92b3       a refusal did: 57 bytes of Status
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import trio
from google.protobuf.message import Message

from ...proto.errors import ApiError, Unreachable
from ...proto.sessions import METHODS, Method, Service
from ._flow import Signal
from ._memory_link import Link
from ._memory_stream import MemoryStream
from .interface import UNARY_TIMEOUT_SECONDS, Stream, Transport
from .timers import running_timers


class MemoryTransport(Transport):
    """A link to an apiserver in the same trio loop.

    Args:
        random: the link's own randomness; latencies come from it.
        latency_seconds: bounds of the one-way latency of a message.
        trace: is called with one line per message delivered.
    """

    def __init__(
        self,
        partition: str,
        service: Service,
        *,
        random: Random,
        latency_seconds: tuple[float, float] = (0.0, 0.0),
        user: str = "",
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.partition = partition
        self._link = Link(partition, service, random, latency_seconds, user, trace)
        self._closed = False

    async def unary(
        self, method: str, request: Message, *, timeout_seconds: float = UNARY_TIMEOUT_SECONDS, trace: str = ""
    ) -> Any:
        shape = METHODS[method]
        if shape.streams_replies:
            raise ValueError(f"{method} is a stream: use stream({method!r})")
        call = _Call(self._link, shape, trace)
        with trio.move_on_after(timeout_seconds):
            return await call.run(request.SerializeToString(deterministic=True))
        raise self._link.unreachable(f"no answer to {method} within {timeout_seconds:g} s")

    def stream(self, method: str, *, trace: str = "") -> Stream:
        shape = METHODS[method]
        if not shape.streams_replies:
            raise ValueError(f"{method} is no stream: use unary({method!r}, ...)")
        return MemoryStream(self._link, shape, trace)

    async def aclose(self) -> None:
        self._closed = True
        self._link.cut("the transport is closed")
        await trio.lowlevel.checkpoint()

    @property
    def latency_seconds(self) -> tuple[float, float]:
        return self._link.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, bounds: tuple[float, float]) -> None:
        """Of what is sent from now on; streams that are open keep theirs. Between 0 and 0 there is none at all."""
        self._link.latency_seconds = bounds

    def slow(self, requests_seconds: float, replies_seconds: float) -> None:
        """Let either way take so much longer than its latency. What is under way is lost, so that all of it counts."""
        if self._link.slowed_seconds != (requests_seconds, replies_seconds):
            self._link.slowed_seconds = requests_seconds, replies_seconds
            self._link.drop("the link has become another")

    def cut(self) -> None:
        """Lose the link: what is on its way is dropped, streams and calls fail with Unreachable until `heal`."""
        self._link.cut("the link is cut")

    def silence(self, *, requests: bool = True, replies: bool = True) -> None:
        """Let nothing arrive any more in these directions, and tell nobody: a half-open link. What is on its way waits
        until `silence(requests=False, replies=False)`, or goes with `drop`."""
        self._link.silence(requests=requests, replies=replies)

    def strand(self) -> None:
        """Let nothing arrive any more, either way, of the streams and calls that are under way, for good, and tell
        nobody: something between the two ends has forgotten the connection. New ones are not concerned."""
        self._link.strand()

    def drop(self, *, stranded: bool = False) -> None:
        """Lose the streams and calls under way, as a keepalive does that had no answer; new ones can be opened.
        `stranded`: only those that are stranded."""
        self._link.drop("the link has been silent for too long", stranded=stranded)

    def heal(self, service: Service | None = None) -> None:
        """Undo `cut`. `service`: the apiserver has been restarted, and this is the new one."""
        if not self._closed:
            self._link.down = ""
        if service is not None:
            self._link.service = service


class _Call:
    """A unary call: it waits once, for all of its way."""

    def __init__(self, link: Link, shape: Method, trace: str) -> None:
        self._link = link
        self._shape = shape
        self._caller = link.caller._replace(trace=trace)
        self._request = b""
        self._answer: bytes | ApiError | None = None
        self._error: Exception | None = None
        self._held: Callable[[], None] | None = None  # How it goes on once the link is silent no more.
        self._is_over = False
        self._ended = Signal()

    async def run(self, request: bytes) -> Any:
        await trio.lowlevel.checkpoint()
        link = self._link
        if link.down:
            raise link.unreachable(link.down)
        self._request = request
        link.in_flight[self] = None
        try:
            self._travel(link.request_seconds, self._arrive)
            await self._ended.wait()
        finally:
            self._is_over = True
            link.over(self)
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        if isinstance(self._answer, ApiError):
            raise link.refusal(self._shape, self._answer)
        link.delivered(self._shape, "<", self._answer, trio.current_time())
        return self._shape.reply.FromString(self._answer)

    def lose(self, error: Unreachable) -> None:
        self._error = error
        self._end()

    def resume(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held()

    def _travel(self, bounds: tuple[float, float], arrive: Callable[[], None]) -> None:
        """One way."""
        if self._link.delays:
            running_timers().call_at(trio.current_time() + self._link.random.uniform(*bounds), arrive)
        else:
            arrive()

    def _arrive(self) -> None:
        link = self._link
        if self._is_over:
            return
        if link.requests_silent or self in link.stranded:
            self._held = self._arrive
            return
        link.delivered(self._shape, ">", self._request, trio.current_time())
        try:
            link.service.call(self._shape.name, self._request, self._caller, self._take_answer)
        except Exception as error:  # noqa: BLE001 - a timer has nobody to tell; who called is told
            self._error = error
            self._end()

    def _take_answer(self, answer: bytes | ApiError) -> None:
        self._answer = answer
        self._travel(self._link.reply_seconds, self._return)

    def _return(self) -> None:
        link = self._link
        if self._is_over:
            return
        if link.replies_silent or self in link.stranded:
            self._held = self._return
            return
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._ended.ring()
