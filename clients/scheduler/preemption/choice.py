"""On which node to preempt: a short list from one pass over all nodes, then exact victims on it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..columns import Charges, NodeColumns
from .levels import PriorityLevels
from .victims import RunningPod, Victims, victims_on

# As long as every node found costs a budget more than it can spare, others are looked at: at most so many, of 30 us.
SEARCHED_MAX: Final = 2000


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


class Looked(NamedTuple):
    """What was found of a node, as of some version of it."""

    version: tuple[int, int]
    victims: Victims | None
    cost: tuple[int, ...]


class Preemption(NamedTuple):
    """The pod is to have the room of this node when the victims are gone; there may be none left to evict."""

    slot: int
    victims: Victims


def choose_node(
    nodes: NodeColumns,
    levels: PriorityLevels,
    pods_on: Callable[[int], list[RunningPod]],
    needs: Charges,
    priority: int,
    allowed: NDArray[np.bool_],
    spare: Mapping[str, int],
    args: PreemptionArgs = PreemptionArgs(),  # noqa: B008  # immutable
    version_of: Callable[[int], tuple[int, int]] | None = None,
    looked: dict[int, Looked] | None = None,
) -> Preemption | None:
    """For a pod that fits nowhere. None: no evictions of lower priority would help it.

    Args:
        needs: (column, units) of its requests.
        allowed: by slot, whether everything but the room is right for the pod.
        spare: by budget, how many more pods it can do without.
        version_of: of a node, what changes with its room and its pods.
        looked: what was found of nodes for the same needs, priority and budgets; kept up to date.
    """
    begins = levels.begins(needs, priority, allowed)
    found = np.flatnonzero(begins.fits)
    # Of equal levels the own shard first, then as the tie bits have it.
    order = found[np.lexsort((-nodes.tie[found], begins.level[found]))]
    wanted = args.candidates(int(np.count_nonzero(nodes.present[: nodes.high])))
    best: tuple[tuple[int, ...], Preemption] | None = None
    candidates = 0
    columns = [column for column, _ in needs]
    for slot in order[: max(wanted, SEARCHED_MAX)].tolist():
        version = (0, 0) if version_of is None else version_of(slot)
        known = None if looked is None else looked.get(slot)
        if known is None or known.version != version:
            free = {column: nodes.free_cells[column][slot] for column in columns}
            victims = victims_on(pods_on(slot), free, needs, priority, spare)
            known = Looked(version, victims, () if victims is None else victims.cost())
            if looked is not None:
                looked[slot] = known
        _, victims, cost = known
        if victims is None:
            continue
        candidates += 1
        if best is None or cost < best[0]:
            best = cost, Preemption(slot, victims)
        if candidates >= wanted and not best[1].victims.violations:
            break
    return None if best is None else best[1]
