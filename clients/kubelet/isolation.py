"""A kubelet that hears of nobody stops its pods, before others may run them again (`clients/node_fence.py`).

Of each node it is known when its Lease was last renewed, by the time at which that renewal was sent; of each tenant
partition when it last said anything. A pod goes on as long as either of its two partitions was heard of. Times are of
the clock that does not jump.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping

import trio

from .core import Kubelet

# How often it is looked at: short against the fence, and nothing but a comparison as long as partitions are heard of.
LOOK_SECONDS = 5.0


class Isolation:
    """Of the nodes of one process. `heard_at`: when each tenant partition last said anything to this process."""

    def __init__(
        self,
        kubelets: Mapping[str, Kubelet],
        heard_at: Callable[[], Mapping[str, float]],
        settle: Callable[[str], None],
        fence_seconds: float,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._kubelets, self._heard_at, self._settle = kubelets, heard_at, settle
        self._fence_seconds = fence_seconds
        self._log = log
        self._renewed_at: dict[str, float] = {}
        self.stopped = 0  # Pods, since the process began.

    def renewed(self, nodes: Iterable[str], sent_at: float) -> None:
        """The home partition has taken what these nodes sent then."""
        for node in nodes:
            self._renewed_at[node] = max(sent_at, self._renewed_at.get(node, -math.inf))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            self.look(trio.current_time())

    def look(self, now: float) -> None:
        until = now - self._fence_seconds
        for partition, heard_at in self._heard_at().items():
            if heard_at > until:
                continue
            stopped = 0
            for name, kubelet in self._kubelets.items():
                if self._renewed_at.get(name, -math.inf) <= until:
                    stopped += kubelet.fence(partition, self._fence_seconds)
            if stopped:
                self.stopped += stopped
                self._log.warning(
                    "neither %s nor the home partition was heard of for %g s: %d pods are stopped, others may run them",
                    partition,
                    self._fence_seconds,
                    stopped,
                )
                self._settle(partition)
