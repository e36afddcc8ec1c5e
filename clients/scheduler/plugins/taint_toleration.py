"""TaintToleration: a pod keeps away from nodes whose NoSchedule and NoExecute taints it does not tolerate, and of the
others likes those least that have most PreferNoSchedule taints which it does not tolerate.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..columns import NodeColumns
from ..framework.interface import (
    SKIP,
    Bools,
    Depends,
    FilterPlugin,
    Normalize,
    PreFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
    Scores,
    Slots,
)
from ..framework.shape import Shape
from ..taints import HARD_EFFECTS, PREFER_NO_SCHEDULE, Taint, Toleration, untolerated


class TaintToleration(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    """Nodes of the same taints are one to it, and there are few such sets of taints."""

    name: ClassVar[str] = "TaintToleration"
    depends: ClassVar[Depends] = Depends.NODE
    normalize: ClassVar[Normalize] = Normalize.REVERSE_MAX
    template_only: ClassVar[bool] = True

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        return SKIP if len(nodes.taint_sets) == 1 else None

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        keeps_away = _of_sets(nodes, slots, lambda taints: _keeps_away(taints, pod.template.tolerations) is not None)
        return np.equal(keeps_away, 0)

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        counted: dict[str, int] = {}
        for number in nodes.taint_set[slots].tolist():
            taint = _keeps_away(nodes.taint_sets[number], pod.template.tolerations)
            reason = f"node(s) had untolerated taint {taint}"
            counted[reason] = counted.get(reason, 0) + 1
        return counted

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        soft = any(taint.effect == PREFER_NO_SCHEDULE for taints in nodes.taint_sets for taint in taints)
        return None if soft else SKIP

    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        tolerations = [each for each in pod.template.tolerations if each.effect in ("", PREFER_NO_SCHEDULE)]
        return _of_sets(nodes, slots, lambda taints: _disliked(taints, tolerations))


def _keeps_away(taints: Sequence[Taint], tolerations: Sequence[Toleration]) -> Taint | None:
    return untolerated([taint for taint in taints if taint.effect in HARD_EFFECTS], tolerations)


def _disliked(taints: Sequence[Taint], tolerations: Sequence[Toleration]) -> int:
    soft = [taint for taint in taints if taint.effect == PREFER_NO_SCHEDULE]
    return sum(1 for taint in soft if untolerated([taint], tolerations) is not None)


def _of_sets(nodes: NodeColumns, slots: Slots, value: Callable[[Sequence[Taint]], int]) -> Scores:
    """The value of each slot's taints, worked out once for each set of them that occurs."""
    numbers = nodes.taint_set[slots]
    occurring, places = np.unique(numbers, return_inverse=True)
    return np.array([int(value(nodes.taint_sets[number])) for number in occurring.tolist()], np.int64)[places]
