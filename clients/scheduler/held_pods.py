"""Pods that wait, out of the queue's turn, until something is known that they cannot be placed without. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .pending import PendingPod, PodState
from .pod_queue import PodQueue


class HeldPods:
    """`pods`: all that are on their way, by uid."""

    def __init__(self, queue: PodQueue, pods: Mapping[str, PendingPod]) -> None:
        self._queue, self._pods = queue, pods
        self._held: dict[str, None] = {}

    def hold(self, pod: PendingPod) -> None:
        """A pod that was taken out of the queue: it is in it again, and waits for `release`."""
        self._queue.back_off(pod, math.inf)
        self._held[pod.uid] = None

    def release(self) -> None:
        """It is known: all of them have their turn again."""
        for uid in self._held:
            pod = self._pods.get(uid)
            if pod is not None and pod.state is PodState.BACKOFF:
                self._queue.remove(pod)
                self._queue.push(pod)
        self._held.clear()
