"""A scheduler's algorithm: its plugins, in the order in which they are asked, and what their scores weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .calls import FilterCall, ScoreCall, asked
from .interface import Depends, NodeScorePlugin, Plugin, ScorePlugin
from .shape import Shape

_Point = TypeVar("_Point", bound=Plugin)


@dataclass(frozen=True)
class Profile:
    """Of the pods that name `scheduler_name`.

    Args:
        points: the plugins of each extension point, by its name in a KubeSchedulerConfiguration (`filter`, `score`,
            `postFilter`). A plugin that takes part in several is the same object at each.
        weights: by the name of the plugin; 1 where there is none.
        trusted: names of plugins that are ours: what they answer for one slot is not looked at.
    """

    scheduler_name: str
    points: Mapping[str, Sequence[Plugin]]
    weights: Mapping[str, int] = field(default_factory=dict)
    trusted: Mapping[str, None] = field(default_factory=dict)

    def at(self, point: str, kind: type[_Point]) -> tuple[_Point, ...]:
        """The plugins of a point, all of which are of this class."""
        return tuple(plugin for plugin in self.points.get(point, ()) if isinstance(plugin, kind))


class Algorithm:
    """What Filter and Score of a profile ask, by how long an answer stands.

    `filters` and `scores` are all of them, in order; the `cached` ones depend on a node and what it holds; the `live`
    ones are asked anew for each pod.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.filters = [
            FilterCall(plugin, trusted=plugin.name in profile.trusted)
            for plugin in dict.fromkeys((*profile.points.get("filter", ()), *profile.points.get("preFilter", ())))
        ]
        self.scores = [
            ScoreCall(plugin, profile.weights.get(plugin.name, 1), trusted=plugin.name in profile.trusted)
            for plugin in profile.points.get("score", ())
            if isinstance(plugin, ScorePlugin | NodeScorePlugin)
        ]
        self.cached_filters = [call for call in self.filters if call.depends < Depends.PODS]
        self.live_filters = [call for call in self.filters if call.depends >= Depends.PODS]
        self.cached_scores = [call for call in self.scores if not call.is_live]
        self.live_scores = [call for call in self.scores if call.is_live]
        self.asks_each_pod = bool(self.live_filters or self.live_scores)
        depends = {call.name: call.depends for call in self.live_filters}
        depends |= {call.name: call.depends for call in self.live_scores}
        live = {name: None for name, on in depends.items() if on is Depends.PODS}
        self.looks_at_pods = bool(live)
        self.looks_at_volumes = Depends.VOLUMES in depends.values()
        points: list[Plugin] = [plugin for point in profile.points.values() for plugin in point]
        self._live = [plugin for plugin in dict.fromkeys(points) if plugin.name in live]
        # Shapes of one template then share their columns.
        self.template_only = all(call.template_only for call in self.cached_filters) and all(
            call.template_only for call in self.cached_scores
        )

    def needs_bound_pods(self, pod: Shape) -> bool:
        """What some plugin says of this shape depends on them. Asked once: a shape is of one profile.

        Raises:
            PluginError
        """
        if pod.needs_bound_pods is None:
            pod.needs_bound_pods = any(asked(plugin.name, plugin.needs_bound_pods, pod) for plugin in self._live)
        return pod.needs_bound_pods
