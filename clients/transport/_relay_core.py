"""One way of one connection through a relay, without I/O: what is on it, and when each piece is due at the other end.

put 1, 2, 3 at 0.0 with a delay of 2    -> due at 2.0, in this order
freeze at 1.0                           -> nothing is due; what is put waits behind
free again at 9.0                       -> all of it is due, at once and in order
cut                                     -> it is empty, what is put is lost, and from then on it is `broken`
"""

from __future__ import annotations

import enum
import math
from collections import deque

from .conditions import Way

# What the two kernels of a connection hold of a way that does not move is of this order.
BYTES_MAX = 1 << 20


class Mark(enum.Enum):
    """What travels beside the bytes: the beginning of a connection, and its end."""

    OPEN = enum.auto()
    END = enum.auto()


Item = bytes | Mark


class Lane:
    """Times are in seconds, of any one clock."""

    def __init__(self, way: Way) -> None:
        self.broken = False  # Something was lost: nothing that comes behind it is of use.
        self._way = way
        self._items: deque[tuple[float, Item]] = deque()
        self._bytes = 0

    def put(self, now: float, item: Item) -> None:
        if self._way.cut:
            self.broken = True
            return
        last = self._items[-1][0] if self._items else -math.inf
        self._items.append((max(last, now + self._way.delay_seconds), item))
        self._bytes += _size(item)

    def take(self, now: float) -> Item | None:
        """The next that is due."""
        if self.next_due > now:
            return None
        _, item = self._items.popleft()
        self._bytes -= _size(item)
        return item

    def set_way(self, now: float, way: Way) -> None:
        """What is on its way is lost by a cut, and otherwise takes no longer than if it were sent now."""
        self._way = way
        if way.cut and self._items:
            self.broken = True
            self._items.clear()
            self._bytes = 0
        latest = now + way.delay_seconds
        self._items = deque((min(due, latest), item) for due, item in self._items)

    @property
    def next_due(self) -> float:
        """Infinity: nothing is, as things are."""
        return self._items[0][0] if self._items and not self._way.frozen else math.inf

    @property
    def full(self) -> bool:
        """No more should be read for it."""
        return self._bytes >= BYTES_MAX

    @property
    def free(self) -> bool:
        return not self._way.silent


def _size(item: Item) -> int:
    return len(item) if isinstance(item, bytes) else 0
