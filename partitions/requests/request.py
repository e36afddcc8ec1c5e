"""Requests: from bytes to messages, who asked, and where the time of each went."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ...proto.errors import BadRequest
from ...proto.sessions import Caller

Parsed = TypeVar("Parsed", bound=Message)
# Operations by (verb, resource, code). A read is one operation.
Counts = dict[tuple[str, str, int], int]


def parse_request(kind: type[Parsed], data: bytes) -> Parsed:
    """Raises BadRequest: the bytes are no such message."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadRequest(f"this is no {kind.__name__}: {error}") from None


class Phase(IntEnum):
    """Where a request is.

    QUEUE: waiting for its turn. ADMISSION: being read, checked and planned. ENCODE: objects and replies are made into
    bytes. STORE: staged, on its way to the disk; of a read, waiting for the revision it asks for. WRITE: its answer is
    there, and the front end has not taken all of it.
    """

    QUEUE = 0
    ADMISSION = 1
    ENCODE = 2
    STORE = 3
    WRITE = 4


class Stopwatch:
    """Adds up the seconds of something that happens many times within a phase."""

    __slots__ = ("clock", "seconds")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds = 0.0


class Request:
    """One request from its arrival to its answer.

    A batch of writes is one request. `seconds` are those spent in each phase so far; `enter` ends one, begins another.
    `level` is that of priority, set by who decides whose turn it is.
    """

    __slots__ = (
        "_clock",
        "_since",
        "arrived_at",
        "bytes_in",
        "bytes_out",
        "caller",
        "counts",
        "level",
        "phase",
        "seconds",
        "trace",
        "verb",
    )

    def __init__(self, caller: Caller, verb: str, clock: Callable[[], float], bytes_in: int = 0) -> None:
        self.caller = caller
        self.verb = verb
        self.arrived_at = clock()
        self.seconds = [0.0] * len(Phase)
        self.phase = Phase.QUEUE
        self.trace = caller.trace
        self.level = ""
        self.bytes_in = bytes_in
        self.bytes_out = 0
        self.counts: Counts = {}
        self._clock = clock
        self._since = self.arrived_at

    def enter(self, phase: Phase) -> None:
        now = self._clock()
        self.seconds[self.phase] += now - self._since
        self.phase = phase
        self._since = now

    def move(self, seconds: float, source: Phase, target: Phase) -> None:
        """What was counted as one phase was another."""
        self.seconds[source] -= seconds
        self.seconds[target] += seconds

    @property
    def age_seconds(self) -> float:
        return self._clock() - self.arrived_at
