"""Which pods of a node have to go for one of higher priority, and which node is the best to do that on. No I/O.

As Kubernetes' DefaultPreemption: take all pods of lower priority off the node; if the pod fits then, put back as many
as possible, those first whose eviction would violate a PodDisruptionBudget, and the more important first; the others
are the victims. Of the nodes, the best is the one with the fewest violations, then the lowest highest priority of a
victim, the lowest sum of priorities, the fewest victims, and the latest start of those of the highest priority.

Unlike there, a pod that is being deleted is no victim: it goes anyhow, and its room is counted on. So where enough is
leaving already, nobody else is evicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

# (column of the node table, units): what a pod needs of a node.
Needs = tuple[tuple[int, int], ...]
# Added to each priority, so that of two sums the one of fewer pods is lower even if priorities are negative.
_PRIORITY_OFFSET: Final = 2**31
# Below the priority of any pod.
_NO_PRIORITY: Final = -(2**31) - 1
# When a pod that has not started does so: later than all that have.
NOT_STARTED_MS: Final = 2**62


class RunningPod(NamedTuple):
    """A pod on a node. `charges`: what it takes there; `budgets`: those that select it, by any name; `leaving`: it is
    being deleted."""

    uid: str
    priority: int
    charges: Needs
    started_ms: int = NOT_STARTED_MS
    budgets: tuple[str, ...] = ()
    leaving: bool = False


class Victims(NamedTuple):
    """`pods`: the most important first. `violations`: how many of them their budgets cannot spare."""

    pods: tuple[RunningPod, ...]
    violations: int

    def cost(self) -> tuple[int, int, int, int, int]:
        """The lower the better."""
        if not self.pods:
            return 0, _NO_PRIORITY, 0, 0, 0
        highest = self.pods[0].priority
        started = min(pod.started_ms for pod in self.pods if pod.priority == highest)
        total = sum(pod.priority + _PRIORITY_OFFSET for pod in self.pods)
        return self.violations, highest, total, len(self.pods), -started


def victims_on(
    pods: Iterable[RunningPod], free: Mapping[int, float], needs: Needs, priority: int, spare: Mapping[str, int]
) -> Victims | None:
    """Who has to go from a node with so much `free`, for a pod of this priority; None: it would not fit even then.

    Args:
        free: at least of the columns in `needs`; negative where more is held than there is.
        spare: how many more pods each budget can do without.
    """
    room = {column: free[column] - units for column, units in needs}
    lower: list[RunningPod] = []
    for pod in pods:
        if pod.leaving or pod.priority < priority:
            _move(room, pod, 1)
            if not pod.leaving:
                lower.append(pod)
    if any(left < 0 for left in room.values()):
        return None
    lower.sort(key=_importance)
    victims: list[RunningPod] = []
    violations = 0
    violating, others = _by_budgets(lower, spare)
    for group in (violating, others):
        for pod in group:
            _move(room, pod, -1)
            if any(left < 0 for left in room.values()):
                _move(room, pod, 1)
                victims.append(pod)
                violations += group is violating
    victims.sort(key=_importance)
    return Victims(tuple(victims), violations)


def _importance(pod: RunningPod) -> tuple[int, int, str]:
    return -pod.priority, pod.started_ms, pod.uid


def _move(room: dict[int, float], pod: RunningPod, sign: int) -> None:
    for column, units in pod.charges:
        if column in room:
            room[column] += sign * units


def _by_budgets(pods: Sequence[RunningPod], spare: Mapping[str, int]) -> tuple[list[RunningPod], list[RunningPod]]:
    """Those that a budget could not spare if all of them went, the more important first; and the others."""
    left = dict(spare)
    violating: list[RunningPod] = []
    others: list[RunningPod] = []
    for pod in pods:
        violates = False
        for budget in pod.budgets:
            left[budget] = left.get(budget, 0) - 1
            violates = violates or left[budget] < 0
        (violating if violates else others).append(pod)
    return violating, others
