"""The bound pods of the home partition by node, and the budgets that guard them: who may be evicted, and at what price.

Only pods that have been seen bound: what is merely on its way to a node is nobody's victim. What they take is given
back by their Placement, of which another partition tells, sooner or later than home tells of the pod. So a pod takes
what its Placement holds, and without one nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ....proto.objects import Object, ObjectKey, parse_time
from ....proto.selectors import Selector, label_selector_of, selects
from ..columns import Charges, NodeColumns
from ..pods_on_nodes import PodOnNode
from .levels import Level, PriorityLevels
from .victims import NOT_STARTED_MS, RunningPod


class _Running:
    __slots__ = ("budgets_at", "level", "pod", "slot")

    def __init__(self, pod: RunningPod, slot: int, level: Level) -> None:
        self.pod, self.slot, self.level = pod, slot, level
        self.budgets_at = -1  # As of which change of budgets `pod.budgets` are known.


class _Budget(NamedTuple):
    selector: Selector | None
    spare: int


class RunningPods:
    """What `nodes.pods` knows, as it matters to who may preempt, from the moment that somebody may.

    `followed`: somebody may. `changes` counts what may make another choice of victims. `held_by` says what a partition
    holds, as far as is known, for a pod (by uid): nothing, if it has no placement of it.
    """

    def __init__(self, nodes: NodeColumns, held_by: Callable[[str, str], Charges]) -> None:
        self._nodes, self._held_by = nodes, held_by
        self.levels = PriorityLevels(nodes)
        self.followed = False
        self.changes = 0
        self._pods: dict[str, _Running] = {}
        self._budgets: dict[ObjectKey, _Budget] = {}
        self.budget_changes = 0

    @property
    def complete(self) -> bool:
        """It is followed, and all bound pods have been seen once."""
        return self.followed and self._nodes.pods.complete

    def follow(self) -> None:
        """Somebody may preempt. Idempotent."""
        if not self.followed:
            self.followed = True
            for pod in self._nodes.pods.observed():
                self._see(pod)

    def seen(self, uid: str) -> None:
        """A pod has been seen bound, or has changed: `nodes.pods` has it."""
        known = self._nodes.pods.get(uid)
        if self.followed and known is not None:
            self._see(known)

    def _see(self, known: PodOnNode) -> None:
        self.changes += 1
        uid, before = known.uid, self._pods.get(known.uid)
        # What has been asked to go is going, until it is seen to stay after all: see `stays`.
        leaving = bool(known.object.deletion_ms) or (before is not None and before.pod.leaving)
        if before is not None:
            self._take(uid)
        pod = RunningPod(
            uid,
            known.priority,
            self._held_by(self._nodes.partitions[known.slot], uid),
            parse_time(known.started_at) if known.started_at else NOT_STARTED_MS,
            (),
            leaving,
        )
        self._put(pod, known.slot)

    def held(self, uid: str, charges: Charges) -> None:
        """The placement of a pod has come and holds this, or is gone."""
        known = self._pods.get(uid)
        if known is not None and known.pod.charges != charges:
            self._replace(known, known.pod._replace(charges=charges))

    def gone(self, uid: str) -> None:
        """It has finished, or is gone."""
        if uid in self._pods:
            self.changes += 1
            self._take(uid)

    def asked_to_go(self, uid: str) -> None:
        """Its deletion is on its way."""
        self._mark(uid, leaving=True)

    def stays(self, uid: str) -> None:
        """Its deletion was refused."""
        known = self._nodes.pods.get(uid)
        self._mark(uid, leaving=known is not None and bool(known.object.deletion_ms))

    def _mark(self, uid: str, *, leaving: bool) -> None:
        known = self._pods.get(uid)
        if known is not None and known.pod.leaving != leaving:
            self._replace(known, known.pod._replace(leaving=leaving))

    def _replace(self, known: _Running, pod: RunningPod) -> None:
        self.changes += 1
        self.levels.remove(known.level, known.slot, known.pod.charges)
        known.level = self.levels.add(pod.priority, known.slot, pod.charges, leaving=pod.leaving)
        known.pod = pod

    def on(self, slot: int) -> list[RunningPod]:
        """With the budgets that select them now."""
        here = ((known, self._pods.get(known.uid)) for known in self._nodes.pods.on(slot))
        return [self._guarded(running, known) for known, running in here if running is not None]

    def _guarded(self, running: _Running, known: PodOnNode) -> RunningPod:
        if running.budgets_at != self.budget_changes and (self._budgets or running.pod.budgets):
            labels = known.object.labels
            running.budgets_at = self.budget_changes
            running.pod = running.pod._replace(
                budgets=tuple(
                    str(key)
                    for key, budget in self._budgets.items()
                    if (key.tenant, key.namespace) == (known.tenant, known.namespace)
                    and budget.selector is not None
                    and selects(budget.selector, labels.get)
                )
            )
        return running.pod

    # ----------------------------------------------------------------------------------------------------- budgets

    def budget_seen(self, budget: Object) -> None:
        selector = budget.spec.get("selector")
        read = None if selector is None else label_selector_of(selector)
        self._budgets[budget.key] = _Budget(read, int(budget.status.get("disruptionsAllowed") or 0))
        self.changes += 1
        self.budget_changes += 1

    def budget_gone(self, budget: Object) -> None:
        self._budgets.pop(budget.key, None)
        self.changes += 1
        self.budget_changes += 1

    @property
    def spare(self) -> dict[str, int]:
        """By budget, how many more pods it can do without."""
        return {str(key): budget.spare for key, budget in self._budgets.items()}

    # ----------------------------------------------------------------------------------------------------- changes

    def _put(self, pod: RunningPod, slot: int) -> None:
        level = self.levels.add(pod.priority, slot, pod.charges, leaving=pod.leaving)
        self._pods[pod.uid] = _Running(pod, slot, level)
        self._nodes.keep(slot)

    def _take(self, uid: str) -> None:
        running = self._pods.pop(uid, None)
        if running is None:
            return
        self.levels.remove(running.level, running.slot, running.pod.charges)
        self._nodes.let_go(running.slot)
