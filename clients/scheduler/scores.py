"""Which node is best for a pod: a cached column of keys for each template, kept up to date from the change log.

A key is one int32 that orders nodes: own shard first, then the score, then 20 tie bits (see `columns.py`); -1 where the
pod does not fit. The best node is `argmax` over the column. Placing a pod changes one node, so the next pod of the same
template costs one re-scored cell and one argmax; a template not asked for in a while catches up on all that changed, in
one go, and one not asked for in a long while is dropped.

The score is Kubernetes' LeastAllocated over cpu and memory, 0 to 100, in whole numbers:

    (100 x (allocatable - requested - pod's) / allocatable of cpu, the same of memory) / 2, each division rounded down

There are two twins of it, one over many slots in numpy and one over a single slot in plain Python, which is ten times
faster for one slot; they agree to the bit (floats hold all the whole numbers involved, and division rounds the same).
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

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

    def __init__(self, nodes: NodeColumns, random: Random, columns_max: int) -> None:
        self._nodes, self._random, self._columns_max = nodes, random, columns_max
        self._columns: dict[int, TemplateColumn] = {}

    def of(self, template: Template) -> TemplateColumn:
        """The template's column, as it was when last refreshed."""
        column = self._columns.pop(template.id, None)
        if column is None:
            if len(self._columns) >= self._columns_max:
                del self._columns[next(iter(self._columns))]
            column = TemplateColumn(self._nodes, template)
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

    def __init__(self, nodes: NodeColumns, template: Template) -> None:
        self._nodes, self._template = nodes, template
        self._nonzero_cpu = template.requests.get("cpu") or NONZERO_CPU_MILLICORES
        self._nonzero_memory = template.requests.get("memory") or NONZERO_MEMORY_BYTES
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
        everything = slice(0, nodes.high)
        self._static[everything] = self._static_of(everything)
        self._score_all()
        self._layout, self._static_position = nodes.layout, nodes.static_changes.end

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
            self._deny_refused(slot for slot in slots if slot in nodes.refusals)
        else:
            self._score_all()
        self._seen_all()

    def _score_all(self) -> None:
        high = self._nodes.high
        self.keys[:high] = self._keys_of(slice(0, high), high)
        self._deny_refused(self._nodes.refusals)
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
        """Keys of many slots, refusals not considered."""
        nodes = self._nodes
        if self._needs is None:
            return np.full(count, INFEASIBLE, np.int32)
        amounts, fits, fits_now, keys, more_keys, mask = nodes.buffers(count)
        np.copyto(fits, self._static[index])
        for column, units in self._needs:
            np.greater_equal(nodes.free[column][index], units, out=fits_now)
            np.logical_and(fits, fits_now, out=fits)
        self._least_allocated(NONZERO_CPU, self._nonzero_cpu, nodes.scale[0], index, amounts, keys)
        self._least_allocated(NONZERO_MEMORY, self._nonzero_memory, nodes.scale[1], index, amounts, more_keys)
        np.add(keys, more_keys, out=keys)
        np.right_shift(keys, 1, out=keys)
        np.left_shift(keys, TIE_BITS, out=keys)
        np.bitwise_or(keys, nodes.tie[index], out=keys)
        np.subtract(fits.view(np.int8), np.int8(1), out=mask)  # 0 where it fits, -1 (all bits) where not
        np.bitwise_or(keys, mask, out=keys)
        return keys

    def _least_allocated(
        self,
        column: int,
        units: int,
        scale: NDArray[np.float64],
        index: Index,
        amounts: NDArray[np.float64],
        out: NDArray[np.int32],
    ) -> None:
        np.subtract(self._nodes.free[column][index], units, out=amounts)
        np.maximum(amounts, 0.0, out=amounts)
        np.multiply(amounts, 100.0, out=amounts)
        np.divide(amounts, scale[index], out=amounts)
        np.copyto(out, amounts, casting="unsafe")  # rounds down

    def _key_of(self, slot: int) -> int:
        """The key of one slot, refusals considered."""
        nodes = self._nodes
        if not self._static_cells[slot] or self._needs is None:
            return INFEASIBLE
        free = nodes.free_cells
        for column, units in self._needs:
            if free[column][slot] < units:
                return INFEASIBLE
        if slot in nodes.refusals and self._template.id in nodes.refusals[slot]:
            return INFEASIBLE
        cpu_scale, memory_scale = nodes.scale_cells
        cpu = free[NONZERO_CPU][slot] - self._nonzero_cpu
        memory = free[NONZERO_MEMORY][slot] - self._nonzero_memory
        score = int(cpu * 100.0 / cpu_scale[slot]) if cpu > 0.0 else 0
        score += int(memory * 100.0 / memory_scale[slot]) if memory > 0.0 else 0
        return (score >> 1 << TIE_BITS) | nodes.tie_cells[slot]

    def _deny_refused(self, slots: Iterable[int]) -> None:
        refusals, template_id = self._nodes.refusals, self._template.id
        for slot in slots:
            if template_id in refusals[slot]:
                self.cells[slot] = INFEASIBLE
