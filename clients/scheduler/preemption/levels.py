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

from ..change_log import ChangeLog
from ..columns import Charges, Floats, NodeColumns

# Each takes 40 bytes a node. Where there are more priorities than that, several share a level; then room may seem to
# begin lower than it does, and `victims_on` has the last word.
LEVELS_MAX: Final = 16
NO_LEVEL: Final = int(np.iinfo(np.int64).min)


class Level:
    """Pods of priority `floor`, or some more above it. With its last pod it goes."""

    __slots__ = ("cells", "floor", "pods", "used")

    def __init__(self, floor: int, used: Floats) -> None:
        self.floor, self.pods = floor, 0
        self.use(used)

    def use(self, used: Floats) -> None:
        self.used = used
        self.cells = [column.data for column in used]  # For single cells, as in the node table.


class Begins(NamedTuple):
    """Of each slot asked for: whether the pod would fit if lower priorities went, and from which level on they would
    have to."""

    fits: NDArray[np.bool_]
    level: NDArray[np.int64]


class PriorityLevels:
    """`changes`: the slots where pods came or went."""

    def __init__(self, nodes: NodeColumns) -> None:
        self._nodes = nodes
        self.changes = ChangeLog()
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
        cells = level.cells
        for column, units in charges:
            cells[column][slot] += units
        self.changes.append(slot)
        return level

    def remove(self, level: Level, slot: int, charges: Charges) -> None:
        self._fit_table()
        cells = level.cells
        for column, units in charges:
            cells[column][slot] -= units
        self.changes.append(slot)
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
        if priority < level.floor:
            level.floor = priority
            self.changes.forget()  # Room begins lower wherever this level has pods.
        return level

    def begins(self, needs: Charges, priority: int, slots: NDArray[np.intp]) -> Begins:
        """For a pod of this priority."""
        self._fit_table()
        cells = np.array([column for column, _ in needs], np.intp)[:, None], slots
        spare = self._nodes.free[cells] - np.array([units for _, units in needs], np.float64)[:, None]
        spare += self._leaving.used[cells]
        fits = np.asarray((spare >= 0).all(axis=0))
        begins = np.full(len(slots), NO_LEVEL)
        for level in self._levels:
            if level.floor >= priority:
                break
            spare += level.used[cells]
            now = ~fits & (spare >= 0).all(axis=0)
            begins[now] = level.floor
            fits |= now
        return Begins(fits, begins)

    def begins_at(self, needs: Charges, priority: int, slot: int) -> int | None:
        """As `begins`, of one slot, in a tenth of the time; None: it does not fit."""
        self._fit_table()
        free, leaving = self._nodes.free_cells, self._leaving.cells
        spare = [free[column][slot] + leaving[column][slot] - units for column, units in needs]
        if all(left >= 0 for left in spare):
            return NO_LEVEL
        for level in self._levels:
            if level.floor >= priority:
                break
            spare = [left + level.cells[column][slot] for left, (column, _) in zip(spare, needs, strict=True)]
            if all(left >= 0 for left in spare):
                return level.floor
        return None

    def _fit_table(self) -> None:
        shape = self._nodes.free.shape
        if self._leaving.used.shape != shape:
            for level in (self._leaving, *self._levels):
                level.use(_grown(level.used, shape))


def _grown(old: Floats, shape: tuple[int, ...]) -> Floats:
    new = np.zeros(shape)
    new[: old.shape[0], : old.shape[1]] = old
    return new
