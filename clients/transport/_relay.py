"""A relay of TCP connections whose two ways can be cut, delayed and frozen.

    client ==> [requests] ==> server        each end's bytes go into the lane towards the other one
    client <== [replies]  <== server        (_relay_core.py says when they come out)

It knows nothing of what it carries: to the two ends it is the network. A connection exists for the server once the
client's first packet has come through, and an end that closes is heard of at the other one when that has come through.
So with a cut each end finds out by its own keepalive, or not at all, as with a cable that was pulled out.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
from typing import cast

from ._relay_core import Lane, Mark
from .conditions import CLEAR, Conditions

_BACKLOG = 128
# A socket that lingers for no time is reset when it is closed.
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Listens on a free port of this host, and connects to `host`:`port`. All of it is one asyncio loop's."""

    def __init__(self, host: str, port: int, conditions: Conditions = CLEAR) -> None:
        self.host, self.port = host, port
        self.conditions = conditions
        self.connections: dict[_Connection, None] = {}
        # Bound at once, so that there is an address; who connects before it is served waits in the backlog.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._serving = asyncio.create_task(self._serve())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def set_conditions(self, conditions: Conditions) -> None:
        self.conditions = conditions
        for connection in list(self.connections):
            connection.heed()

    async def close(self) -> None:
        self._serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving
        for connection in list(self.connections):
            connection.abort()
        self._socket.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self).client, sock=self._socket, backlog=_BACKLOG)
        async with server:
            await server.serve_forever()


class _Connection:
    """Two ends and two lanes. It is over when both ends are."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self.requests, self.replies = Lane(relay.conditions.requests), Lane(relay.conditions.replies)
        self.client = _End(self, self.requests)
        self.server = _End(self, self.replies)
        self._dialing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        relay.connections[self] = None

    def opened(self) -> None:
        """By its client."""
        if self._relay.conditions.refused:
            self.abort()
            return
        self.requests.put(self._loop.time(), Mark.OPEN)
        self.pump()

    def heed(self) -> None:
        """The conditions have changed."""
        conditions, now = self._relay.conditions, self._loop.time()
        self.requests.set_way(now, conditions.requests)
        self.replies.set_way(now, conditions.replies)
        torn = any(lane.broken and lane.free for lane in (self.requests, self.replies))
        if conditions.refused or torn:
            self.abort()
        else:
            self.pump()

    def pump(self) -> None:
        """Deliver what is due, and see to it that the rest is."""
        # Asked once: what falls due meanwhile would neither be delivered nor waited for.
        now = self._loop.time()
        self._deliver(self.requests, self.server, now)
        self._deliver(self.replies, self.client, now)
        self.client.read(go=not self.requests.full)
        self.server.read(go=not self.replies.full)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # What is due already waits for an end that takes no more, and which will say so.
        due = min((each for each in self._dues() if each > now), default=math.inf)
        if due < math.inf:
            self._timer = self._loop.call_at(due, self.pump)

    def abort(self) -> None:
        """Reset both ends."""
        if self._dialing is not None:
            self._dialing.cancel()
        for end in (self.client, self.server):
            end.abort()
        self._forget()

    def ended(self) -> None:
        """One end is gone, for whatever reason."""
        if self.client.gone and (self.server.gone or not (self.server.connected or self._dialing)):
            self._forget()

    def _dues(self) -> tuple[float, float]:
        return self.requests.next_due, self.replies.next_due

    def _deliver(self, lane: Lane, end: _End, now: float) -> None:
        while end.takes and (item := lane.take(now)) is not None:
            if item is Mark.OPEN:
                self._dialing = asyncio.create_task(self._dial())
                end.takes = False
            elif item is Mark.END:
                end.close()
            else:
                end.write(item)

    async def _dial(self) -> None:
        relay = self._relay
        try:
            await self._loop.create_connection(lambda: self.server, relay.host, relay.port)
        except OSError:
            # That nobody listens there is an answer, too.
            self.server.gone = True
            self.replies.put(self._loop.time(), Mark.END)
        self._dialing = None
        self.server.takes = True
        self.pump()
        self.ended()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._relay.connections.pop(self, None)


class _End(asyncio.Protocol):
    """One end of a connection. `lane`: what leads away from it."""

    def __init__(self, connection: _Connection, lane: Lane) -> None:
        self.takes = True  # Bytes may be given to it.
        self.gone = False
        self._connection = connection
        self._lane = lane
        self._transport: asyncio.Transport | None = None

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self is self._connection.client:
            self._connection.opened()

    def data_received(self, data: bytes) -> None:
        self._lane.put(asyncio.get_running_loop().time(), data)
        self._connection.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone, self._transport = True, None
        self.takes = True  # What was meant for it is lost with it.
        self._lane.put(asyncio.get_running_loop().time(), Mark.END)
        self._connection.pump()
        self._connection.ended()

    def pause_writing(self) -> None:
        self.takes = False

    def resume_writing(self) -> None:
        self.takes = True
        self._connection.pump()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def read(self, *, go: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if go:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
