"""Requests: from bytes to messages, who asked, and where the time of each went."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ..proto.errors import BadRequest
from ..proto.sessions import Caller

Parsed = TypeVar("Parsed", bound=Message)


def parse_request(kind: type[Parsed], data: bytes) -> Parsed:
    """Raises BadRequest: the bytes are no such message."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadRequest(f"this is no {kind.__name__}: {error}") from None


class Phase(IntEnum):
    """Where a request is. QUEUE: waiting for its turn; STORE: staged, on its way to the disk; WRITE: to the client."""

    QUEUE = 0
    ADMISSION = 1
    ENCODE = 2
    STORE = 3
    WRITE = 4


class Request:
    """One request from its arrival to its answer.

    A batch of writes is one request. `seconds` are those spent in each phase so far; `enter` ends one, begins another.
    """

    __slots__ = ("_clock", "_phase", "_since", "arrived_at", "caller", "seconds", "verb")

    def __init__(self, caller: Caller, verb: str, clock: Callable[[], float]) -> None:
        self.caller = caller
        self.verb = verb
        self.arrived_at = clock()
        self.seconds = [0.0] * len(Phase)
        self._clock = clock
        self._phase = Phase.QUEUE
        self._since = self.arrived_at

    def enter(self, phase: Phase) -> None:
        now = self._clock()
        self.seconds[self._phase] += now - self._since
        self._phase = phase
        self._since = now

    @property
    def age_seconds(self) -> float:
        return self._clock() - self.arrived_at
