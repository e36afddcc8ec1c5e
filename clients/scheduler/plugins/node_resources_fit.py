"""NodeResourcesFit: what a pod requests must be free on its node, and how much of the node is then taken is its score.

https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/ and the NodeResourcesFitArgs of
https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/. Of each resource that counts, in whole
numbers that are rounded down:

    LeastAllocated             100 x (allocatable - taken) / allocatable: spreads
    MostAllocated              100 x taken / allocatable: packs
    RequestedToCapacityRatio   10 x what `shape` says of a utilization of 100 x taken / allocatable

`taken` is what is held on the node, and the pod's own. The score is the mean of them by weight; that of
RequestedToCapacityRatio is rounded, and leaves out what scores 0. A node that has none of a resource counts as full of
it, as does one that holds more than it has.

Twins over many slots, and over one, agree to the bit: floats hold all the whole numbers involved, and division rounds
the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....proto.quantities import PODS
from ..columns import Floats, NodeColumns
from ..framework.arguments import Arguments
from ..framework.interface import (
    SCORE_MAX,
    SKIP,
    Bools,
    Depends,
    FilterPlugin,
    PreFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
    Scores,
    SlotFilter,
    Slots,
    SlotScore,
)
from ..framework.shape import Shape
from .node_resources import Scored, assumed, read_resources

LEAST, MOST, RATIO = "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"
# The points of a shape score 0 to this, as in Kubernetes.
SHAPE_SCORE_MAX: Final = 10
_RESOURCE_GROUP_SEPARATOR: Final = "/"


class _Need(NamedTuple):
    """`column` is None if no node has ever had the resource."""

    resource: str
    column: int | None
    units: int


class NodeResourcesFit(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    name: ClassVar[str] = "NodeResourcesFit"
    depends: ClassVar[Depends] = Depends.ROOM
    template_only: ClassVar[bool] = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        arguments = Arguments(self.name, args)
        self._ignored = arguments.names("ignoredResources")
        self._ignored_groups = arguments.names("ignoredResourceGroups")
        self._strategy, self._weights, self._table = LEAST, read_resources(None), np.zeros(101, np.int64)
        strategy = arguments.inner("scoringStrategy")
        arguments.done()
        if strategy is not None:
            self._read(strategy)

    def _read(self, strategy: Arguments) -> None:
        self._strategy = strategy.text("type", LEAST, (LEAST, MOST, RATIO))
        self._weights = read_resources(strategy.objects("resources")) or read_resources(None)
        ratio = strategy.inner("requestedToCapacityRatio")
        strategy.done()
        if (self._strategy == RATIO) != (ratio is not None):
            raise strategy.error("requestedToCapacityRatio", f"goes with type {RATIO}, and that with it")
        if ratio is not None:
            self._table = _read_shape(ratio)

    # ------------------------------------------------------------------------------------------------------ filter

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> tuple[_Need, ...]:
        columns = nodes.resource_columns
        return tuple(
            _Need(resource, columns.get(resource), units)
            for resource, units in pod.template.requests.items()
            if units and not self._is_ignored(resource)
        )

    def _is_ignored(self, resource: str) -> bool:
        group, separator, _ = resource.partition(_RESOURCE_GROUP_SEPARATOR)
        return bool(separator) and (resource in self._ignored or group in self._ignored_groups)

    def filter(self, state: tuple[_Need, ...], pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        fits = nodes.present[slots].copy()
        for need in state:
            fits &= False if need.column is None else nodes.free[need.column][slots] >= need.units
        return fits

    def slot_filter(self, state: tuple[_Need, ...], pod: Shape, nodes: NodeColumns) -> SlotFilter:
        known = [(nodes.free_cells[need.column], need.units) for need in state if need.column is not None]
        if len(known) < len(state):
            return lambda _: False

        def fits(slot: int) -> bool:
            for free, units in known:  # noqa: SIM110  # `all` takes three times as long
                if free[slot] < units:
                    return False
            return True

        return fits

    def reasons(
        self, state: tuple[_Need, ...], pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]
    ) -> Mapping[str, int]:
        """A node counts under each resource that it lacks."""
        counted: dict[str, int] = {}
        for need in state:
            lacks = len(slots)
            if need.column is not None:
                lacks = int(np.count_nonzero(nodes.free[need.column][slots] < need.units))
            if lacks:
                counted["Too many pods" if need.resource == PODS else f"Insufficient {need.resource}"] = lacks
        return counted

    # ------------------------------------------------------------------------------------------------------- score

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        return assumed(self._weights, pod.template.requests, nodes) or SKIP

    def score(self, state: tuple[Scored, ...], pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return self._ratio(state, nodes, slots) if self._strategy == RATIO else self._mean(state, nodes, slots)

    def _mean(self, state: tuple[Scored, ...], nodes: NodeColumns, slots: Slots) -> Scores:
        total: Any = 0
        for column, units, weight in state:
            scores = _percent(nodes, column, units, slots, taken=self._strategy == MOST)
            total = total + (scores if weight == 1 else scores * weight)
        weights = sum(each.weight for each in state)
        return total if weights == 1 else total // weights  # type: ignore[no-any-return]

    def _ratio(self, state: tuple[Scored, ...], nodes: NodeColumns, slots: Slots) -> Scores:
        total: Any = 0
        weights: Any = 0
        for column, units, weight in state:
            scores = self._table[_percent(nodes, column, units, slots, taken=True)]
            total = total + scores * weight
            weights = weights + (scores > 0) * weight
        return (2 * total + weights) // np.maximum(2 * weights, 1)  # type: ignore[no-any-return]

    def slot_score(self, state: tuple[Scored, ...], pod: Shape, nodes: NodeColumns) -> SlotScore:
        free, scale = nodes.free_cells, nodes.scale_cells
        scored = [(free[column], scale[column], units, weight) for column, units, weight in state]
        if self._strategy == RATIO:
            return _ratio_of_slot(scored, self._table.tolist())
        if self._strategy == MOST:
            return _most_of_slot(scored)
        return _least_of_slot(scored)


# (free, scale, the pod's units, weight) of a resource.
_Cells = Sequence[tuple[Any, Any, int, int]]


def _least_of_slot(scored: _Cells) -> SlotScore:
    weights = sum(weight for _, _, _, weight in scored)

    def score(slot: int) -> int:
        total = 0
        for free, scale, units, weight in scored:
            left = free[slot] - units
            if left > 0.0:
                total += weight * int(left * 100.0 / scale[slot])
        return total // weights

    return score


def _most_of_slot(scored: _Cells) -> SlotScore:
    weights = sum(weight for _, _, _, weight in scored)

    def score(slot: int) -> int:
        total = 0
        for free, scale, units, weight in scored:
            total += weight * _percent_taken(free[slot] - units, scale[slot])
        return total // weights

    return score


def _ratio_of_slot(scored: _Cells, table: Sequence[int]) -> SlotScore:
    def score(slot: int) -> int:
        total = weights = 0
        for free, scale, units, weight in scored:
            found = table[_percent_taken(free[slot] - units, scale[slot])]
            if found:
                total += weight * found
                weights += weight
        return (2 * total + weights) // max(2 * weights, 1)

    return score


def _percent_taken(left: float, scale: float) -> int:
    return int((scale - max(left, 0.0)) * 100.0 / scale)


def _percent(nodes: NodeColumns, column: int, units: int, slots: Slots, *, taken: bool) -> Scores:
    """How much is left of it, or taken."""
    scale = nodes.scale[column][slots]
    amounts: Floats = nodes.free[column][slots] - units
    np.maximum(amounts, 0.0, out=amounts)
    if taken:
        np.subtract(scale, amounts, out=amounts)
    np.multiply(amounts, 100.0, out=amounts)
    np.divide(amounts, scale, out=amounts)
    return amounts.astype(np.int64)  # rounds down


def _read_shape(ratio: Arguments) -> NDArray[np.int64]:
    """The score of each utilization from 0 to 100: straight lines between the points."""
    points = ratio.objects("shape")
    ratio.done()
    if not points:
        raise ratio.error("shape", "must have a point")
    shape: list[tuple[int, int]] = []
    for point in points:
        utilization = point.number("utilization", None, 0, 100)
        if shape and utilization <= shape[-1][0]:
            raise point.error("utilization", f"must be more than that of the point before, {shape[-1][0]}")
        shape.append((utilization, point.number("score", None, 0, SHAPE_SCORE_MAX) * (SCORE_MAX // SHAPE_SCORE_MAX)))
        point.done()
    return np.array([_on_lines(shape, utilization) for utilization in range(101)], np.int64)


def _on_lines(shape: Sequence[tuple[int, int]], utilization: int) -> int:
    """Rounded towards the score of the point before."""
    before = shape[0]
    for point in shape:
        if utilization <= point[0]:
            if point is shape[0]:
                return point[1]
            rise, run = point[1] - before[1], point[0] - before[0]
            way = abs(rise) * (utilization - before[0]) // run
            return before[1] + (way if rise >= 0 else -way)
        before = point
    return before[1]
