"""Which node is best for a pod under a profile.

Where all that a profile asks of a shape is kept in its column of keys, the best node is `argmax` over it: three to nine
microseconds. Where something depends on which pods run where, or has to be normalised over the nodes that are feasible
just now, the column is the beginning: those plugins are asked over all nodes at once, and what they say is laid over
the keys. Both choose what a loop over nodes would.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np

from ..columns import OWN_SHARD, TIE_BITS, NodeColumns
from .calls import ScoreCall
from .column import INFEASIBLE, Column
from .interface import Bools, PluginError, Scores, Skip, Unresolvable
from .profile import Algorithm, Profile
from .questions import AskedFilter, AskedScore
from .shape import Shape

# On overflow out of the own shard, the better of a random pair among the best 100. With several schedulers on a skewed
# load, all taking the very best made up to 60 % of the claims collide, this 13 %, and less with prompt news.
OVERFLOW_TOP: Final = 100


class Picker:
    """Of one profile. Columns of at most `columns_max` shapes are kept; the one unused longest goes first.

    `pick`, `keys` and `column` raise PluginError if a plugin fails.
    """

    def __init__(self, nodes: NodeColumns, random: Random, columns_max: int, profile: Profile) -> None:
        self.nodes, self._random, self._columns_max = nodes, random, columns_max
        self.algorithm = Algorithm(profile)
        self._columns: dict[int, Column] = {}

    def column(self, shape: Shape) -> Column:
        """What is kept for the shape, up to date."""
        number = shape.template.id if self.algorithm.template_only else shape.id
        column = self._columns.pop(number, None)
        if column is None:
            if len(self._columns) >= self._columns_max:
                del self._columns[next(iter(self._columns))]
            column = Column(self.nodes, shape, self.algorithm)
        column.refresh()  # If it raises, the column is gone: nothing half done is used again.
        self._columns[number] = column
        return column

    def keys(self, shape: Shape) -> Scores:
        """A key for each slot in use: see `column.py`; INFEASIBLE where the shape does not fit. Not to be changed."""
        column = self.column(shape)
        if not self.pods_matter(shape):
            return column.live if column.decides else self._add_scores(shape, column, column.live, ())
        nodes, algorithm = self.nodes, self.algorithm
        filters: list[AskedFilter] = []
        for filtering in algorithm.live_filters:
            state = filtering.state(shape, nodes)
            if isinstance(state, Unresolvable):
                return np.full(nodes.high, INFEASIBLE, np.int64)
            if not isinstance(state, Skip):
                filters.append(AskedFilter(filtering, state))
        keys = column.live
        if filters:
            keys = keys.copy()
            for filtering, state in filters:
                keys[~filtering.over(state, shape, nodes, slice(0, nodes.high))] = INFEASIBLE
        return self._add_scores(shape, column, keys, algorithm.live_scores)

    def pods_matter(self, shape: Shape) -> bool:
        """Whether those are to be asked that look at the pods on nodes, or at volumes: few pods say anything of others,
        or have claims."""
        algorithm = self.algorithm
        if not algorithm.asks_each_pod:
            return False
        if algorithm.looks_at_volumes and shape.template.claims:
            return True
        return algorithm.needs_bound_pods(shape) or bool(self.nodes.pods.tallies.concerning(shape))

    def _add_scores(self, shape: Shape, column: Column, keys: Scores, live_scores: Sequence[ScoreCall]) -> Scores:
        """The keys with what is worked out anew for each pod."""
        nodes = self.nodes
        feasible: Bools | None = None

        def ask_feasible() -> Bools:
            nonlocal feasible
            if feasible is None:
                feasible = keys >= 0
            return feasible

        scores: list[AskedScore] = []
        for call in live_scores:
            state = call.state(shape, nodes, ask_feasible)
            if not isinstance(state, Skip):
                scores.append(AskedScore(call, state))
        if (column.decides and not scores) or not ask_feasible().any():
            return keys
        more = np.zeros(len(keys), np.int64)
        for each in column.normalized:
            if not each.is_flat:
                more += each.call.weighted(each.state, shape, each.raw[: nodes.high], ask_feasible())
        for call, state in scores:
            raw = call.over(state, shape, nodes, slice(0, nodes.high))
            more += call.weighted(state, shape, raw, ask_feasible())
        more <<= TIE_BITS
        more += keys
        return np.where(ask_feasible(), more, INFEASIBLE)

    def pick(self, shape: Shape) -> int:
        """The slot of the node to take, INFEASIBLE if the shape fits nowhere."""
        keys = self.keys(shape)
        if not len(keys):
            return INFEASIBLE
        slot = int(keys.argmax())
        key = int(keys[slot])
        if key >= OWN_SHARD:
            return slot
        return INFEASIBLE if key < 0 else _one_of_the_best(keys, self._random)

    def fits_somewhere(self, shape: Shape) -> bool:
        """True also if a plugin fails: whoever picks is told."""
        try:
            keys = self.keys(shape)
        except PluginError:
            return True
        return bool(len(keys)) and int(keys.max()) >= 0


def _one_of_the_best(keys: Scores, random: Random) -> int:
    """The better of two drawn from the best OVERFLOW_TOP; at least one slot must fit."""
    top = np.argpartition(keys, -OVERFLOW_TOP)[-OVERFLOW_TOP:] if len(keys) > OVERFLOW_TOP else np.arange(len(keys))
    top = np.sort(top[keys[top] >= 0])
    drawn = (int(top[random.randrange(len(top))]) for _ in range(2))
    return max(drawn, key=keys.__getitem__)
