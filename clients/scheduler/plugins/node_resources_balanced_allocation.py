"""NodeResourcesBalancedAllocation: nodes on which all resources would be taken to about the same share are better.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins and the NodeResourcesBalancedAllocationArgs
of https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/. With the pod on it, a share of each
resource is taken, 1 at most; the score is 100 x (1 - the standard deviation of the shares), rounded down. A pod that
requests nothing is not scored: nodes would all but be the same to it.

A node that has none of a resource counts as full of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..columns import Floats, NodeColumns
from ..framework.arguments import Arguments
from ..framework.interface import SKIP, Bools, Depends, PreScorePlugin, ScorePlugin, Scores, Slots, SlotScore
from ..framework.shape import Shape
from .node_resources import Scored, read_resources, requested


class NodeResourcesBalancedAllocation(PreScorePlugin, ScorePlugin):
    name: ClassVar[str] = "NodeResourcesBalancedAllocation"
    depends: ClassVar[Depends] = Depends.ROOM
    template_only: ClassVar[bool] = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        arguments = Arguments(self.name, args)
        self._weights = read_resources(arguments.objects("resources"))
        arguments.done()

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        scored = requested(self._weights, pod.template.requests, nodes)
        # The deviation of a single share is 0 everywhere.
        return scored if len(scored) > 1 and any(each.units for each in scored) else SKIP

    def score(self, state: tuple[Scored, ...], pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        shares = [self._shares(each, nodes, slots) for each in state]
        deviation: Any
        if len(shares) == 2:
            deviation = np.abs(shares[0] - shares[1]) / 2.0
        else:
            mean = sum(shares[1:], shares[0]) / len(shares)
            squares = [(share - mean) * (share - mean) for share in shares]
            deviation = np.sqrt(sum(squares[1:], squares[0]) / len(shares))
        return np.asarray((1.0 - deviation) * 100.0).astype(np.int64)

    def _shares(self, scored: Scored, nodes: NodeColumns, slots: Slots) -> Floats:
        scale = nodes.scale[scored.column][slots]
        taken: Floats = scale - nodes.free[scored.column][slots]
        taken += scored.units
        np.divide(taken, scale, out=taken)
        np.minimum(taken, 1.0, out=taken)
        return taken

    def slot_score(self, state: tuple[Scored, ...], pod: Shape, nodes: NodeColumns) -> SlotScore:
        cells = [(nodes.free_cells[column], nodes.scale_cells[column], units) for column, units, _ in state]
        return _of_two(cells) if len(cells) == 2 else _of_many(cells)


# (free, scale, the pod's units) of a resource.
_Cells = Sequence[tuple[Any, Any, int]]


def _of_two(cells: _Cells) -> SlotScore:
    (free_0, scale_0, units_0), (free_1, scale_1, units_1) = cells

    def score(slot: int) -> int:
        all_of_it = scale_0[slot]
        one = (all_of_it - free_0[slot] + units_0) / all_of_it
        all_of_it = scale_1[slot]
        other = (all_of_it - free_1[slot] + units_1) / all_of_it
        if one > 1.0:
            one = 1.0
        if other > 1.0:
            other = 1.0
        return int((1.0 - abs(one - other) / 2.0) * 100.0)

    return score


def _of_many(cells: _Cells) -> SlotScore:
    count = len(cells)

    def score(slot: int) -> int:
        shares = [min((scale[slot] - free[slot] + units) / scale[slot], 1.0) for free, scale, units in cells]
        mean = _sum(shares) / count
        return int((1.0 - math.sqrt(_sum([(share - mean) * (share - mean) for share in shares]) / count)) * 100.0)

    return score


def _sum(numbers: Sequence[float]) -> float:
    """One after the other, as arrays are added; `sum` of a newer Python corrects for what is lost."""
    total = 0.0
    for number in numbers:
        total += number
    return total
