"""The second step: what follows a claim that holds, the pod's binding, or its claim's release. No I/O.

Also the ways into it from the side (a Placement is found that this process has not made) and out of it (back to the
queue, or forgotten). See `binder.py` for what holds whatever happens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from ...proto import ursa_pb2 as pb
from ...proto.errors import Conflict, NotFound
from ...proto.tenants import is_not_here
from ..revisions import Revision
from .actions import Bind, Release, TakeOver
from .columns import NodeColumns
from .decisions import Counts, Decisions, Scheduled
from .framework.interface import Wait
from .hints import POD_GONE, ROOM_MADE
from .hooks import CycleEnd, Hooks
from .ledger import Hold
from .options import SchedulerOptions
from .partition_view import PartitionView
from .pending import QUEUED, PendingPod, PodState
from .permits import Permits
from .pod_queue import PodQueue
from .pre_binds import PreBinds
from .repeats import ASK_AGAIN, Repeats
from .reports import Reporter

# Pods bound by this process of which a second Placement may still turn up: one claimed by an earlier process of this
# scheduler in a partition that was seen late. Enough for all that can be on their way when a process is replaced.
SETTLED_MAX: Final = 16384


class Bindings:
    """`pods` are all pods known to be on their way, by uid; those that are done with are removed."""

    def __init__(
        self,
        home: str,
        nodes: NodeColumns,
        views: Mapping[str, PartitionView],
        queue: PodQueue,
        reporter: Reporter,
        options: SchedulerOptions,
        hooks: Hooks,
        repeats: Repeats,
    ) -> None:
        self.pods: dict[str, PendingPod] = {}
        self.history = ""  # Of the home partition, as its pods were seen last.
        self.counts = Counts()
        self.decisions = Decisions()
        self.hooks = hooks
        self._home, self._nodes, self._views, self._queue = home, nodes, views, queue
        self._reporter, self._options, self._repeats = reporter, options, repeats
        # Ordered: to find the oldest, a plain dict walks past all that were deleted before it.
        self._settled: OrderedDict[str, str] = OrderedDict()
        self.permits = Permits(self._bind_claimed, self._release_unless_taken_over, self.complain)
        self.pre_binds = PreBinds(self._bind_claimed, self._object)
        # Told of pods that are no more on their way, without having been bound.
        self.forgotten: Callable[[str], None] = lambda _uid: None

    # ---------------------------------------------------------------------------------------- bind, or release

    def _bind_claimed(self, pod: PendingPod, placement_uid: str, now: float, *, adopted: bool) -> None:
        """Its claim holds, and it may be bound, as soon as plugins say so. One that is gone waits for nothing: the
        binding says what has become of it."""
        answer = "" if pod.gone else self.hooks.wait_before_binding(pod)
        if isinstance(answer, Wait):
            self.pre_binds.wait(pod, placement_uid, answer.seconds, now, adopted=adopted)
            return
        self.pre_binds.forget(pod)
        if not answer and not adopted:
            answer = self.hooks.pre_bind(pod)
        if answer:
            self._object(pod, placement_uid, answer, now, adopted)
        elif self._claimed_in_another_history(pod) and not pod.gone:
            self._release(pod, pod.partition, placement_uid, now)
        else:
            self._bind(pod, placement_uid, adopted=adopted)

    def _claimed_in_another_history(self, pod: PendingPod) -> bool:
        """Of the home partition; in one that is gone the claim may have been ended. Empty: its maker did not say."""
        return pod.claimed_in not in ("", self.history)

    def _object(self, pod: PendingPod, placement_uid: str, problem: str, now: float, adopted: bool) -> None:
        """What an earlier process has claimed is bound whatever plugins say: its own binding may be on the way."""
        if problem:
            self.complain(pod, problem, now)
        if adopted:
            self._bind(pod, placement_uid, adopted=True)
        else:
            self._release_unless_taken_over(pod, placement_uid, now)

    def _bind(self, pod: PendingPod, placement_uid: str, *, adopted: bool) -> None:
        bind = Bind(self._home, pod, placement_uid, self.history)
        pod.state, pod.action = PodState.BINDING, bind
        if adopted or pod.template.scheduler_name not in self.hooks.cycles:
            self.decisions.binds.append(bind)
        else:
            self.decisions.cycles.append(bind)

    def cycle_ended(self, bind: Bind, end: CycleEnd, now: float) -> None:
        """The plugins of a binding cycle have done their part, or have failed."""
        pod = bind.pod
        if end.problem:
            self.complain(pod, end.problem, now)
        if end.result is not None:
            self.bind_answered(bind, end.result, now)
        elif end.in_doubt:
            self._repeats.later(bind, now)
        elif not pod.gone and (end.problem or pod.partition not in self._views):
            self._release_unless_taken_over(pod, bind.placement_uid, now)
        else:
            # Of a pod that is gone its home partition says whether it is bound here.
            self.bind_again(bind, now)

    def _release_unless_taken_over(self, pod: PendingPod, placement_uid: str, now: float) -> None:
        """The same where not the home partition, but a plugin says that the pod is not bound by it."""
        self._release(pod, pod.partition, placement_uid, now, pod.claim_revision)

    def _release(self, pod: PendingPod, partition: str, placement_uid: str, now: float, revision: int = 0) -> None:
        """Give up a pod's claim; the pod waits for the answer."""
        if partition not in self._views:
            self.released(pod, placement_uid, now)
        else:
            self.give_up(pod, partition, placement_uid, revision)

    def give_up(self, pod: PendingPod, partition: str, placement_uid: str, revision: int = 0) -> None:
        release = Release(partition, pod.uid, placement_uid, pod, revision)
        pod.state, pod.action = PodState.RELEASING, release
        self.decisions.for_partition(partition).append(release)

    # ------------------------------------------------------------------------------------------------- answers

    def bind_answered(self, bind: Bind, result: pb.Result, now: float) -> None:
        pod = bind.pod
        if not result.HasField("error"):
            self._nodes.pods.bound(pod.uid, Revision(self._home, result.resource_version))
            self._bound(pod, now)
            return
        error = result.error
        if error.reason == NotFound.reason and is_not_here(error):
            # Its tenant has moved, or does not come: the claim is of use where it lives.
            self.forget(pod)
            return
        if error.reason in (Conflict.reason, NotFound.reason) or pod.deleting:
            # It is gone, or bound elsewhere, or going: it will never be bound to this node, the claim is of no use.
            self._release(pod, pod.partition, bind.placement_uid, now)
            return
        if error.reason not in ASK_AGAIN:
            self.complain(pod, f"binding to node {pod.node} of {pod.partition} was refused: {error.message}", now)
        self._repeats.later(bind, now, error)

    def _bound(self, pod: PendingPod, now: float) -> None:
        self.counts.scheduled += 1
        self.decisions.scheduled.append(Scheduled(pod.object, now - pod.arrived_at, pod.attempts))
        pod.state, pod.action = PodState.BOUND, None
        self.hooks.post_bind(pod)
        if len(self._settled) >= SETTLED_MAX:
            self._settled.popitem(last=False)
        self._settled[pod.uid] = pod.partition
        for view in self._views.values():
            if view.partition != pod.partition and (stray := view.ledger.observed.get(pod.uid)):
                self._give_back(view, pod.uid, stray)
        if pod.gone:
            self.forget(pod)

    def bind_again(self, bind: Bind, now: float) -> None:
        pod = bind.pod
        if bind.history != self.history and not pod.gone:
            # It was decided on in a history that is gone, in which its claim may have been ended.
            self._release(pod, pod.partition, bind.placement_uid, now)
            return
        bind.history = self.history  # A pod that is not seen unbound may be bound there already; the partition says.
        self.decisions.binds.append(bind)

    def release_answered(self, release: Release, result: pb.Result, now: float) -> None:
        if result.HasField("error") and result.error.reason in ASK_AGAIN:
            self._repeats.later(release, now, result.error)
            return
        pod = release.pod
        if pod is None:
            return
        self._views[release.partition].ledger.withdraw(pod.uid)
        if release.revision and result.HasField("error") and result.error.reason == Conflict.reason:
            self._was_taken_over(pod, now)
            return
        self._queue.help(ROOM_MADE, pod.slot)
        self.released(pod, release.placement_uid, now)

    def _was_taken_over(self, pod: PendingPod, now: float) -> None:
        """Who has written into its Placement may bind the pod by it. So it is not given up, and once it is seen it is
        taken for that of another process."""
        if pod.gone:
            self.forget(pod)
        else:
            self.back_off(pod, now)

    def released(self, pod: PendingPod, placement_uid: str, now: float) -> None:
        pod.released = placement_uid
        if pod.gone:
            self.forget(pod)
        else:
            self.back_off(pod, now)

    # ---------------------------------------------------------------------------------------- placements found

    def placement_found(self, view: PartitionView, pod_uid: str, hold: Hold) -> None:
        """A Placement of a home pod has been seen that was not known."""
        pod = self.pods.get(pod_uid)
        if pod is not None and pod.released == hold.placement_uid:
            return  # Its deletion is still on the way to our view.
        if pod is None:
            # Where a controller has found the pod bound, it was bound after all: our binding was in a history that was
            # set back.
            if not hold.bound and self._settled.get(pod_uid, view.partition) != view.partition:
                self._give_back(view, pod_uid, hold)
        elif pod.state in QUEUED:
            if view.synced:
                self._queue.remove(pod)
                self.take_over(pod, view, hold)
        elif pod.state is PodState.CLAIMING:
            if pod.slot == hold.slot and pod.action is not None and pod.action.waiting:
                self.found_accepted(pod, hold)
        elif pod.state is PodState.BOUND and pod.partition != view.partition:
            self._give_back(view, pod_uid, hold)

    def adopt(self, pod: PendingPod) -> bool:
        """Take over the claim of a pod, in no queue, that has a Placement already: an earlier process has made it."""
        for view in self._views.values():
            hold = view.ledger.observed.get(pod.uid)
            if hold is not None and hold.home and view.synced and hold.placement_uid != pod.released:
                self.take_over(pod, view, hold)
                return True
        return False

    def adopt_all(self, view: PartitionView) -> None:
        """The same for all pods in the queue, after the partition has been seen completely."""
        for uid, hold in list(view.ledger.observed.items()):
            pod = self.pods.get(uid) if hold.home else None
            if pod is not None and pod.state in QUEUED and hold.placement_uid != pod.released:
                self._queue.remove(pod)
                self.take_over(pod, view, hold)

    def take_over(self, pod: PendingPod, view: PartitionView, hold: Hold) -> None:
        name = self._nodes.names[hold.slot]
        pod.slot, pod.partition, pod.node, pod.node_uid = hold.slot, view.partition, name, hold.node_uid
        pod.devices = () if hold.devices is None else hold.devices.numbers
        pod.attempts += 1
        pod.generation, pod.claim_revision, pod.claimed_in = pod.object.generation, 0, hold.history
        self._nodes.pods.assume(pod)
        if self._claimed_in_another_history(pod):
            # What has ended the pod in that history may have had its placement released, and the release be on its
            # way: it names the placement, so it does not reach another one.
            self.give_up(pod, view.partition, hold.placement_uid)
        else:
            take_over = TakeOver(pod, hold.placement_uid)
            pod.state, pod.action = PodState.TAKING_OVER, take_over
            self.decisions.for_partition(view.partition).append(take_over)

    def take_over_answered(self, take_over: TakeOver, result: pb.Result, now: float) -> None:
        pod = take_over.pod
        if pod.action is not take_over:
            return  # The partition was none meanwhile.
        if not result.HasField("error"):
            if self._claimed_in_another_history(pod):
                self.give_up(pod, pod.partition, take_over.placement_uid)
            elif pod.gone:
                self._bind(pod, take_over.placement_uid, adopted=True)
            else:
                self.permits.claimed(pod, take_over.placement_uid, adopted=True)
            return
        error = result.error
        if error.reason in (Conflict.reason, NotFound.reason):
            # The earlier process has given it up, and so has bound nothing by it.
            pod.released = take_over.placement_uid
            self.requeue(pod)
            return
        if error.reason not in ASK_AGAIN:
            self.complain(pod, f"its claim of node {pod.node} of {pod.partition} cannot be used: {error.message}", now)
        self._repeats.later(take_over, now, error)

    def found_accepted(self, pod: PendingPod, hold: Hold) -> None:
        """A claim without an answer has happened."""
        self.counts.accepted += 1
        pod.claim_revision, pod.claimed_in = hold.revision, hold.history
        self.permits.claimed(pod, hold.placement_uid)

    def _give_back(self, view: PartitionView, pod_uid: str, hold: Hold) -> None:
        """Delete a second Placement, of a pod that is bound by another."""
        self.decisions.for_partition(view.partition).append(Release(view.partition, pod_uid, hold.placement_uid, None))

    # ---------------------------------------------------------------------------------------- partitions gone

    def partition_removed(self, partition: str, now: float) -> None:
        """A resource partition is none any more, and is in no view by now: nothing that was claimed there holds, and
        no answer comes. A pod that is being bound there is its home partition's to decide on."""
        self.decisions.actions.pop(partition, None)
        for pod in [pod for pod in self.pods.values() if pod.partition == partition]:
            if pod.state in (PodState.CLAIMING, PodState.TAKING_OVER, PodState.WAITING):
                self.permits.forget(pod)
                self.pre_binds.forget(pod)
                self.requeue(pod)
            elif pod.state is PodState.RELEASING and isinstance(pod.action, Release):
                self.released(pod, pod.action.placement_uid, now)

    # ---------------------------------------------------------------------------------------- back to the queue

    def cannot_decide(self, pod: PendingPod, problem: str, now: float) -> None:
        """Nothing has been claimed for a pod taken out of the queue, because a plugin failed."""
        self.complain(pod, problem, now)
        self.back_off(pod, now)

    def forget(self, pod: PendingPod) -> None:
        pod.action = None
        if pod.state is not PodState.BOUND:
            self.forgotten(pod.uid)
            self._unreserve(pod)
        del self.pods[pod.uid]

    def requeue(self, pod: PendingPod) -> None:
        if pod.gone:
            self.forget(pod)
            return
        pod.action = None
        self._unreserve(pod)
        # While it was being claimed here, a claim of an earlier process may have turned up elsewhere.
        if not self.adopt(pod):
            self._queue.push(pod)

    def waiting_gone(self, pod: PendingPod, now: float) -> None:
        """A pod that waited, with its claim held, is gone."""
        self.permits.gone(pod, now)
        self.pre_binds.gone(pod, now)

    def back_off(self, pod: PendingPod, now: float) -> None:
        pod.action = None
        pod.failures += 1
        self._unreserve(pod)
        if not self.adopt(pod):
            until = now + self._options.backoff_seconds(pod.failures) if pod.resume_at <= now else pod.resume_at
            self._queue.back_off(pod, until)

    def _unreserve(self, pod: PendingPod) -> None:
        """It does not go to its node after all."""
        if self._nodes.pods.withdraw(pod.uid):
            self._queue.help(POD_GONE, pod.slot)
        if pod.slot >= 0:
            self.hooks.unreserve(pod, pod.slot)

    def complain(self, pod: PendingPod, message: str, now: float) -> None:
        if pod.gone:
            return
        self.counts.errors += 1
        report = self._reporter.went_wrong(pod, message, now)
        if report is not None:
            self.decisions.reports.append(report)
