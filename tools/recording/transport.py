"""A transport that notes what passes over it, and changes nothing.

It wraps any other, in memory or over gRPC. Messages are noted as they are, already parsed, with the time; what they
mean is worked out later (transcript.py). A request is noted before it goes out and an answer after it has come in, so
what a recording takes for concurrent may have been, and what it takes for one behind the other was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import Message

from ...clients.transport.interface import UNARY_TIMEOUT_SECONDS, Stream, Transport
from ...proto.errors import ApiError
from .notes import Direction, Link, Notes

# What is recorded. Everything else passes.
_UNARY = ("Get", "Write")
_STREAMS = ("List", "Mutate", "Watch")


class RecordingTransport(Transport):
    """The links of one life of a client. Use `Recorder.wrap`."""

    def __init__(self, transport: Transport, client: str, notes: Notes) -> None:
        self.partition = transport.partition
        self._transport = transport
        self._client = client
        self._notes = notes

    async def unary(
        self, method: str, request: Message, *, timeout_seconds: float = UNARY_TIMEOUT_SECONDS, trace: str = ""
    ) -> Any:
        if method not in _UNARY:
            return await self._transport.unary(method, request, timeout_seconds=timeout_seconds, trace=trace)
        note, link = self._notes.note, self._notes.link(self._client, self.partition, method)
        note(link, Direction.SENT, _sent(request))
        try:
            reply = await self._transport.unary(method, request, timeout_seconds=timeout_seconds, trace=trace)
        except ApiError as error:
            note(link, Direction.REFUSED, error)
            raise
        except BaseException:
            note(link, Direction.CLOSED, None)
            raise
        note(link, Direction.RECEIVED, (reply,))
        return reply

    def stream(self, method: str, *, trace: str = "") -> Stream:
        stream = self._transport.stream(method, trace=trace)
        if method not in _STREAMS:
            return stream
        return _RecordingStream(stream, self._notes.link(self._client, self.partition, method), self._notes)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _sent(message: Message) -> tuple[int, Message]:
    """With the number of its batch, which is another when the same message goes out again."""
    return getattr(message, "batch", 0), message


class _RecordingStream(Stream):
    def __init__(self, stream: Stream, link: Link, notes: Notes) -> None:
        self._stream = stream
        self._link = link
        self._note = notes.note

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._note(self._link, Direction.CLOSED, None)
        await self._stream.__aexit__(kind, error, trace)

    async def send(self, message: Message) -> None:
        self._note(self._link, Direction.SENT, _sent(message))
        await self._stream.send(message)

    @property
    def has_room(self) -> bool:
        return self._stream.has_room

    def send_nowait(self, message: Message) -> None:
        self._note(self._link, Direction.SENT, _sent(message))
        self._stream.send_nowait(message)

    async def receive(self) -> Sequence[Any]:
        try:
            messages = await self._stream.receive()
        except ApiError as error:
            self._note(self._link, Direction.REFUSED, error)
            raise
        if messages:
            self._note(self._link, Direction.RECEIVED, messages)
        return messages

    async def deliver(self, take: Callable[[Any], None]) -> None:
        link, note = self._link, self._note

        def take_noted(message: Any) -> None:
            note(link, Direction.RECEIVED, (message,))
            take(message)

        try:
            await self._stream.deliver(take_noted)
        except ApiError as error:
            note(link, Direction.REFUSED, error)
            raise
