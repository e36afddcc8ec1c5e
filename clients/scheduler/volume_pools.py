"""The volumes that claims alike may get, kept as volumes come, go and are taken.

Claims are made by the hundred of one template, and each pick is for another of them. So for each kind of claim the
volumes that will do are looked for once, and then followed: with 5,000 local volumes a pick is 1 ms, and was 30.

Nearly every volume that cannot be used everywhere names one label of its nodes, the zone or the host. So those are kept
by that label's values: a node's own are found at once, and all nodes that have one by one look at the label's column.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

from ...proto.objects import ObjectKey
from ...proto.selectors import Selector
from ..volumes.matching import size_order, will_do
from ..volumes.reading import Claim, Volume
from .node_selectors import Term


class ClaimKind(NamedTuple):
    """All that decides which free volumes will do for a claim."""

    tenant: str
    class_name: str
    size: int
    modes: tuple[str, ...]
    volume_mode: str
    selector: Selector


def kind_of(claim: Claim) -> ClaimKind:
    return ClaimKind(
        claim.key.tenant, claim.class_name or "", claim.size, claim.modes, claim.volume_mode, claim.selector
    )


class Pool:
    """Read it: each list is in `size_order`. `anywhere`: usable on every node. `by_label`: by the one label that they
    name, and its value, where there are any. `others`: what those ask of their nodes is in `terms`."""

    def __init__(self, claim: Claim) -> None:
        self.anywhere: list[Volume] = []
        self.by_label: dict[str, dict[str, list[Volume]]] = {}
        self.others: list[Volume] = []
        self.terms: dict[ObjectKey, tuple[Term, ...]] = {}  # Of the others.
        self._claim = claim
        self._places: dict[ObjectKey, tuple[Volume, tuple[Term, ...] | None]] = {}

    def put(self, volume: Volume, terms: tuple[Term, ...] | None) -> None:
        """A free volume, if it will do."""
        self.drop(volume.key)
        if not will_do(volume, self._claim):
            return
        self._places[volume.key] = volume, terms
        label = None if terms is None else _only_label(terms)
        if terms is None:
            insort(self.anywhere, volume, key=size_order)
        elif label is None:
            insort(self.others, volume, key=size_order)
            self.terms[volume.key] = terms
        else:
            by_value = self.by_label.setdefault(label[0], {})
            for value in label[1]:
                insort(by_value.setdefault(value, []), volume, key=size_order)

    def drop(self, key: ObjectKey) -> None:
        volume, terms = self._places.pop(key, (None, None))
        if volume is None:
            return
        label = None if terms is None else _only_label(terms)
        if terms is None:
            _remove(self.anywhere, volume)
        elif label is None:
            _remove(self.others, volume)
            del self.terms[key]
        else:
            by_value = self.by_label[label[0]]
            for value in label[1]:
                _remove(by_value[value], volume)
                if not by_value[value]:
                    del by_value[value]
            if not by_value:
                del self.by_label[label[0]]


def _remove(volumes: list[Volume], volume: Volume) -> None:
    at = bisect_left(volumes, size_order(volume), key=size_order)
    assert volumes[at].key == volume.key
    del volumes[at]


def _only_label(terms: tuple[Term, ...]) -> tuple[str, tuple[str, ...]] | None:
    """The key and the values, if that is all the terms ask for."""
    if len(terms) == 1 and len(terms[0].expressions) == 1 and not terms[0].names:
        [requirement] = terms[0].expressions
        if requirement.operator == "In":
            return requirement.key, tuple(dict.fromkeys(requirement.values))
    return None
