"""Who may be queued yet, as PreEnqueue plugins say, and the groups that Coscheduling makes of pods."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from ...proto.objects import Object
from .bindings import Bindings
from .bound_pods import BoundPods
from .framework.calls import objection
from .framework.interface import PermitPlugin, PluginError, PreEnqueuePlugin
from .framework.profile import Profile
from .options import SchedulerOptions
from .pending import PendingPod, PodState
from .plugins.coscheduling import Coscheduling
from .pod_queue import PodQueue

# Of a group's backoff. An attempt takes some tens of milliseconds, of which this is many times as much.
JITTER: Final = (0.5, 1.0)


class Entrance:
    """`profiles`: by the name that pods give."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        queue: PodQueue,
        bindings: Bindings,
        bound_pods: BoundPods,
        options: SchedulerOptions,
        random: Random,
    ) -> None:
        self._queue, self._bindings, self._bound_pods, self._options = queue, bindings, bound_pods, options
        self._random = random
        self._gates = {
            name: [plugin for plugin in profile.points["preEnqueue"] if isinstance(plugin, PreEnqueuePlugin)]
            for name, profile in profiles.items()
        }
        permits = {
            name: [plugin for plugin in profile.points["permit"] if isinstance(plugin, PermitPlugin)]
            for name, profile in profiles.items()
        }
        self._gangs = {
            name: plugin for name, plugins in permits.items() for plugin in plugins if isinstance(plugin, Coscheduling)
        }
        bindings.permits.plugins = permits
        bindings.permits.out_of_time = self._group_backs_off
        bindings.forgotten = self.left

    # ------------------------------------------------------------------------------------------------- PreEnqueue

    def arrived(self, pod: PendingPod, now: float) -> None:
        """A pod has come that is in no part of the queue; if it has no claim, it is queued."""
        gang = self._gangs.get(pod.template.scheduler_name)
        if gang is not None:
            gang.arrived(pod)
            if gang.has_groups:
                self._bound_pods.want()  # Members may run already.
        if not self._bindings.adopt(pod):
            self.enqueue(pod, now)
        if gang is not None and gang.has_groups:
            self.ask_again(now)

    def enqueue(self, pod: PendingPod, now: float) -> None:
        """Make a pod that is in no part of the queue active, unless a plugin keeps it out."""
        for gate in self._gates[pod.template.scheduler_name]:
            try:
                reason = objection(gate.name, "pre_enqueue", gate.pre_enqueue, pod)
            except PluginError as error:
                self._bindings.cannot_decide(pod, str(error), now)
                return
            if reason:
                self._queue.gate(pod)
                return
        self._queue.push(pod)

    def ask_again(self, now: float) -> None:
        """Whether the pods that were kept out may be queued now."""
        if self._queue.gated:
            for pod in [pod for pod in self._bindings.pods.values() if pod.state is PodState.GATED]:
                self._queue.remove(pod)
                self.enqueue(pod, now)

    # ------------------------------------------------------------------------------------------------------ groups

    def left(self, uid: str) -> None:
        """A pod waits no more, and has not been bound by us."""
        for gang in self._gangs.values():
            gang.left(uid)

    def runs(self, obj: Object) -> None:
        """A bound pod has been seen."""
        for gang in self._gangs.values():
            gang.runs(obj)

    def ended(self, uid: str) -> None:
        """A bound pod has finished, or is gone."""
        for gang in self._gangs.values():
            gang.ended(uid)

    def backs_off_with_group(self, pod: PendingPod, now: float) -> bool:
        """A pod, in no queue, fits nowhere. If it is of a group that needs it, all of that backs off."""
        gang = self._gangs.get(pod.template.scheduler_name)
        if gang is None or not gang.needs(pod):
            return False
        self._group_backs_off(pod, now)
        self._bindings.permits.give_up(pod, now)
        self._queue.back_off(pod, pod.resume_at)
        return True

    def _group_backs_off(self, pod: PendingPod, now: float) -> None:
        """All members of its group, if it has one, until the same moment; those that hold claims as soon as these have
        been given back."""
        gang = self._gangs.get(pod.template.scheduler_name)
        failures, members = gang.failed(pod) if gang is not None else (0, [])
        if not members:
            return
        until = now + self._options.backoff_seconds(failures) * self._random.uniform(*JITTER)
        for member in members:
            member.resume_at = until
            if member is not pod and member.state in (PodState.ACTIVE, PodState.BACKOFF, PodState.UNSCHEDULABLE):
                self._queue.remove(member)
                self._queue.back_off(member, until)
