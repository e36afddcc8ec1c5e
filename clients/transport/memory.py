"""A link inside one process: the same bytes as over gRPC, carried by trio alone, with latency drawn from a seed.

Messages are serialized on the way in and parsed on the way out, so the two sides never share an object. Within a
stream nothing overtakes; streams and unary calls are independent of one another.

There are no tasks. Without latency `send` hands the request to the apiserver, and `receive` takes what the apiserver
has ready, the caller's own task doing the work. With latency the timers of the program (`timers.py`) do both at the
times drawn. Either way a burst costs its reader one wake-up.

A trace has one line per message delivered, at the time of delivery; the last field is the CRC-32 of its bytes:

    12.003456 kubelet-1->tp-1 Watch > 123 9af0c3d2      a request of 123 bytes reached the partition
    12.004001 kubelet-1->tp-1 Watch < 4096 01d4f00a     a reply reached the client
    12.004001 kubelet-1->tp-1 Watch ! 57 7c1e92b3       a refusal did: 57 bytes of Status
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self

import trio
from google.protobuf.message import Message

from ...proto.errors import ApiError, Unreachable
from ...proto.sessions import METHODS, Method, ServerStream, Service
from ._flow import INBOUND_BYTES_MAX, OUTBOUND_BYTES_MAX, Signal
from ._memory_link import End, Line, Link
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
        return _MemoryStream(self._link, shape, trace)

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
        link.delivered(self._shape, "<", self._answer)
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
        link.delivered(self._shape, ">", self._request)
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


class _MemoryStream(Stream):
    """Both ends of a stream: the client's methods, and the front end that drives the apiserver's `ServerStream`."""

    def __init__(self, link: Link, shape: Method, trace: str) -> None:
        self._link = link
        self._shape = shape
        self._caller = link.caller._replace(trace=trace)
        self._delays = link.delays
        self._timers = running_timers()
        random = Random(link.random.getrandbits(64)) if self._delays else link.random
        self._now = now = trio.lowlevel.current_clock().current_time
        self._requests = Line(random, link.request_seconds, now, silent=link.requests_silent)
        self._replies = Line(random, link.reply_seconds, now, silent=link.replies_silent)
        self._server: ServerStream | None = None
        self._opened = False
        self._over = False  # nothing more goes to the apiserver, nor comes from it
        self._serves_soon = False
        self._next_request = self._next_reply = math.inf  # Those for which a timer is set.
        self._arrival = Signal()  # for `receive`: replies to take, or on their way, or the end
        self._room = Signal()  # for `send`: requests have been delivered, or the end

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._link.in_flight[self] = None
        if self._link.down:
            self.lose(self._link.unreachable(self._link.down))
        elif self._delays:
            self._requests.put(b"")  # What opens the stream at the other end.
            self._expect_requests()
        elif not self._link.requests_silent:
            self._open()
        else:
            self._requests.put(b"")  # Opened when it arrives.
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.over(self)
        self._finish(End(self._link.unreachable("the stream has been closed")))

    async def send(self, message: Message) -> None:
        data = message.SerializeToString(deterministic=True)
        await trio.lowlevel.checkpoint()
        while self._requests.bytes >= OUTBOUND_BYTES_MAX and self._replies.end is None:
            self._timers.call_at(self._replies.end_due, self._room.ring)
            await self._room.wait()
        if (end := self._replies.end) is not None:
            raise self._error(end) or self._link.unreachable("the partition has ended the stream")
        self._requests.put(data)
        if self._delays:
            self._expect_requests()
        else:
            self._deliver_requests()

    async def receive(self) -> Sequence[Any]:
        if self._ready():
            await trio.lowlevel.checkpoint()
        while not self._ready():
            self._expect_replies()
            await self._arrival.wait()
        was_full = self._replies.bytes >= INBOUND_BYTES_MAX
        arrived = self._replies.take_arrived()
        if was_full and self._delays:  # No replies were taken any more.
            self._serve_soon()
        if not arrived and (end := self._replies.end) is not None and (error := self._error(end)) is not None:
            raise error
        for data in arrived:
            self._link.delivered(self._shape, "<", data)
        parse = self._shape.reply.FromString
        return [parse(data) for data in arrived]

    def lose(self, error: Unreachable) -> None:
        """The link is gone."""
        self._replies.lose(error)
        self._finish(None)

    def resume(self) -> None:
        link = self._link
        stranded = self in link.stranded
        self._requests.silent, self._replies.silent = link.requests_silent or stranded, link.replies_silent or stranded
        if self._delays:
            self._serve_soon()
        else:
            self._deliver_requests()
        self._arrival.ring()

    def _error(self, end: End) -> Exception | None:
        return None if end.error is None else self._link.refusal(self._shape, end.error)

    def _ready(self) -> bool:
        if not self._delays:
            self._take_replies()
        return self._replies.arrived

    # ------------------------------------------------------------------------------- with latency: what timers do

    def _expect_requests(self) -> None:
        due = self._requests.next_due
        if due != self._next_request:
            self._next_request = due
            self._timers.call_at(due, self._serve)

    def _expect_replies(self) -> None:
        due = self._replies.next_due
        if due != self._next_reply:
            self._next_reply = due
            self._timers.call_at(due, self._on_reply)

    def _on_reply(self) -> None:
        if self._arrival.waited_for:  # Else the reader sees for itself.
            self._arrival.ring()

    def _serve_soon(self) -> None:
        """Not at once: the apiserver says that it has something from the midst of what it does."""
        if not self._serves_soon:
            self._serves_soon = True
            self._timers.call_at(self._now(), self._serve)

    def _serve(self) -> None:
        """Both ways: what has arrived, and what is to be sent."""
        if self._over:
            return
        try:
            self._serves_soon = True  # What is said while requests are delivered is done right below.
            self._deliver_requests()
            self._serves_soon = False
            self._take_replies()
        except Exception as error:  # noqa: BLE001 - a timer has nobody to tell; whose stream it is is told
            self._finish(End(error))
        self._expect_requests()
        self._expect_replies()

    # ------------------------------------------------------------------------------------------ the apiserver's end

    def _open(self) -> None:
        self._opened = True
        wake = self._serve_soon if self._delays else self._arrival.ring
        try:
            self._server = self._link.service.open(self._shape.name, self._caller, wake)
        except ApiError as error:
            self._finish(End(error))

    def _deliver_requests(self) -> None:
        for data in self._requests.take_arrived():
            if not self._opened:
                self._open()
                continue
            if (server := self._server) is None:
                return
            self._link.delivered(self._shape, ">", data)
            try:
                server.receive(data)
                if not self._shape.streams_requests:
                    server.end_requests()
            except ApiError as error:
                self._take_replies()
                self._finish(End(error))
                return
        if self._room.waited_for:
            self._room.ring()

    def _take_replies(self) -> None:
        """Put on the line what the apiserver has ready, as far as there is room."""
        if self._server is None:
            return
        while self._replies.bytes < INBOUND_BYTES_MAX:
            try:
                data = self._server.take()
            except ApiError as error:
                self._finish(End(error))
                break
            if data is None:
                if self._server.finished:
                    self._finish(End(None))
                break
            self._replies.put(data)

    def _finish(self, end: End | None) -> None:
        """No more to or from the apiserver. `end` is put on the line, if the stream has not ended before."""
        if end is not None and not self._over:
            self._replies.put(end)
        self._over = True
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
        self._arrival.ring()
        self._room.ring()
