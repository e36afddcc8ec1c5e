"""Coscheduling: a group of pods runs as a whole, or not at all.

The labels are those of the older form of Kubernetes' coscheduling plugin
(https://github.com/kubernetes-sigs/scheduler-plugins): pods with the same

    pod-group.scheduling.sigs.k8s.io/name: NAME            in a namespace are a group
    pod-group.scheduling.sigs.k8s.io/min-available: "N"    of which N are to run, or none

A member is not queued before there are N, those that run among them. All have the place in the queue of the one that
came first, so they are decided on together. A member whose claim holds is not bound before N hold or are bound; if so
many fit nowhere that N are not left, or time is up, all that are held are given back, and the group backs off. How long
is drawn, lest groups of two schedulers that keep room from each other meet again and again.

The argument `permitWaitingTimeSeconds`: how long a claim is held, 60 by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from ....proto.objects import Object
from ..framework.arguments import Arguments
from ..framework.interface import Allow, Deny, PermitPlugin, PreEnqueuePlugin, Wait
from ..pending import PendingPod, PodState

NAME_LABEL: Final = "pod-group.scheduling.sigs.k8s.io/name"
MIN_LABEL: Final = "pod-group.scheduling.sigs.k8s.io/min-available"
WAIT_SECONDS: Final = 60
WAIT_SECONDS_MAX: Final = 86_400

# Of members that may be among those that run.
_MAY_RUN: Final = (
    PodState.ACTIVE,
    PodState.CLAIMING,
    PodState.TAKING_OVER,
    PodState.WAITING,
    PodState.BINDING,
    PodState.BOUND,
)
# Their claims will be found to hold, or not.
_CLAIMED: Final = (PodState.CLAIMING, PodState.TAKING_OVER)

_Key = tuple[str, str, str]  # A tenant, a namespace, and the name of the group.


class _Group:
    """By uid: its members that wait to be scheduled, those of them whose claims are held, those whose claims were not
    known to hold yet when the group gave up, and those that run. `failures`: how often it has given up in a row."""

    __slots__ = ("bound", "failures", "given_up", "held", "order", "waiting")

    def __init__(self, order: int) -> None:
        self.order = order
        self.failures = 0
        self.waiting: dict[str, PendingPod] = {}
        self.held: dict[str, None] = {}
        self.given_up: dict[str, None] = {}
        self.bound: dict[str, None] = {}

    def leave(self, uid: str) -> None:
        self.waiting.pop(uid, None)
        self.held.pop(uid, None)
        self.given_up.pop(uid, None)


class Coscheduling(PreEnqueuePlugin, PermitPlugin):
    name: ClassVar[str] = "Coscheduling"

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        arguments = Arguments(self.name, args)
        self._wait_seconds = arguments.number("permitWaitingTimeSeconds", WAIT_SECONDS, 1, WAIT_SECONDS_MAX)
        arguments.done()
        self._groups: dict[_Key, _Group] = {}
        self._group_of: dict[str, _Key] = {}
        self.has_groups = False  # A member has come, once: those that run must be known.

    # --------------------------------------------------------------------------------------------- who is there

    def arrived(self, pod: PendingPod) -> None:
        """A pod that waits to be scheduled."""
        key = _key(pod.object)
        if key is None:
            return
        self.has_groups = True
        group = self._groups.setdefault(key, _Group(pod.order))
        pod.order = group.order
        group.waiting[pod.uid] = pod
        self._group_of[pod.uid] = key

    def runs(self, obj: Object) -> None:
        """A bound pod."""
        key = _key(obj)
        if key is not None:
            group = self._groups.setdefault(key, _Group(0))
            group.leave(obj.uid)
            group.bound[obj.uid] = None
            self._group_of[obj.uid] = key

    def left(self, uid: str) -> None:
        """A pod does not wait any more, and was not bound by us."""
        key = self._group_of.get(uid)
        if key is not None:
            self._groups[key].leave(uid)
            self._forget(key, uid)

    def ended(self, uid: str) -> None:
        """A bound pod runs no more."""
        key = self._group_of.get(uid)
        if key is not None:
            self._groups[key].bound.pop(uid, None)
            self._forget(key, uid)

    def _forget(self, key: _Key, uid: str) -> None:
        group = self._groups[key]
        if uid not in group.waiting and uid not in group.bound:
            del self._group_of[uid]
        if not group.waiting and not group.bound:
            del self._groups[key]

    # ---------------------------------------------------------------------------------------- extension points

    def pre_enqueue(self, pod: PendingPod) -> str:
        key = _key(pod.object)
        if key is None:
            return ""
        least = _least(pod.object)
        if least is None:
            return f"the label {MIN_LABEL} must be a whole number from 1 on"
        group = self._groups[key]
        known = len(group.waiting) + len(group.bound)
        return f"its group has {known} of {least} pods" if known < least else ""

    def permit(self, pod: PendingPod, slot: int) -> Allow | Wait | Deny:
        key = self._group_of.get(pod.uid)
        if key is None:
            return Allow()
        group = self._groups[key]
        if pod.uid in group.given_up:
            del group.given_up[pod.uid]
            return Deny("its group does not fit as a whole")
        group.held[pod.uid] = None
        least = _least(pod.object)
        return Allow() if least is None or self._counts(group) >= least else Wait(self._wait_seconds)

    def allows(self, pod: PendingPod) -> list[str]:
        key = self._group_of.get(pod.uid)
        if key is None:
            return []
        self._groups[key].failures = 0
        return list(self._groups[key].held)

    def gives_up(self, pod: PendingPod) -> list[str]:
        key = self._group_of.get(pod.uid)
        if key is None:
            return []
        group = self._groups[key]
        held = list(group.held)
        group.held.clear()
        claiming = (uid for uid, member in group.waiting.items() if member.state in _CLAIMED)
        group.given_up.update(dict.fromkeys(claiming))
        return held

    def needs(self, pod: PendingPod) -> bool:
        """A pod fits nowhere, or has waited for too long: whether its group cannot run without it. It can, if those
        that run, hold claims or have not been looked at yet are enough."""
        key = self._group_of.get(pod.uid)
        if key is None:
            return False
        group = self._groups[key]
        others = sum(
            member.state in _MAY_RUN and uid not in group.given_up and member is not pod
            for uid, member in group.waiting.items()
        )
        return len(group.bound) + others < (_least(pod.object) or 0)

    def failed(self, pod: PendingPod) -> tuple[int, list[PendingPod]]:
        """A pod of a group cannot be had: how often that has been so in a row, and all members that wait. They are to
        back off together, so that they are decided on together. No members: it is of no group."""
        key = self._group_of.get(pod.uid)
        if key is None:
            return 0, []
        group = self._groups[key]
        group.failures += 1
        return group.failures, list(group.waiting.values())

    def _counts(self, group: _Group) -> int:
        return len(group.held) + len(group.bound)


def _key(obj: Object) -> _Key | None:
    name = obj.labels.get(NAME_LABEL)
    return (obj.tenant, obj.namespace, name) if name else None


def _least(obj: Object) -> int | None:
    text = obj.labels.get(MIN_LABEL, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
