"""Which node is best for a pod: a cached column of keys for each template, kept up to date from the change log.

A key is one int32 that orders nodes: own shard first, then the score, then 20 tie bits (see `columns.py`); -1 where the
pod does not fit. The best node is `argmax` over the column. Placing a pod changes one node, so the next pod of the same
template costs one re-scored cell and one argmax; a template not asked for in a while catches up on all that changed, in
one go, and one not asked for in a long while is dropped.

The score is Kubernetes' LeastAllocated or MostAllocated (`options.py`), 0 to 100, in whole numbers:

    sum of weight x score of each resource / sum of weights, where the score of one is
    100 x (allocatable - requested - pod's) / allocatable, or 100 x (requested + pod's) / allocatable; all rounded down

There are two twins of it, one over many slots in numpy and one over a single slot in plain Python, which is ten times
faster for one slot; they agree to the bit (floats hold all the whole numbers involved, and division rounds the same).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...proto import quantities
from .columns import (
    NONZERO_CPU,
    NONZERO_CPU_MILLICORES,
    NONZERO_MEMORY,
    NONZERO_MEMORY_BYTES,
    OWN_SHARD,
    TIE_BITS,
    NodeColumns,
)
from .labels import Index
from .options import ScoringStrategy
from .taints import untolerated
from .template import Template

Bools = NDArray[np.bool_]

INFEASIBLE: Final = -1
# Up to so many changed slots are re-scored one by one, at 1 us each; beyond, numpy's fixed cost is smaller.
SINGLE_SLOTS_MAX: Final = 48
# Picking scattered slots out of the columns costs so many times as much as reading all in a row.
SCATTER_FACTOR: Final = 8
# On overflow out of the own shard, the better of a random pair among the best 100. With several schedulers on a skewed
# load, all taking the very best made up to 60 % of the claims collide, this 13 %, and less with prompt news.
OVERFLOW_TOP: Final = 100


class ScoreColumns:
    """The columns of the templates in use, at most `columns_max`; the one unused longest goes first."""

    def __init__(
        self,
        nodes: NodeColumns,
        random: Random,
        columns_max: int,
        strategy: ScoringStrategy = ScoringStrategy(),  # noqa: B008  # immutable
    ) -> None:
        self._nodes, self._random, self._columns_max, self._strategy = nodes, random, columns_max, strategy
        self._columns: dict[int, TemplateColumn] = {}

    def of(self, template: Template) -> TemplateColumn:
        """The template's column, as it was when last refreshed."""
        column = self._columns.pop(template.id, None)
        if column is None:
            if len(self._columns) >= self._columns_max:
                del self._columns[next(iter(self._columns))]
            column = TemplateColumn(self._nodes, template, self._strategy)
        self._columns[template.id] = column
        return column

    def pick(self, template: Template) -> int:
        """The slot of the node to take, INFEASIBLE if the template fits nowhere."""
        column = self.of(template)
        column.refresh()
        slot = column.best()
        if slot == INFEASIBLE or column.cells[slot] >= OWN_SHARD:
            return slot
        return column.one_of_the_best(self._random)

    def fits_somewhere(self, template: Template) -> bool:
        column = self.of(template)
        column.refresh()
        return column.best() != INFEASIBLE


