"""PodTopologySpread: pods spread evenly over zones, hosts or whatever else nodes are labelled with.

For a constraint, with the pods that its selector means counted in each domain of its `topologyKey`:

* DoNotSchedule: a node is kept if its domain's count, with the pod itself if it is meant, exceeds the smallest count of
  a domain by no more than `maxSkew`. With fewer domains than `minDomains`, the smallest counts as 0.
* ScheduleAnyway: a node is the better the fewer there are. Its points are, summed over the constraints,
  count x log(domains + 2) + maxSkew - 1, where the domains are those of nodes that passed every Filter; the fewest
  points make 100.

Only nodes that carry the `topologyKey` of all constraints count and, as `nodeAffinityPolicy` (Honor unless it says
Ignore) and `nodeTaintsPolicy` (Ignore unless it says Honor) want it, those that the pod's node selector and affinity
admit, and whose taints it tolerates.

Kubernetes' own (https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints), with two
differences, both in the constraints that a cluster has by default for pods that have none:

* There are none unless a profile says so. Kubernetes' `defaultingType: System` spreads softly by zone and host; then
  every pod pays for it, here and there.
* Kubernetes spreads them among the pods of the same Service or controller. Here it is the pods with the same labels,
  but for labels that tell one pod of a controller from the next; so nothing but the pod need be known. A pod without
  labels is not spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....proto.selectors import Requirement
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
from ..pod_counts import DomainCounts, Inclusion
from ..pod_tallies import Selections
from ..pod_terms import SpreadConstraint, in_order, spread_constraints_of
from ..topology import EACH_NODE, HOSTNAME, Topology
from .node_affinity import NodeAffinity
from .node_unschedulable import NodeUnschedulable
from .taint_toleration import TaintToleration

MISSING_LABEL: Final = "node(s) didn't match pod topology spread constraints (missing required label)"
TOO_SKEWED: Final = "node(s) didn't match pod topology spread constraints"

ZONE: Final = "topology.kubernetes.io/zone"
# Kubernetes' System defaults.
SYSTEM_DEFAULTS: Final = (SpreadConstraint(3, HOSTNAME, hard=False), SpreadConstraint(5, ZONE, hard=False))
# Labels by which a controller tells its pods apart.
OF_ONE_POD: Final = (
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
)

# What says for them whether a node counts. In Kubernetes a cordoned node has a taint that says so.
_BY_LABELS: Final = NodeAffinity()
_BY_TAINTS: Final = (TaintToleration(), NodeUnschedulable())

# A raw score that is none: the node lacks a label that a constraint needs. It gets 0.
_IGNORED: Final = -1


class _Counted(NamedTuple):
    """A constraint of a shape. `itself`: 1 if it means the pod. `included`: the key of the nodes that count for it;
    empty: all that are in a domain."""

    constraint: SpreadConstraint
    selections: Selections
    itself: int
    included: str


class _Spread(NamedTuple):
    """The hard or the soft constraints of a shape. `keys`: the labels a node must have to count at all; `having` is the
    key of the nodes that do."""

    counted: tuple[_Counted, ...]
    keys: tuple[str, ...]
    having: str


class _Skewed(NamedTuple):
    """Of a pod that is being placed: in the domains where `good` says so, it may be."""

    topology: Topology
    good: Bools


class _Points(NamedTuple):
    """Points by domain. `labelled`: where a node is its own domain, whether it has a hostname at all."""

    topology: Topology
    by_domain: NDArray[np.float64]
    labelled: Topology | None


class _Soft(NamedTuple):
    """`labelled`: nodes that have all labels that are needed; None: all have."""

    points: tuple[_Points, ...]
    labelled: Bools | None


class PodTopologySpread(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin, EnqueuePlugin):
    """`args`: `defaultConstraints` (without selectors; default none), `defaultingType` (List, default, or System)."""

    name = "PodTopologySpread"
    depends = Depends.PODS
    normalize = Normalize.OWN
    helped_by: ClassVar[tuple[ClusterEvent, ...]] = (
        ClusterEvent(EventResource.POD, EventAction.ADD | EventAction.DELETE | EventAction.UPDATE_LABELS),
        ClusterEvent(
            EventResource.NODE,
            EventAction.ADD | EventAction.DELETE | EventAction.UPDATE_LABELS | EventAction.UPDATE_TAINTS,
        ),
    )

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        left = dict(args or {})
        defaulting = left.pop("defaultingType", "List")
        constraints = spread_constraints_of(left, "defaultConstraints")
        left.pop("defaultConstraints", None)
        super().__init__(left)
        if defaulting not in ("List", "System"):
            raise ValueError(f"{self.name}: defaultingType must be List or System, not {defaulting!r}")
        if constraints and defaulting == "System":
            raise ValueError(f"{self.name}: with defaultingType System there can be no defaultConstraints")
        if any(each.labels is not None for each in constraints):
            raise ValueError(f"{self.name}: defaultConstraints have no labelSelector; it follows from each pod")
        if len(dict.fromkeys((each.topology_key, each.hard) for each in constraints)) < len(constraints):
            raise ValueError(f"{self.name}: two defaultConstraints have the same topologyKey and whenUnsatisfiable")
        self._system = defaulting == "System"
        self._defaults = SYSTEM_DEFAULTS if self._system else constraints
        # Another profile may have other defaults.
        self._kept = {hard: f"{self.name} {hard} {self._defaults}" for hard in (True, False)}

    def needs_bound_pods(self, pod: Shape) -> bool:
        return bool(pod.template.spread or (self._defaults and pod.labels))

    # ------------------------------------------------------------------------------------------------------ filter

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        spread = self._spread(pod, nodes, hard=True)
        if not spread.counted:
            return SKIP
        state: list[_Skewed] = []
        for each in spread.counted:
            counts, constraint = self._counts(pod, nodes, spread, each), each.constraint
            least = 0 if counts.domains < constraint.min_domains else counts.fewest()
            good = counts.counts <= constraint.max_skew + least - each.itself
            good[0] = False
            state.append(_Skewed(counts.topology, good))
        return tuple(state)

    def filter(self, state: tuple[_Skewed, ...], pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        fits: Bools | None = None
        for topology, good in state:
            here = topology.by_slot(good, slots)
            fits = here if fits is None else fits & here
        assert fits is not None, "there is nothing to filter by, so it was skipped"
        return fits

    def reasons(
        self, state: tuple[_Skewed, ...], pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]
    ) -> Mapping[str, int]:
        found: dict[str, int] = {}
        left = np.ones(len(slots), np.bool_)
        for topology, good in state:
            domains = topology.ids[slots]
            for reason, refused in ((MISSING_LABEL, domains == 0), (TOO_SKEWED, (domains > 0) & ~good[domains])):
                if count := int(np.count_nonzero(left & refused)):
                    found[reason] = found.get(reason, 0) + count
                left &= ~refused
        return found

    # ------------------------------------------------------------------------------------------------------- score

    def skips(self, pod: Shape, nodes: NodeColumns) -> bool:
        return not self._spread(pod, nodes, hard=False).counted

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        spread = self._spread(pod, nodes, hard=False)
        if not spread.counted:
            return SKIP
        scored, labelled = feasible[: nodes.high], None
        if spread.keys:
            having = _having(spread, nodes)
            if not having.is_all:
                labelled = having.mask
                scored = scored & labelled
        points = tuple(self._points(pod, nodes, spread, each, scored) for each in spread.counted)
        return _Soft(points, labelled)

    def _points(self, pod: Shape, nodes: NodeColumns, spread: _Spread, each: _Counted, scored: Bools) -> _Points:
        tallies = nodes.pods.tallies
        labelled = None
        if each.constraint.topology_key == HOSTNAME:
            # Counted by node, so of all nodes; only those that are counted by domain can be left out.
            counts = tallies.of_selection(each.selections, EACH_NODE)
            domains = int(np.count_nonzero(scored))
            labelled = None if HOSTNAME in spread.keys else tallies.topology(HOSTNAME)
        else:
            counts = self._counts(pod, nodes, spread, each)
            domains = _domains_of(counts.topology, scored)
        by_domain = counts.counts * np.float64(math.log(domains + 2)) + np.float64(each.constraint.max_skew - 1)
        by_domain[0] = 0.0
        return _Points(counts.topology, by_domain, labelled)

    def score(self, state: _Soft, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        total: NDArray[np.float64] | None = None
        for topology, by_domain, labelled in state.points:
            here = topology.by_slot(by_domain, slots)
            if labelled is not None:
                here = here * (labelled.ids[slots] > 0)
            total = here if total is None else total + here
        assert total is not None, "there is nothing to score by, so it was skipped"
        scores = (total + 0.5).astype(np.int64)  # rounds to the nearest: nothing is below 0
        if state.labelled is not None:
            scores[~state.labelled[slots]] = _IGNORED
        return scores

    def normalize_scores(self, state: _Soft, pod: Shape, scores: Scores) -> Scores:
        if state.labelled is None:
            return _normalized(scores, int(scores.max()), int(scores.min()))
        ignored = scores == _IGNORED
        most = max(int(scores.max()), 0)
        fewest = int(np.where(ignored, most, scores).min())
        return np.where(ignored, 0, _normalized(scores, most, fewest))

    # ------------------------------------------------------------------------------------------------------ counting

    def _counts(self, pod: Shape, nodes: NodeColumns, spread: _Spread, each: _Counted) -> DomainCounts:
        inclusion = _inclusion(pod, nodes, spread, each) if each.included else None
        return nodes.pods.tallies.of_selection(each.selections, each.constraint.topology_key, inclusion)

    def _spread(self, pod: Shape, nodes: NodeColumns, *, hard: bool) -> _Spread:
        return nodes.pods.tallies.kept(pod, self._kept[hard], lambda: self._read(pod, nodes, hard))

    def _read(self, pod: Shape, nodes: NodeColumns, hard: bool) -> _Spread:
        own = pod.template.spread
        constraints = [each for each in own or self._defaults_of(pod) if each.hard == hard]
        all_needed = hard or bool(own) or not self._system
        keys = tuple(dict.fromkeys(each.topology_key for each in constraints)) if all_needed else ()
        having = f"having {keys}"
        counted = []
        for constraint in constraints:
            whom = Selections(constraint.of(pod.tenant, pod.namespace, pod.labels))
            itself = nodes.pods.tallies.means(whom, pod.tenant, pod.namespace, pod.labels)
            counted.append(_Counted(constraint, whom, int(itself), _included(pod, constraint, keys, having)))
        return _Spread(tuple(counted), keys, having)

    def _defaults_of(self, pod: Shape) -> tuple[SpreadConstraint, ...]:
        own = in_order(
            tuple(Requirement(key, "In", (value,)) for key, value in pod.labels.items() if key not in OF_ONE_POD)
        )
        return tuple(each._replace(labels=own) for each in self._defaults) if own else ()


def _normalized(scores: Scores, most: int, fewest: int) -> Scores:
    if most == 0:
        return np.full_like(scores, SCORE_MAX)
    # Exact: floats hold all the whole numbers involved, and their division rounds none of them up.
    return ((scores * -SCORE_MAX + SCORE_MAX * (most + fewest)) / most).astype(np.int64)


def _domains_of(topology: Topology, scored: Bools) -> int:
    """In how many domains these nodes are."""
    ids = topology.ids[: len(scored)]
    there = np.zeros(topology.size, np.bool_)
    there[ids if scored.all() else ids[scored]] = True
    return int(np.count_nonzero(there[1:]))


def _having(spread: _Spread, nodes: NodeColumns) -> Inclusion:
    """The nodes that carry all the labels."""

    def decide() -> Bools:
        counts = nodes.present[: nodes.high].copy()
        for key in spread.keys:
            counts &= nodes.pods.tallies.topology(key).ids[: nodes.high] > 0
        return counts

    return nodes.pods.tallies.inclusion(spread.having, decide)


def _included(pod: Shape, constraint: SpreadConstraint, keys: tuple[str, ...], having: str) -> str:
    """Equal where the same nodes count. Those without the label of the constraint itself are in no domain anyhow."""
    chosen, tolerated = _is_chosen(pod, constraint), constraint.honor_taints
    if chosen or tolerated:
        return f"{pod.template.id} {chosen:d}{tolerated:d} {having}"
    return having if len(keys) > 1 else ""


def _is_chosen(pod: Shape, constraint: SpreadConstraint) -> bool:
    template = pod.template
    names_nodes = bool(template.node_selector) or template.node_affinity.required is not None
    return names_nodes and constraint.honor_affinity


def _inclusion(pod: Shape, nodes: NodeColumns, spread: _Spread, each: _Counted) -> Inclusion:
    """The nodes that count."""
    if each.included == spread.having:
        return _having(spread, nodes)

    def decide() -> Bools:
        counts = _having(spread, nodes).mask.copy()
        chosen, tolerated = _is_chosen(pod, each.constraint), each.constraint.honor_taints
        for plugin in (*((_BY_LABELS,) if chosen else ()), *(_BY_TAINTS if tolerated else ())):
            state = plugin.pre_filter(pod, nodes)
            if state is not SKIP:
                counts &= plugin.filter(state, pod, nodes, slice(0, nodes.high))
        return counts

    return nodes.pods.tallies.inclusion(each.included, decide)
