"""The transport seam: one link from a component to one partition.

Behind it: gRPC (between processes), or memory (in one process, and simulated). The scheduler, the controllers and the
kubelet see nothing else of a partition than this and what is built on it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import trio
from google.protobuf.message import Message

# A read that takes longer than this is given up; the Kubernetes objective for a LIST of a whole cluster is 30 s.
UNARY_TIMEOUT_SECONDS = 30.0

# How long a burst of messages may keep other tasks of the process from running.
TURN_SECONDS_MAX = 0.01


class Stream(abc.ABC):
    """A stream of messages both ways. Leaving the block cancels it.

    Any method raises `Unreachable` once the link is lost, and the partition's `ApiError` where it refused.
    """

    @abc.abstractmethod
    async def __aenter__(self) -> Self: ...

    @abc.abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abc.abstractmethod
    async def send(self, message: Message) -> None:
        """Send one message; waits while too much is on its way (back pressure)."""

    @property
    def has_room(self) -> bool:
        """`send_nowait` may be called. A stream need not have it."""
        return False

    def send_nowait(self, message: Message) -> None:
        """Send one message, where there is room: as `send`, without a turn of the loop."""
        raise NotImplementedError

    @abc.abstractmethod
    async def receive(self) -> Sequence[Any]:
        """Everything that has arrived, at least one message; empty once the server has ended the stream well."""

    async def deliver(self, take: Callable[[Any], None]) -> None:
        """Call `take` with each message that arrives, until the server has ended the stream well.

        What `take` raises ends it, too. It is a plain function and may be called outside of all tasks; leaving or
        cancelling this ends the calls. Nobody may `receive` beside it.
        """
        while messages := await self.receive():
            turn_began = trio.current_time()
            for message in messages:
                take(message)
                if len(messages) > 1 and trio.current_time() - turn_began > TURN_SECONDS_MAX:
                    await trio.lowlevel.checkpoint()
                    turn_began = trio.current_time()


class Transport(abc.ABC):
    """A link to one partition. Reconnects by itself; a stream that was lost is gone, open another."""

    partition: str

    @abc.abstractmethod
    async def unary(
        self, method: str, request: Message, *, timeout_seconds: float = UNARY_TIMEOUT_SECONDS, trace: str = ""
    ) -> Any:
        """Call `method` (a name in `sessions.METHODS`) and return its reply.

        `trace` is an id under which the partition's audit log knows the request.

        Raises:
            ApiError: the partition refused.
            Unreachable: no answer within the timeout, or no link. (The caller knows whether the method writes.)
        """

    @abc.abstractmethod
    def stream(self, method: str, *, trace: str = "") -> Stream:
        """A new stream, opened when its block is entered."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release the link. Idempotent."""
