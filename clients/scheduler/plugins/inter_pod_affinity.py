"""InterPodAffinity: near pods of some kind, or away from them.

Filter keeps a node only if, in the domain of each term's `topologyKey` that it is in,

* there is a pod that all required affinity terms of the pod mean. If there is no such pod anywhere, the first of a
  group may go where it likes, as long as it means itself; the node must carry all the labels that the terms name;
* there is no pod that a required anti-affinity term of the pod means;
* there is no pod with a required anti-affinity term that means the pod.

Score adds, over all pods in these domains, the weights of the pod's preferred terms that mean them, of their preferred
terms that mean the pod, and `hardPodAffinityWeight` for each of their required affinity terms that does.

Kubernetes' own, from https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node and
https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1 (InterPodAffinityArgs). Of namespaces, those of
the pod's tenant are meant by `namespaceSelector`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..columns import NodeColumns
from ..framework.interface import (
    SCORE_MAX,
    SKIP,
    Bools,
    ClusterEvent,
    Depends,
    EnqueuePlugin,
    EventAction,
    EventResource,
    FilterPlugin,
    Normalize,
    PreFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
    Scores,
    Slots,
)
from ..framework.shape import Shape
from ..pod_counts import DomainCounts
from ..pod_tallies import Selections, TermKind
from ..pod_terms import PodTerm
from ..topology import Topology

AFFINITY: Final = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY: Final = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY: Final = "node(s) didn't satisfy existing pods anti-affinity rules"

WEIGHT_MAX: Final = 100
# For all slots alike.
_ALL: Final[Bools] = np.ones(1, np.bool_)


class _Weighted(NamedTuple):
    weight: int
    topology_key: str
    selections: Selections


class _Wants(NamedTuple):
    """What a shape says of other pods. `near`: the keys of its required affinity terms; `means_itself` by all."""

    near: tuple[str, ...]
    whom: Selections
    means_itself: bool
    apart: tuple[tuple[str, Selections], ...]
    preferred: tuple[_Weighted, ...]


class _Rules(NamedTuple):
    """Of a pod that is being placed: pods counted by domain."""

    near: tuple[DomainCounts, ...]
    first_may: bool
    apart: tuple[DomainCounts, ...]
    kept_away: tuple[DomainCounts, ...]


# Points by domain.
_Points = dict[Topology, NDArray[np.int64]]


class InterPodAffinity(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin, EnqueuePlugin):
    """`args`: `hardPodAffinityWeight` (0 to 100, default 1), `ignorePreferredTermsOfExistingPods` (default false)."""

    name = "InterPodAffinity"
    depends = Depends.PODS
    normalize = Normalize.OWN
    helped_by: ClassVar[tuple[ClusterEvent, ...]] = (
        ClusterEvent(EventResource.POD, EventAction.ADD | EventAction.DELETE | EventAction.UPDATE_LABELS),
        ClusterEvent(EventResource.NODE, EventAction.ADD | EventAction.UPDATE_LABELS),
    )

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        left = dict(args or {})
        self._hard_weight: int = left.pop("hardPodAffinityWeight", 1)
        self._own_only: bool = left.pop("ignorePreferredTermsOfExistingPods", False)
        super().__init__(left)
        # Of a term that a pod on a node carries; its tally has the weight of a preferred one in it.
        self._weights = {
            TermKind.PREFERRED: 1,
            TermKind.REQUIRED: self._hard_weight,
            TermKind.REQUIRED_ANTI: 0,
        }
        weight = self._hard_weight
        if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= WEIGHT_MAX:
            raise ValueError(f"{self.name}: hardPodAffinityWeight must be from 0 to {WEIGHT_MAX}, not {weight!r}")
        if not isinstance(self._own_only, bool):
            raise ValueError(f"{self.name}: ignorePreferredTermsOfExistingPods must be true or false")

    def needs_bound_pods(self, pod: Shape) -> bool:
        return any(pod.template.pod_affinity)

    # ------------------------------------------------------------------------------------------------------ filter

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        tallies = nodes.pods.tallies
        wants = self._wants(pod, nodes)
        kept_away = tuple(
            tallies.of_term(term)
            for term in tallies.concerning(pod)
            if term.kind is TermKind.REQUIRED_ANTI and term.slots
        )
        if not (wants.near or wants.apart or kept_away):
            return SKIP
        near = tuple(tallies.of_selection(wants.whom, key) for key in wants.near)
        apart = tuple(tallies.of_selection(whom, key) for key, whom in wants.apart)
        first_may = wants.means_itself and not any(counts.total() for counts in near)
        return _Rules(near, first_may, apart, kept_away)

    def filter(self, state: _Rules, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        return self._near(state, slots) & self._apart((*state.apart, *state.kept_away), slots)

    @staticmethod
    def _near(rules: _Rules, slots: Slots) -> Bools:
        fits: Bools = _ALL
        for counts in rules.near:
            good = np.ones(len(counts.counts), np.bool_) if rules.first_may else counts.counts > 0
            good[0] = False
            fits = fits & counts.topology.by_slot(good, slots)
        return fits

    @staticmethod
    def _apart(refusing: tuple[DomainCounts, ...], slots: Slots) -> Bools:
        by_topology: dict[Topology, Bools] = {}
        for counts in refusing:
            good = counts.counts <= 0
            good[0] = True
            known = by_topology.get(counts.topology)
            by_topology[counts.topology] = good if known is None else known & good
        fits: Bools = _ALL
        for topology, good in by_topology.items():
            fits = fits & topology.by_slot(good, slots)
        return fits

    def reasons(self, state: _Rules, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        left = np.ones(len(slots), np.bool_)
        for reason, fits in (
            (AFFINITY, self._near(state, slots)),
            (ANTI_AFFINITY, self._apart(state.apart, slots)),
            (EXISTING_ANTI_AFFINITY, self._apart(state.kept_away, slots)),
        ):
            if count := int(np.count_nonzero(left & ~fits)):
                found[reason] = count
            left &= fits
        return found

    # ------------------------------------------------------------------------------------------------------- score

    def skips(self, pod: Shape, nodes: NodeColumns) -> bool:
        if self._wants(pod, nodes).preferred:
            return False
        return self._own_only or not any(
            term.slots and self._weights[term.kind] for term in nodes.pods.tallies.concerning(pod)
        )

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        wants, tallies = self._wants(pod, nodes), nodes.pods.tallies
        points: _Points = {}
        for weight, key, whom in wants.preferred:
            _add(points, tallies.of_selection(whom, key), weight)
        if not self._own_only:
            for term in tallies.concerning(pod):
                weight = self._weights[term.kind]
                if weight and term.slots:
                    _add(points, tallies.of_term(term), weight)
        return points or SKIP

    def score(self, state: _Points, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        total: Scores | None = None
        for topology, by_domain in state.items():
            here = topology.by_slot(by_domain, slots)
            total = here if total is None else total + here
        assert total is not None, "there is nothing to score by, so it was skipped"
        return total

    def normalize_scores(self, state: Any, pod: Shape, scores: Scores) -> Scores:
        low, high = int(scores.min()), int(scores.max())
        if high == low:
            return np.zeros_like(scores)
        shares = (scores - low) / (high - low)
        shares *= SCORE_MAX  # As Kubernetes rounds: divided first, then multiplied, in floats.
        return shares.astype(np.int64)

    # ------------------------------------------------------------------------------------------------------- shapes

    def _wants(self, pod: Shape, nodes: NodeColumns) -> _Wants:
        return nodes.pods.tallies.kept(pod, self.name, lambda: self._read(pod, nodes))

    def _read(self, pod: Shape, nodes: NodeColumns) -> _Wants:
        affinity = pod.template.pod_affinity

        def whom(*terms: PodTerm) -> Selections:
            return Selections(*(term.of(pod.tenant, pod.namespace, pod.labels) for term in terms))

        return _Wants(
            near=tuple(dict.fromkeys(term.topology_key for term in affinity.required)),
            whom=whom(*affinity.required),
            means_itself=nodes.pods.tallies.means(whom(*affinity.required), pod.tenant, pod.namespace, pod.labels),
            apart=tuple((term.topology_key, whom(term)) for term in affinity.required_anti),
            preferred=tuple(_Weighted(weight, term.topology_key, whom(term)) for weight, term in affinity.preferred),
        )


def _add(points: _Points, counts: DomainCounts, weight: int) -> None:
    more = counts.counts * weight
    more[0] = 0
    known = points.get(counts.topology)
    points[counts.topology] = more if known is None else known + more