class TemplateColumn:
    """One template's keys for all slots."""

    def __init__(
        self,
        nodes: NodeColumns,
        template: Template,
        strategy: ScoringStrategy = ScoringStrategy(),  # noqa: B008  # immutable
    ) -> None:
        self._nodes, self._template, self._strategy = nodes, template, strategy
        self._packs = strategy.type == "MostAllocated"
        # (column, the pod's units, weight) of what is scored, and the sum of the weights.
        self._scored: tuple[tuple[int, int, int], ...] = ()
        self._weights = 1
        # (column, units) that must fit; None: it fits nowhere, because no node has ever had such a resource.
        self._needs: tuple[tuple[int, int], ...] | None = None
        self._tolerated: Bools = np.zeros(0, np.bool_)
        self._layout = 0
        self._position = self._static_position = 0
        self._static: Bools = np.zeros(0, np.bool_)
        self._static_cells = self._static.data
        self.keys: NDArray[np.int32] = np.zeros(0, np.int32)
        self.cells = self.keys.data
        self._live = self.keys

    # -------------------------------------------------------------------------------------------------- picking

    def best(self) -> int:
        """The slot with the largest key; INFEASIBLE if none fits. Of the last `refresh`."""
        if not len(self._live):
            return INFEASIBLE
        slot = int(self._live.argmax())
        return slot if self.cells[slot] >= 0 else INFEASIBLE

    def one_of_the_best(self, random: Random) -> int:
        """The better of two drawn from the best OVERFLOW_TOP; at least one slot must fit."""
        live = self._live
        top = np.argpartition(live, -OVERFLOW_TOP)[-OVERFLOW_TOP:] if len(live) > OVERFLOW_TOP else np.arange(len(live))
        top = np.sort(top[live[top] >= 0])
        drawn = (int(top[random.randrange(len(top))]) for _ in range(2))
        return max(drawn, key=self.cells.__getitem__)

    # ------------------------------------------------------------------------------------------------- catching up

    def refresh(self) -> None:
        """Catch up with the node table."""
        nodes = self._nodes
        if self._layout != nodes.layout:
            self._rebuild()
            return
        if self._static_position != nodes.static_changes.end and not self._refresh_static():
            self._rebuild()
            return
        if self._position != nodes.changes.end:
            self._refresh_keys()

    def _rebuild(self) -> None:
        nodes = self._nodes
        if len(self.keys) != nodes.capacity:
            self.keys = np.full(nodes.capacity, INFEASIBLE, np.int32)
            self.cells = self.keys.data
            self._static = np.zeros(nodes.capacity, np.bool_)
            self._static_cells = self._static.data
        columns = nodes.resource_columns
        requests = self._template.requests
        known = not self._template.error and all(resource in columns for resource in requests)
        self._needs = tuple((columns[resource], units) for resource, units in requests.items()) if known else None
        self._scored = tuple(self._scored_resources()) if known else ()
        self._weights = sum(weight for _, _, weight in self._scored) or 1
        everything = slice(0, nodes.high)
        self._static[everything] = self._static_of(everything)
        self._score_all()
        self._layout, self._static_position = nodes.layout, nodes.static_changes.end

    def _scored_resources(self) -> Iterator[tuple[int, int, int]]:
        requests = self._template.requests
        for resource, weight in self._strategy.resources:
            if resource == quantities.CPU:
                yield NONZERO_CPU, requests.get(resource) or NONZERO_CPU_MILLICORES, weight
            elif resource == quantities.MEMORY:
                yield NONZERO_MEMORY, requests.get(resource) or NONZERO_MEMORY_BYTES, weight
            elif units := requests.get(resource):
                yield self._nodes.resource_columns[resource], units, weight

    def _refresh_static(self) -> bool:
        nodes = self._nodes
        changed = nodes.static_changes.since(self._static_position)
        if changed is None:
            return False
        index = np.array(list(dict.fromkeys(changed)), np.intp)
        self._static[index] = self._static_of(index)
        self._static_position = nodes.static_changes.end
        return True

    def _refresh_keys(self) -> None:
        nodes = self._nodes
        changed = nodes.changes.since(self._position)
        if changed is None:
            self._score_all()
            return
        slots = list(dict.fromkeys(changed)) if len(changed) > 1 else changed
        if len(slots) <= SINGLE_SLOTS_MAX:
            cells, key_of = self.cells, self._key_of
            for slot in slots:
                cells[slot] = key_of(slot)
        elif len(slots) * SCATTER_FACTOR < nodes.high:
            index = np.array(slots, np.intp)
            self.keys[index] = self._keys_of(index, len(index))
            self._deny(slots)
        else:
            self._score_all()
        self._seen_all()

    def _score_all(self) -> None:
        high = self._nodes.high
        self.keys[:high] = self._keys_of(slice(0, high), high)
        self._deny((*self._nodes.refusals, *self._nodes.withheld))
        self._seen_all()

    def _seen_all(self) -> None:
        self._position = self._nodes.changes.end
        self._live = self.keys[: self._nodes.high]

    # ------------------------------------------------------------------------------------------- filter and score

    def _static_of(self, index: Index) -> Bools:
        """All filters but the resources: what only changes with the node itself."""
        nodes, template = self._nodes, self._template
        known = len(self._tolerated)
        if known < len(nodes.taint_sets):
            more = [untolerated(taints, template.tolerations) is None for taints in nodes.taint_sets[known:]]
            self._tolerated = np.concatenate((self._tolerated, np.array(more, np.bool_)))
        fits = nodes.present[index] & nodes.ready[index]
        fits &= nodes.open[index]
        fits &= self._tolerated[nodes.taint_set[index]]
        for key, value in template.node_selector:
            fits &= nodes.labels.equal(key, value, index, nodes.capacity)
        return fits

    def _keys_of(self, index: Index, count: int) -> NDArray[np.int32]:
        """Keys of many slots, with no thought of what is refused or withheld."""
        nodes = self._nodes
        if self._needs is None:
            return np.full(count, INFEASIBLE, np.int32)
        amounts, fits, fits_now, keys, score, mask = nodes.buffers(count)
        np.copyto(fits, self._static[index])
        for column, units in self._needs:
            np.greater_equal(nodes.free[column][index], units, out=fits_now)
            np.logical_and(fits, fits_now, out=fits)
        keys.fill(0)
        for column, units, weight in self._scored:
            self._score(column, units, index, amounts, score)
            np.multiply(score, weight, out=score)
            np.add(keys, score, out=keys)
        np.floor_divide(keys, self._weights, out=keys)
        np.left_shift(keys, TIE_BITS, out=keys)
        np.bitwise_or(keys, nodes.tie[index], out=keys)
        np.subtract(fits.view(np.int8), np.int8(1), out=mask)  # 0 where it fits, -1 (all bits) where not
        np.bitwise_or(keys, mask, out=keys)
        return keys

    def _score(
        self, column: int, units: int, index: Index, amounts: NDArray[np.float64], out: NDArray[np.int32]
    ) -> None:
        """Of one resource, 0 to 100. A node that holds more than it has is as good as full."""
        scale = self._nodes.scale[column][index]
        np.subtract(self._nodes.free[column][index], units, out=amounts)
        np.maximum(amounts, 0.0, out=amounts)
        if self._packs:
            np.subtract(scale, amounts, out=amounts)
        np.multiply(amounts, 100.0, out=amounts)
        np.divide(amounts, scale, out=amounts)
        np.copyto(out, amounts, casting="unsafe")  # rounds down

    def _key_of(self, slot: int) -> int:
        """The key of one slot."""
        nodes = self._nodes
        if not self._static_cells[slot] or self._needs is None:
            return INFEASIBLE
        free = nodes.free_cells
        for column, units in self._needs:
            if free[column][slot] < units:
                return INFEASIBLE
        if self._denied(slot):
            return INFEASIBLE
        scale, packs, score = nodes.scale_cells, self._packs, 0
        for column, units, weight in self._scored:
            amount, all_of_it = max(free[column][slot] - units, 0.0), scale[column][slot]
            if packs:
                amount = all_of_it - amount
            score += weight * int(amount * 100.0 / all_of_it)
        return (score // self._weights << TIE_BITS) | nodes.tie_cells[slot]

    def _denied(self, slot: int) -> bool:
        nodes = self._nodes
        return slot in nodes.withheld or (slot in nodes.refusals and self._template.id in nodes.refusals[slot])

    def _deny(self, slots: Iterable[int]) -> None:
        for slot in slots:
            if self._denied(slot):
                self.cells[slot] = INFEASIBLE
