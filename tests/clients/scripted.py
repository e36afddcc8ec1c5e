"""A transport that does what a test says, message by message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import trio
from google.protobuf.message import Message
from ursa.clients.transport.interface import Stream, Transport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable, UrsaError

LOST = Unreachable("p-1", "the link is cut")

Answer = Callable[[Any], pb.MutateReply | UrsaError | None]


class ScriptedTransport(Transport):
    """A partition that answers each message as the test says: a reply, the loss of the stream, or nothing at all."""

    def __init__(self, answer: Answer) -> None:
        self.partition = "p-1"
        self.answer = answer
        self.batches: list[pb.MutateRequest] = []  # With operations; not the empty ones that try a new stream.
        self.streams = 0

    async def unary(self, method: str, request: Message, *, timeout_seconds: float = 0, trace: str = "") -> Any:
        raise NotImplementedError

    def stream(self, method: str, *, trace: str = "") -> Stream:
        self.streams += 1
        return ScriptedStream(self)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class ScriptedStream(Stream):
    def __init__(self, transport: ScriptedTransport) -> None:
        self._transport = transport
        self._put, self._take = trio.open_memory_channel[pb.MutateReply | UrsaError](1000)

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await trio.lowlevel.checkpoint()

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(message, pb.MutateRequest) and message.operations:
            self._transport.batches.append(message)
        answer = self._transport.answer(message)
        if answer is not None:
            self._put.send_nowait(answer)

    async def receive(self) -> Sequence[Any]:
        answer = await self._take.receive()
        if isinstance(answer, UrsaError):
            raise answer
        return [answer]


def accept(request: pb.MutateRequest) -> pb.MutateReply:
    """Every operation succeeds; its name comes back."""
    results = [pb.Result(name=operation.delete.target.name) for operation in request.operations]
    return pb.MutateReply(batch=request.batch, results=results)
