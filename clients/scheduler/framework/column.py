"""What a profile's plugins say of all nodes for one shape, kept up to date from the change log.

Kept are: which nodes pass the filters that depend on the node alone, what such scores add up to, the raw scores that
are to be normalised, and a column of **keys**, which order nodes: own shard first, then the total of the weighted
scores, then 20 tie bits (see `columns.py`); -1 where the pod does not fit. Placing a pod changes one node, so the next
pod of the same shape costs one re-scored cell and one argmax; a shape not asked for in a while catches up on all that
changed, in one go.

    key = own shard << 62 | sum of weight x score << 20 | tie bits

Scores that are normalised are not in the keys: what one is worth depends on all nodes that are feasible at the moment.
Where they are the same on all nodes, as those of taints that no node has, they decide nothing and cost nothing;
elsewhere `picker.py` adds them for each pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from ..columns import TIE_BITS, NodeColumns
from .interface import Bools, Depends, Scores, SlotFilter, Slots, SlotScore
from .profile import Algorithm
from .questions import AskedScore, Questions
from .shape import Shape

INFEASIBLE: Final = -1
# Up to so many changed slots are re-scored one by one, at 2 us each; beyond, numpy's fixed cost is smaller.
SINGLE_SLOTS_MAX: Final = 32
# Picking scattered slots out of the columns costs so many times as much as reading all in a row.
SCATTER_FACTOR: Final = 8


class Normalized:
    """A score that is to be normalised, with the raw scores of all slots."""

    def __init__(self, asked: AskedScore, capacity: int) -> None:
        self.call, self.state = asked
        self.raw: Scores = np.zeros(capacity, np.int64)
        # The same on all nodes that may be feasible.
        self.is_flat = False


class Column:
    """Of one shape under one profile. Read it after `refresh` only."""

    def __init__(self, nodes: NodeColumns, shape: Shape, algorithm: Algorithm) -> None:
        self._nodes, self._shape, self._algorithm = nodes, shape, algorithm
        self._template_id = shape.template.id
        self._layout = 0
        self._position = self._static_position = 0
        # The keys of the slots in use.
        self.live: Scores = np.zeros(0, np.int64)
        # The keys order the nodes as all cached plugins together do: nothing that is normalised makes a difference.
        self.decides = True
        self.normalized: list[Normalized] = []
        self._slot_filters: list[SlotFilter] = []
        self._slot_scores: list[tuple[int, SlotScore]] = []

    # ------------------------------------------------------------------------------------------------- catching up

    def refresh(self) -> None:
        """Catch up with the node table.

        Raises:
            PluginError: the column is of no use any more.
        """
        nodes = self._nodes
        if self._layout != nodes.layout:
            self._rebuild(Questions(self._algorithm, self._shape, nodes))
            return
        if self._static_position != nodes.static_changes.end and not self._refresh_static():
            return
        if self._position != nodes.changes.end:
            self._refresh_keys()

    def _rebuild(self, questions: Questions) -> None:
        nodes, shape = self._nodes, self._shape
        self.questions = questions
        self.keys: Scores = np.full(nodes.capacity, INFEASIBLE, np.int64)
        self._static: Bools = np.zeros(nodes.capacity, np.bool_)
        self._base: Scores = np.zeros(nodes.capacity, np.int64)
        self.cells, self._static_cells, self._base_cells = self.keys.data, self._static.data, self._base.data
        self._slot_filters = [call.of_slot(state, shape, nodes) for call, state in questions.room_filters]
        self._slot_scores = [(call.weight, call.of_slot(state, shape, nodes)) for call, state in questions.room_scores]
        self._key_of = self._make_key_of()
        self.normalized = [Normalized(asked, nodes.capacity) for asked in questions.to_normalize]
        self._normalizes_room = any(each.call.depends is Depends.ROOM for each in self.normalized)
        self._ask_static(slice(0, nodes.high))
        self._score_all()
        self._layout = nodes.layout

    def _refresh_static(self) -> bool:
        """False: everything had to be made anew."""
        nodes = self._nodes
        changed = nodes.static_changes.since(self._static_position)
        questions = Questions(self._algorithm, self._shape, nodes)
        if changed is None or not questions.same_as(self.questions):
            self._rebuild(questions)
            return False
        self._ask_static(np.array(list(dict.fromkeys(changed)), np.intp))
        return True

    def _ask_static(self, slots: Slots) -> None:
        """What depends on the nodes alone."""
        nodes, shape, questions = self._nodes, self._shape, self.questions
        fits = nodes.present[slots] & nodes.ready[slots]
        fits &= nodes.open[slots]
        if questions.refusal is not None:
            fits[:] = False
        for filtering, state in questions.node_filters:
            fits &= filtering.over(state, shape, nodes, slots)
        self._static[slots] = fits
        if questions.node_scores:
            self._base[slots] = sum(
                scoring.over(state, shape, nodes, slots) * scoring.weight for scoring, state in questions.node_scores
            )
        for each in self.normalized:
            if each.call.depends is Depends.NODE:
                each.raw[slots] = each.call.over(each.state, shape, nodes, slots)
                possible = each.raw[: nodes.high][self._static[: nodes.high]]
                each.is_flat = not len(possible) or bool(possible.min() == possible.max())
        self.decides = all(each.is_flat for each in self.normalized)
        self._static_position = nodes.static_changes.end

    def _refresh_keys(self) -> None:
        nodes = self._nodes
        changed = nodes.changes.since(self._position)
        if changed is None:
            self._score_all()
            return
        slots = list(dict.fromkeys(changed)) if len(changed) > 1 else changed
        if len(slots) <= SINGLE_SLOTS_MAX and not self._normalizes_room:
            cells, key_of = self.cells, self._key_of
            for slot in slots:
                cells[slot] = key_of(slot)
        elif len(slots) * SCATTER_FACTOR < nodes.high:
            index = np.array(slots, np.intp)
            self.keys[index] = self._keys_of(index)
            self._deny(slots)
        else:
            self._score_all()
        self._seen_all()

    def _score_all(self) -> None:
        high = self._nodes.high
        self.keys[:high] = self._keys_of(slice(0, high))
        self._deny((*self._nodes.refusals, *self._nodes.withheld))
        self._seen_all()

    def _seen_all(self) -> None:
        self._position = self._nodes.changes.end
        if len(self.live) != self._nodes.high or self.live.base is not self.keys:
            self.live = self.keys[: self._nodes.high]

    @property
    def node_passes(self) -> Bools:
        """By slot in use: all that depends on the node alone is right. Not to be changed."""
        return self._static[: self._nodes.high]

    # ----------------------------------------------------------------------------------------------------- keys

    def _keys_of(self, slots: Slots) -> Scores:
        """Keys of many slots, with no thought of what is refused or withheld."""
        nodes, shape, questions = self._nodes, self._shape, self.questions
        fits = self._static[slots].copy()
        for filtering, state in questions.room_filters:
            fits &= filtering.over(state, shape, nodes, slots)
        keys = self._base[slots].copy()
        for scoring, state in questions.room_scores:
            scores = scoring.over(state, shape, nodes, slots)
            keys += scores if scoring.weight == 1 else scores * scoring.weight
        for each in self.normalized:
            if each.call.depends is Depends.ROOM:
                each.raw[slots] = each.call.over(each.state, shape, nodes, slots)
        keys <<= TIE_BITS
        keys |= nodes.tie[slots]
        keys |= fits.astype(np.int64) - 1  # 0 where it fits, -1 (all bits) where not
        return keys

    def _make_key_of(self) -> Callable[[int], int]:
        """What gives the key of one slot. It holds as long as the layout does."""
        nodes, filters, scores, denied = self._nodes, self._slot_filters, self._slot_scores, self._denied
        static, base, ties = self._static_cells, self._base_cells, nodes.tie_cells
        withheld, refusals = nodes.withheld, nodes.refusals

        def key_of(slot: int) -> int:
            if not static[slot]:
                return INFEASIBLE
            for fits in filters:
                if not fits(slot):
                    return INFEASIBLE
            if (withheld or refusals) and denied(slot):
                return INFEASIBLE
            total = base[slot]
            for weight, score in scores:
                total += weight * score(slot)
            return (total << TIE_BITS) | ties[slot]

        return key_of

    def _denied(self, slot: int) -> bool:
        nodes = self._nodes
        return slot in nodes.withheld or (slot in nodes.refusals and self._template_id in nodes.refusals[slot])

    def _deny(self, slots: Iterable[int]) -> None:
        for slot in slots:
            if self._denied(slot):
                self.cells[slot] = INFEASIBLE
