"""What is counted of the pods on nodes: whom a selection means, and who carries a term. Only what somebody asks for.

Pods of one class (tenant, namespace, labels, affinity; going or not) belong to the same tallies, so these are found
once a class and not once a pod. A selection is tallied when its counts are first asked for; a term as long as there is
a pod that carries it, because it may concern any pod that comes:

    required anti-affinity of a pod on a node    keeps pods it means away from there
    required affinity, preferred terms           draw them there, or push them off
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from .pod_counts import Bools, DomainCounts, Inclusion, Tally
from .pod_terms import Labels, PodAffinity, PodSelection
from .topology import Topology

if TYPE_CHECKING:
    from .columns import NodeColumns
    from .framework.shape import Shape

# Arrays by domain kept at once: those of hostnames are as long as there are nodes, 100 MB at 50,000 if all are.
COUNTS_MAX: Final = 256
INCLUSIONS_MAX: Final = 256
# Tenants choose the labels, too.
TOPOLOGIES_MAX: Final = 256
# Shapes of which is remembered what they ask for.
SHAPES_MAX: Final = 4096
# Terms that nobody carries any more, before they are taken out of the list.
IDLE_TERMS_MAX: Final = 64

_T = TypeVar("_T")


class Selections:
    """Pods that each of these means. `key` is equal for equal ones: a string remembers its hash, a tuple does not."""

    __slots__ = ("key", "parts", "terminating")

    def __init__(self, *parts: PodSelection) -> None:
        self.parts = parts
        self.terminating = all(part.terminating for part in parts)
        self.key = repr(parts)


class TermKind(enum.Enum):
    REQUIRED_ANTI = "required-anti"
    REQUIRED = "required"
    PREFERRED = "preferred"


_ClassKey = tuple[str, str, tuple[tuple[str, str], ...], bytes, bool]


class PodClass:
    """Pods that are the same to all tallies; `slots`: how many of them are on each."""

    __slots__ = (
        "affinity",
        "drops",
        "key",
        "labels",
        "namespace",
        "selected_by",
        "slots",
        "tenant",
        "terminating",
        "terms",
    )

    def __init__(self, key: _ClassKey, affinity: PodAffinity) -> None:
        self.key = key
        self.tenant, self.namespace, labels, _, self.terminating = key
        self.labels: Labels = dict(labels)
        self.affinity = affinity
        self.slots: dict[int, int] = {}
        self.selected_by: list[SelectionTally] = []
        self.terms: list[tuple[TermTally, int]] = []
        self.drops = 0


class SelectionTally(Tally):
    """Pods that all parts of a selection mean."""

    __slots__ = ("dropped", "selections")

    def __init__(self, selections: Selections) -> None:
        super().__init__(selections.key)
        self.selections = selections
        self.dropped = False


class TermTally(Tally):
    """Pods that carry a term, or the sum of its weights in them."""

    __slots__ = ("kind", "selection", "topology_key")

    def __init__(self, key: str, kind: TermKind, selection: PodSelection, topology_key: str) -> None:
        super().__init__(key)
        self.kind, self.selection, self.topology_key = kind, selection, topology_key


class _Concerning(NamedTuple):
    """The terms that mean a shape: of the first `known` of its tenant's list, as it was in this generation."""

    generation: int
    known: int
    found: list[TermTally]


