"""Pods whose claims hold, and that wait because a PreBind plugin says so. No I/O.

    may be bound ──PreBind: ""──> bind
          └──Wait──> waiting ──news──> asked again
                        └──time is up, or the pod is gone──> release; or bind, if an earlier process has claimed it

What an earlier process has claimed is bound in the end whatever plugins say, for the reason that `permits.py` has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from .pending import PendingPod, PodState


class _Ask(Protocol):
    def __call__(self, pod: PendingPod, placement_uid: str, now: float, *, adopted: bool) -> None: ...


class _Waiting:
    __slots__ = ("adopted", "placement_uid", "pod", "seconds", "until")

    def __init__(self, pod: PendingPod, placement_uid: str, seconds: float, until: float, adopted: bool) -> None:
        self.pod, self.placement_uid, self.seconds, self.until = pod, placement_uid, seconds, until
        self.adopted = adopted


class PreBinds:
    """`ask` is given a pod whose plugins may answer otherwise now; `end` one whose time is up, or that is gone."""

    def __init__(self, ask: _Ask, end: Callable[[PendingPod, str, str, float, bool], None]) -> None:
        self._ask, self._end = ask, end
        self._waiting: dict[str, _Waiting] = {}
        self._has_news = False

    def wait(self, pod: PendingPod, placement_uid: str, seconds: float, now: float, *, adopted: bool) -> None:
        """A plugin waits, at most so long from when it first did."""
        pod.state, pod.action = PodState.WAITING, None
        if pod.uid not in self._waiting:
            self._waiting[pod.uid] = _Waiting(pod, placement_uid, seconds, now + seconds, adopted)

    def forget(self, pod: PendingPod) -> None:
        """It waits no more."""
        self._waiting.pop(pod.uid, None)

    def news(self) -> None:
        """Plugins may answer otherwise from now on."""
        self._has_news = bool(self._waiting)

    def gone(self, pod: PendingPod, now: float) -> None:
        """The pod is gone."""
        waiting = self._waiting.pop(pod.uid, None)
        if waiting is not None:
            self._end(pod, waiting.placement_uid, "", now, waiting.adopted)

    def due(self, now: float) -> None:
        """Ask again, and give up those whose time is up."""
        if self._has_news:
            self._has_news = False
            for waiting in list(self._waiting.values()):
                self._ask(waiting.pod, waiting.placement_uid, now, adopted=waiting.adopted)
        for waiting in [each for each in self._waiting.values() if each.until <= now]:
            del self._waiting[waiting.pod.uid]
            problem = f"after {waiting.seconds:g} s it is not ready to be bound to node {waiting.pod.node}"
            self._end(waiting.pod, waiting.placement_uid, problem, now, waiting.adopted)

    def next_deadline(self) -> float:
        """When `due` has something to do; infinity: never."""
        if self._has_news:
            return -math.inf
        return min((waiting.until for waiting in self._waiting.values()), default=math.inf)
