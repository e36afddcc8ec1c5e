"""Objects that go when they have not changed for their kind's time to live: Events.

Each change of such an object puts it at the end of its kind's line; whatever has changed since it was put there is
passed over when its turn comes. An opened server gives every object its whole time again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ..proto.kinds import Kind
from .entries import Entry


class Expiring(NamedTuple):
    """An object as it was at a revision, and the time at which it goes if that is still its newest."""

    at: float
    kind: Kind
    key: str
    revision: int


class Expiry:
    """No clock of its own: `now` is in seconds of one that does not go back."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Expiring]] = {}

    def changed(self, kind: Kind, entry: Entry, now: float) -> None:
        """The object was written. Of no consequence unless its kind has a time to live."""
        if kind.ttl_seconds:
            line = self._lines.setdefault(kind.resource, deque())
            line.append(Expiring(now + kind.ttl_seconds, kind, entry.key, entry.revision))

    def over(self, now: float, limit: int) -> Iterator[Expiring]:
        """Those whose time is over, at most `limit`; each is told once."""
        for line in self._lines.values():
            while line and line[0].at <= now and limit:
                limit -= 1
                yield line.popleft()
