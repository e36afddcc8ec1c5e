"""What the running pods of the home partition take of each node, by their priority, in columns.

    level.used[column, slot]     of the pods of this level; `leaving`: of those that are being deleted

With it one pass over all nodes says at which priority room begins: the lowest level such that the pod fits if all
pods up to that level go. Without budgets that is the highest priority of a victim there, exactly: all that are more
important could be put back.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..columns import Charges, Floats, NodeColumns

# Each takes 40 bytes a node. Where there are more priorities than that, several share a level; then room may seem to
# begin lower than it does, and `victims_on` has the last word.
LEVELS_MAX: Final = 16
NO_LEVEL: Final = int(np.iinfo(np.int64).min)


class Level:
    """Pods of priority `floor`, or some more above it. With its last pod it goes."""

    __slots__ = ("floor", "pods", "used")

    def __init__(self, floor: int, used: Floats) -> None:
        self.floor, self.used, self.pods = floor, used, 0


class Begins(NamedTuple):
    """By slot: whether the pod would fit if lower priorities went, and from which level on they would have to."""

    fits: NDArray[np.bool_]
    level: NDArray[np.int64]


class PriorityLevels:
    def __init__(self, nodes: NodeColumns) -> None:
        self._nodes = nodes
        self._levels: list[Level] = []  # With ascending floors.
        self._leaving = Level(NO_LEVEL, np.zeros_like(nodes.free))

    @property
    def lowest(self) -> int | None:
        """No pod has a lower priority; None: there is no pod that stays."""
        return self._levels[0].floor if self._levels else None

    def add(self, priority: int, slot: int, charges: Charges, *, leaving: bool) -> Level:
        """The level that it counts to, for `remove`."""
        self._fit_table()
        level = self._leaving if leaving else self._level_of(priority)
        level.pods += 1
        for column, units in charges:
            level.used[column, slot] += units
        return level

    def remove(self, level: Level, slot: int, charges: Charges) -> None:
        self._fit_table()
        for column, units in charges:
            level.used[column, slot] -= units
        level.pods -= 1
        if not level.pods and level is not self._leaving:
            self._levels.remove(level)

    def _level_of(self, priority: int) -> Level:
        levels = self._levels
        place = bisect_right(levels, priority, key=lambda level: level.floor)
        if place and levels[place - 1].floor == priority:
            return levels[place - 1]
        if len(levels) < LEVELS_MAX:
            level = Level(priority, np.zeros_like(self._nodes.free))
            levels.insert(place, level)
            return level
        level = levels[max(place - 1, 0)]
        level.floor = min(level.floor, priority)
        return level

    def begins(self, needs: Charges, priority: int, allowed: NDArray[np.bool_]) -> Begins:
        """For a pod of this priority, on the slots that are `allowed` but for their room."""
        self._fit_table()
        nodes = self._nodes
        high = nodes.high
        columns = np.array([column for column, _ in needs], np.intp)
        spare = nodes.free[columns, :high] - np.array([units for _, units in needs], np.float64)[:, None]
        spare += self._leaving.used[columns, :high]
        fits = allowed[:high] & (spare >= 0).all(axis=0)
        begins = np.full(high, NO_LEVEL)
        for level in self._levels:
            if level.floor >= priority:
                break
            spare += level.used[columns, :high]
            now = allowed[:high] & ~fits & (spare >= 0).all(axis=0)
            begins[now] = level.floor
            fits |= now
        return Begins(fits, begins)

    def _fit_table(self) -> None:
        shape = self._nodes.free.shape
        if self._leaving.used.shape != shape:
            for level in (self._leaving, *self._levels):
                level.used = _grown(level.used, shape)


def _grown(old: Floats, shape: tuple[int, ...]) -> Floats:
    new = np.zeros(shape)
    new[: old.shape[0], : old.shape[1]] = old
    return new
