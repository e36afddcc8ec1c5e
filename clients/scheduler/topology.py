"""Topology domains as columns of small numbers: which zone, rack or host each slot is in.

Number 0 is no domain: the node has no such label, or there is no node. Numbers are given in the order in which values
are met, and kept while the value is in use, so counts by domain stay valid until `version` says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .columns import NodeColumns
    from .framework.interface import Slots

_Value = TypeVar("_Value", bound=np.generic)

HOSTNAME: Final = "kubernetes.io/hostname"
# Not a label: each node is a domain of its own. Two nodes of different partitions may have the same hostname.
EACH_NODE: Final = ""
# Numbers of values that no node has any more, before all are given anew.
STALE_MAX: Final = 64


class Topology:
    """`ids[slot]` is the number of its domain, `size` is more than any of them."""

    __slots__ = ("_nodes", "_position", "_values", "ids", "key", "size", "version")

    def __init__(self, nodes: NodeColumns, key: str) -> None:
        self._nodes, self.key = nodes, key
        self.ids: NDArray[np.intp] = np.zeros(nodes.capacity, np.intp)
        self.size = 1
        self.version = 0
        self._values: dict[str, int] = {}
        self._position = -1

    def catch_up(self) -> None:
        """Take in what has changed of the nodes."""
        nodes = self._nodes
        end = nodes.static_changes.end
        if self._position == end:
            return
        if len(self.ids) < nodes.capacity:
            more = np.zeros(nodes.capacity - len(self.ids), np.intp)
            self.ids = np.concatenate((self.ids, more))
        changed = nodes.static_changes.since(self._position) if self._position >= 0 else None
        if len(self._values) > 2 * nodes.high + STALE_MAX:
            self._values.clear()
            self.size = 1
            self.version += 1
            changed = None
        for slot in range(nodes.high) if changed is None else dict.fromkeys(changed):
            self._put(slot)
        self._position = end

    def by_slot(self, values: NDArray[_Value], slots: Slots) -> NDArray[_Value]:
        """Values by domain, for each of the slots that of its domain. Not to be changed."""
        if self.key == EACH_NODE and isinstance(slots, slice):
            start, stop, step = slots.indices(self._nodes.high)
            if step == 1 and stop < len(values):
                return values[start + 1 : stop + 1]
        return values.take(self.ids[slots])

    def _put(self, slot: int) -> None:
        facts = self._nodes.facts[slot]
        found = 0
        if facts is None:
            pass
        elif self.key == EACH_NODE:
            found = slot + 1
        elif (value := facts.labels.get(self.key)) is not None:
            found = self._values.setdefault(value, len(self._values) + 1)
        if found >= self.size:
            self.size = found + 1
        if self.ids[slot] != found:
            self.ids[slot] = found
            self.version += 1
