"""Who waits for the view of bound pods, and when it is asked for at all. There is one view, for all that need it.

A pod that says something of other pods (affinity, anti-affinity, topology spread) can be placed only by who knows which
pods run where. News of bound pods cost every scheduler some 25 us each, so they are followed from the moment that the
first such pod comes; it and its like wait until the view is complete, which takes one list of the home partition.

A pod on a node may say something of any pod that comes. Whether there are such pods is asked from the start, by two
watches that as a rule have nothing to tell; as soon as there is one, every pod waits for the view.

Others that want it, and wait for it in their own ways: a pod that may preempt (`preemption/preemptor.py`), and groups,
whose members may run already (`entrance.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..revisions import Revision
from .framework.picker import Picker
from .held_pods import HeldPods
from .pending import QUEUED, PendingPod, PodState
from .pod_queue import PodQueue
from .pods_on_nodes import PodsOnNodes


class BoundPods:
    """`home`: the partition whose pods they are. `pods`: all that are on their way, by uid."""

    def __init__(
        self,
        home: str,
        known: PodsOnNodes,
        pickers: Mapping[str, Picker],
        queue: PodQueue,
        pods: Mapping[str, PendingPod],
    ) -> None:
        self._home, self._known, self._pickers, self._queue, self._pods = home, known, pickers, queue, pods
        self._concern_everybody = False
        self._held = HeldPods(queue, pods)

    def can_matter(self) -> bool:
        """Some profile has a plugin that looks at pods on nodes."""
        return any(picker.algorithm.looks_at_pods for picker in self._pickers.values())

    def say_something(self) -> None:
        """There is a pod on a node that says something of others."""
        self._concern_everybody = True
        self.want()

    def holds_up(self, pod: PendingPod) -> bool:
        """Whether a pod taken out of the queue must wait; then it is in the queue again.

        Raises:
            PluginError
        """
        if self._known.complete:
            return False
        algorithm = self._pickers[pod.template.scheduler_name].algorithm
        if not (self._concern_everybody and algorithm.looks_at_pods) and not algorithm.needs_bound_pods(pod.shape):
            return False
        self.want()
        self._held.hold(pod)
        return True

    def synced(self) -> None:
        """The view is complete. Idempotent."""
        if not self._known.complete:
            self._known.complete = True
            self._held.release()
            self._queue.wake_all()  # Some may preempt now.

    def want(self) -> None:
        """Ask for the view. Idempotent."""
        known = self._known
        if known.wanted:
            return
        known.wanted = True
        for pod in self._pods.values():
            if pod.state not in QUEUED:
                known.assume(pod)
            if pod.state is PodState.BOUND:
                known.bound(pod.uid, Revision(self._home, 1))  # Before the view begins: it is in it, or is gone.
