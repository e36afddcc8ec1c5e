"""From a pod that fits nowhere to the room that is made for it: nominations, and the evictions they need. No I/O.

    fits nowhere ──a node is chosen──> nominated: its victims are deleted, gracefully; its room is held for it
                                            │
           each time a victim's room is free, and whenever it may fit elsewhere: it is picked, or goes on waiting
                                            │
           picked, gone, or its node is gone: the nomination ends

The room of a nominated pod counts as taken for all pods but those of higher priority: if one of these fits nowhere
else, it takes the room, and the nomination ends. As long as one of its victims is still there, a pod does not preempt
again; so nobody evicts twice for one pod. Others' schedulers know nothing of a nomination: one of them may claim the
room first; then the pod is unschedulable as before. After a restart nothing is known of nominations, but pods that are
leaving are: their room is found first, and nobody else is evicted for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np

from ..actions import Evict, Nominate
from ..bound_pods import BoundPods
from ..columns import Charges, NodeColumns
from ..decisions import Decisions, Report
from ..framework.column import INFEASIBLE
from ..framework.interface import Bools, Nominated, PluginError, Skip, Unresolvable
from ..framework.picker import Picker
from ..framework.shape import Shape
from ..hints import ROOM_MADE
from ..partition_view import PartitionView
from ..pending import QUEUED, PendingPod, PodState
from ..plugins.default_preemption import DefaultPreemption
from ..plugins.node_resources_fit import NodeResourcesFit
from ..pod_queue import PodQueue
from .choice import Candidates, Preemption
from .running import RunningPods

NEVER: Final = "Never"
# How often those are looked at again for whom nobody could be evicted: a pass over all nodes for each shape.
RETRY_SECONDS: Final = 1.0
FUTILE_MAX: Final = 4096  # Shapes remembered.
# Kinds of pods for which candidates are kept, at some 300 bytes a node.
CANDIDATES_MAX: Final = 4


class Nomination:
    """`victims`: those whose room is not free yet."""

    __slots__ = ("charges", "pod", "priority", "slot", "victims")

    def __init__(self, pod: PendingPod, slot: int, charges: Charges, victims: dict[str, None]) -> None:
        self.pod, self.slot, self.charges, self.victims = pod, slot, charges, victims
        self.priority = pod.template.priority


class Preemptor:
    """Of DefaultPreemption, for all profiles that have it; and the nominations of all PostFilter plugins."""

    def __init__(
        self,
        home: str,
        nodes: NodeColumns,
        views: Mapping[str, PartitionView],
        pickers: Mapping[str, Picker],
        queue: PodQueue,
        bound_pods: BoundPods,
    ) -> None:
        self._home, self._nodes, self._pickers, self._queue = home, nodes, pickers, queue
        self._bound_pods = bound_pods
        self.running = RunningPods(nodes, lambda partition, uid: _held(views.get(partition), uid))
        self.nominations: dict[str, Nomination] = {}
        self._by_priority: dict[int, dict[str, Nomination]] = {}
        self._for_whom: dict[str, dict[str, None]] = {}  # By the uid of a victim, those of the pods that wait for it.
        # By shape, as of when nothing could be done for it.
        self._futile: dict[int, tuple[int, int, int]] = {}
        self._offered: dict[int, None] = {}
        self._candidates: dict[tuple[int, int], Candidates] = {}  # By template, and as of which change of budgets.
        self._retry_at = -math.inf
        self._retried = 0  # As of which change of the running pods.

    # -------------------------------------------------------------------------------------------------- at its turn

    def pick(self, pod: PendingPod, picker: Picker) -> int:
        """As `Picker.pick`, and with the room that is held for the pod, or for others of lower priority.

        Raises:
            PluginError
        """
        try:
            return self._pick(pod, picker)
        finally:
            # What was withheld is so for others until their turn.
            for slot in self._offered:
                self._nodes.withhold(slot)
            self._offered.clear()

    def _pick(self, pod: PendingPod, picker: Picker) -> int:
        nomination = self.nominations.get(pod.uid)
        if nomination is not None:
            with self._lifted([nomination]):
                keys = picker.keys(pod.shape)
                slot = nomination.slot if keys[nomination.slot] >= 0 else picker.pick(pod.shape)
            if slot == INFEASIBLE and nomination.victims:
                self._hold(nomination)
                return INFEASIBLE
            self._end(nomination)
            if slot != INFEASIBLE:
                return slot
        slot = picker.pick(pod.shape)
        return slot if slot != INFEASIBLE else self._pick_over_others(pod, picker)

    def _pick_over_others(self, pod: PendingPod, picker: Picker) -> int:
        lower = self._lower(pod)
        if not lower:
            return INFEASIBLE
        with self._lifted(lower):
            slot = picker.pick(pod.shape)
        self._hold_but_at(slot, lower)
        return slot

    @contextmanager
    def _lifted(self, nominations: Sequence[Nomination]) -> Iterator[None]:
        """Their room is free from here on; as it was, if a plugin fails meanwhile."""
        for each in nominations:
            self._lift(each)
        try:
            yield
        except PluginError:
            for each in nominations:
                self._hold(each)
            raise

    def _lower(self, pod: PendingPod) -> list[Nomination]:
        mine = pod.template.priority
        return [each for priority, these in self._by_priority.items() if priority < mine for each in these.values()]

    def _hold_but_at(self, slot: int, nominations: list[Nomination]) -> None:
        """Again, those that were lifted; who was to have room at `slot` gives way."""
        for each in nominations:
            if each.slot != slot:
                self._hold(each)
                continue
            self._end(each)
            if each.pod.state is PodState.UNSCHEDULABLE:
                self._queue.wake(each.pod)  # It may have room made elsewhere.

    def _lift(self, nomination: Nomination) -> None:
        slot = nomination.slot
        self._nodes.unhold(slot, nomination.charges)
        if slot in self._nodes.withheld:
            # Room that was made for this pod is not offered to others first.
            self._nodes.offer(slot)
            self._offered[slot] = None

    def _hold(self, nomination: Nomination) -> None:
        self._nodes.hold(nomination.slot, nomination.charges)

    def _end(self, nomination: Nomination) -> None:
        """Its room is held no more."""
        uid, priority = nomination.pod.uid, nomination.priority
        del self.nominations[uid], self._by_priority[priority][uid]
        if not self._by_priority[priority]:
            del self._by_priority[priority]
        for victim in nomination.victims:
            waiting = self._for_whom[victim]
            del waiting[uid]
            if not waiting:
                del self._for_whom[victim]

    def sweep(self) -> None:
        """End the nominations of pods that wait no more, and of nodes that are gone."""
        for nomination in list(self.nominations.values()):
            if nomination.pod.state not in QUEUED or self._nodes.facts[nomination.slot] is None:
                self.forget(nomination.pod.uid)

    def forget(self, pod_uid: str) -> None:
        """The pod waits no more, or not for this node."""
        nomination = self.nominations.get(pod_uid)
        if nomination is not None:
            self._nodes.unhold(nomination.slot, nomination.charges)
            self._end(nomination)
            self._queue.help(ROOM_MADE, nomination.slot)

    # -------------------------------------------------------------------------------------------- it fits nowhere

    def knows_bound_pods(self) -> bool:
        """Whether all that are bound have been seen; if not, they will be, and who fits nowhere is looked at then."""
        if not self.running.followed:
            self._bound_pods.want()
            self.running.follow()
        return self.running.complete

    def preempt(self, pod: PendingPod, plugin: DefaultPreemption, decisions: Decisions, history: str) -> bool:
        """Choose a node for a pod that fits nowhere, and have its victims evicted. False: nobody can be.

        Raises:
            PluginError
        """
        if pod.object.spec.get("preemptionPolicy") == NEVER:
            return False
        if pod.template.priority > 0 and not self.knows_bound_pods():
            return False
        if not self.running.complete or self._futile.get(pod.shape.id) == self._state():
            return False
        lower = self._lower(pod)
        lowest = self.running.levels.lowest
        for each in lower:
            self._nodes.unhold(each.slot, each.charges)
        try:
            found = None if lowest is None or lowest >= pod.template.priority else self._choose(pod, plugin)
        except PluginError:
            for each in lower:
                self._hold(each)
            raise
        self._hold_but_at(INFEASIBLE if found is None else found.slot, lower)
        if found is None:
            self.nothing_helps(pod)
            return False
        self._nominate(pod, found.slot, tuple(each.uid for each in found.victims.pods), decisions, history)
        return True

    def nothing_helps(self, pod: PendingPod) -> None:
        """Pods like this one are looked at again when other pods run."""
        if len(self._futile) >= FUTILE_MAX:
            self._futile.clear()
        self._futile[pod.shape.id] = self._state()

    def nominate(self, pod: PendingPod, plugin: str, found: Nominated, decisions: Decisions, history: str) -> None:
        """Do as a plugin of a user's says.

        Raises:
            PluginError: there is no such node, or a victim does not run there.
        """
        nodes = self._nodes
        if not isinstance(found.slot, int | np.integer) or not 0 <= found.slot < nodes.high:
            raise PluginError(plugin, f"has nominated slot {found.slot!r}: there are 0 to {nodes.high - 1}")
        slot = int(found.slot)
        if nodes.facts[slot] is None:
            raise PluginError(plugin, f"has nominated slot {slot}, where there is no node any more")
        here = dict.fromkeys(each.uid for each in self.running.on(slot))
        for uid in found.victims:
            if uid not in here:
                raise PluginError(plugin, f"would evict pod {uid}, which does not run on node {nodes.names[slot]}")
        self._nominate(pod, slot, tuple(dict.fromkeys(found.victims)), decisions, history)

    def _state(self) -> tuple[int, int, int]:
        return self._nodes.changes.end, self._nodes.static_changes.end, self.running.changes

    def _choose(self, pod: PendingPod, plugin: DefaultPreemption) -> Preemption | None:
        nodes = self._nodes
        columns = nodes.resource_columns
        requests = {name: units for name, units in pod.template.requests.items() if units}
        if any(name not in columns for name in requests):
            return None
        needs = tuple((columns[name], units) for name, units in requests.items())
        allowed = right_but_for_room(self._pickers[pod.template.scheduler_name], nodes, pod.shape)
        return self._candidates_for(pod, needs).choose(allowed, plugin.args.candidates(nodes.nodes))

    def _candidates_for(self, pod: PendingPod, needs: Charges) -> Candidates:
        """What is kept for pods like this one: the next is mostly one of them."""
        running, key = self.running, (pod.template.id, self.running.budget_changes)
        candidates = self._candidates.pop(key, None)
        if candidates is None:
            if len(self._candidates) >= CANDIDATES_MAX:
                del self._candidates[next(iter(self._candidates))]
            candidates = Candidates(
                self._nodes, running.levels, running.on, needs, pod.template.priority, running.spare
            )
        self._candidates[key] = candidates
        return candidates

    def _nominate(self, pod: PendingPod, slot: int, evicted: Sequence[str], decisions: Decisions, history: str) -> None:
        nodes = self._nodes
        charges = pod.template.charges
        if charges is None:
            charges = pod.template.charges = nodes.charges(pod.template.requests)
        # Those that were leaving already are waited for as well.
        leaving = [each.uid for each in self.running.on(slot) if each.leaving and each.charges]
        victims = dict.fromkeys((*evicted, *leaving))
        nomination = self.nominations[pod.uid] = Nomination(pod, slot, charges, victims)
        self._by_priority.setdefault(nomination.priority, {})[pod.uid] = nomination
        for uid in victims:
            self._for_whom.setdefault(uid, {})[pod.uid] = None
        self._hold(nomination)
        for uid in evicted:
            known = nodes.pods.get(uid)
            assert known is not None, "a victim is seen bound"
            self.running.asked_to_go(uid)
            decisions.evictions.append(Evict(self._home, known.object, history))
            told = f"Preempted by pod {pod.uid} on node {nodes.names[slot]}"
            decisions.reports.append(Report(known.object, told, "Preempted", "Normal"))
        decisions.evictions.append(Nominate(self._home, pod, nodes.names[slot], history))

    def retry(self, now: float) -> None:
        """Have those looked at again for whom nothing could be done, if other pods run by now."""
        if now < self._retry_at or self._retried == self.running.changes:
            return
        self._retry_at, self._retried = now + RETRY_SECONDS, self.running.changes
        futile, self._futile = self._futile, {}
        for shape_id in futile:
            self._queue.wake_some(shape_id)

    def next_retry(self) -> float:
        """When `retry` next has something to do; infinity: not before something happens."""
        return self._retry_at if self._futile and self._retried != self.running.changes else math.inf

    # ------------------------------------------------------------------------------------------------ what happens

    def room_is_free(self, pod_uid: str) -> None:
        """The placement of a pod is gone."""
        self.running.held(pod_uid, ())
        self._no_victim(pod_uid)

    def _no_victim(self, pod_uid: str) -> None:
        """Nobody waits for it any more."""
        for waiting in self._for_whom.pop(pod_uid, {}):
            nomination = self.nominations[waiting]
            del nomination.victims[pod_uid]
            if nomination.pod.state is PodState.UNSCHEDULABLE:
                self._queue.wake(nomination.pod)

    def stays(self, pod_uid: str) -> None:
        """A pod was not evicted after all."""
        self.running.stays(pod_uid)
        self._no_victim(pod_uid)


def _held(view: PartitionView | None, uid: str) -> Charges:
    hold = None if view is None else view.ledger.observed.get(uid)
    return () if hold is None else hold.charges


def right_but_for_room(picker: Picker, nodes: NodeColumns, shape: Shape) -> Bools:
    """By slot in use: all filters but the one of resources pass, as things are. (What victims do to other filters, as
    their ports and their anti-affinity, is not foreseen.)

    Raises:
        PluginError
    """
    column, everywhere = picker.column(shape), slice(0, nodes.high)
    right = column.node_passes
    for call, state in column.questions.room_filters:
        if call.name != NodeResourcesFit.name:
            right = right & call.over(state, shape, nodes, everywhere)
    for call in picker.algorithm.live_filters if picker.pods_matter(shape) else ():
        state = call.state(shape, nodes)
        if isinstance(state, Unresolvable):
            return np.zeros(nodes.high, np.bool_)
        if not isinstance(state, Skip):
            right = right & call.over(state, shape, nodes, everywhere)
    return right
