"""On which node to preempt: an order from one pass over all nodes, then exact victims on the first of it. No I/O.

Nodes come in the order of their levels (`levels.py`); of equal ones the own shard first, then as the tie bits have it.
Of this order a beginning is looked at closely: exact victims, and what they cost. It is as long as it takes to have as
many candidates as are wanted, and one among them that costs no budget more than it can spare.

    looked at ............................ | not yet
    a min-heap by cost: the best           | a min-heap in the order: the next
    a max-heap in the order: the last      |

Only nodes that have changed leave their place and find another; the beginning then closes up, and gives back from its
end what it can do without. So the answer is that of a fresh look at all nodes, and the next pod of a kind costs a few
steps in heaps. Entries that hold no more stay in the heaps until they come up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..columns import Charges, NodeColumns
from .levels import PriorityLevels
from .victims import RunningPod, Victims, victims_on

# As long as every node found costs a budget more than it can spare, others are looked at: at most so many, of 20 us.
SEARCHED_MAX: Final = 2000
# Begun anew where the heaps hold so many entries a node: most of them hold no more.
ENTRIES_A_NODE: Final = 4

# Up to so many changed slots are placed one by one.
SINGLE_SLOTS_MAX: Final = 8
# (level, -tie, slot): the first comes first. In the heap that gives the last, all are negated.
_Place = tuple[int, int, int]


class PreemptionArgs(NamedTuple):
    """As Kubernetes' DefaultPreemptionArgs: how many nodes to look at closely, as a share of all and at the least."""

    min_candidate_nodes_percentage: int = 10
    min_candidate_nodes_absolute: int = 100

    @classmethod
    def read(cls, args: Mapping[str, Any]) -> PreemptionArgs:
        """Raises ValueError: it names the field and says what would do."""
        names = ("minCandidateNodesPercentage", "minCandidateNodesAbsolute")
        strange = [name for name in args if name not in (*names, "apiVersion", "kind")]
        if strange:
            raise ValueError(f"DefaultPreemption has the arguments {' and '.join(names)}, not {', '.join(strange)}")
        values = [args.get(name, default) for name, default in zip(names, cls(), strict=True)]
        for name, value in zip(names, values, strict=True):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} must be a whole number from 0 on, not {value!r}")
        percentage, absolute = values
        if percentage > 100:
            raise ValueError(f"minCandidateNodesPercentage must be at most 100, not {percentage}")
        if not percentage and not absolute:
            raise ValueError("minCandidateNodesPercentage and minCandidateNodesAbsolute cannot both be 0")
        return cls(percentage, absolute)

    def candidates(self, nodes: int) -> int:
        return max(nodes * self.min_candidate_nodes_percentage // 100, self.min_candidate_nodes_absolute)


class Preemption(NamedTuple):
    """The pod is to have the room of this node when the victims are gone; there may be none left to evict."""

    slot: int
    victims: Victims


class _Looked(NamedTuple):
    """`victims` is None, and the cost empty, where the pod would not fit even without all of lower priority."""

    victims: Victims | None
    cost: tuple[int, ...]

    @property
    def spares_budgets(self) -> bool:
        return self.victims is not None and not self.victims.violations


class Candidates:
    """For pods of one priority with the same needs, as long as the budgets stay what they are.

    Args:
        pods_on: the pods on a node; when they change, so do the levels there.
        needs: (column, units) of the pod's requests.
        spare: by budget, how many more pods it can do without.
    """

    def __init__(
        self,
        nodes: NodeColumns,
        levels: PriorityLevels,
        pods_on: Callable[[int], list[RunningPod]],
        needs: Charges,
        priority: int,
        spare: Mapping[str, int],
    ) -> None:
        self._nodes, self._levels, self._pods_on = nodes, levels, pods_on
        self._needs, self._priority, self._spare = needs, priority, spare
        self._start_over(np.zeros(0, np.bool_))
        self._row_changes = -1  # Nothing has been seen.

    def _start_over(self, allowed: NDArray[np.bool_]) -> None:
        self._allowed = allowed.copy()
        self._places: dict[int, _Place] = {}
        self._looked: dict[int, _Looked] = {}
        self._candidates = self._sparing = 0  # Of those looked at; `_sparing`: whose budgets can spare all victims.
        self._last: list[_Place] = []
        self._best: list[tuple[tuple[int, ...], _Place]] = []
        self._place(np.flatnonzero(allowed))
        self._next = list(self._places.values())
        heapify(self._next)
        self._seen_all()

    def _seen_all(self) -> None:
        self._row_changes, self._pod_changes = self._nodes.changes.end, self._levels.changes.end

    def choose(self, allowed: NDArray[np.bool_], wanted: int) -> Preemption | None:
        """None: no evictions of lower priority would help.

        Args:
            allowed: by slot in use, whether everything but the room is right for the pod.
            wanted: how many candidates to choose from, where there are so many.
        """
        self._catch_up(allowed)
        limit = max(wanted, SEARCHED_MAX)
        self._look(wanted, limit)
        self._give_back(wanted, limit)
        best = self._best
        while best:
            _, (_, _, slot) = best[0]
            looked = self._looked.get(slot)
            if looked is not None and looked.victims is not None and best[0] == (looked.cost, self._places[slot]):
                return Preemption(slot, looked.victims)
            heappop(best)
        return None

    # ------------------------------------------------------------------------------------------------- the order

    def _catch_up(self, allowed: NDArray[np.bool_]) -> None:
        rows = self._nodes.changes.since(self._row_changes)
        pods = self._levels.changes.since(self._pod_changes)
        entries = len(self._next) + len(self._last) + len(self._best)
        if rows is None or pods is None or entries > ENTRIES_A_NODE * len(allowed) + SEARCHED_MAX:
            self._start_over(allowed)
            return
        before = len(self._allowed)
        others = np.flatnonzero(allowed[:before] != self._allowed).tolist()
        changed = dict.fromkeys((*rows, *pods, *others))
        if others or len(allowed) > before:
            self._allowed = allowed.copy()
        for slot in changed:
            if slot in self._looked:
                self._forget(slot)
            self._places.pop(slot, None)
        slots = [slot for slot in changed if allowed[slot]]
        if len(slots) > SINGLE_SLOTS_MAX:
            self._place(np.array(slots, np.intp))
        else:
            self._place_each(slots)
        for slot in changed:
            place = self._places.get(slot)
            if place is not None:
                heappush(self._next, place)
        self._seen_all()

    def _place(self, slots: NDArray[np.intp]) -> None:
        """Where these belong in the order, if room could be made there."""
        begins = self._levels.begins(self._needs, self._priority, slots)
        found = slots[begins.fits]
        order = begins.level[begins.fits].tolist(), (-self._nodes.tie[found]).tolist(), found.tolist()
        self._places.update((place[2], place) for place in zip(*order, strict=True))

    def _place_each(self, slots: Sequence[int]) -> None:
        for slot in slots:
            level = self._levels.begins_at(self._needs, self._priority, slot)
            if level is not None:
                self._places[slot] = (level, -self._nodes.tie_cells[slot], slot)

    # ------------------------------------------------------------------------------------- the beginning looked at

    def _look(self, wanted: int, limit: int) -> None:
        """Until there are enough, and none is left out before the last."""
        while self._next:
            place = self._next[0]
            slot = place[2]
            if self._places.get(slot) != place or slot in self._looked:
                heappop(self._next)
                continue
            enough = len(self._looked) >= limit or (self._candidates >= wanted and self._sparing > 0)
            last = self._last_place() if enough else None
            if last is not None and last < place:
                return
            heappop(self._next)
            self._look_at(place)

    def _look_at(self, place: _Place) -> None:
        slot = place[2]
        free = {column: self._nodes.free_cells[column][slot] for column, _ in self._needs}
        victims = victims_on(self._pods_on(slot), free, self._needs, self._priority, self._spare)
        looked = self._looked[slot] = _Looked(victims, () if victims is None else victims.cost())
        self._candidates += looked.victims is not None
        self._sparing += looked.spares_budgets
        level, tie, _ = place
        heappush(self._last, (-level, -tie, -slot))
        if victims is not None:
            heappush(self._best, (looked.cost, place))

    def _forget(self, slot: int) -> None:
        looked = self._looked.pop(slot)
        self._candidates -= looked.victims is not None
        self._sparing -= looked.spares_budgets

    def _last_place(self) -> _Place | None:
        """Of those looked at."""
        last = self._last
        while last:
            level, tie, slot = (-each for each in last[0])
            if slot in self._looked and self._places[slot] == (level, tie, slot):
                return level, tie, slot
            heappop(last)
        return None

    def _give_back(self, wanted: int, limit: int) -> None:
        """What is at the end, and could have been left out."""
        while (place := self._last_place()) is not None:
            looked = self._looked[place[2]]
            candidates = self._candidates - (looked.victims is not None)
            if len(self._looked) <= limit and (candidates < wanted or self._sparing == looked.spares_budgets):
                return
            heappop(self._last)
            self._forget(place[2])
            heappush(self._next, place)
