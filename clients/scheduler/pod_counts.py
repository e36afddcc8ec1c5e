"""How many pods of a kind are in each topology domain, kept up to date with every pod that comes or goes.

    Tally          what is counted: pods that a selection means, or those that carry a certain term; by slot, sparse
    DomainCounts   the same by domain of one topology, over the nodes that count; an array

A pod changes the tallies it belongs to, which its class (tenant, namespace, labels) knows, and in each a cell for every
topology it is asked by: a few tenths of a microsecond, whatever the number of nodes. What was asked for longest ago is
dropped, and counted again when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from .topology import Topology

if TYPE_CHECKING:
    from .columns import NodeColumns

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]

_NEVER: Final = -1  # no version


class Inclusion:
    """The nodes that count for a pod, as its constraints want it. `mask` has one entry a slot.

    `is_all`: there is no node that does not count.
    """

    __slots__ = ("_decide", "_nodes", "_position", "is_all", "key", "mask", "version")

    def __init__(self, nodes: NodeColumns, key: str, decide: Callable[[], Bools]) -> None:
        """`decide` says it of the first `high` slots; asked again whenever a node has changed."""
        self._nodes, self.key, self._decide = nodes, key, decide
        self.mask: Bools = np.zeros(0, np.bool_)
        self.is_all = False
        self.version = 0
        self._position = -1

    def catch_up(self) -> None:
        end = self._nodes.static_changes.end
        if self._position != end:
            self._position = end
            mask = self._decide()
            self.is_all = not bool((self._nodes.present[: len(mask)] & ~mask).any())
            if not np.array_equal(mask, self.mask):
                self.mask = mask
                self.version += 1


class Tally:
    """Amounts by slot. Slots where there is none are left out."""

    __slots__ = ("by_domain", "key", "slots")

    def __init__(self, key: str) -> None:
        self.key = key
        self.slots: dict[int, int] = {}
        # By topology key and inclusion key.
        self.by_domain: dict[tuple[str, str], DomainCounts] = {}

    def change(self, slot: int, amount: int) -> None:
        left = self.slots.get(slot, 0) + amount
        if left:
            self.slots[slot] = left
        else:
            del self.slots[slot]
        for counts in self.by_domain.values():
            counts.change(slot, amount)


class DomainCounts:
    """A tally by domain. Read `counts` after `refresh`; entry 0 is not a domain.

    `domains`: how many there are. One in which no node counts is none.
    """

    __slots__ = (
        "_inclusion_version",
        "_there",
        "_topology_version",
        "counts",
        "domains",
        "inclusion",
        "tally",
        "topology",
    )

    def __init__(self, tally: Tally, topology: Topology, inclusion: Inclusion | None) -> None:
        self.tally, self.topology, self.inclusion = tally, topology, inclusion
        self.counts: Counts = np.zeros(1, np.int64)
        self.domains = 0
        self._there: Bools = np.zeros(0, np.bool_)
        # As they were when all was counted.
        self._topology_version = self._inclusion_version = _NEVER

    def change(self, slot: int, amount: int) -> None:
        inclusion = self.inclusion
        if not self._is_current() or slot >= len(self.topology.ids):
            self._topology_version = _NEVER  # All will be counted before anybody looks.
        elif inclusion is None or (slot < len(inclusion.mask) and inclusion.mask[slot]):
            self.counts[self.topology.ids[slot]] += amount

    def refresh(self) -> None:
        """Take in what has changed of the nodes; the topology and the inclusion have done so."""
        if not self._is_current():
            self._topology_version = self.topology.version
            if self.inclusion is not None:
                self._inclusion_version = self.inclusion.version
            self._recount()

    def _is_current(self) -> bool:
        inclusion = self.inclusion
        return self._topology_version == self.topology.version and (
            inclusion is None or self._inclusion_version == inclusion.version
        )

    def _recount(self) -> None:
        ids, size, inclusion = self.topology.ids, self.topology.size, self.inclusion
        included = ids if inclusion is None else ids[: len(inclusion.mask)] * inclusion.mask
        self._there = np.bincount(included, minlength=size)[1:] > 0
        self.domains = int(np.count_nonzero(self._there))
        self.counts = np.zeros(size, np.int64)
        for slot, amount in self.tally.slots.items():
            if slot < len(included):
                self.counts[included[slot]] += amount

    # -------------------------------------------------------------------------------------------------- questions

    def fewest(self) -> int:
        """The smallest count of a domain; 0 if there is none."""
        if not self.domains:
            return 0
        counts = self.counts[1:]
        return int((counts if self.domains == len(counts) else counts[self._there]).min())

    def total(self) -> int:
        """Of all domains."""
        return int(self.counts[1:].sum())
