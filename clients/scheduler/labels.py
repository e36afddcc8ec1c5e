"""Node labels as columns of small integers, one for each key that a node selector has asked for.

A label value is interned per key: the column holds the value's number, 0 where a node has no such label. `key == value`
for all nodes is then one comparison of an array with a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...proto.selectors import Requirement
from .node_facts import NodeFacts

# Keys in use at once. Tenants choose the keys of their selectors: without a bound they could fill the memory. The key
# asked for longest ago goes, and comes back at the price of one pass over the nodes.
KEYS_MAX: Final = 256

Index = slice | NDArray[np.intp]


class _Column:
    __slots__ = ("ids", "values")

    def __init__(self, capacity: int) -> None:
        self.ids: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.values: dict[str, int] = {}

    def put(self, slot: int, value: str | None) -> None:
        self.ids[slot] = 0 if value is None else self.values.setdefault(value, len(self.values) + 1)


class LabelColumns:
    """`facts` is the node table's own list, one entry a slot, None where there is no node."""

    def __init__(self, facts: Sequence[NodeFacts | None]) -> None:
        self._facts = facts
        self._columns: dict[str, _Column] = {}

    def matching(self, requirement: Requirement, index: Index, capacity: int) -> NDArray[np.bool_]:
        """Which of the slots in `index` meet a requirement."""
        column = self._column(requirement.key, capacity)
        ids = column.ids[index]
        operator = requirement.operator
        if operator in ("In", "NotIn"):
            # One by one: a hostname has as many values as there are nodes, and few of them are asked for.
            found = np.zeros(len(ids), np.bool_)
            for value in requirement.values:
                found |= ids == column.values.get(value, -1)
            return found if operator == "In" else ~found
        if operator in ("Exists", "DoesNotExist"):
            return np.equal(ids, 0) if operator == "DoesNotExist" else np.not_equal(ids, 0)
        return np.array([False, *map(requirement.matches, column.values)], np.bool_)[ids]

    def ids(self, key: str, capacity: int) -> tuple[NDArray[np.int32], Mapping[str, int]]:
        """The column of a key, one entry a slot, and the numbers in it by value; 0 where a node has no such label."""
        column = self._column(key, capacity)
        return column.ids, column.values

    def _column(self, key: str, capacity: int) -> _Column:
        column = self._columns.pop(key, None) or self._build(key, capacity)
        self._columns[key] = column
        return column

    def node_changed(self, slot: int) -> None:
        facts = self._facts[slot]
        for key, column in self._columns.items():
            column.put(slot, None if facts is None else facts.labels.get(key))
        self._drop_swollen()

    def resize(self, capacity: int) -> None:
        """More slots."""
        for column in self._columns.values():
            ids = np.zeros(capacity, np.int32)
            ids[: len(column.ids)] = column.ids
            column.ids = ids

    def _build(self, key: str, capacity: int) -> _Column:
        if len(self._columns) >= KEYS_MAX:
            del self._columns[next(iter(self._columns))]
        column = _Column(capacity)
        for slot, facts in enumerate(self._facts):
            if facts is not None:
                column.put(slot, facts.labels.get(key))
        return column

    def _drop_swollen(self) -> None:
        """Values of nodes long gone stay in a dictionary; one that has outgrown the table is built anew when needed."""
        for key in [key for key, column in self._columns.items() if len(column.values) > 2 * len(column.ids)]:
            del self._columns[key]
