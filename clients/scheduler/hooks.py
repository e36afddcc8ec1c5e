"""Reserve, PreBind, Bind and PostBind: what plugins do, or object to, while a pod is given its node. No I/O.

Where a profile has no such plugin, nothing is asked. PreBind and Bind plugins that do I/O are asked in a binding cycle
(`binding_cycles.py`); then all of the profile's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from .framework.calls import asked, objection
from .framework.interface import (
    AsyncPreBindPlugin,
    BindPlugin,
    PluginError,
    PostBindPlugin,
    PreBindPlugin,
    ReservePlugin,
)
from .framework.profile import Profile
from .pending import PendingPod
from .plugins.default_binder import DefaultBinder


class CyclePlugins(NamedTuple):
    """Of a profile, in the order in which they are asked."""

    pre_bind: Sequence[PreBindPlugin | AsyncPreBindPlugin]
    bind: Sequence[BindPlugin]


class CycleEnd(NamedTuple):
    """How a cycle has ended.

    Args:
        problem: why the pod is not to be bound; empty: it is.
        result: what its home partition has said to a plugin's own binding; None: that was not asked.
        in_doubt: a plugin's own binding may have happened, or may yet.
    """

    problem: str = ""
    result: pb.Result | None = None
    in_doubt: bool = False


class Hooks:
    """`profiles`: by the name that pods give. `cycles`: the plugins of those that have binding cycles."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._reserve: dict[str, list[ReservePlugin]] = {}
        self._pre_bind: dict[str, list[PreBindPlugin]] = {}
        self._post_bind: dict[str, list[PostBindPlugin]] = {}
        self.cycles: dict[str, CyclePlugins] = {}
        for name, profile in profiles.items():
            for plugin in profile.points["reserve"]:
                if isinstance(plugin, ReservePlugin):
                    self._reserve.setdefault(name, []).append(plugin)
            cycle = CyclePlugins(
                [each for each in profile.points["preBind"] if isinstance(each, PreBindPlugin | AsyncPreBindPlugin)],
                [each for each in profile.points["bind"] if isinstance(each, BindPlugin)],
            )
            here = [each for each in cycle.pre_bind if isinstance(each, PreBindPlugin)]
            if len(here) < len(cycle.pre_bind) or not isinstance(cycle.bind[0], DefaultBinder):
                self.cycles[name] = cycle
            elif here:
                self._pre_bind[name] = here
            for plugin in profile.points["postBind"]:
                if isinstance(plugin, PostBindPlugin):
                    self._post_bind.setdefault(name, []).append(plugin)

    def reserve(self, pod: PendingPod, slot: int) -> str:
        """Why the pod cannot go there; empty: all have noted that it does."""
        for plugin in self._reserve.get(pod.template.scheduler_name, ()) if self._reserve else ():
            problem = _problem(plugin.name, "reserve", plugin.reserve, pod, slot)
            if problem:
                self.unreserve(pod, slot)
                return problem
        return ""

    def unreserve(self, pod: PendingPod, slot: int) -> None:
        """It does not go there after all."""
        for plugin in self._reserve.get(pod.template.scheduler_name, ()) if self._reserve else ():
            _tell(plugin.name, plugin.unreserve, pod, slot)

    def pre_bind(self, pod: PendingPod) -> str:
        """Why the pod cannot be bound to the node that it has claimed; empty: it can."""
        for plugin in self._pre_bind.get(pod.template.scheduler_name, ()) if self._pre_bind else ():
            problem = _problem(plugin.name, "pre_bind", plugin.pre_bind, pod, pod.slot)
            if problem:
                return problem
        return ""

    def post_bind(self, pod: PendingPod) -> None:
        """It is bound."""
        for plugin in self._post_bind.get(pod.template.scheduler_name, ()) if self._post_bind else ():
            _tell(plugin.name, plugin.post_bind, pod, pod.slot)


def _problem(name: str, point: str, method: Callable[..., str], pod: PendingPod, slot: int) -> str:
    """What a plugin objects, or how it failed."""
    try:
        reason = objection(name, point, method, pod, slot)
    except PluginError as error:
        return str(error)
    return f"plugin {name}: {reason}" if reason else ""


def _tell(name: str, method: Callable[..., None], pod: PendingPod, slot: int) -> None:
    """It has no say in this, so nothing follows from its failure."""
    with suppress(PluginError):
        asked(name, method, pod, slot)
