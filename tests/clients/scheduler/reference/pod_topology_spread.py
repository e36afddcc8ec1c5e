"""Topology spread constraints, node by node and pod by pod."""

from __future__ import annotations

import math
from typing import Any

from .cluster import Cluster, Manifest, Node, Pod, selected, selects, tolerated

HOSTNAME = "kubernetes.io/hostname"
OF_ONE_POD = (
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
)


def constraints_of(pod: Pod, defaults: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    """The pod's own if it has any, or the cluster's with the pod's labels for a selector."""
    own = pod.spec.get("topologySpreadConstraints") or []
    if not own:
        labels = {key: value for key, value in pod.labels.items() if key not in OF_ONE_POD}
        own = [{**each, "labelSelector": {"matchLabels": labels}} for each in defaults] if labels else []
    return [each for each in own if each["whenUnsatisfiable"] == action]


def filter_node(pod: Pod, node: Node, cluster: Cluster, defaults: list[dict[str, Any]]) -> str:
    """Why the pod may not run there; empty: it may."""
    constraints = constraints_of(pod, defaults, "DoNotSchedule")
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in node.labels:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        counts: dict[str, int] = {}
        for other in cluster.nodes.values():
            if all(each["topologyKey"] in other.labels for each in constraints) and _counts(constraint, pod, other):
                counts[other.labels[key]] = counts.get(other.labels[key], 0) + _matching(
                    constraint, pod, other, cluster
                )
        least = min(counts.values(), default=0)
        if len(counts) < constraint.get("minDomains", 1):
            least = 0
        itself = 1 if selects(_selector(constraint, pod), pod.labels) else 0
        if counts.get(node.labels[key], 0) + itself - least > constraint["maxSkew"]:
            return "node(s) didn't match pod topology spread constraints"
    return ""


def scores(
    pod: Pod, feasible: list[Node], cluster: Cluster, defaults: list[dict[str, Any]], system: bool
) -> list[int] | None:
    """Normalised, of the nodes that passed every filter; None: there is no constraint to score by."""
    constraints = constraints_of(pod, defaults, "ScheduleAnyway")
    if not constraints:
        return None
    all_labels = bool(pod.spec.get("topologySpreadConstraints")) or not system
    keys = [each["topologyKey"] for each in constraints] if all_labels else []
    scored = [node for node in feasible if all(key in node.labels for key in keys)]
    raw = {node.key: _raw(pod, node, scored, cluster, constraints, keys) for node in scored}
    most, least = max(raw.values(), default=0), min(raw.values(), default=0)
    found = []
    for node in feasible:
        if node.key not in raw:
            found.append(0)
        elif most == 0:
            found.append(100)
        else:
            found.append(100 * (most + least - raw[node.key]) // most)
    return found


def _raw(
    pod: Pod, node: Node, scored: list[Node], cluster: Cluster, constraints: list[dict[str, Any]], keys: list[str]
) -> int:
    total = 0.0
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in node.labels:
            continue
        if key == HOSTNAME:
            count, domains = _matching(constraint, pod, node, cluster), len(scored)
        else:
            domains = len({other.labels[key] for other in scored if key in other.labels})
            count = sum(
                _matching(constraint, pod, other, cluster)
                for other in cluster.nodes.values()
                if other.labels.get(key) == node.labels[key]
                and all(each in other.labels for each in keys)
                and _counts(constraint, pod, other)
            )
        total += count * math.log(domains + 2) + (constraint["maxSkew"] - 1)
    return math.floor(total + 0.5)


def _counts(constraint: Manifest, pod: Pod, node: Node) -> bool:
    """The node counts, as the policies of the constraint want it."""
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not selected(pod.spec, node):
        return False
    return constraint.get("nodeTaintsPolicy", "Ignore") == "Ignore" or tolerated(pod.spec, node)


def _matching(constraint: Manifest, pod: Pod, node: Node, cluster: Cluster) -> int:
    selector = _selector(constraint, pod)
    return sum(
        not other.terminating
        and (other.tenant, other.namespace) == (pod.tenant, pod.namespace)
        and selects(selector, other.labels)
        for other in cluster.pods_on(node)
    )


def _selector(constraint: Manifest, pod: Pod) -> dict[str, Any] | None:
    selector = constraint.get("labelSelector")
    if selector is None:
        return None
    more = [
        {"key": key, "operator": "In", "values": [pod.labels[key]]}
        for key in constraint.get("matchLabelKeys") or []
        if key in pod.labels
    ]
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or []), *more]}
