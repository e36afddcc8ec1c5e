"""The volumes that an unbound claim may get, found by where they can be used, and by size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..volumes.matching import is_large_enough, size_order
from ..volumes.reading import Claim, Volume
from .columns import NodeColumns
from .framework.interface import Bools, Slots
from .node_selectors import Term
from .plugins.node_affinity import selected
from .volume_pools import Pool
from .volumes import Volumes


class Candidates:
    """Of one claim. `named`: the volume that says it is the claim's; then no other will do."""

    def __init__(self, claim: Claim, volumes: Volumes) -> None:
        self.claim = claim
        own = [each for each in volumes.naming(claim) if each.is_for(claim) and is_large_enough(each, claim)]
        self.named = (own[0], volumes.terms(own[0])) if own else None
        self._pool = Pool(claim) if own else volumes.pool(claim)

    @property
    def keys(self) -> Iterable[str]:
        """The labels by which volumes are kept."""
        return self._pool.by_label

    @property
    def terms(self) -> list[tuple[Term, ...]]:
        """The affinities of those that are not kept by a label, each once."""
        named = [self.named[1]] if self.named is not None and self.named[1] is not None else []
        return list(dict.fromkeys([*named, *self._pool.terms.values()]))

    def best(self, name: str, labels: Mapping[str, str], used: Sequence[Volume]) -> Volume | None:
        """For a node: the smallest that can be used there and is not `used` already; None: there is none."""
        if self.named is not None:
            volume, terms = self.named
            return volume if can_be_used(terms, name, labels) else None
        found = [each for each in self._firsts(name, labels, used) if each is not None]
        return min(found, key=size_order, default=None)

    def _firsts(self, name: str, labels: Mapping[str, str], used: Sequence[Volume]) -> Iterable[Volume | None]:
        pool = self._pool
        yield _first(pool.anywhere, used)
        for key, by_value in pool.by_label.items():
            yield _first(by_value.get(labels.get(key, ""), ()), used)
        yield _first((each for each in pool.others if can_be_used(pool.terms[each.key], name, labels)), used)

    def mask(self, nodes: NodeColumns, slots: Slots) -> Bools:
        """Where one of them can be used."""
        found = np.zeros(len(nodes.present[slots]), np.bool_)
        if self.named is not None:
            return found | terms_mask(self.named[1], nodes, slots)
        if self._pool.anywhere:
            return ~found
        for key, by_value in self._pool.by_label.items():
            found |= has_value(key, by_value, nodes, slots)
        for terms in self.terms:
            found |= terms_mask(terms, nodes, slots)
        return found


def _first(volumes: Iterable[Volume], used: Sequence[Volume]) -> Volume | None:
    return next((volume for volume in volumes if volume not in used), None)


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