class PodTallies:
    """All that is counted."""

    def __init__(self, nodes: NodeColumns) -> None:
        self._nodes = nodes
        self.namespaces: dict[tuple[str, str], Labels] = {}
        self._classes: dict[_ClassKey, PodClass] = {}
        self._selections: dict[str, SelectionTally] = {}
        self._terms: dict[str, TermTally] = {}
        self._terms_of_tenant: dict[str, list[TermTally]] = {}
        self._generation = 0
        self._drops = 0
        self._topologies: dict[str, Topology] = {}
        self._inclusions: dict[str, Inclusion] = {}
        self._counts: dict[tuple[str, str, str], DomainCounts] = {}
        self._of_shapes: dict[tuple[int, str], Any] = {}
        self._concerning: dict[int, _Concerning] = {}

    # ---------------------------------------------------------------------------------------------- pods, namespaces

    def class_of(
        self, tenant: str, namespace: str, labels: Labels, affinity: PodAffinity, terminating: bool
    ) -> PodClass:
        key = (tenant, namespace, tuple(sorted(labels.items())), affinity.source, terminating)
        found = self._classes.get(key)
        if found is None:
            found = self._classes[key] = PodClass(key, affinity)
            found.selected_by = [each for each in self._selections.values() if self._means(each.selections, found)]
            found.drops = self._drops
            found.terms = list(self._terms_of(found))
        return found

    def add(self, pods: PodClass, slot: int) -> None:
        pods.slots[slot] = pods.slots.get(slot, 0) + 1
        self._change(pods, slot, 1)

    def remove(self, pods: PodClass, slot: int) -> None:
        left = pods.slots[slot] - 1
        if left:
            pods.slots[slot] = left
        else:
            del pods.slots[slot]
        self._change(pods, slot, -1)
        if not pods.slots:
            del self._classes[pods.key]
            for term, _ in pods.terms:
                if not term.slots:
                    self._forget_idle(term.selection.tenant)

    def _change(self, pods: PodClass, slot: int, amount: int) -> None:
        if pods.drops != self._drops:
            pods.drops = self._drops
            pods.selected_by = [each for each in pods.selected_by if not each.dropped]
        for tally in pods.selected_by:
            tally.change(slot, amount)
        for term, weight in pods.terms:
            term.change(slot, amount * weight)

    def namespace_seen(self, tenant: str, name: str, labels: Labels) -> None:
        if self.namespaces.get((tenant, name)) != labels:
            self.namespaces[tenant, name] = dict(labels)
            self._namespaces_changed()

    def namespace_gone(self, tenant: str, name: str) -> None:
        if self.namespaces.pop((tenant, name), None):
            self._namespaces_changed()

    def _namespaces_changed(self) -> None:
        """Who is meant by the labels of namespaces is others now."""
        self._generation += 1
        self._of_shapes.clear()
        for tally in list(self._selections.values()):
            if any(part.namespace_selector is not None for part in tally.selections.parts):
                for topology_key, inclusion_key in list(tally.by_domain):
                    self._drop(tally.key, topology_key, inclusion_key)

    # ------------------------------------------------------------------------------------------------------- terms

    def _terms_of(self, pods: PodClass) -> Iterator[tuple[TermTally, int]]:
        affinity = pods.affinity
        for kind, terms in ((TermKind.REQUIRED_ANTI, affinity.required_anti), (TermKind.REQUIRED, affinity.required)):
            for term in terms:
                yield self._term(kind, term.of(pods.tenant, pods.namespace, pods.labels), term.topology_key), 1
        for weight, term in affinity.preferred:
            selection = term.of(pods.tenant, pods.namespace, pods.labels)
            yield self._term(TermKind.PREFERRED, selection, term.topology_key), weight

    def _term(self, kind: TermKind, selection: PodSelection, topology_key: str) -> TermTally:
        key = f"{kind.value} {topology_key} {selection!r}"
        found = self._terms.get(key)
        if found is None:
            found = self._terms[key] = TermTally(key, kind, selection, topology_key)
            self._terms_of_tenant.setdefault(selection.tenant, []).append(found)
        return found

    def _forget_idle(self, tenant: str) -> None:
        terms = self._terms_of_tenant[tenant]
        idle = [term for term in terms if not term.slots]
        # Where weights cancel out, a term that pods carry has no amounts; it is looked for in the classes.
        if len(idle) > IDLE_TERMS_MAX and 2 * len(idle) > len(terms):
            in_use = dict.fromkeys(term.key for pods in self._classes.values() for term, _ in pods.terms)
            for term in idle:
                if term.key not in in_use:
                    for topology_key, inclusion_key in list(term.by_domain):
                        self._drop(term.key, topology_key, inclusion_key)
                    del self._terms[term.key]
            self._terms_of_tenant[tenant] = [term for term in terms if term.key in self._terms]
            self._generation += 1

    def concerning(self, pod: Shape) -> list[TermTally]:
        """The terms of pods on nodes that mean a pod of this shape; those that nobody carries any more may be among
        them."""
        terms = self._terms_of_tenant.get(pod.tenant, [])
        before = self._concerning.get(pod.id)
        if before is not None and before.generation == self._generation:
            if before.known == len(terms):
                return before.found
            known, found = before.known, before.found
        else:
            known, found = 0, []
            _make_room(self._concerning, SHAPES_MAX)
        for term in terms[known:]:
            if term.selection.selects(pod.tenant, pod.namespace, pod.labels, self.namespaces):
                found.append(term)
        self._concerning[pod.id] = _Concerning(self._generation, len(terms), found)
        return found

    # ------------------------------------------------------------------------------------------------------- counts

    def topology(self, key: str) -> Topology:
        """Of a label, or EACH_NODE. Those of one key are not always the same: each has numbers of its own."""
        found = self._topologies.get(key)
        if found is None:
            _make_room(self._topologies, TOPOLOGIES_MAX)
            found = self._topologies[key] = Topology(self._nodes, key)
        found.catch_up()
        return found

    def inclusion(self, key: str, decide: Callable[[], Bools]) -> Inclusion:
        """The nodes for which `decide` says so; `key` is equal for the same question."""
        found = self._inclusions.get(key)
        if found is None:
            _make_room(self._inclusions, INCLUSIONS_MAX)
            found = self._inclusions[key] = Inclusion(self._nodes, key, decide)
        found.catch_up()
        return found

    def of_selection(
        self, selections: Selections, topology_key: str, inclusion: Inclusion | None = None
    ) -> DomainCounts:
        """How many pods of these are in each domain, now."""
        return self._of(selections.key, topology_key, inclusion, lambda: self._tally(selections))

    def of_term(self, term: TermTally) -> DomainCounts:
        return self._of(term.key, term.topology_key, None, lambda: term)

    def _of(
        self, tally_key: str, topology_key: str, inclusion: Inclusion | None, tally: Callable[[], Tally]
    ) -> DomainCounts:
        inclusion_key = "" if inclusion is None else inclusion.key
        key = (tally_key, topology_key, inclusion_key)
        found = self._counts.pop(key, None)
        topology = self.topology(topology_key)
        if found is None or found.inclusion is not inclusion or found.topology is not topology:
            if len(self._counts) >= COUNTS_MAX:
                self._drop(*next(iter(self._counts)))
            counted = tally()
            found = DomainCounts(counted, topology, inclusion)
            counted.by_domain[topology_key, inclusion_key] = found
        self._counts[key] = found
        found.refresh()
        return found

    def _drop(self, tally_key: str, topology_key: str, inclusion_key: str) -> None:
        found = self._counts.pop((tally_key, topology_key, inclusion_key))
        tally = found.tally
        del tally.by_domain[topology_key, inclusion_key]
        if isinstance(tally, SelectionTally) and not tally.by_domain:
            tally.dropped = True
            del self._selections[tally.key]
            self._drops += 1

    def _tally(self, selections: Selections) -> SelectionTally:
        found = self._selections.get(selections.key)
        if found is None:
            found = self._selections[selections.key] = SelectionTally(selections)
            for pods in self._classes.values():
                if self._means(selections, pods):
                    pods.selected_by.append(found)
                    for slot, amount in pods.slots.items():
                        found.change(slot, amount)
        return found

    def _means(self, selections: Selections, pods: PodClass) -> bool:
        if pods.terminating and not selections.terminating:
            return False
        return self.means(selections, pods.tenant, pods.namespace, pods.labels)

    # ------------------------------------------------------------------------------------------------------- shapes

    def means(self, selections: Selections, tenant: str, namespace: str, labels: Labels) -> bool:
        """Whether a pod there with these labels, not going, is meant."""
        return all(part.selects(tenant, namespace, labels, self.namespaces) for part in selections.parts)

    def kept(self, pod: Shape, what: str, work_out: Callable[[], _T]) -> _T:
        """What a plugin has worked out of a shape alone, so that it need not do so for every pod."""
        key = (pod.id, what)
        found: _T | None = self._of_shapes.get(key)
        if found is None:
            _make_room(self._of_shapes, SHAPES_MAX)
            found = self._of_shapes[key] = work_out()
        return found


def _make_room(kept: dict[Any, Any], most: int) -> None:
    if len(kept) >= most:
        del kept[next(iter(kept))]
