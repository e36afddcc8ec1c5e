"""Why a pod goes to this node, or to none: what each plugin says of all nodes, as the node table stands.

Nothing of it is worked out while pods are scheduled: what is kept of a decision is which one it was
(`RecentDecisions`), and whoever asks is told what the plugins say now, the pod's own claim included. It is kept out of
the objects, and bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from .columns import OWN_SHARD, TIE_BITS, NodeColumns
from .explain import Refused, judge
from .framework.interface import Bools, Scores, Skip
from .framework.picker import Picker
from .framework.shape import Shape

# Decisions that are remembered: the last few seconds of a scheduler that is busy.
DECISIONS_MAX: Final = 4096
BEST_NODES: Final = 5


class NodeScore(NamedTuple):
    """`scores`: what each plugin adds to the total, its weight included. `own`: it is in this scheduler's share of the
    nodes, which come first."""

    partition: str
    node: str
    own: bool
    total: int
    scores: Mapping[str, int]


class Explanation(NamedTuple):
    """Of `nodes`, `refused` by each plugin, in the order of asking; `feasible` are left, of which `best` come first.

    `problem` is what is wrong with the pod itself, if anything is. `chosen` is the node that it was given, and what it
    scores; None: it has none, or one that is not feasible (any more).
    """

    profile: str
    nodes: int
    refused: Sequence[Refused]
    feasible: int
    best: Sequence[NodeScore]
    chosen: NodeScore | None
    problem: str


class RecentDecisions:
    """By the uid of the pod: its shape, and the resource partition and node that were chosen."""

    def __init__(self) -> None:
        self._decisions: dict[str, tuple[Shape, str, str]] = {}

    def note(self, pod_uid: str, shape: Shape, partition: str, node: str) -> None:
        decisions = self._decisions
        decisions.pop(pod_uid, None)
        if len(decisions) >= DECISIONS_MAX:
            del decisions[next(iter(decisions))]
        decisions[pod_uid] = (shape, partition, node)

    def of(self, pod_uid: str) -> tuple[Shape, str, str] | None:
        return self._decisions.get(pod_uid)


def explain_shape(picker: Picker, shape: Shape, chosen_slot: int | None = None) -> Explanation:
    """
    Raises:
        PluginError
    """
    nodes, algorithm = picker.nodes, picker.algorithm
    name = algorithm.profile.scheduler_name
    if shape.template.error:
        return Explanation(name, nodes.nodes, (), 0, (), None, shape.template.error)
    verdict = judge(nodes, algorithm, shape)
    feasible = np.flatnonzero(verdict.feasible)
    if not len(feasible):
        return Explanation(name, verdict.nodes, verdict.refused, 0, (), None, "")
    scores = _scores(picker, shape, verdict.feasible)
    totals = sum(scores.values(), np.zeros(nodes.high, np.int64))
    keys = (totals << TIE_BITS) + nodes.tie[: nodes.high]
    best = feasible[np.argsort(keys[feasible])[::-1][:BEST_NODES]]
    chosen = None
    if chosen_slot is not None and verdict.feasible[chosen_slot]:
        chosen = _node_score(nodes, scores, chosen_slot)
    return Explanation(
        name,
        verdict.nodes,
        verdict.refused,
        len(feasible),
        [_node_score(nodes, scores, slot) for slot in best.tolist()],
        chosen,
        "",
    )


def _scores(picker: Picker, shape: Shape, feasible: Bools) -> dict[str, Scores]:
    """What each plugin adds to the totals, of all slots in use."""
    nodes = picker.nodes
    scores: dict[str, Scores] = {}
    for call in picker.algorithm.scores:
        state = call.state(shape, nodes, lambda: feasible)
        if not isinstance(state, Skip):
            raw = call.over(state, shape, nodes, slice(0, nodes.high))
            scores[call.name] = call.weighted(state, shape, raw, feasible)
    return scores


def _node_score(nodes: NodeColumns, scores: Mapping[str, Scores], slot: int) -> NodeScore:
    own = {name: int(array[slot]) for name, array in scores.items()}
    is_own = nodes.tie_cells[slot] >= OWN_SHARD
    return NodeScore(nodes.partitions[slot], nodes.names[slot], is_own, sum(own.values()), own)
