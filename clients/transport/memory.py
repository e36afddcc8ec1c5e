"""A link inside one process: the same bytes as over gRPC, carried by trio alone, with latency drawn from a seed.

Messages are serialized on the way in and parsed on the way out, so the two sides never share an object. Within a
stream nothing overtakes; streams and unary calls are independent of one another.

Without latency there is no task: `send` hands the request to the apiserver, and `receive` takes what the apiserver has
ready, the caller's own task doing the work. With latency each stream has one pump that does both at the times drawn.
Either way a burst costs its reader one wake-up.

A trace has one line per message delivered, at the time of delivery; the last field is the CRC-32 of its bytes:

    12.003456 kubelet-1->tp-1 Watch > 123 9af0c3d2      a request of 123 bytes reached the partition
    12.004001 kubelet-1->tp-1 Watch < 4096 01d4f00a     a reply reached the client
    12.004001 kubelet-1->tp-1 Watch ! 57 7c1e92b3       a refusal did: 57 bytes of Status
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from types import TracebackType
from typing import Any, Self

import trio
from google.protobuf.message import Message

from ...proto.errors import ApiError, Unreachable, UrsaError
from ...proto.sessions import METHODS, Method, ServerStream, Service
from ._flow import INBOUND_BYTES_MAX, OUTBOUND_BYTES_MAX, Signal
from ._memory_link import End, Line, Link, wait_until
from .interface import UNARY_TIMEOUT_SECONDS, Stream, Transport


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
    """A unary call."""

    def __init__(self, link: Link, shape: Method, trace: str) -> None:
        self._link = link
        self._shape = shape
        self._caller = link.caller._replace(trace=trace)
        self._answer: bytes | ApiError | None = None
        self._answered = trio.Event()
        self._error: Unreachable | None = None
        self._lost = trio.Event()
        self._resumed = trio.Event()

    async def run(self, request: bytes) -> Any:
        await trio.lowlevel.checkpoint()
        link, shape = self._link, self._shape
        if link.down:
            raise link.unreachable(link.down)
        link.in_flight[self] = None
        try:
            await self._travel(link.request_seconds, lambda: link.requests_silent or self in link.stranded)
            link.delivered(shape, ">", request)
            link.service.call(shape.name, request, self._caller, self._take_answer)
            await self._wait_answered()
            await self._travel(link.reply_seconds, lambda: link.replies_silent or self in link.stranded)
        finally:
            link.over(self)
        assert self._answer is not None
        if isinstance(self._answer, ApiError):
            raise link.refusal(shape, self._answer)
        link.delivered(shape, "<", self._answer)
        return shape.reply.FromString(self._answer)

    def lose(self, error: Unreachable) -> None:
        self._error = error
        self._lost.set()
        self._answered.set()
        self._resumed.set()

    def resume(self) -> None:
        self._resumed.set()

    def _take_answer(self, answer: bytes | ApiError) -> None:
        self._answer = answer
        self._answered.set()

    async def _wait_answered(self) -> None:
        if not self._answered.is_set():
            await self._answered.wait()
        if self._error is not None:
            raise self._error

    async def _travel(self, bounds: tuple[float, float], silent: Callable[[], bool]) -> None:
        """One way."""
        if self._link.delays:
            with trio.move_on_after(self._link.random.uniform(*bounds)):
                await self._lost.wait()
        while silent() and self._error is None:
            self._resumed = trio.Event()
            await self._resumed.wait()
        if self._error is not None:
            raise self._error


class _MemoryStream(Stream):
    """Both ends of a stream: the client's methods, and the front end that drives the apiserver's `ServerStream`."""

    def __init__(self, link: Link, shape: Method, trace: str) -> None:
        self._link = link
        self._shape = shape
        self._caller = link.caller._replace(trace=trace)
        random = Random(link.random.getrandbits(64)) if link.delays else link.random
        self._requests = Line(random, link.request_seconds, silent=link.requests_silent)
        self._replies = Line(random, link.reply_seconds, silent=link.replies_silent)
        self._server: ServerStream | None = None
        self._opened = False
        self._over = False  # nothing more goes to the apiserver, nor comes from it
        self._pump_block: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._pump_scope: trio.CancelScope | None = None
        self._work = Signal()  # for the pump: requests on their way, or replies to take
        self._arrival = Signal()  # for `receive`: replies to take, or on their way, or the end
        self._room = Signal()  # for `send`: requests have been delivered, or the end

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._link.in_flight[self] = None
        if self._link.down:
            self.lose(self._link.unreachable(self._link.down))
        elif not self._link.delays and not self._link.requests_silent:
            self._open()
        elif not self._link.delays:
            self._requests.put(b"")  # Opened when it arrives.
        else:
            self._requests.put(b"")  # what opens the stream at the other end
            self._pump_block = trio.open_nursery()
            nursery = await self._pump_block.__aenter__()
            self._pump_scope = nursery.cancel_scope
            nursery.start_soon(self._pump)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.over(self)
        self._finish(End(self._link.unreachable("the stream has been closed")))
        if self._pump_block is not None and self._pump_scope is not None:
            self._pump_scope.cancel()
            # The block's own error is not the nursery's business: it would come out wrapped in a group.
            await self._pump_block.__aexit__(None, None, None)

    async def send(self, message: Message) -> None:
        data = message.SerializeToString(deterministic=True)
        await trio.lowlevel.checkpoint()
        while self._requests.bytes >= OUTBOUND_BYTES_MAX and self._replies.end is None:
            await wait_until(self._room, self._replies.end_due)
        if (end := self._replies.end) is not None:
            raise self._error(end) or self._link.unreachable("the partition has ended the stream")
        waited_for = self._requests.next_due != math.inf
        self._requests.put(data)
        if not self._link.delays:
            self._deliver_requests()
        elif not waited_for:  # Else the pump wakes for the first of them.
            self._work.ring()

    async def receive(self) -> Sequence[Any]:
        if self._ready():
            await trio.lowlevel.checkpoint()
        while not self._ready():
            await wait_until(self._arrival, self._replies.next_due)
        was_full = self._replies.bytes >= INBOUND_BYTES_MAX
        arrived = self._replies.take_arrived()
        if was_full:  # The pump has stopped taking replies.
            self._work.ring()
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
        if not self._link.delays:
            self._deliver_requests()
        self._work.ring()
        self._arrival.ring()

    def _error(self, end: End) -> UrsaError | None:
        return None if end.error is None else self._link.refusal(self._shape, end.error)

    def _ready(self) -> bool:
        if not self._link.delays:
            self._take_replies()
        return self._replies.arrived

    async def _pump(self) -> None:
        while not self._over:
            self._deliver_requests()
            waited_for = self._replies.next_due != math.inf
            if self._take_replies() and not waited_for:  # Else the reader wakes for the first of them.
                self._arrival.ring()
            await wait_until(self._work, self._requests.next_due)

    def _open(self) -> None:
        self._opened = True
        wake = self._work.ring if self._link.delays else self._arrival.ring
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
        self._room.ring()

    def _take_replies(self) -> bool:
        """Put on the line what the apiserver has ready, as far as there is room. True: there was something."""
        if self._server is None:
            return False
        took = False
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
            took = True
        return took

    def _finish(self, end: End | None) -> None:
        """No more to or from the apiserver. `end` is put on the line, if the stream has not ended before."""
        if end is not None and not self._over:
            self._replies.put(end)
        self._over = True
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
        self._work.ring()
        self._arrival.ring()
        self._room.ring()
