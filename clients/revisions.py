"""A revision that knows whose it is, for code that has those of several partitions in reach.

Revisions count the writes of one store. Those of two partitions have nothing to do with one another, nor have those of
two histories of one partition, so comparing them is a mistake, which a bare number does not show. Here it raises
TypeError, and comparing one with a bare number is refused by the type checker, too.

    Revision("rp-1", 90) < Revision("rp-1", 97)                  True
    Revision("rp-1", 90) < Revision("rp-2", 97)                  TypeError
    Revision("rp-1", 90, "7f3a") == Revision("rp-1", 90, "51c0")   TypeError
"""

from __future__ import annotations

from functools import total_ordering
from typing import Final


@total_ordering
class Revision:
    """`incarnation`: the history that it counts in; empty: that of the answer it came with, which did not say."""

    __slots__ = ("incarnation", "number", "partition")
    __hash__ = None  # type: ignore[assignment]  # In a dict, those of two partitions would meet.

    def __init__(self, partition: str, number: int, incarnation: str = "") -> None:
        self.partition: Final = partition
        self.number: Final = number
        self.incarnation: Final = incarnation

    def __eq__(self, other: object) -> bool:
        """Raises TypeError: they have nothing to do with one another."""
        if not isinstance(other, Revision):
            return NotImplemented
        return self.number == self._alike(other).number

    def __lt__(self, other: Revision) -> bool:
        """Raises TypeError: they have nothing to do with one another."""
        if not isinstance(other, Revision):
            return NotImplemented
        return self.number < self._alike(other).number

    def _alike(self, other: Revision) -> Revision:
        both_known = self.incarnation and other.incarnation
        if self.partition != other.partition or (both_known and self.incarnation != other.incarnation):
            raise TypeError(f"{self} and {other} cannot be compared: each counts in a history of its own")
        return other

    def __repr__(self) -> str:
        history = f" of history {self.incarnation[:8]}" if self.incarnation else ""
        return f"revision {self.number} of {self.partition}{history}"
