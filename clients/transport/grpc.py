"""A link over gRPC, as trio sees it. Messages are serialized and parsed here; asyncio's side carries bytes.

One transport is one channel and one TCP connection, which gRPC re-establishes by itself; what is asked for while there
is none fails with Unreachable as soon as an attempt to connect has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc
import trio
from google.protobuf.message import Message

from ...proto.errors import Unreachable, UrsaError
from ...proto.sessions import METHODS, Method
from ._flow import Delivery, Signal
from ._grpc_bridge import STOP_SECONDS, GrpcBridge
from ._grpc_pump import Pipe, Pump
from ._grpc_wire import KEEPALIVE_SECONDS, KEEPALIVE_TIMEOUT_SECONDS, CallTask, Wire
from .interface import TURN_SECONDS_MAX, UNARY_TIMEOUT_SECONDS, Stream, Transport

__all__ = ["GrpcBridge", "GrpcTransport"]


class GrpcTransport(Transport):
    """A link to the apiserver at `address` (host:port) through the process's open `bridge`.

    Args:
        user: who asks, as the partition sees it.
        credentials: None for plain text.
        keepalive_seconds, keepalive_timeout_seconds: a link that has gone silent is lost within the sum of both.
        any_name: take whichever partition is there. Else another one is WrongPartition.
    """

    def __init__(
        self,
        partition: str,
        address: str,
        bridge: GrpcBridge,
        *,
        user: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        keepalive_timeout_seconds: float = KEEPALIVE_TIMEOUT_SECONDS,
        any_name: bool = False,
    ) -> None:
        self.partition = partition
        self.address = address
        self._bridge = bridge
        keepalive = keepalive_seconds, keepalive_timeout_seconds
        self._wire = Wire(partition, address, bridge, user, credentials, *keepalive, any_name=any_name)
        self._closed = False

    async def unary(
        self, method: str, request: Message, *, timeout_seconds: float = UNARY_TIMEOUT_SECONDS, trace: str = ""
    ) -> Any:
        shape = METHODS[method]
        if shape.streams_replies:
            raise ValueError(f"{method} is a stream: use stream({method!r})")
        if not self.open:
            await trio.lowlevel.checkpoint()
            raise self._wire.closed_error()
        call = _Call(self._wire, shape, request.SerializeToString(), timeout_seconds, trace)
        return shape.reply.FromString(await call.run())

    def stream(self, method: str, *, trace: str = "") -> Stream:
        shape = METHODS[method]
        if not shape.streams_replies:
            raise ValueError(f"{method} is no stream: use unary({method!r}, ...)")
        return _GrpcStream(self, self._wire, shape, trace)

    async def aclose(self) -> None:
        if not self.open:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        closed = trio.Event()
        self._bridge.call_asyncio(partial(self._close, closed))
        with trio.fail_after(STOP_SECONDS) as scope:
            scope.shield = True
            await closed.wait()

    @property
    def open(self) -> bool:
        return self._bridge.running and not self._closed

    def _close(self, closed: trio.Event) -> None:
        closing = asyncio.create_task(self._wire.close())
        closing.add_done_callback(lambda _: self._bridge.call_trio(closed.set))


class _Call(CallTask):
    """A unary call: `run` on trio's side, the rest on asyncio's."""

    def __init__(self, wire: Wire, shape: Method, request: bytes, timeout_seconds: float, trace: str) -> None:
        super().__init__(wire)
        self._shape = shape
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._trace = trace
        self._ended = trio.Event()
        self._outcome: bytes | BaseException | None = None

    async def run(self) -> bytes:
        bridge = self._wire.bridge
        bridge.call_asyncio(self.start)
        try:
            await self._ended.wait()
        except BaseException:
            bridge.call_asyncio(self.cancel)
            raise
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    async def carry(self) -> bytes | UrsaError:
        self._call = self._wire.call(self._shape, self._request, self._timeout_seconds, self._trace)
        try:
            reply: bytes = await self._call
        except grpc.aio.AioRpcError as error:
            return self._wire.explain(error, self._timeout_seconds)
        except asyncio.CancelledError:
            return self._wire.closed_error()
        return reply

    def ended(self, outcome: bytes | BaseException | None) -> None:
        self._outcome = outcome
        self._wire.bridge.call_trio(self._ended.set)


class _GrpcStream(Stream):
    """Trio's side of a stream; see `_grpc_pump` for the other."""

    def __init__(self, transport: GrpcTransport, wire: Wire, shape: Method, trace: str) -> None:
        self._transport = transport
        self._wire = wire
        self._bridge = wire.bridge
        self._shape = shape
        self._pipe = Pipe()
        self._pump = Pump(wire, shape, self._pipe, self._on_wake, trace)
        self._request_sent = False  # where there is only one
        self._delivery: Delivery | None = None
        self._arrival = Signal()
        self._room = Signal()

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        if not self._transport.open:
            self._pipe.error, self._pipe.ended = self._wire.closed_error(), True
        elif self._shape.streams_requests:
            self._bridge.call_asyncio(self._pump.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bridge.call_asyncio(self._pump.cancel)

    async def send(self, message: Message) -> None:
        data = message.SerializeToString()
        await trio.lowlevel.checkpoint()
        pipe = self._pipe
        while pipe.outbound_full and not pipe.ended:
            pipe.sender_waits = True
            if pipe.outbound_full:
                await self._room.wait()
            pipe.sender_waits = False
        self._put(data)

    @property
    def has_room(self) -> bool:
        return not self._pipe.outbound_full

    def send_nowait(self, message: Message) -> None:
        self._put(message.SerializeToString())

    def _put(self, data: bytes) -> None:
        pipe = self._pipe
        if pipe.ended:
            raise pipe.error or Unreachable(self._wire.partition, "the partition has ended the stream")
        if self._shape.streams_requests:
            pipe.outbound.append(data)
            pipe.sent_bytes += len(data)
            self._bridge.call_asyncio(self._pump.on_work)
        elif self._request_sent:
            raise ValueError(f"{self._shape.name} takes one request")
        else:
            self._request_sent = True
            self._bridge.call_asyncio(partial(self._pump.start_with, data))

    async def receive(self) -> Sequence[Any]:
        pipe = self._pipe
        if pipe.inbound or pipe.ended:
            await trio.lowlevel.checkpoint()
        while not (pipe.inbound or pipe.ended):
            await self._arrival.wait()
        # `ended` is set after the last message has been put in: what is here now is all, if it is set.
        arrived = [pipe.inbound.popleft() for _ in range(len(pipe.inbound))]
        if not arrived:
            if pipe.error is not None:
                raise pipe.error
            return []
        pipe.taken_bytes += sum(map(len, arrived))
        if pipe.reader_waits:
            self._bridge.call_asyncio(self._pump.on_room)
        parse = self._shape.reply.FromString
        return [parse(data) for data in arrived]

    async def deliver(self, take: Callable[[Any], None]) -> None:
        delivery = self._delivery = Delivery(take)
        try:
            await delivery.until_over(self._arrival, self._hand_over)
        finally:
            self._delivery = None

    def _hand_over(self, delivery: Delivery) -> None:
        """Give what has arrived to who takes it, right where the news of it comes: a turn of the loop less for each
        burst. The reader's task sees to the end, and to what takes too long."""
        if self._delivery is not delivery:
            return  # It ended while the reader's task was on its way here.
        pipe = self._pipe
        ended = pipe.ended  # Set after the last message has been put in, so looked at before.
        turn_ends = trio.current_time() + TURN_SECONDS_MAX
        try:
            while pipe.inbound:
                data = pipe.inbound.popleft()
                pipe.taken_bytes += len(data)
                delivery.take(self._shape.reply.FromString(data))
                if pipe.inbound and trio.current_time() > turn_ends:
                    self._arrival.ring()
                    break
            if ended and not pipe.inbound:
                self._end_delivery(delivery, pipe.error)
        except Exception as error:  # noqa: BLE001 - a mailbox has nobody to tell; whose stream it is is told
            self._end_delivery(delivery, error)
        if pipe.reader_waits:
            self._bridge.call_asyncio(self._pump.on_room)

    def _end_delivery(self, delivery: Delivery, error: BaseException | None) -> None:
        delivery.over, delivery.error = True, error
        self._delivery = None
        self._arrival.ring()

    def _on_wake(self) -> None:
        if self._delivery is not None:
            self._hand_over(self._delivery)
        elif self._pipe.inbound or self._pipe.ended:
            self._arrival.ring()
        if self._pipe.sender_waits:
            self._room.ring()
