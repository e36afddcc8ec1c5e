"""The pods that wait to be scheduled: active, backing off, unschedulable.

Active pods come in order of priority, then of arrival. A pod that failed backs off for a while. A pod that fits
nowhere is parked with all others of its shape until something happens that could help: then, at most every 50 ms,
the shape is asked once whether it fits anywhere now, and only if it does its pods become active again, a batch at a
time. So ten thousand pods that fit nowhere cost no more at every event than one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from .framework.shape import Shape
from .pending import PendingPod, PodState

# How often parked shapes are asked again, so that asking takes a small part of the time even if all have changed.
MOVE_SECONDS_MIN: Final = 0.05
# Asked in one go, about three milliseconds at 1,000 nodes; the others come next time.
MOVE_SHAPES_MAX: Final = 64
# Pods of one shape made active in one go: a batch of the scheduler. What of them does not fit is parked again.
MOVE_PODS_MAX: Final = 256

_Heap = list[tuple[float, int, int, PendingPod]]


class PodQueue:
    """`active`, `backing_off`, `unschedulable` count the pods in each part."""

    def __init__(self) -> None:
        self.active = self.backing_off = self.unschedulable = 0
        self._active: _Heap = []  # (-priority, order, ticket, pod)
        self._backoff: _Heap = []  # (until, order, ticket, pod)
        self._parked: dict[int, tuple[Shape, dict[str, PendingPod]]] = {}
        self._helped = False
        self._to_ask: dict[int, None] = {}
        self._next_move = -math.inf
        self._tickets = 0

    # ------------------------------------------------------------------------------------------------- in and out

    def push(self, pod: PendingPod) -> None:
        """Make a pod that is in no part of the queue active."""
        pod.state = PodState.ACTIVE
        self.active += 1
        heappush(self._active, (-pod.template.priority, pod.order, self._ticket(pod), pod))

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
        self._parked.setdefault(pod.shape.id, (pod.shape, {}))[1][pod.uid] = pod

    def remove(self, pod: PendingPod) -> None:
        """Take a pod out of whichever part it is in."""
        pod.ticket = 0
        if pod.state is PodState.ACTIVE:
            self.active -= 1
        elif pod.state is PodState.BACKOFF:
            self.backing_off -= 1
        elif pod.state is PodState.UNSCHEDULABLE:
            self._unpark(pod)

    def _ticket(self, pod: PendingPod) -> int:
        self._tickets += 1
        pod.ticket = self._tickets
        return self._tickets

    def _unpark(self, pod: PendingPod) -> None:
        self.unschedulable -= 1
        pods = self._parked[pod.shape.id][1]
        del pods[pod.uid]
        if not pods:
            del self._parked[pod.shape.id]
            self._to_ask.pop(pod.shape.id, None)

    # -------------------------------------------------------------------------------------------------- back again

    def help(self) -> None:
        """Something has happened that may make room for pods that fitted nowhere."""
        self._helped = True

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
        if self._helped:
            self._helped = False
            for shape_id in self._parked:
                self._to_ask.setdefault(shape_id)
        if self._to_ask:
            self._next_move = now + MOVE_SECONDS_MIN
            for shape_id in list(self._to_ask)[:MOVE_SHAPES_MAX]:
                del self._to_ask[shape_id]
                shape, pods = self._parked[shape_id]
                if fits(shape):
                    if len(pods) > MOVE_PODS_MAX:
                        self._to_ask[shape_id] = None
                    self._activate(list(islice(pods.values(), MOVE_PODS_MAX)))

    def _activate(self, pods: list[PendingPod]) -> None:
        for pod in pods:
            self._unpark(pod)
            self.push(pod)

    def next_deadline(self) -> float:
        """When `release_due` or `move` next have something to do; infinity: not before something happens."""
        while self._backoff and self._backoff[0][3].ticket != self._backoff[0][2]:
            heappop(self._backoff)
        due = self._backoff[0][0] if self._backoff else math.inf
        if self._to_ask or (self._helped and self._parked):
            due = min(due, self._next_move)
        return due
