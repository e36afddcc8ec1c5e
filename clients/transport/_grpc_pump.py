"""The two halves of a gRPC stream: a pipe that both threads touch, and the pump on asyncio's side of it.

    trio     send --> outbound --+                            +--> inbound --> receive
                                 | one wake-up a burst        | one wake-up a burst
    asyncio                      +--> call.write   call.read -+

The bounds are in bytes. A full outbound queue makes `send` wait; a full inbound queue makes the pump stop reading, and
HTTP/2 flow control then makes the server stop writing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import grpc

from ...proto.errors import UrsaError
from ...proto.sessions import Method
from ._flow import INBOUND_BYTES_MAX, OUTBOUND_BYTES_MAX
from ._grpc_bridge import Callback
from ._grpc_wire import CallTask, Wire


class Pipe:
    """What both threads touch. Each field says who writes it; nobody else does."""

    def __init__(self) -> None:
        self.inbound: deque[bytes] = deque()  # asyncio appends, trio pops
        self.received_bytes = 0  # asyncio
        self.taken_bytes = 0  # trio
        self.reader_waits = False  # asyncio
        self.outbound: deque[bytes] = deque()  # trio appends, asyncio pops
        self.sent_bytes = 0  # trio
        self.written_bytes = 0  # asyncio
        self.sender_waits = False  # trio
        self.error: BaseException | None = None  # asyncio, before `ended`
        self.ended = False  # asyncio

    @property
    def inbound_full(self) -> bool:
        return self.received_bytes - self.taken_bytes >= INBOUND_BYTES_MAX

    @property
    def outbound_full(self) -> bool:
        return self.sent_bytes - self.written_bytes >= OUTBOUND_BYTES_MAX


class Pump(CallTask):
    """Asyncio's side: its methods run there. `wake` runs on trio's, after what was awaited there has come."""

    def __init__(self, wire: Wire, shape: Method, pipe: Pipe, wake: Callback, trace: str = "") -> None:
        super().__init__(wire)
        self.comes_back = shape.name == "Watch"
        self._shape = shape
        self._trace = trace
        self._request: bytes | None = None
        self._pipe = pipe
        self._wake = wake
        self._wake_posted = False
        self._over = False
        self._room: asyncio.Future[None] | None = None
        self._work: asyncio.Future[None] | None = None

    def start_with(self, request: bytes) -> None:
        """Open a stream that takes only this request."""
        self._request = request
        self.start()

    def cancel(self) -> None:
        super().cancel()
        self._stop_waiting()

    def on_room(self) -> None:
        """Trio has taken from the inbound queue."""
        _resolve(self._room)

    def on_work(self) -> None:
        """Trio has put something into the outbound queue."""
        _resolve(self._work)

    async def carry(self) -> UrsaError | None:
        self._call = call = self._wire.call(self._shape, self._request, trace=self._trace)
        writer = asyncio.create_task(self._write(call)) if self._shape.streams_requests else None
        if writer is not None:
            writer.add_done_callback(lambda _: self.cancel())  # a stream that cannot be written to is over
        try:
            await self._read(call)
        except grpc.aio.AioRpcError as error:
            return self._wire.explain(error)
        except asyncio.CancelledError:
            return self._wire.closed_error()
        finally:
            self.cancel()
            if writer is not None:
                await writer
        return None

    def ended(self, outcome: bytes | BaseException | None) -> None:
        assert not isinstance(outcome, bytes)
        self._pipe.error = outcome
        self._pipe.ended = True
        self._post_wake()

    async def _read(self, call: Any) -> None:
        pipe, loop = self._pipe, asyncio.get_running_loop()
        while (data := await call.read()) is not grpc.aio.EOF:
            pipe.inbound.append(data)
            pipe.received_bytes += len(data)
            self._post_wake()
            while pipe.inbound_full and not self._over:
                self._room = loop.create_future()
                pipe.reader_waits = True
                if pipe.inbound_full:
                    await self._room
                pipe.reader_waits = False

    async def _write(self, call: Any) -> None:
        pipe, loop = self._pipe, asyncio.get_running_loop()
        while not self._over:
            while pipe.outbound:
                data = pipe.outbound.popleft()
                if not await _sent(call, data):
                    return  # The call has ended; the reader is told why.
                pipe.written_bytes += len(data)
                if pipe.sender_waits and not pipe.outbound_full:
                    self._post_wake()
            if not self._over:
                self._work = loop.create_future()
                await self._work

    def _stop_waiting(self) -> None:
        self._over = True
        _resolve(self._room)
        _resolve(self._work)

    def _post_wake(self) -> None:
        if not self._wake_posted:
            self._wake_posted = True
            self._wire.bridge.call_trio(self._run_wake)

    def _run_wake(self) -> None:
        self._wake_posted = False
        self._wake()


async def _sent(call: Any, data: bytes) -> bool:
    """Whether the call still took it.

    The call's own `write` puts an error of its own in the place of the partition's answer, if that is still on its way.
    """
    try:
        await call.wait_for_connection()
        if call.done():
            return False
        await call._cython_call.send_serialized_message(data)  # noqa: SLF001 there is no public way
    except grpc.aio.AioRpcError:
        return False
    except grpc.aio.InternalError:
        await call.code()  # Nothing can be sent because it has ended: how is what comes next.
        return False
    return True


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
