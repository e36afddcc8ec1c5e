"""A link whose partition may come to be elsewhere. Who uses it sees it lost and come back, as any link."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from .interface import UNARY_TIMEOUT_SECONDS, Stream, Transport


class MovableTransport(Transport):
    """Another transport, until `move` gives it one in its place. It owns the one that it has."""

    def __init__(self, transport: Transport) -> None:
        self.partition = transport.partition
        self._transport = transport

    async def unary(
        self, method: str, request: Message, *, timeout_seconds: float = UNARY_TIMEOUT_SECONDS, trace: str = ""
    ) -> Any:
        return await self._transport.unary(method, request, timeout_seconds=timeout_seconds, trace=trace)

    def stream(self, method: str, *, trace: str = "") -> Stream:
        return self._transport.stream(method, trace=trace)

    async def move(self, transport: Transport) -> None:
        """What is under way is lost, and what begins from now on goes by this one."""
        before, self._transport = self._transport, transport
        await before.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()
