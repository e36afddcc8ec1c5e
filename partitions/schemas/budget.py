"""How much work one object may be to its schema.

Schemas and objects are their users', and a schema's alternatives, defaults and patterns can make an hour's work of a
megabyte; the partition has one loop, for everybody. Work is counted, not timed: what was admitted once is admitted
again, on whatever machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .finding import Place

# A step is half a microsecond or less. The largest object there may be, made of nothing but numbers, takes two thirds.
STEPS_MAX = 2_000_000


class TooMuchWork(Exception):
    """`place`: in the value, where it was given up."""

    def __init__(self, place: Place | None) -> None:
        super().__init__(place)
        self.place = place


class Budget:
    """Of one visit of one value, alternatives and all."""

    __slots__ = ("_left",)

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self._left = steps

    def spend(self, steps: int, place: Place | None) -> None:
        """Raises TooMuchWork: there is nothing left."""
        self._left -= steps
        if self._left < 0:
            raise TooMuchWork(place)
