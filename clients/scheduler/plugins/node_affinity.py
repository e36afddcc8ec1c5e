"""NodeAffinity: the labels and names of nodes that a pod must have, and those that it prefers.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity; `nodeSelector` and
the required terms must both be met; the weights of the preferred terms that select a node are added up, and normalised
by the greatest sum. `addedAffinity` of the arguments (NodeAffinityArgs) holds for every pod of the profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....proto.selectors import Requirement
from ..columns import NodeColumns
from ..framework.arguments import Arguments
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
from ..node_selectors import NO_AFFINITY, Term, read_node_affinity
from ..node_selectors import NodeAffinity as Affinity


class _Wanted(NamedTuple):
    """All of `selector` must be so, and one term of each of `required`."""

    selector: tuple[Requirement, ...]
    required: tuple[tuple[Term, ...], ...]


class NodeAffinity(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    name: ClassVar[str] = "NodeAffinity"
    depends: ClassVar[Depends] = Depends.NODE
    normalize: ClassVar[Normalize] = Normalize.MAX
    template_only: ClassVar[bool] = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        arguments = Arguments(self.name, args)
        added = arguments.mapping("addedAffinity")
        arguments.done()
        self._added: Affinity = read_node_affinity(added, "addedAffinity") if added else NO_AFFINITY

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        template = pod.template
        selector = tuple(Requirement(key, "In", (value,)) for key, value in template.node_selector)
        required = tuple(each.required for each in (self._added, template.node_affinity) if each.required is not None)
        return _Wanted(selector, required) if selector or required else SKIP

    def filter(self, state: _Wanted, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        fits = nodes.present[slots].copy()
        for requirement in state.selector:
            fits &= nodes.labels.matching(requirement, slots, nodes.capacity)
        for terms in state.required:
            one_of_them = np.zeros(len(fits), np.bool_)
            for term in terms:
                one_of_them |= selected(term, nodes, slots)
            fits &= one_of_them
        return fits

    def reasons(self, state: _Wanted, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        own = self._added.required is None or any(selected(term, nodes, slots).any() for term in self._added.required)
        if not own:
            return {"node(s) didn't match scheduler-enforced node affinity": len(slots)}
        return {"node(s) didn't match Pod's node affinity/selector": len(slots)}

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        return (*self._added.preferred, *pod.template.node_affinity.preferred) or SKIP

    def score(self, state: tuple[tuple[int, Term], ...], pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        return sum(
            (selected(term, nodes, slots) * np.int64(weight) for weight, term in state),
            np.zeros(len(nodes.present[slots]), np.int64),
        )


def selected(term: Term, nodes: NodeColumns, slots: Slots) -> Bools:
    """Where all that the term says is so."""
    if term.is_empty:
        return np.zeros(len(nodes.present[slots]), np.bool_)
    found = nodes.present[slots].copy()
    for requirement in term.expressions:
        found &= nodes.labels.matching(requirement, slots, nodes.capacity)
    for requirement in term.names:
        named = np.zeros(nodes.capacity, np.bool_)
        for value in requirement.values:
            named[nodes.slots_named(value)] = True
        found &= named[slots] if requirement.operator == "In" else ~named[slots]
    return found
