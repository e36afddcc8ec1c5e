"""A unary gRPC client that costs next to nothing, so that a benchmark measures the server and not its client.

Client and server share the machine. A call through grpc.aio takes the client as much CPU as etcd takes to answer it,
which would halve etcd's rate. This speaks just enough HTTP/2 (RFC 9113) for unary calls on one connection: the header
block is made once for each method (HPACK literals and static entries only, so it has no state), and answers are told
apart by stream number alone; their headers are not decoded. A reply without a message is an error.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_SETTING_INITIAL_WINDOW_SIZE = 4
_WINDOW_DEFAULT = 65_535
_WINDOW_MAX = 2**31 - 1
_FRAME_BYTES_MAX = 16_384
# A request goes out whole within the window that every stream begins with.
REQUEST_BYTES_MAX = 60_000


class Connection(asyncio.Protocol):
    """One connection. Up to 2 GiB of replies fit through it; open a new one for more."""

    def __init__(self, authority: str) -> None:
        self._authority = authority.encode()
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._window = _WINDOW_DEFAULT
        self._next_stream = 1
        self._replies: dict[int, tuple[asyncio.Future[bytes], bytearray]] = {}
        self._waiting: deque[tuple[bytes, bytes, asyncio.Future[bytes]]] = deque()
        self._headers: dict[str, bytes] = {}

    @classmethod
    async def open(cls, address: str) -> Self:
        host, _, port = address.rpartition(":")
        _, connection = await asyncio.get_running_loop().create_connection(lambda: cls(address), host, int(port))
        return connection

    def close(self) -> None:
        self._transport.close()

    def call(self, path: str, message: bytes) -> asyncio.Future[bytes]:
        """A unary call: the reply's message. The future fails with ConnectionError if there is none."""
        headers = self._headers.get(path)
        if headers is None:
            headers = self._headers[path] = _header_block(path, self._authority)
        body = struct.pack(">BI", 0, len(message)) + message
        assert len(body) <= REQUEST_BYTES_MAX, "a request must fit into the first window of a stream"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((headers, body, future))
        self._send_waiting()
        return future

    def _send_waiting(self) -> None:
        while self._waiting and len(self._waiting[0][1]) <= self._window:
            headers, body, future = self._waiting.popleft()
            stream = self._next_stream
            self._next_stream += 2
            self._window -= len(body)
            self._replies[stream] = (future, bytearray())
            parts = [_frame(_HEADERS, _END_HEADERS, stream, headers)]
            for start in range(0, len(body), _FRAME_BYTES_MAX):
                last = start + _FRAME_BYTES_MAX >= len(body)
                parts.append(_frame(_DATA, _END_STREAM * last, stream, body[start : start + _FRAME_BYTES_MAX]))
            self._transport.write(b"".join(parts))

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HI", _SETTING_INITIAL_WINDOW_SIZE, _WINDOW_MAX)
        window = struct.pack(">I", _WINDOW_MAX - _WINDOW_DEFAULT)
        transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        position = 0
        while len(buffer) - position >= 9:
            length = int.from_bytes(buffer[position : position + 3], "big")
            end = position + 9 + length
            if len(buffer) < end:
                break
            kind, flags = buffer[position + 3], buffer[position + 4]
            stream = int.from_bytes(buffer[position + 5 : position + 9], "big")
            self._take(kind, flags, stream, bytes(buffer[position + 9 : end]))
            position = end
        del buffer[:position]

    def connection_lost(self, error: Exception | None) -> None:
        lost = ConnectionError(f"the connection was lost: {error or 'closed'}")
        for future, _ in self._replies.values():
            if not future.done():
                future.set_exception(lost)
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(lost)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._replies[stream][1].extend(payload)
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
            self._send_waiting()
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _GOAWAY:
            self._transport.close()
        if (kind in (_DATA, _HEADERS) and flags & _END_STREAM) or kind == _RST_STREAM:
            future, body = self._replies.pop(stream)
            if future.done():
                return
            if len(body) < 5:
                future.set_exception(ConnectionError(f"the call was refused: {payload!r}"))
            else:
                future.set_result(bytes(body[5:]))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _header_block(path: str, authority: bytes) -> bytes:
    """HPACK: POST and http are whole static entries, the rest literals that nobody remembers."""
    return b"".join(
        (
            b"\x83\x86",
            b"\x04" + _text(path.encode()),
            b"\x01" + _text(authority),
            b"\x0f\x10" + _text(b"application/grpc"),
            b"\x00" + _text(b"te") + _text(b"trailers"),
        )
    )


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes((len(value),)) + value
