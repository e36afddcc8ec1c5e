"""A stream of a link in memory: both of its ends, and what carries messages between them (memory.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self

import trio
from google.protobuf.message import Message

from ...proto.errors import ApiError, Unreachable
from ...proto.sessions import Method, ServerStream
from ._flow import INBOUND_BYTES_MAX, OUTBOUND_BYTES_MAX, Delivery, Signal
from ._memory_link import End, Line, Link
from .interface import TURN_SECONDS_MAX, Stream
from .timers import running_timers


class MemoryStream(Stream):
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
        self._delivery: Delivery | None = None
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
        while not self.has_room and self._replies.end is None:
            self._timers.call_at(self._replies.end_due, self._room.ring)
            await self._room.wait()
        self._put(data)

    @property
    def has_room(self) -> bool:
        return self._requests.bytes < OUTBOUND_BYTES_MAX

    def send_nowait(self, message: Message) -> None:
        self._put(message.SerializeToString(deterministic=True))

    def _put(self, data: bytes) -> None:
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
        now = self._now()
        for data in arrived:
            self._link.delivered(self._shape, "<", data, now)
        parse = self._shape.reply.FromString
        return [parse(data) for data in arrived]

    async def deliver(self, take: Callable[[Any], None]) -> None:
        if not self._delays:
            await super().deliver(take)
            return
        delivery = self._delivery = Delivery(take)
        try:
            await delivery.until_over(self._arrival, self._hand_over)
        finally:
            self._delivery = None

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
        if self._delivery is not None:
            self._hand_over(self._delivery)
        elif self._arrival.waited_for:  # Else the reader sees for itself.
            self._arrival.ring()

    def _hand_over(self, delivery: Delivery) -> None:
        """Give what has arrived to who takes it. The reader's task sees to the end, and to what takes too long."""
        if self._delivery is not delivery:
            return
        now, was_full = self._now(), self._replies.bytes >= INBOUND_BYTES_MAX
        turn_ends = now + TURN_SECONDS_MAX
        try:
            while (item := self._replies.take_next(now)) is not None:
                if isinstance(item, End):
                    self._end_delivery(delivery, self._error(item))
                    break
                self._link.delivered(self._shape, "<", item, now)
                delivery.take(self._shape.reply.FromString(item))
                now = self._now()
                if now > turn_ends:
                    self._arrival.ring()
                    break
            else:
                self._expect_replies()
        except Exception as error:  # noqa: BLE001 - a timer has nobody to tell; whose stream it is is told
            self._end_delivery(delivery, error)
        if was_full:  # No replies were taken any more.
            self._serve_soon()

    def _end_delivery(self, delivery: Delivery, error: Exception | None) -> None:
        delivery.over, delivery.error = True, error
        self._delivery = None
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
            self._link.delivered(self._shape, ">", data, self._now())
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
