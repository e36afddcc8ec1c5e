"""Which rows of the node table have changed, for readers that catch up when they like.

A reader keeps the position up to which it has seen the log. One that was away for too long is told so, and reads the
whole table instead.
"""

from __future__ import annotations

from typing import Final

# A reader further behind than this reads all rows: cheaper than so many single ones, up to some ten thousand nodes.
CHANGES_MAX: Final = 4096


class ChangeLog:
    """`end` is the position of a reader that has seen everything."""

    __slots__ = ("_slots", "_start")

    def __init__(self) -> None:
        self._slots: list[int] = []
        self._start = 0

    @property
    def end(self) -> int:
        return self._start + len(self._slots)

    def append(self, slot: int) -> None:
        slots = self._slots
        slots.append(slot)
        if len(slots) >= 2 * CHANGES_MAX:
            del slots[:CHANGES_MAX]
            self._start += CHANGES_MAX

    def forget(self) -> None:
        """Everything may have changed: no reader, however recent, can catch up."""
        self._start = self.end + 1
        self._slots.clear()

    def since(self, position: int) -> list[int] | None:
        """The slots changed after `position`, oldest first, with repetitions; None: no longer known, read all."""
        if position < self._start:
            return None
        return self._slots[position - self._start :]
