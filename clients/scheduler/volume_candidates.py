"""The volumes that an unbound claim may get, found by where they can be used, and by size.

Nearly every volume that cannot be used everywhere names one label of its nodes, the zone or the host. So those are kept
by that label's values: of five thousand local volumes a node's own are found at once, and all nodes that have one
are found by one look at the column of the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..volumes.matching import is_free, is_large_enough, size_order, will_do
from ..volumes.reading import Claim, Volume
from .columns import NodeColumns
from .framework.interface import Bools, Slots
from .node_selectors import Term
from .plugins.node_affinity import selected
from .volumes import Volumes


class Candidates:
    """Of one claim. `named`: the volume that says it is the claim's; then no other will do."""

    def __init__(self, claim: Claim, volumes: Volumes) -> None:
        self.claim = claim
        self.named: tuple[Volume, tuple[Term, ...] | None] | None = None
        self._anywhere: list[Volume] = []
        self._by_label: dict[str, dict[str, list[Volume]]] = {}
        self._others: list[tuple[Volume, tuple[Term, ...]]] = []
        for volume in volumes.candidates(claim):
            terms = volumes.terms(volume)
            if volume.is_for(claim):
                if is_large_enough(volume, claim):
                    self.named = volume, terms
                    return
            elif is_free(volume) and will_do(volume, claim):
                self._add(volume, terms)

    def _add(self, volume: Volume, terms: tuple[Term, ...] | None) -> None:
        if terms is None:
            self._anywhere.append(volume)
            return
        label = _only_label(terms)
        if label is None:
            self._others.append((volume, terms))
            return
        key, values = label
        by_value = self._by_label.setdefault(key, {})
        for value in dict.fromkeys(values):
            by_value.setdefault(value, []).append(volume)

    @property
    def keys(self) -> Iterable[str]:
        """The labels by which volumes are kept."""
        return self._by_label

    @property
    def terms(self) -> list[tuple[Term, ...]]:
        """The affinities of those that are not kept by a label, each once."""
        named = [self.named[1]] if self.named is not None and self.named[1] is not None else []
        return list(dict.fromkeys([*named, *(terms for _, terms in self._others)]))

    def best(self, name: str, labels: Mapping[str, str], used: Sequence[Volume]) -> Volume | None:
        """For a node: the smallest that can be used there and is not `used` already; None: there is none."""
        if self.named is not None:
            volume, terms = self.named
            return volume if can_be_used(terms, name, labels) else None
        found = [each for each in self._firsts(name, labels, used) if each is not None]
        return min(found, key=size_order, default=None)

    def _firsts(self, name: str, labels: Mapping[str, str], used: Sequence[Volume]) -> Iterable[Volume | None]:
        yield _first(self._anywhere, used)
        for key, by_value in self._by_label.items():
            yield _first(by_value.get(labels.get(key, ""), ()), used)
        for volume, terms in self._others:
            if volume not in used and can_be_used(terms, name, labels):
                yield volume
                return

    def mask(self, nodes: NodeColumns, slots: Slots) -> Bools:
        """Where one of them can be used."""
        found = np.zeros(len(nodes.present[slots]), np.bool_)
        if self.named is not None:
            return found | terms_mask(self.named[1], nodes, slots)
        if self._anywhere:
            return ~found
        for key, by_value in self._by_label.items():
            found |= has_value(key, by_value, nodes, slots)
        for terms in self.terms:
            found |= terms_mask(terms, nodes, slots)
        return found


def _first(volumes: Sequence[Volume], used: Sequence[Volume]) -> Volume | None:
    return next((volume for volume in volumes if volume not in used), None)


def _only_label(terms: tuple[Term, ...]) -> tuple[str, tuple[str, ...]] | None:
    """The key and the values, if that is all the terms ask for."""
    if len(terms) == 1 and len(terms[0].expressions) == 1 and not terms[0].names:
        [requirement] = terms[0].expressions
        if requirement.operator == "In":
            return requirement.key, requirement.values
    return None


def can_be_used(terms: tuple[Term, ...] | None, name: str, labels: Mapping[str, str]) -> bool:
    return terms is None or any(term.selects(name, labels) for term in terms)


def terms_mask(terms: tuple[Term, ...] | None, nodes: NodeColumns, slots: Slots) -> Bools:
    """The same for many nodes."""
    found: Bools = np.full(len(nodes.present[slots]), terms is None)
    for term in terms or ():
        found |= selected(term, nodes, slots)
    return found


def has_value(key: str, values: Iterable[str], nodes: NodeColumns, slots: Slots) -> Bools:
    """Where the node's label has one of the values, however many these are."""
    ids, known = nodes.labels.ids(key, nodes.capacity)
    wanted = np.zeros(len(known) + 1, np.bool_)
    wanted[[known[value] for value in values if value in known]] = True
    found: Any = wanted[ids[slots]]
    return found  # type: ignore[no-any-return]
