"""Plugins written for one node at a time, as the framework asks for them: over many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..columns import NodeColumns
from .interface import (
    Bools,
    Depends,
    FilterPlugin,
    NodeFilterPlugin,
    NodeScorePlugin,
    PluginError,
    ScorePlugin,
    Scores,
    SlotFilter,
    Slots,
    SlotScore,
)
from .node_view import NodeView
from .shape import Shape

# A score that an int64 holds, whatever it is multiplied with.
RAW_SCORE_MAX = 2**53


class NodeFilterAdapter(FilterPlugin):
    """A node that is not there is refused without asking."""

    def __init__(self, plugin: NodeFilterPlugin) -> None:
        self.plugin = plugin

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        fits = self.slot_filter(state, pod, nodes)
        numbers = list(_numbers(slots, nodes))
        return np.fromiter((fits(slot) for slot in numbers), np.bool_, len(numbers))

    def slot_filter(self, state: Any, pod: Shape, nodes: NodeColumns) -> SlotFilter:
        view, facts, ask, name = NodeView(nodes), nodes.facts, self.plugin.filter_node, self.plugin.name

        def fits(slot: int) -> bool:
            if facts[slot] is None:
                return False
            view.slot = slot
            reason = ask(state, pod, view)
            if not isinstance(reason, str):
                raise PluginError(name, f"must answer filter_node with a text, not with {reason!r}")
            return not reason

        return fits

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        view, counted = NodeView(nodes), dict[str, int]()
        for slot in slots.tolist():
            view.slot = slot
            reason = self.plugin.filter_node(state, pod, view)
            counted[reason] = counted.get(reason, 0) + 1
        return counted


class PreFilterOnly(FilterPlugin):
    """The Filter of a plugin that has only a PreFilter, which is asked of every pod."""

    depends = Depends.PODS

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        return nodes.present[slots]

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        return {}


class NodeScoreAdapter(ScorePlugin):
    """A node that is not there scores 0."""

    def __init__(self, plugin: NodeScorePlugin) -> None:
        self.plugin = plugin

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        score = self.slot_score(state, pod, nodes)
        numbers = list(_numbers(slots, nodes))
        return np.fromiter((score(slot) for slot in numbers), np.int64, len(numbers))

    def slot_score(self, state: Any, pod: Shape, nodes: NodeColumns) -> SlotScore:
        view, facts, ask, name = NodeView(nodes), nodes.facts, self.plugin.score_node, self.plugin.name

        def score(slot: int) -> int:
            if facts[slot] is None:
                return 0
            view.slot = slot
            answer = ask(state, pod, view)
            if not isinstance(answer, int) or abs(answer) > RAW_SCORE_MAX:
                raise PluginError(name, f"must answer score_node with a whole number, not with {answer!r}")
            return answer

        return score


def _numbers(slots: Slots, nodes: NodeColumns) -> Iterator[int]:
    yield from range(*slots.indices(nodes.high)) if isinstance(slots, slice) else slots.tolist()
