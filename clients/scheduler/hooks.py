"""Reserve, PreBind, Bind and PostBind: what plugins do, or object to, while a pod is given its node. No I/O.

Where a profile has no such plugin, nothing is asked. PreBind and Bind plugins that do I/O are asked in a binding cycle
(`binding_cycles.py`); then all of the profile's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from ...proto import ursa_pb2 as pb
from .framework.calls import asked, objection
from .framework.interface import (
    AsyncPreBindPlugin,
    BindPlugin,
    Depends,
    Plugin,
    PluginError,
    PostBindPlugin,
    PreBindPlugin,
    ReservePlugin,
    Wait,
    WaitingPreBindPlugin,
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


_Point = TypeVar("_Point", bound=Plugin)


class _Asked(Generic[_Point]):
    """The plugins of a point, by the name that pods give. Those that depend on volumes are for pods with claims."""

    def __init__(self) -> None:
        self._of_all: dict[str, list[_Point]] = {}
        self._with_claims: dict[str, list[_Point]] = {}

    def add(self, name: str, plugins: Sequence[_Point]) -> None:
        for plugin in plugins:
            self._with_claims.setdefault(name, []).append(plugin)
            if getattr(plugin, "depends", None) is not Depends.VOLUMES:
                self._of_all.setdefault(name, []).append(plugin)

    def of(self, pod: PendingPod) -> Sequence[_Point]:
        plugins = self._with_claims if pod.template.claims else self._of_all
        return plugins.get(pod.template.scheduler_name, ()) if plugins else ()


class Hooks:
    """`profiles`: by the name that pods give. `cycles`: the plugins of those that have binding cycles."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._reserve = _Asked[ReservePlugin]()
        self._waiting = _Asked[WaitingPreBindPlugin]()
        self._pre_bind = _Asked[PreBindPlugin]()
        self._post_bind = _Asked[PostBindPlugin]()
        self.cycles: dict[str, CyclePlugins] = {}
        for name, profile in profiles.items():
            points = profile.points
            self._reserve.add(name, [each for each in points["reserve"] if isinstance(each, ReservePlugin)])
            self._waiting.add(name, [each for each in points["preBind"] if isinstance(each, WaitingPreBindPlugin)])
            self._post_bind.add(name, [each for each in points["postBind"] if isinstance(each, PostBindPlugin)])
            cycle = CyclePlugins(
                [each for each in profile.points["preBind"] if isinstance(each, PreBindPlugin | AsyncPreBindPlugin)],
                [each for each in profile.points["bind"] if isinstance(each, BindPlugin)],
            )
            here = [each for each in cycle.pre_bind if isinstance(each, PreBindPlugin)]
            if len(here) < len(cycle.pre_bind) or not isinstance(cycle.bind[0], DefaultBinder):
                self.cycles[name] = cycle
            else:
                self._pre_bind.add(name, here)

    def reserve(self, pod: PendingPod, slot: int) -> str:
        """Why the pod cannot go there; empty: all have noted that it does."""
        for plugin in self._reserve.of(pod):
            problem = _problem(plugin.name, "reserve", plugin.reserve, pod, slot)
            if problem:
                self.unreserve(pod, slot)
                return problem
        return ""

    def unreserve(self, pod: PendingPod, slot: int) -> None:
        """It does not go there after all."""
        for plugin in self._reserve.of(pod):
            _tell(plugin.name, plugin.unreserve, pod, slot)

    def wait_before_binding(self, pod: PendingPod) -> str | Wait:
        """Why the pod cannot be bound to the node that it has claimed; empty: nobody waits; Wait: not yet."""
        waits: Wait | None = None
        for plugin in self._waiting.of(pod):
            answer = _wait_or_problem(plugin, pod)
            if isinstance(answer, Wait):
                waits = answer if waits is None else max(waits, answer)
            elif answer:
                return answer
        return waits or ""

    def pre_bind(self, pod: PendingPod) -> str:
        """Why the pod cannot be bound to the node that it has claimed; empty: it can."""
        for plugin in self._pre_bind.of(pod):
            problem = _problem(plugin.name, "pre_bind", plugin.pre_bind, pod, pod.slot)
            if problem:
                return problem
        return ""

    def post_bind(self, pod: PendingPod) -> None:
        """It is bound."""
        for plugin in self._post_bind.of(pod):
            _tell(plugin.name, plugin.post_bind, pod, pod.slot)


def _problem(name: str, point: str, method: Callable[..., str], pod: PendingPod, slot: int) -> str:
    """What a plugin objects, or how it failed."""
    try:
        reason = objection(name, point, method, pod, slot)
    except PluginError as error:
        return str(error)
    return f"plugin {name}: {reason}" if reason else ""


def _wait_or_problem(plugin: WaitingPreBindPlugin, pod: PendingPod) -> str | Wait:
    name = plugin.name
    try:
        answer: object = asked(name, plugin.pre_bind, pod, pod.slot)
    except PluginError as error:
        return str(error)
    if isinstance(answer, Wait):
        return answer
    if not isinstance(answer, str):
        return f"plugin {name} must answer pre_bind with a text or Wait, not with {answer!r}"
    return f"plugin {name}: {answer}" if answer else ""


def _tell(name: str, method: Callable[..., None], pod: PendingPod, slot: int) -> None:
    """It has no say in this, so nothing follows from its failure."""
    with suppress(PluginError):
        asked(name, method, pod, slot)
