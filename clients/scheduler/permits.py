"""Pods whose claims hold, and that wait to be bound because a Permit plugin says so. No I/O.

    claim holds ──Allow──> bind
         └──Wait──> waiting ──a plugin allows it──> bind
                       └──time is up, or given up──> release; or bind, if an earlier process has claimed it

What an earlier process has claimed is never released: that one may have been allowed to bind it, and its Bind be on its
way. So a group of which some were bound, or nearly, when a scheduler was replaced may run in part until its other
members have found their places; these are then not held back, for those that run count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from .framework.calls import asked
from .framework.interface import Allow, Deny, PermitPlugin, PluginError, Wait
from .pending import PendingPod, PodState

# By the name that pods give in `spec.schedulerName`.
PermitPlugins = Mapping[str, Sequence[PermitPlugin]]


class _Bind(Protocol):
    def __call__(self, pod: PendingPod, placement_uid: str, now: float, *, adopted: bool) -> None: ...


class _Waiting:
    __slots__ = ("adopted", "placement_uid", "pod", "seconds", "until")

    def __init__(self, pod: PendingPod, placement_uid: str, seconds: float, adopted: bool) -> None:
        self.pod, self.placement_uid, self.seconds, self.adopted = pod, placement_uid, seconds, adopted
        self.until = math.nan  # Known when time is told next.


class Permits:
    """`bind` and `release` are given the pod and the uid of its placement; `complain` what a plugin says against a
    pod, or how it failed with it."""

    def __init__(
        self,
        bind: _Bind,
        release: Callable[[PendingPod, str, float], None],
        complain: Callable[[PendingPod, str, float], None],
    ) -> None:
        self._bind, self._release, self._complain = bind, release, complain
        self.plugins: PermitPlugins = {}
        # Told of a pod that has waited for too long, before it and others give up.
        self.out_of_time: Callable[[PendingPod, float], None] = lambda _pod, _now: None
        self._waiting: dict[str, _Waiting] = {}
        self._now = 0.0

    def claimed(self, pod: PendingPod, placement_uid: str, *, adopted: bool = False) -> None:
        """A claim holds. `adopted`: of an earlier process."""
        plugins = self.plugins.get(pod.template.scheduler_name)
        if not plugins:
            self._bind(pod, placement_uid, self._now, adopted=adopted)
            return
        seconds = 0.0
        for plugin in plugins:
            try:
                answer = _permit(plugin, pod)
            except PluginError as error:
                answer = Deny(str(error))
            if isinstance(answer, Deny) and not adopted:
                self._complain(pod, answer.reason, self._now)
                self._release(pod, placement_uid, self._now)
                return
            if isinstance(answer, Wait):
                seconds = max(seconds, answer.seconds)
        if seconds:
            pod.state, pod.action = PodState.WAITING, None
            self._waiting[pod.uid] = _Waiting(pod, placement_uid, seconds, adopted)
            return
        self._bind(pod, placement_uid, self._now, adopted=adopted)
        for plugin in plugins:
            for uid in self._uids(plugin, plugin.allows, pod):
                other = self._waiting.pop(uid, None)
                if other is not None:
                    self._bind(other.pod, other.placement_uid, self._now, adopted=other.adopted)

    def _uids(self, plugin: PermitPlugin, method: Callable[[PendingPod], Sequence[str]], pod: PendingPod) -> list[str]:
        """Of others than the pod; none, if the plugin fails: then these wait for their time."""
        try:
            return asked(plugin.name, lambda: list(method(pod)))
        except PluginError as error:
            self._complain(pod, str(error), self._now)
            return []

    def give_up(self, pod: PendingPod, now: float) -> None:
        """A pod will not be bound for now: nor will those that a plugin says were waiting for it."""
        for plugin in self.plugins.get(pod.template.scheduler_name, ()):
            for uid in self._uids(plugin, plugin.gives_up, pod):
                self._end(uid, now)

    def gone(self, pod: PendingPod, now: float) -> None:
        """A pod that waited is gone: its claim is of no use, unless an earlier process may have bound it."""
        self._end(pod.uid, now)

    def _end(self, uid: str, now: float) -> None:
        waiting = self._waiting.pop(uid, None)
        if waiting is None:
            return
        if waiting.adopted:
            self._bind(waiting.pod, waiting.placement_uid, now, adopted=True)
        else:
            self._release(waiting.pod, waiting.placement_uid, now)

    def forget(self, pod: PendingPod) -> None:
        """Its claim is void."""
        self._waiting.pop(pod.uid, None)

    def due(self, now: float) -> None:
        """Time passes."""
        self._now = now
        for waiting in list(self._waiting.values()):
            if math.isnan(waiting.until):
                waiting.until = now + waiting.seconds
            elif waiting.until <= now and waiting.pod.uid in self._waiting:
                self.out_of_time(waiting.pod, now)
                self.give_up(waiting.pod, now)
                self._end(waiting.pod.uid, now)

    def next_deadline(self) -> float:
        """When `due` has something to do; infinity: never."""
        untils = (waiting.until for waiting in self._waiting.values())
        return min((-math.inf if math.isnan(until) else until for until in untils), default=math.inf)


def _permit(plugin: PermitPlugin, pod: PendingPod) -> Allow | Wait | Deny:
    """
    Raises:
        PluginError
    """
    answer: object = asked(plugin.name, plugin.permit, pod, pod.slot)
    if isinstance(answer, Deny):
        return Deny(f"plugin {plugin.name}: {answer.reason}")
    if isinstance(answer, Wait):
        seconds: object = answer.seconds
        if isinstance(seconds, int | float) and 0 <= seconds < math.inf:
            return answer
        raise PluginError(plugin.name, f"must have a pod wait for a number of seconds, from 0 on, not for {seconds!r}")
    if isinstance(answer, Allow):
        return answer
    raise PluginError(plugin.name, f"must answer permit with Allow, Wait or Deny, not with {answer!r}")
