"""Why a pod fits on no node, in the words of Kubernetes.

    0/5 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, 3 Insufficient cpu.

Each node counts under the first plugin that keeps the pod away; where resources do, under each that it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import NodeColumns
from .framework.interface import Bools, Skip, Unresolvable
from .framework.profile import Algorithm
from .framework.shape import Shape

OUT_OF_REACH: Final = "node(s) were in a resource partition out of reach"
NOT_READY: Final = "node(s) were not ready"
TAKEN: Final = "node(s) were taken by another scheduler"
OFFERED: Final = "node(s) have just become free and are offered to others first"


class Refused(NamedTuple):
    """`plugin` is empty where it was none. `reasons`: how many nodes for each; one may count under several."""

    plugin: str
    nodes: int
    reasons: Mapping[str, int]


class Verdict(NamedTuple):
    """`feasible`, one entry a slot in use; `nodes`, how many there are in all."""

    nodes: int
    refused: Sequence[Refused]
    feasible: Bools


def judge(nodes: NodeColumns, algorithm: Algorithm, shape: Shape) -> Verdict:
    """Ask every filter of a profile, each about the nodes that those before it have left.

    Raises:
        PluginError
    """
    judging = _Judging(nodes)
    judging.strike("", ~nodes.open[: nodes.high], OUT_OF_REACH)
    judging.strike("", ~nodes.ready[: nodes.high], NOT_READY)
    everywhere = slice(0, nodes.high)
    for call in algorithm.filters:
        state = call.state(shape, nodes)
        if isinstance(state, Unresolvable):
            judging.strike(call.name, nodes.present[: nodes.high], state.reason)
        elif not isinstance(state, Skip) and judging.left.any():
            struck = judging.take(~call.over(state, shape, nodes, everywhere))
            if len(struck):
                judging.refused.append(Refused(call.name, len(struck), call.reasons(state, shape, nodes, struck)))
    judging.strike("", _among(nodes, (slot for slot, ids in nodes.refusals.items() if shape.template.id in ids)), TAKEN)
    judging.strike("", _among(nodes, nodes.withheld), OFFERED)
    return Verdict(nodes.nodes, judging.refused, judging.left)


class _Judging:
    def __init__(self, nodes: NodeColumns) -> None:
        self.left: Bools = nodes.present[: nodes.high].copy()
        self.refused: list[Refused] = []

    def take(self, keeps_away: Bools) -> NDArray[np.intp]:
        """Of those left, the ones that are kept away; they are left no more."""
        struck = np.flatnonzero(self.left & keeps_away)
        self.left[struck] = False
        return struck

    def strike(self, plugin: str, keeps_away: Bools, reason: str) -> None:
        count = len(self.take(keeps_away))
        if count:
            self.refused.append(Refused(plugin, count, {reason: count}))


def _among(nodes: NodeColumns, slots: Iterable[int]) -> Bools:
    found = np.zeros(nodes.high, np.bool_)
    found[list(slots)] = True
    return found


def explain(nodes: NodeColumns, algorithm: Algorithm, shape: Shape, unseen_partitions: Sequence[str] = ()) -> str:
    """One sentence. `unseen_partitions`: those of which nothing is known yet, so that their nodes are not counted.

    Raises:
        PluginError
    """
    if shape.template.error:
        return f"the pod cannot be scheduled: {shape.template.error}"
    verdict = judge(nodes, algorithm, shape)
    counted: dict[str, int] = {}
    for refused in verdict.refused:
        for reason, count in refused.reasons.items():
            counted[reason] = counted.get(reason, 0) + count
    reasons = sorted(f"{count} {reason}" for reason, count in counted.items())
    sentence = "no nodes available to schedule pods."
    if verdict.nodes:
        sentence = f"0/{verdict.nodes} nodes are available: {', '.join(reasons)}."
    if unseen_partitions:
        sentence += f" Not seen yet: {', '.join(unseen_partitions)}."
    return sentence
