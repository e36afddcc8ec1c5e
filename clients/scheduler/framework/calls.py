"""How plugins are called: whatever one does wrong becomes a PluginError that names it.

What is looked at of an answer: its type, its shape, and that a score that counts is 0 to 100. This costs a few
microseconds a call, and is left out where the plugin is one of ours, which are tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..columns import NodeColumns
from .adapters import RAW_SCORE_MAX, NodeFilterAdapter, NodeScoreAdapter, PreFilterOnly
from .interface import (
    SCORE_MAX,
    SKIP,
    Bools,
    Depends,
    FilterPlugin,
    NodeFilterPlugin,
    NodeScorePlugin,
    Normalize,
    Plugin,
    PluginError,
    PreFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
    Scores,
    SlotFilter,
    Slots,
    SlotScore,
)
from .shape import Shape

_Answer = TypeVar("_Answer")


def asked(name: str, method: Callable[..., _Answer], *arguments: Any) -> _Answer:
    """The answer.

    Raises:
        PluginError: the plugin raises.
    """
    try:
        return method(*arguments)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(name, f"raised {type(error).__name__}: {error}") from error


def objection(name: str, point: str, method: Callable[..., str], *arguments: Any) -> str:
    """The answer of a method that says why not; empty: nothing is against it.

    Raises:
        PluginError: the plugin raises, or answers something else than a text.
    """
    answer: object = asked(name, method, *arguments)
    if not isinstance(answer, str):
        raise PluginError(name, f"must answer {point} with a text, not with {answer!r}")
    return answer


def count_of(slots: Slots, nodes: NodeColumns) -> int:
    return len(range(*slots.indices(nodes.high))) if isinstance(slots, slice) else len(slots)


class FilterCall:
    """One plugin's PreFilter and Filter. `trusted`: it is one of ours."""

    def __init__(self, plugin: Plugin, *, trusted: bool) -> None:
        self.name, self._trusted, self.template_only = plugin.name, trusted, plugin.template_only
        self._pre = plugin if isinstance(plugin, PreFilterPlugin) else None
        if isinstance(plugin, NodeFilterPlugin):
            self._plugin: FilterPlugin = NodeFilterAdapter(plugin)
            self.depends = plugin.depends
        else:
            self._plugin = plugin if isinstance(plugin, FilterPlugin) else PreFilterOnly()
            self.depends = self._plugin.depends

    def state(self, pod: Shape, nodes: NodeColumns) -> Any:
        """What PreFilter says: a state, SKIP or Unresolvable."""
        return None if self._pre is None else asked(self.name, self._pre.pre_filter, pod, nodes)

    def over(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        fits = asked(self.name, self._plugin.filter, state, pod, nodes, slots)
        if not self._trusted:
            _check_array(self.name, "filter", fits, count_of(slots, nodes), "b", "true or false")
        return fits

    def of_slot(self, state: Any, pod: Shape, nodes: NodeColumns) -> SlotFilter:
        found = asked(self.name, self._plugin.slot_filter, state, pod, nodes)
        if found is None:
            return lambda slot: bool(self.over(state, pod, nodes, np.array([slot], np.intp))[0])
        if self._trusted:
            return found
        fits = found
        return lambda slot: bool(asked(self.name, fits, slot))

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        counted: object = asked(self.name, self._plugin.reasons, state, pod, nodes, slots)
        if not isinstance(counted, Mapping) or not all(
            isinstance(reason, str) and isinstance(count, int) for reason, count in counted.items()
        ):
            raise PluginError(self.name, f"must answer reasons with how many nodes for each text, not with {counted!r}")
        return counted


class ScoreCall:
    """One plugin's PreScore, Score and NormalizeScore, and its weight."""

    def __init__(self, plugin: Plugin, weight: int, *, trusted: bool) -> None:
        assert isinstance(plugin, ScorePlugin | NodeScorePlugin)
        self.name, self.depends, self.weight, self._trusted = plugin.name, plugin.depends, weight, trusted
        self.normalize = plugin.normalize
        self.template_only = plugin.template_only
        self._pre = plugin if isinstance(plugin, PreScorePlugin) else None
        self._plugin = plugin if isinstance(plugin, ScorePlugin) else NodeScoreAdapter(plugin)

    @property
    def is_live(self) -> bool:
        """It is asked anew for every pod."""
        return self.depends >= Depends.PODS

    def state(self, pod: Shape, nodes: NodeColumns, feasible: Callable[[], Bools]) -> Any:
        """What PreScore says: a state, or SKIP."""
        if self._pre is None:
            return None
        if self.is_live and asked(self.name, self._pre.skips, pod, nodes):
            return SKIP
        return asked(self.name, self._pre.pre_score, pod, nodes, feasible())

    def over(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        """Raw where they are to be normalised, 0 to 100 where not."""
        scores = asked(self.name, self._plugin.score, state, pod, nodes, slots)
        if self._trusted:
            return scores
        _check_array(self.name, "score", scores, count_of(slots, nodes), "i", "whole numbers")
        if self.normalize is not Normalize.NONE and len(scores) and int(scores.max()) > RAW_SCORE_MAX:
            raise PluginError(self.name, f"must not score above {RAW_SCORE_MAX}, as {int(scores.max())}")
        if self.normalize is Normalize.NONE and not _in_range(scores):
            # Slots without a node may say anything.
            scores = np.where(nodes.present[: nodes.high][slots], scores, 0)
            _check_range(self.name, scores)
        return scores

    def of_slot(self, state: Any, pod: Shape, nodes: NodeColumns) -> SlotScore:
        found = asked(self.name, self._plugin.slot_score, state, pod, nodes)
        if found is None:
            return lambda slot: int(self.over(state, pod, nodes, np.array([slot], np.intp))[0])
        if self._trusted:
            return found
        score, bounded = found, self.normalize is Normalize.NONE

        def checked(slot: int) -> int:
            answer: object = asked(self.name, score, slot)
            if not isinstance(answer, int | np.integer) or abs(int(answer)) > RAW_SCORE_MAX:
                raise PluginError(self.name, f"must answer score with a whole number, not with {answer!r}")
            if bounded and not 0 <= answer <= SCORE_MAX:
                raise PluginError(self.name, f"must score from 0 to {SCORE_MAX}, not {answer!r}")
            return int(answer)

        return checked

    def normalized(self, state: Any, pod: Shape, raw: Scores, feasible: Bools) -> Scores:
        """0 to 100 for the feasible nodes; what stands for others means nothing. At least one must be feasible."""
        if self.normalize is Normalize.NONE:
            return raw
        if self.normalize is Normalize.OWN:
            return self._own(state, pod, raw, feasible)
        greatest = int(raw.max(where=feasible, initial=0))
        scaled = raw * SCORE_MAX // greatest if greatest else np.zeros_like(raw)
        result = SCORE_MAX - scaled if self.normalize is Normalize.REVERSE_MAX else scaled
        if int(raw.min(where=feasible, initial=0)) < 0:
            raise PluginError(self.name, "must not score below 0 where its scores are normalised by the greatest")
        return result

    def weighted(self, state: Any, pod: Shape, raw: Scores, feasible: Bools) -> Scores:
        """What the raw scores add to the total."""
        return self.normalized(state, pod, raw, feasible) * self.weight

    def _own(self, state: Any, pod: Shape, raw: Scores, feasible: Bools) -> Scores:
        scores = raw[feasible]
        answer = asked(self.name, self._plugin_normalizer(), state, pod, scores)
        _check_array(self.name, "normalize_scores", answer, len(scores), "i", "whole numbers")
        _check_range(self.name, answer)
        result = np.zeros(len(raw), np.int64)
        result[feasible] = answer
        return result

    def _plugin_normalizer(self) -> Callable[[Any, Shape, Scores], Scores]:
        plugin = self._plugin.plugin if isinstance(self._plugin, NodeScoreAdapter) else self._plugin
        return plugin.normalize_scores


def _check_array(name: str, method: str, array: Any, length: int, kind: str, what: str) -> None:
    if not isinstance(array, np.ndarray):
        raise PluginError(name, f"must answer {method} with an array, not with {type(array).__name__}")
    if array.shape != (length,):
        raise PluginError(name, f"answered {method} with an array of shape {array.shape} for {length} nodes")
    if array.dtype.kind != kind:
        raise PluginError(name, f"must answer {method} with {what}, not with {array.dtype}{_nans(array)}")


def _nans(array: NDArray[Any]) -> str:
    return ", some of them NaN" if array.dtype.kind == "f" and bool(np.isnan(array).any()) else ""


def _in_range(scores: Scores) -> bool:
    return not len(scores) or bool(scores.min() >= 0 and scores.max() <= SCORE_MAX)


def _check_range(name: str, scores: Scores) -> None:
    if not _in_range(scores):
        raise PluginError(
            name, f"must score from 0 to {SCORE_MAX}, not from {int(scores.min())} to {int(scores.max())}"
        )
