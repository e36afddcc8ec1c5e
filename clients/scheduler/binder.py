"""From a chosen node to a bound pod, in two steps, and whatever can happen in between. No I/O.

    claim: create a Placement at the node's resource partition
        accepted -> bind: at the home partition
                        accepted -> done
                        refused, the pod is gone or bound elsewhere -> release the claim
        refused  -> this view of the node was stale: back to the queue

What makes it safe to lose any message, answer or process:

* The claim is what counts. The node's own partition checks it, so nothing here can over-commit a node.
* A pod is bound only after its claim was accepted, and a claim is given up only after the home partition has said that
  the pod will never be bound to it. So a claim that has been seen, once, can be relied on.
* A bind names the history of the home partition in which it was decided on, and the generation of the pod: it is not
  carried out in another history, nor for a pod that asks for something else by now. A claim says its history, too: one
  of another history is given up, not relied on.
* Whatever got no answer may have happened. Its assumption stays, and it is repeated until there is an answer; all
  actions are idempotent. Only where nothing was ever sent may the pod go elsewhere at once.
* A new process knows nothing but what it sees. An unbound pod that has a Placement is bound to that node, even if the
  node is gone meanwhile: its predecessor's bind may be on the way, and a claim given up then would be missing. Such a
  pod is collected with the pods of lost nodes, like one whose node goes right after the bind.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Final

from ...proto import ursa_pb2 as pb
from ...proto.devices import HeldDevices
from ...proto.errors import (
    AlreadyExists,
    Conflict,
    InternalError,
    LinkError,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unreachable,
)
from ...proto.objects import encode
from ...proto.tenants import is_not_here
from ..placements import placement_spec
from ..revisions import Revision
from .actions import Action, Bind, Claim, Evict, Release
from .columns import NodeColumns
from .decisions import Counts, Decisions, Scheduled
from .framework.calls import asked
from .hints import ROOM_MADE
from .hooks import Hooks
from .ledger import Hold
from .options import SchedulerOptions
from .partition_view import Gate, PartitionView, retry_seconds
from .pending import QUEUED, PendingPod, PodState
from .permits import Permits
from .plugins.gpu_share import DeviceChoice
from .pod_queue import PodQueue
from .reports import Reporter

# Answers after which it is not known whether it happened, or that only time can change: the same is asked again.
MAYBE_DONE: Final = (InternalError.reason, Timeout.reason)
ASK_AGAIN: Final = (*MAYBE_DONE, ServiceUnavailable.reason, TooManyRequests.reason)
# Pods bound by this process of which a second Placement may still turn up: one claimed by an earlier process of this
# scheduler in a partition that was seen late. Enough for all that can be on their way when a process is replaced.
SETTLED_MAX: Final = 16384


class Binder:
    """`pods` are all pods known to be on their way, by uid; the binder removes those it is done with."""

    def __init__(
        self,
        home: str,
        nodes: NodeColumns,
        views: dict[str, PartitionView],
        queue: PodQueue,
        reporter: Reporter,
        options: SchedulerOptions,
        device_choices: Mapping[str, DeviceChoice],
    ) -> None:
        self.pods: dict[str, PendingPod] = {}
        self.history = ""  # Of the home partition, as its pods were seen last.
        self.home_gate = Gate()
        self.counts = Counts()
        self.decisions = Decisions()
        self._home, self._nodes, self._views, self._queue = home, nodes, views, queue
        self._reporter, self._options = reporter, options
        self._device_choices = device_choices
        # Ordered: to find the oldest, a plain dict walks past all that were deleted before it.
        self._settled: OrderedDict[str, str] = OrderedDict()
        self._repeats: list[tuple[float, int, Action]] = []
        self._repeats_made = 0
        self.hooks = Hooks({})
        self.permits = Permits(self._bind_claimed, lambda pod, uid, now: self._release(pod, pod.partition, uid, now))
        # Told of pods that are no more on their way, without having been bound.
        self.forgotten: Callable[[str], None] = lambda _uid: None
        # Told of pods that were to be evicted, and were not.
        self.stays: Callable[[str], None] = lambda _uid: None

    # ------------------------------------------------------------------------------------------------- new work

    def claim(self, pod: PendingPod, slot: int, now: float) -> bool:
        """Claim the node in this slot for a pod taken out of the queue. False: no devices of the node would do for it,
        or a plugin does not want it there, and it is back there.

        Raises:
            PluginError: the one that chooses its devices has failed, and nothing is claimed.
        """
        devices: HeldDevices | None = None
        if pod.template.devices.amount:
            devices = self._choose_devices(pod, slot)
            if not devices.numbers:
                # All its GPUs together have the room, none of them alone: Filter did not ask for that.
                self._nodes.refuse(slot, pod.template.id)
                self._queue.push(pod)
                return False
        nodes = self._nodes
        problem = self.hooks.reserve(pod, slot)
        if problem:
            self.cannot_decide(pod, problem, now)
            return False
        facts = nodes.facts[slot]
        assert facts is not None, "a slot without a node was picked"
        view = self._views[nodes.partitions[slot]]
        pod.attempts += 1
        pod.slot, pod.partition, pod.node, pod.node_uid = slot, view.partition, nodes.names[slot], facts.uid
        pod.view_at_claim = nodes.external[slot]
        template = pod.template
        pod.generation = pod.object.generation
        placement = placement_spec(
            pod.node,
            pod.node_uid,
            self._home,
            pod.object.key,
            pod.uid,
            template.requests,
            history=self.history,
            host_ports=template.host_ports,
            devices=() if devices is None else devices.numbers,
        )
        spec = encode(placement)
        charges = template.charges
        if charges is None:
            charges = template.charges = nodes.charges(template.requests)
        nodes.pods.assume(pod)
        view.ledger.assume(pod.uid, slot, charges, spec, facts.uid, self.history, template.host_ports, devices)
        self._send_claim(Claim(pod, spec))
        return True

    def _choose_devices(self, pod: PendingPod, slot: int) -> HeldDevices:
        """Of no numbers: none that would do."""
        choice = self._device_choices[pod.template.scheduler_name]
        numbers = asked(choice.name, choice.choose_devices, pod.shape, self._nodes, slot)
        return HeldDevices(tuple(numbers), pod.template.devices)

    def _send_claim(self, claim: Claim) -> None:
        pod = claim.pod
        pod.state, pod.action = PodState.CLAIMING, claim
        self._views[claim.partition].outstanding += 1
        self.decisions.for_partition(claim.partition).append(claim)

    def _bind_claimed(self, pod: PendingPod, placement_uid: str, now: float, *, adopted: bool) -> None:
        """Its claim holds, and it may be bound. What an earlier process has claimed is bound whatever plugins say."""
        problem = "" if adopted else self.hooks.pre_bind(pod)
        if problem:
            self._complain(pod, problem, now)
            self._release(pod, pod.partition, placement_uid, now)
        else:
            self._bind(pod, placement_uid)

    def _bind(self, pod: PendingPod, placement_uid: str) -> None:
        bind = Bind(self._home, pod, placement_uid, self.history)
        pod.state, pod.action = PodState.BINDING, bind
        self.decisions.binds.append(bind)

    def _release(self, pod: PendingPod, partition: str, placement_uid: str, now: float) -> None:
        """Give up a pod's claim; the pod waits for the answer."""
        if partition not in self._views:
            self._released(pod, placement_uid, now)
        else:
            self._give_up(pod, partition, placement_uid)

    def _give_up(self, pod: PendingPod, partition: str, placement_uid: str) -> None:
        release = Release(partition, pod.uid, placement_uid, pod)
        pod.state, pod.action = PodState.RELEASING, release
        self.decisions.for_partition(partition).append(release)

    def cannot_decide(self, pod: PendingPod, problem: str, now: float) -> None:
        """Nothing has been claimed for a pod taken out of the queue, because a plugin failed."""
        self._complain(pod, problem, now)
        self._back_off(pod, now)

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
                self._take_over(pod, view, hold)
        elif pod.state is PodState.CLAIMING:
            if pod.slot == hold.slot and pod.action is not None and pod.action.waiting:
                self._found_accepted(pod, hold)
        elif pod.state is PodState.BOUND and pod.partition != view.partition:
            self._give_back(view, pod_uid, hold)

    def adopt(self, pod: PendingPod) -> bool:
        """Bind a pod, in no queue, that has a Placement already: an earlier process has claimed it."""
        for view in self._views.values():
            hold = view.ledger.observed.get(pod.uid)
            if hold is not None and view.synced and hold.placement_uid != pod.released:
                self._take_over(pod, view, hold)
                return True
        return False

    def adopt_all(self, view: PartitionView) -> None:
        """The same for all pods in the queue, after the partition has been seen completely."""
        for uid, hold in list(view.ledger.observed.items()):
            pod = self.pods.get(uid) if hold.home else None
            if pod is not None and pod.state in QUEUED and hold.placement_uid != pod.released:
                self._queue.remove(pod)
                self._take_over(pod, view, hold)

    def _take_over(self, pod: PendingPod, view: PartitionView, hold: Hold) -> None:
        name = self._nodes.names[hold.slot]
        pod.slot, pod.partition, pod.node, pod.node_uid = hold.slot, view.partition, name, hold.node_uid
        pod.attempts += 1
        pod.generation = pod.object.generation
        self._nodes.pods.assume(pod)
        if hold.history not in ("", self.history):
            # What has ended the pod in that history may have had its placement released, and the release be on its
            # way: it names the placement, so it does not reach another one.
            self._give_up(pod, view.partition, hold.placement_uid)
        else:
            self.permits.claimed(pod, hold.placement_uid, adopted=True)

    def _found_accepted(self, pod: PendingPod, hold: Hold) -> None:
        """A claim without an answer has happened."""
        self.counts.accepted += 1
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
            if pod.state in (PodState.CLAIMING, PodState.WAITING):
                self.permits.forget(pod)
                self._requeue(pod)
            elif pod.state is PodState.RELEASING and isinstance(pod.action, Release):
                self._released(pod, pod.action.placement_uid, now)

    # ----------------------------------------------------------------------------------------------- answers

    def answered(self, actions: Sequence[Action], results: Sequence[pb.Result], now: float) -> None:
        for action, result in zip(actions, results, strict=True):
            if isinstance(action, Claim):
                self._claim_answered(action, result, now)
            elif isinstance(action, Bind):
                self._bind_answered(action, result, now)
            elif isinstance(action, Release):
                self._release_answered(action, result, now)
            elif isinstance(action, Evict):
                self._evict_answered(action, result, now)

    def unanswered(self, actions: Sequence[Action], error: LinkError | None, now: float) -> None:
        """No answer came (`error` says whether they may have been done), or they were never sent (None)."""
        never_sent = error is None or isinstance(error, Unreachable)
        for action in actions:
            if not never_sent:
                action.in_doubt = True
            if isinstance(action, Claim):
                self._claim_unanswered(action, now)
            elif action.repeats:
                self._repeat_later(action, now)

    def _claim_unanswered(self, claim: Claim, now: float) -> None:
        pod, view = claim.pod, self._views[claim.partition]
        view.outstanding -= 1
        hold = view.ledger.observed.get(pod.uid)
        if not claim.in_doubt:
            # Nothing was ever asked of the partition: the pod is free to go elsewhere.
            view.ledger.withdraw(pod.uid)
            self._queue.help(ROOM_MADE, pod.slot)
            self._requeue(pod)
        elif hold is not None and hold.slot == pod.slot:
            self._found_accepted(pod, hold)
        else:
            self._repeat_later(claim, now)

    def _claim_answered(self, claim: Claim, result: pb.Result, now: float) -> None:
        pod, view = claim.pod, self._views[claim.partition]
        view.outstanding -= 1
        if not result.HasField("error"):
            self.counts.accepted += 1
            view.ledger.accept(pod.uid, Revision(view.partition, result.resource_version))
            self.permits.claimed(pod, result.uid)
            return
        error = result.error
        if error.reason in ASK_AGAIN:
            claim.in_doubt = claim.in_doubt or error.reason in MAYBE_DONE
            self._repeat_later(claim, now, error)
            return
        self.counts.rejected += 1
        view.ledger.withdraw(pod.uid)
        self._queue.help(ROOM_MADE, pod.slot)  # Others may have been parked because of it.
        if pod.gone:
            self._forget(pod)
        elif error.reason in (Conflict.reason, NotFound.reason):
            self._claim_refused(pod, error.reason, now)
        elif error.reason == AlreadyExists.reason and pod.uid in view.ledger.observed:
            self._take_over(pod, view, view.ledger.observed[pod.uid])
        else:
            # AlreadyExists: its Placement on another node has not been seen yet, but will be.
            self._complain(pod, f"node {pod.node} of {pod.partition} refused the pod: {error.message}", now)
            self._back_off(pod, now)

    def _claim_refused(self, pod: PendingPod, reason: str, now: float) -> None:
        """No room, or no such node: what this scheduler knows of the node is out of date."""
        nodes, slot = self._nodes, pod.slot
        facts = nodes.facts[slot] if nodes.find(pod.partition, pod.node) == slot else None
        if facts is not None and facts.uid == pod.node_uid and nodes.external[slot] == pod.view_at_claim:
            # No news of the node has come since it was picked: it would be picked again.
            if reason == Conflict.reason:
                nodes.refuse(slot, pod.template.id)
            else:
                nodes.clear_node(slot)
        pod.conflicts += 1
        if pod.conflicts > self._options.conflicts_max:
            pod.conflicts = 0
            self._back_off(pod, now)
        else:
            self._requeue(pod)

    def _bind_answered(self, bind: Bind, result: pb.Result, now: float) -> None:
        pod = bind.pod
        if not result.HasField("error"):
            self._nodes.pods.bound(pod.uid, Revision(self._home, result.resource_version))
            self._bound(pod, now)
            return
        error = result.error
        if error.reason == NotFound.reason and is_not_here(error):
            # Its tenant has moved, or does not come: the claim is of use where it lives.
            self._forget(pod)
            return
        if error.reason in (Conflict.reason, NotFound.reason) or pod.deleting:
            # It is gone, or bound elsewhere, or going: it will never be bound to this node, the claim is of no use.
            self._release(pod, pod.partition, bind.placement_uid, now)
            return
        if error.reason not in ASK_AGAIN:
            self._complain(pod, f"binding to node {pod.node} of {pod.partition} was refused: {error.message}", now)
        self._repeat_later(bind, now, error)

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
            self._forget(pod)

    def _release_answered(self, release: Release, result: pb.Result, now: float) -> None:
        if result.HasField("error") and result.error.reason in ASK_AGAIN:
            self._repeat_later(release, now, result.error)
            return
        pod = release.pod
        if pod is None:
            return
        self._views[release.partition].ledger.withdraw(pod.uid)
        self._queue.help(ROOM_MADE, pod.slot)
        self._released(pod, release.placement_uid, now)

    def _released(self, pod: PendingPod, placement_uid: str, now: float) -> None:
        pod.released = placement_uid
        if pod.gone:
            self._forget(pod)
        else:
            self._back_off(pod, now)

    def _evict_answered(self, evict: Evict, result: pb.Result, now: float) -> None:
        if not result.HasField("error"):
            return
        if result.error.reason in ASK_AGAIN:
            self._repeat_later(evict, now, result.error)
        else:
            self.stays(evict.uid)  # Or is gone, or another one: that is seen by itself.

    # --------------------------------------------------------------------------------------------- once again

    def next_repeat(self) -> float:
        """When `repeat_due` next has something to do; infinity: never."""
        return min(self._repeats[0][0] if self._repeats else math.inf, self.permits.next_deadline())

    def repeat_due(self, now: float) -> None:
        self.permits.due(now)
        while self._repeats and self._repeats[0][0] <= now:
            _, _, action = heappop(self._repeats)
            action.waiting = False
            if isinstance(action, Claim):
                # Unless its Placement has been seen meanwhile.
                if action.pod.action is action:
                    self._send_claim(action)
            elif isinstance(action, Bind):
                self._bind_again(action, now)
            elif isinstance(action, Evict):
                self.decisions.evictions.append(action)
            elif action.partition in self._views:
                self.decisions.for_partition(action.partition).append(action)

    def _bind_again(self, bind: Bind, now: float) -> None:
        pod = bind.pod
        if bind.history != self.history and not pod.gone:
            # It was decided on in a history that is gone, in which its claim may have been ended.
            self._release(pod, pod.partition, bind.placement_uid, now)
            return
        bind.history = self.history  # A pod that is not seen unbound may be bound there already; the partition says.
        self.decisions.binds.append(bind)

    def _repeat_later(self, action: Action, now: float, error: pb.Status | None = None) -> None:
        action.failures += 1
        action.waiting = True
        wait_seconds = retry_seconds(action.failures)
        if error is not None:
            wait_seconds = max(wait_seconds, error.retry_after_ms / 1000)
        self._repeats_made += 1
        heappush(self._repeats, (now + wait_seconds, self._repeats_made, action))

    # ---------------------------------------------------------------------------------------- back to the queue

    def _forget(self, pod: PendingPod) -> None:
        pod.action = None
        if pod.state is not PodState.BOUND:
            self._nodes.pods.withdraw(pod.uid)
            self.forgotten(pod.uid)
            self.hooks.unreserve(pod, pod.slot)
        del self.pods[pod.uid]

    def _requeue(self, pod: PendingPod) -> None:
        if pod.gone:
            self._forget(pod)
            return
        pod.action = None
        self._nodes.pods.withdraw(pod.uid)
        self.hooks.unreserve(pod, pod.slot)
        # While it was being claimed here, a claim of an earlier process may have turned up elsewhere.
        if not self.adopt(pod):
            self._queue.push(pod)

    def _back_off(self, pod: PendingPod, now: float) -> None:
        pod.action = None
        pod.failures += 1
        self._nodes.pods.withdraw(pod.uid)
        if pod.slot >= 0:
            self.hooks.unreserve(pod, pod.slot)
        if not self.adopt(pod):
            self._queue.back_off(pod, now + self._options.backoff_seconds(pod.failures))

    def _complain(self, pod: PendingPod, message: str, now: float) -> None:
        if pod.gone:
            return
        self.counts.errors += 1
        report = self._reporter.say(pod, message, now)
        if report is not None:
            self.decisions.reports.append(report)
