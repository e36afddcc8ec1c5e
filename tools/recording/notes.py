"""What is noted while a run goes on: as little as can be, in the order of time."""

from __future__ import annotations

import enum
from collections.abc import Callable
from math import inf, nextafter
from typing import Any, NamedTuple

import trio

from .records import Record


class Direction(enum.IntEnum):
    """What a note of a link is about: a message, an error, or its end."""

    SENT = 0
    RECEIVED = 1
    REFUSED = 2
    CLOSED = 3


class Link(NamedTuple):
    """A stream, or a unary call. `number` is unique in a recording."""

    number: int
    client: str
    partition: str
    method: str


Passed = tuple[float, Link, Direction, Any]
Note = Passed | Record


class Notes:
    """Notes, in the order in which they were taken."""

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._last = -inf
        self._links = 0
        self.taken: list[Note] = []

    def now(self) -> float:
        """The time. No two moments are the same: what is noted later, is later."""
        time = self._now()
        if time <= self._last:
            time = nextafter(self._last, inf)
        self._last = time
        return time

    def link(self, client: str, partition: str, method: str) -> Link:
        self._links += 1
        return Link(self._links, client, partition, method)

    def note(self, link: Link, direction: Direction, what: Any) -> None:
        self.taken.append((self.now(), link, direction, what))

    def take(self) -> list[Note]:
        """All notes so far, which are then forgotten here."""
        taken, self.taken = self.taken, []
        return taken
