"""One stream of a client, kept open as long as it is of use.

A link opens its stream when there is something to send, and opens another, with backoff, when it was lost. While a
stream is open two tasks serve it: a writer that sends whatever has gathered (no timers: while one message is on its way
the next one grows), and a reader that is always listening, so that a stream that dies while nothing is asked is noticed
before the next request goes into it.

What is sent and what is done with the answers is up to the subclass, in plain synchronous methods. So a message need
not wake the reader: the stream may hand it over as it arrives (`Stream.deliver`).
"""

from __future__ import annotations

import abc
import math
from typing import Any, ClassVar

import trio
from google.protobuf.message import Message

from ..proto.errors import ApiError, LinkError, Unreachable, UrsaError
from .actor import Actor
from .backoff import Backoff
from .contact import Contact
from .transport.interface import Stream, Transport

# A partition on the same network accepts a stream within milliseconds; one under overload within a few seconds.
OPEN_SECONDS_MAX = 10.0


class Link(abc.ABC):
    """See the module. The subclass is called by one at a time; it calls `_wake` when it has got something to send."""

    method: ClassVar[str]

    def __init__(self, transport: Transport, actor: Actor, contact: Contact | None = None) -> None:
        self.partition = transport.partition
        self._contact = contact or Contact(transport.partition, actor.log)
        self._transport = transport
        self._backoff = Backoff(actor.random)
        self._log = actor.log
        self._now = trio.lowlevel.current_clock().current_time  # A third of the way to it.
        self._work = trio.Event()
        self._wake_at = math.inf  # `_next_message` is asked again at this time, in trio's.
        self._expected_by = self._looked_at = math.inf
        self._patience = trio.CancelScope()  # Ends when it is time to look whether what is expected has come.

    # ---------------------------------------------------------------------------------------------- the subclass's

    @abc.abstractmethod
    def _wanted(self) -> bool:
        """A stream is needed now."""

    @abc.abstractmethod
    def _next_message(self) -> Message | None:
        """What to send now, or None: nothing until `_wake`."""

    @abc.abstractmethod
    def _receive(self, message: Any) -> None:
        """A message has come. Raise Unreachable to drop the stream."""

    @abc.abstractmethod
    def _lost(self, error: UrsaError) -> None:
        """The stream is gone, or could not be opened."""

    @abc.abstractmethod
    def _give_up_at(self) -> float:
        """When somebody's patience ends, in trio's time (infinity: never). `_give_up` is called soon after."""

    @abc.abstractmethod
    def _give_up(self, error: UrsaError) -> None:
        """The partition was away too long for some; `error` is why."""

    # ------------------------------------------------------------------------------------------------------- shared

    def _wake(self) -> None:
        self._work.set()

    def _expect_by(self, deadline: float) -> None:
        """Take the stream for lost if nothing moves this deadline before it has passed (infinity: no expectation).

        It moves with nearly every message, and moving a deadline of trio's costs more than sending one does: so that
        is done only where it moves to before the next look.
        """
        self._expected_by = deadline
        if deadline < self._looked_at:
            self._looked_at = self._patience.deadline = deadline

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while not self._wanted():
                self._work = trio.Event()
                await self._work.wait()
            error = await self._serve_one_stream()
            self._log.info("%s stream lost: %s", self.method, error)
            self._contact.lost(error)
            self._lost(error)
            await trio.sleep_until(min(trio.current_time() + self._backoff.next_seconds(), self._give_up_at()))
            self._give_up(error)

    async def _serve_one_stream(self) -> UrsaError:
        """Open a stream, serve it until it ends, and return why it did."""
        error: UrsaError = Unreachable(self.partition, "no answer in time: check that the partition is up")
        deadline = min(trio.current_time() + OPEN_SECONDS_MAX, self._give_up_at())
        try:
            with trio.CancelScope(deadline=deadline) as scope:
                async with self._transport.stream(self.method) as stream, trio.open_nursery() as nursery:
                    scope.deadline = self._expected_by = self._looked_at = math.inf
                    nursery.start_soon(self._lose_patience, scope)
                    nursery.start_soon(self._write, stream)
                    await self._read(stream)
        except* (LinkError, ApiError) as group:
            error = _first_leaf(group)
        return error

    async def _lose_patience(self, stream_scope: trio.CancelScope) -> None:
        """End the stream when what is expected has not come in time."""
        while self._expected_by > trio.current_time():
            self._looked_at = self._expected_by
            with trio.CancelScope(deadline=self._looked_at) as self._patience:
                await trio.sleep_forever()
        stream_scope.cancel()

    async def _write(self, stream: Stream) -> None:
        while True:
            while (message := self._next_message()) is not None:
                if stream.has_room:
                    stream.send_nowait(message)
                else:
                    await stream.send(message)
            self._work = trio.Event()
            if self._wake_at == math.inf:
                await self._work.wait()
            else:
                with trio.move_on_at(self._wake_at):
                    await self._work.wait()

    async def _read(self, stream: Stream) -> None:
        await stream.deliver(self._take)
        raise Unreachable(self.partition, f"the partition has ended the {self.method} stream: it is shutting down")

    def _take(self, message: Any) -> None:
        self._backoff.reset()
        self._contact.heard()
        self._receive(message)


def _first_leaf(group: BaseExceptionGroup[LinkError | ApiError]) -> LinkError | ApiError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LinkError | ApiError)
    return error
