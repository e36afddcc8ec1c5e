"""Reserve, PreBind and PostBind: what plugins do, or object to, while a pod is given its node. No I/O.

Where a profile has no such plugin, nothing is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from .framework.calls import asked
from .framework.interface import PluginError, PostBindPlugin, PreBindPlugin, ReservePlugin
from .framework.profile import Profile
from .pending import PendingPod


class Hooks:
    """`profiles`: by the name that pods give."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._reserve: dict[str, list[ReservePlugin]] = {}
        self._pre_bind: dict[str, list[PreBindPlugin]] = {}
        self._post_bind: dict[str, list[PostBindPlugin]] = {}
        for name, profile in profiles.items():
            for plugin in profile.points["reserve"]:
                if isinstance(plugin, ReservePlugin):
                    self._reserve.setdefault(name, []).append(plugin)
            for plugin in profile.points["preBind"]:
                if isinstance(plugin, PreBindPlugin):
                    self._pre_bind.setdefault(name, []).append(plugin)
            for plugin in profile.points["postBind"]:
                if isinstance(plugin, PostBindPlugin):
                    self._post_bind.setdefault(name, []).append(plugin)

    def reserve(self, pod: PendingPod, slot: int) -> str:
        """Why the pod cannot go there; empty: all have noted that it does."""
        for plugin in self._reserve.get(pod.template.scheduler_name, ()) if self._reserve else ():
            problem = _problem(plugin.name, plugin.reserve, pod, slot)
            if problem:
                self.unreserve(pod, slot)
                return problem
        return ""

    def unreserve(self, pod: PendingPod, slot: int) -> None:
        """It does not go there after all."""
        for plugin in self._reserve.get(pod.template.scheduler_name, ()) if self._reserve else ():
            _problem(plugin.name, plugin.unreserve, pod, slot)

    def pre_bind(self, pod: PendingPod) -> str:
        """Why the pod cannot be bound to the node that it has claimed; empty: it can."""
        for plugin in self._pre_bind.get(pod.template.scheduler_name, ()) if self._pre_bind else ():
            problem = _problem(plugin.name, plugin.pre_bind, pod, pod.slot)
            if problem:
                return problem
        return ""

    def post_bind(self, pod: PendingPod) -> None:
        """It is bound."""
        for plugin in self._post_bind.get(pod.template.scheduler_name, ()) if self._post_bind else ():
            _problem(plugin.name, plugin.post_bind, pod, pod.slot)


def _problem(name: str, method: object, pod: PendingPod, slot: int) -> str:
    """What a plugin objects, or how it failed."""
    assert callable(method)
    try:
        objection = asked(name, method, pod, slot)
    except PluginError as error:
        return str(error)
    return f"plugin {name}: {objection}" if objection else ""
