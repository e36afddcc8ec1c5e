"""The pods that wait to be scheduled: gated, active, backing off, unschedulable.

Active pods come in order of priority, then of arrival. A pod that failed backs off for a while; one that a PreEnqueue
plugin keeps out is gated. A pod that fits nowhere is parked with all others of its shape until something happens that
may help it (`hints.py`): then, at most every 50 ms, the shape is asked once whether it fits anywhere now, and only if
it does its pods become active again, a batch at a time. So ten thousand pods that fit nowhere cost no more at every
event than one.

Kubernetes wakes each pod by itself, and has it back off first. Here a pod comes back without, because it is known to
fit; and all are asked again after a minute (`core.py`), not after five, because that costs a question a shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice
from typing import Any, Final

from .framework.interface import ClusterEvent
from .framework.shape import Shape
from .hints import Happened, Refusers
from .pending import PendingPod, PodState

# How often parked shapes are asked again, so that asking takes a small part of the time even if all have changed.
MOVE_SECONDS_MIN: Final = 0.05
# Asked in one go, about three milliseconds at 1,000 nodes; the others come next time.
MOVE_SHAPES_MAX: Final = 64
# Pods of one shape made active in one go: a batch of the scheduler. What of them does not fit is parked again.
MOVE_PODS_MAX: Final = 256

_Heap = list[tuple[Any, int, int, PendingPod]]


def by_priority(pod: PendingPod) -> int:
    return -pod.template.priority


class _Parked:
    """The pods of one shape, and who refused it."""

    __slots__ = ("pods", "refusers", "shape")

    def __init__(self, shape: Shape, refusers: Refusers) -> None:
        self.shape, self.refusers = shape, refusers
        self.pods: dict[str, PendingPod] = {}


class PodQueue:
    """`active`, `backing_off`, `unschedulable`, `gated` count the pods in each part.

    Args:
        refusers_of: who refuses a shape that fits nowhere; `before` are those known to have refused it, where nothing
            has happened since but that room has been made.
        sort_key: active pods come in ascending order of it, and of arrival where it is equal.
    """

    def __init__(
        self,
        refusers_of: Callable[[Shape, Refusers], Refusers] = lambda _shape, _before: None,
        sort_key: Callable[[PendingPod], Any] = by_priority,
    ) -> None:
        self.active = self.backing_off = self.unschedulable = self.gated = 0
        self._refusers_of, self._sort_key = refusers_of, sort_key
        self._active: _Heap = []  # (sort key, order, ticket, pod)
        self._backoff: _Heap = []  # (until, order, ticket, pod)
        self._parked: dict[int, _Parked] = {}
        self._happened = Happened()
        # Shapes to be asked; True: after something else than that room has been made.
        self._to_ask: dict[int, bool] = {}
        self._next_move = -math.inf
        self._tickets = 0

    def __bool__(self) -> bool:
        """Whether any pod waits here."""
        return bool(self.active or self.backing_off or self.unschedulable or self.gated)

    # ------------------------------------------------------------------------------------------------- in and out

    def push(self, pod: PendingPod) -> None:
        """Make a pod that is in no part of the queue active."""
        pod.state = PodState.ACTIVE
        self.active += 1
        heappush(self._active, (self._sort_key(pod), pod.order, self._ticket(pod), pod))

    def pop(self) -> PendingPod | None:
        """The next active pod; it is in no part of the queue any more."""
        heap = self._active
        while heap:
            _, _, ticket, pod = heappop(heap)
            if pod.ticket == ticket:
                self.active -= 1
                pod.ticket = 0
                return pod
        return None

    def back_off(self, pod: PendingPod, until: float) -> None:
        pod.state = PodState.BACKOFF
        self.backing_off += 1
        heappush(self._backoff, (until, pod.order, self._ticket(pod), pod))

    def park(self, pod: PendingPod) -> None:
        """It fits nowhere."""
        pod.state = PodState.UNSCHEDULABLE
        self.unschedulable += 1
        parked = self._parked.get(pod.shape.id)
        if parked is None:
            parked = self._parked[pod.shape.id] = _Parked(pod.shape, self._refusers_of(pod.shape, None))
        parked.pods[pod.uid] = pod

    def gate(self, pod: PendingPod) -> None:
        """It is not to be queued yet."""
        pod.state = PodState.GATED
        self.gated += 1

    def remove(self, pod: PendingPod) -> None:
        """Take a pod out of whichever part it is in."""
        pod.ticket = 0
        if pod.state is PodState.ACTIVE:
            self.active -= 1
        elif pod.state is PodState.BACKOFF:
            self.backing_off -= 1
        elif pod.state is PodState.UNSCHEDULABLE:
            self._unpark(pod)
        elif pod.state is PodState.GATED:
            self.gated -= 1

    def _ticket(self, pod: PendingPod) -> int:
        self._tickets += 1
        pod.ticket = self._tickets
        return self._tickets

    def _unpark(self, pod: PendingPod) -> None:
        self.unschedulable -= 1
        pods = self._parked[pod.shape.id].pods
        del pods[pod.uid]
        if not pods:
            del self._parked[pod.shape.id]
            self._to_ask.pop(pod.shape.id, None)

    # -------------------------------------------------------------------------------------------------- back again

    def help(self, event: ClusterEvent | None = None, slot: int = -1) -> None:
        """Something has happened that may help pods that fitted nowhere: see `Happened.note`."""
        self._happened.note(event, slot)

    def wake_all(self) -> None:
        """Have all unschedulable pods looked at."""
        for parked in list(self._parked.values()):
            self._activate(list(parked.pods.values()))

    def wake_some(self, shape_id: int) -> None:
        """Have unschedulable pods of a shape looked at, a batch of them."""
        parked = self._parked.get(shape_id)
        if parked is not None:
            self._activate(list(islice(parked.pods.values(), MOVE_PODS_MAX)))

    def wake(self, pod: PendingPod) -> None:
        """Have an unschedulable pod looked at, whatever is known of its shape."""
        self._activate([pod])

    def release_due(self, now: float) -> None:
        """Make pods active whose backoff is over."""
        heap = self._backoff
        while heap and heap[0][0] <= now:
            _, _, ticket, pod = heappop(heap)
            if pod.ticket == ticket:
                self.backing_off -= 1
                self.push(pod)

    def move(self, now: float, fits: Callable[[Shape], bool]) -> None:
        """Ask the parked shapes again, if something has happened, and make active what may fit now."""
        if now < self._next_move:
            return
        if self._happened:
            of_nodes = self._happened.of_nodes
            for shape_id, parked in self._parked.items():
                if self._happened.may_help(parked.shape, parked.refusers):
                    self._to_ask[shape_id] = self._to_ask.get(shape_id, False) or of_nodes
            self._happened.clear()
        if self._to_ask:
            self._next_move = now + MOVE_SECONDS_MIN
            for shape_id in list(self._to_ask)[:MOVE_SHAPES_MAX]:
                of_nodes = self._to_ask.pop(shape_id)
                parked = self._parked[shape_id]
                if not fits(parked.shape):
                    parked.refusers = self._refusers_of(parked.shape, None if of_nodes else parked.refusers)
                    continue
                if len(parked.pods) > MOVE_PODS_MAX:
                    self._to_ask[shape_id] = of_nodes
                self._activate(list(islice(parked.pods.values(), MOVE_PODS_MAX)))

    def _activate(self, pods: list[PendingPod]) -> None:
        for pod in pods:
            self._unpark(pod)
            self.push(pod)

    def next_deadline(self) -> float:
        """When `release_due` or `move` next have something to do; infinity: not before something happens."""
        while self._backoff and self._backoff[0][3].ticket != self._backoff[0][2]:
            heappop(self._backoff)
        due = self._backoff[0][0] if self._backoff else math.inf
        if self._to_ask or (self._happened and self._parked):
            due = min(due, self._next_move)
        return due
