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
* Where a plugin is the reason (what Permit, PreBind or Bind refuse is not bound), the claim is given up only as the
  partition has made it. A new process that relies on it writes into it first, so of the two one is refused, and what
  a former process has sent never takes the claim away from a pod that is bound.
* A bind names the history of the home partition in which it was decided on, and the generation of the pod: it is not
  carried out in another history, nor for a pod that asks for something else by now. A claim says its history, too: one
  of another history is given up, not relied on.
* Whatever got no answer may have happened. Its assumption stays, and it is repeated until there is an answer; all
  actions are idempotent. Only where nothing was ever sent may the pod go elsewhere at once.
* A new process knows nothing but what it sees. An unbound pod that has a Placement is bound to that node, once this has
  been taken over, even if the node is gone meanwhile: its predecessor's bind may be on the way, and a claim given up
  then would be missing. Such a pod is collected with the pods of lost nodes, like one whose node goes right after the
  bind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError, Unreachable
from .actions import Action, Bind, Claim, Evict, ForVolumes, Release, TakeOver
from .bindings import Bindings
from .claims import Claims
from .columns import NodeColumns
from .hooks import Hooks
from .options import SchedulerOptions
from .partition_view import Gate, PartitionView
from .plugins.gpu_share import DeviceChoice
from .pod_queue import PodQueue
from .repeats import ASK_AGAIN, Repeats
from .reports import Reporter
from .volume_binder import VolumeBinder


class Binder:
    """Hands answers, and what is to be repeated, to whom they concern: `claims`, the first step, or `bindings`, what
    follows. It has the evictions itself: they are no step of any pod on its way."""

    def __init__(
        self,
        home: str,
        nodes: NodeColumns,
        views: Mapping[str, PartitionView],
        queue: PodQueue,
        reporter: Reporter,
        options: SchedulerOptions,
        device_choices: Mapping[str, DeviceChoice],
        hooks: Hooks,
    ) -> None:
        self.home_gate = Gate()
        self._views, self._repeats = views, Repeats()
        self.bindings = Bindings(home, nodes, views, queue, reporter, options, hooks, self._repeats)
        self.claims = Claims(home, nodes, views, queue, options, device_choices, self.bindings, self._repeats)
        self.decisions = self.bindings.decisions
        bindings = self.bindings
        self.volumes = VolumeBinder(
            home, nodes, queue, self.decisions, lambda: bindings.history, bindings.pre_binds.news
        )
        # Told of pods that were to be evicted, and were not.
        self.stays: Callable[[str], None] = lambda _uid: None

    def home_set_back(self, history: str) -> None:
        """The home partition goes on in another history."""
        self.bindings.history = history
        self.home_gate.answered()  # What it refuses for the sake of the former one says nothing of its link.

    # ----------------------------------------------------------------------------------------------- answers

    def answered(self, actions: Sequence[Action], results: Sequence[pb.Result], now: float) -> None:
        for action, result in zip(actions, results, strict=True):
            if isinstance(action, Claim):
                self.claims.answered(action, result, now)
            elif isinstance(action, Bind):
                self.bindings.bind_answered(action, result, now)
            elif isinstance(action, TakeOver):
                self.bindings.take_over_answered(action, result, now)
            elif isinstance(action, Release):
                self.bindings.release_answered(action, result, now)
            elif isinstance(action, Evict):
                self._evict_answered(action, result, now)
            elif isinstance(action, ForVolumes):
                self._volumes_answered(action, result, now)

    def unanswered(self, actions: Sequence[Action], error: LinkError | None, now: float) -> None:
        """No answer came (`error` says whether they may have been done), or they were never sent (None)."""
        never_sent = error is None or isinstance(error, Unreachable)
        for action in actions:
            if not never_sent:
                action.in_doubt = True
            if isinstance(action, Claim):
                self.claims.unanswered(action, now)
            elif action.repeats:
                self._repeats.later(action, now)

    def _evict_answered(self, evict: Evict, result: pb.Result, now: float) -> None:
        if not result.HasField("error"):
            return
        if result.error.reason in ASK_AGAIN:
            self._repeats.later(evict, now, result.error)
        else:
            self.stays(evict.uid)  # Or is gone, or another one: that is seen by itself.

    def _volumes_answered(self, action: ForVolumes, result: pb.Result, now: float) -> None:
        if result.HasField("error") and result.error.reason in ASK_AGAIN:
            self._repeats.later(action, now, result.error)
        else:
            self.volumes.answered(action, result)

    # --------------------------------------------------------------------------------------------- once again

    def next_repeat(self) -> float:
        """When `repeat_due` next has something to do; infinity: never."""
        bindings = self.bindings
        return min(self._repeats.next_deadline(), bindings.permits.next_deadline(), bindings.pre_binds.next_deadline())

    def repeat_due(self, now: float) -> None:
        self.bindings.permits.due(now)
        self.bindings.pre_binds.due(now)
        for action in self._repeats.due(now):
            if isinstance(action, Claim):
                # Unless its Placement has been seen meanwhile.
                if action.pod.action is action:
                    self.claims.send(action)
            elif isinstance(action, Bind):
                self.bindings.bind_again(action, now)
            elif isinstance(action, Evict):
                self.decisions.evictions.append(action)
            elif isinstance(action, ForVolumes):
                self.decisions.volumes.append(action)
            elif action.partition in self._views:
                self.decisions.for_partition(action.partition).append(action)
