"""Scheduling cycles: for each pod whose turn it is a node is chosen, and claimed, or the pod is parked. No I/O.

What goes on then is `Binder`'s, as in Kubernetes the binding cycle is not part of the scheduling cycle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from .actions import Probe
from .binder import Binder
from .bound_pods import BoundPods
from .columns import NodeColumns
from .decisions import Decisions
from .entrance import Entrance
from .explanation import RecentDecisions
from .framework.column import INFEASIBLE
from .framework.interface import PluginError
from .framework.picker import Picker
from .framework.shape import Shape
from .options import SchedulerOptions
from .partition_view import PartitionView, unseen_partitions
from .pending import PendingPod
from .pod_queue import PodQueue
from .post_filters import PostFilters
from .preemption.preemptor import Preemptor
from .reports import Reporter
from .turns import Turns
from .volume_news import SeenVolumes

# Pods that fit nowhere are looked at again after this even if nothing seems to have changed, and refusals are
# forgotten: should our idea of a node and its partition's ever differ for good, no pod waits for good because of it.
LEFTOVER_SECONDS: Final = 60.0
# While a new process has not seen all resource partitions, it uses those it has seen; but for so long it calls no pod
# unschedulable, and looks at it again soon: the others are seen within a moment, unless they are down.
SETTLE_SECONDS: Final = 10.0
SETTLE_RETRY_SECONDS: Final = 0.5


class SchedulingCycles:
    """`pickers`: by the name that pods give. `recent`: what was chosen lately."""

    def __init__(
        self,
        nodes: NodeColumns,
        views: Mapping[str, PartitionView],
        pickers: Mapping[str, Picker],
        queue: PodQueue,
        binder: Binder,
        preemptor: Preemptor,
        bound_pods: BoundPods,
        volumes: SeenVolumes,
        entrance: Entrance,
        reporter: Reporter,
        options: SchedulerOptions,
    ) -> None:
        self._nodes, self._views, self._pickers, self._queue = nodes, views, pickers, queue
        self._binder, self._preemptor, self._bound_pods, self._entrance = binder, preemptor, bound_pods, entrance
        self._volumes = volumes
        self._reporter, self._options = reporter, options
        self._decisions, self._counts = binder.decisions, binder.bindings.counts
        self._post_filters = PostFilters(pickers, nodes, preemptor)
        self._turns = Turns(nodes)
        self.recent = RecentDecisions()
        self.pods_synced = False  # All unbound pods have been seen once.
        self._blocked = False
        self._leftovers_at = -math.inf
        self._settled_at = math.inf

    def step(self, now: float) -> Decisions:
        """Decide on at most `options.batch_pods` pods, and hand out all that is to be done by now."""
        # The home partition needs no probe: a binding without an answer is repeated until there is one.
        for view in self._views.values():
            if view.gate.probe_due(now):
                self._decisions.for_partition(view.partition).append(Probe(view.partition))
        self._binder.repeat_due(now)
        self._queue.release_due(now)
        if now >= self._leftovers_at:
            self._leftovers_at = now + LEFTOVER_SECONDS
            self._nodes.forget_refusals()
            self._queue.help()
        if self._turns.advance(now):
            self._queue.help()
        self._blocked = False
        if self._may_pick():
            self._settled_at = min(self._settled_at, now + SETTLE_SECONDS)
            self._preemptor.retry(now)
            if self._preemptor.nominations:
                self._preemptor.sweep()
            self._queue.move(now, self._fits_somewhere)
            self._pick_batch(now)
        return self._decisions.take()

    @property
    def has_more(self) -> bool:
        """Whether another `step` would find pods to decide on right away."""
        return bool(self._queue.active) and not self._blocked and self._may_pick()

    def next_deadline(self) -> float:
        """When `step` next has something to do if nothing happens; infinity: never."""
        due = min((view.gate.probe_at for view in self._views.values()), default=math.inf)
        due = min(due, self._binder.next_repeat())
        if self._may_pick():
            due = min(due, self._queue.next_deadline())
            if self._queue.unschedulable:
                due = min(due, self._preemptor.next_retry())
                due = min(due, self._leftovers_at, self._turns.next_deadline())
        return due

    def _may_pick(self) -> bool:
        # While the home partition does not answer, claims could not be followed by a binding.
        return self.pods_synced and self._binder.home_gate.is_open and any(view.synced for view in self._views.values())

    def _pick_batch(self, now: float) -> None:
        partitions, views, pickers, known = self._nodes.partitions, self._views, self._pickers, self._nodes.pods
        for _ in range(self._options.batch_pods):
            pod = self._queue.pop()
            if pod is None:
                return
            try:
                if not known.complete and self._bound_pods.holds_up(pod):
                    continue
                if pod.template.claims and self._volumes.holds_up(pod):
                    continue
                self._decisions.pods += 1
                picker = pickers[pod.template.scheduler_name]
                slot = self._preemptor.pick(pod, picker) if self._preemptor.nominations else picker.pick(pod.shape)
                if slot == INFEASIBLE:
                    self._post_filters.make_room(pod, self._decisions, self._binder.bindings.history)
                elif views[partitions[slot]].outstanding >= self._options.claims_outstanding_max:
                    self._queue.push(pod)
                    self._blocked = True
                    return
                elif self._binder.claims.claim(pod, slot, now):
                    self.recent.note(pod.uid, pod.shape, pod.partition, pod.node)
            except PluginError as error:
                self._binder.bindings.cannot_decide(pod, str(error), now)
                continue
            if slot == INFEASIBLE:
                self._park(pod, now)

    def _fits_somewhere(self, shape: Shape) -> bool:
        return self._pickers[shape.template.scheduler_name].fits_somewhere(shape)

    def _park(self, pod: PendingPod, now: float) -> None:
        if now < self._settled_at and unseen_partitions(self._views):
            self._queue.back_off(pod, now + SETTLE_RETRY_SECONDS)
            return
        pod.attempts += 1
        self._counts.unschedulable += 1
        if not self._entrance.backs_off_with_group(pod, now):
            self._queue.park(pod)
        report = self._reporter.does_not_fit(pod, now) if self._options.events else None
        if report is not None:
            self._decisions.reports.append(report)
