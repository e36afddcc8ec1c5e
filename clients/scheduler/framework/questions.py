"""What is to be asked of a profile's plugins for one shape, after they have prepared: PreFilter and PreScore."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..columns import NodeColumns
from .calls import FilterCall, ScoreCall
from .interface import Depends, Normalize, Skip, Unresolvable
from .profile import Algorithm
from .shape import Shape


class AskedFilter(NamedTuple):
    """`state` is what PreFilter has said."""

    call: FilterCall
    state: Any


class AskedScore(NamedTuple):
    """`state` is what PreScore has said."""

    call: ScoreCall
    state: Any


class Questions:
    """Those whose answers are kept: `node_` ones depend on the node alone, `room_` ones also on what it holds.

    `to_normalize` are apart from other scores. If `refusal` is set (the plugin, if it was one, and the reason) the
    shape fits nowhere, whatever the others say.

    Raises:
        PluginError
    """

    def __init__(self, algorithm: Algorithm, shape: Shape, nodes: NodeColumns) -> None:
        self.refusal: tuple[str, str] | None = ("", shape.template.error) if shape.template.error else None
        self.filters: list[AskedFilter] = []
        self.scores: list[AskedScore] = []
        if self.refusal is None:
            self._ask_filters(algorithm, shape, nodes)
        if self.refusal is None:
            for call in algorithm.cached_scores:
                state = call.state(shape, nodes, lambda: nodes.present[: nodes.high])
                if not isinstance(state, Skip):
                    self.scores.append(AskedScore(call, state))
        self.node_filters = [each for each in self.filters if each.call.depends is Depends.NODE]
        self.room_filters = [each for each in self.filters if each.call.depends is Depends.ROOM]
        as_it_is = [each for each in self.scores if each.call.normalize is Normalize.NONE]
        self.node_scores = [each for each in as_it_is if each.call.depends is Depends.NODE]
        self.room_scores = [each for each in as_it_is if each.call.depends is Depends.ROOM]
        self.to_normalize = [each for each in self.scores if each.call.normalize is not Normalize.NONE]

    def _ask_filters(self, algorithm: Algorithm, shape: Shape, nodes: NodeColumns) -> None:
        for call in algorithm.cached_filters:
            state = call.state(shape, nodes)
            if isinstance(state, Unresolvable):
                self.refusal = (call.name, state.reason)
                return
            if not isinstance(state, Skip):
                self.filters.append(AskedFilter(call, state))

    def same_as(self, other: Questions) -> bool:
        """What has been answered to the other ones holds for these."""
        return (
            self.refusal == other.refusal
            and len(self.filters) == len(other.filters)
            and len(self.scores) == len(other.scores)
            and all(map(_same, self.filters, other.filters))
            and all(map(_same, self.scores, other.scores))
        )


def _same(one: AskedFilter | AskedScore, other: AskedFilter | AskedScore) -> bool:
    if one.call is not other.call:
        return False
    try:
        return bool(one.state == other.state)
    except ValueError:  # Arrays do not say whether they are equal.
        return False
