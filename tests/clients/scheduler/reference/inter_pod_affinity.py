"""Affinity and anti-affinity between pods, node by node and pod by pod."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .cluster import Cluster, Manifest, Node, Pod, selects

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def filter_node(pod: Pod, node: Node, cluster: Cluster) -> str:
    """Why the pod may not run there; empty: it may."""
    affinity = _terms(pod, "podAffinity")
    if affinity and not _affinity_holds(pod, affinity, node, cluster):
        return "node(s) didn't match pod affinity rules"
    for term in _terms(pod, "podAntiAffinity"):
        if any(means(term, pod, other, cluster) for other in _in_domain(term, node, cluster)):
            return "node(s) didn't match pod anti-affinity rules"
    for other, at in _all(cluster):
        for term in _terms(other, "podAntiAffinity"):
            if means(term, other, pod, cluster) and _same_domain(term, node, at):
                return "node(s) didn't satisfy existing pods anti-affinity rules"
    return ""


def _affinity_holds(pod: Pod, terms: list[dict[str, Any]], node: Node, cluster: Cluster) -> bool:
    if any(term["topologyKey"] not in node.labels for term in terms):
        return False

    def meant_by_all(other: Pod) -> bool:
        return all(means(term, pod, other, cluster) for term in terms)

    if all(any(meant_by_all(other) for other in _in_domain(term, node, cluster)) for term in terms):
        return True
    # The first pod of a group: nobody like that is in any domain, and it would be the first itself.
    keys = [term["topologyKey"] for term in terms]
    there = any(meant_by_all(other) and any(key in at.labels for key in keys) for other, at in _all(cluster))
    return not there and meant_by_all(pod)


def score_node(pod: Pod, node: Node, cluster: Cluster, hard_weight: int, own_only: bool) -> int:
    """Before it is normalised."""
    score = 0
    for sign, part in ((1, "podAffinity"), (-1, "podAntiAffinity")):
        for weighted in _preferred(pod, part):
            term = weighted["podAffinityTerm"]
            for other in _in_domain(term, node, cluster):
                score += sign * weighted["weight"] * means(term, pod, other, cluster)
    if own_only:
        return score
    for other, at in _all(cluster):
        for term in _terms(other, "podAffinity"):
            if means(term, other, pod, cluster) and _same_domain(term, node, at):
                score += hard_weight
        for sign, part in ((1, "podAffinity"), (-1, "podAntiAffinity")):
            for weighted in _preferred(other, part):
                term = weighted["podAffinityTerm"]
                if means(term, other, pod, cluster) and _same_domain(term, node, at):
                    score += sign * weighted["weight"]
    return score


def normalize(scores: list[int]) -> list[int]:
    low, high = min(scores), max(scores)
    if low == high:
        return [0] * len(scores)
    return [int(100 * ((score - low) / (high - low))) for score in scores]


def means(term: Manifest, owner: Pod, other: Pod, cluster: Cluster) -> bool:
    """Whether a term of one pod means another."""
    return (
        owner.tenant == other.tenant
        and _in_namespaces(term, owner, other, cluster)
        and selects(_selector(term, owner), other.labels)
    )


def _in_namespaces(term: Manifest, owner: Pod, other: Pod, cluster: Cluster) -> bool:
    names, selector = term.get("namespaces") or [], term.get("namespaceSelector")
    if not names and selector is None:
        return other.namespace == owner.namespace
    labels = {
        "kubernetes.io/metadata.name": other.namespace,
        **cluster.namespaces.get((other.tenant, other.namespace), {}),
    }
    return other.namespace in names or selects(selector, labels)


def _selector(term: Manifest, owner: Pod) -> dict[str, Any] | None:
    """With what matchLabelKeys and mismatchLabelKeys add: requirements on the owner's own values."""
    selector = term.get("labelSelector")
    if selector is None:
        return None
    more = [
        {"key": key, "operator": operator, "values": [owner.labels[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or []
        if key in owner.labels
    ]
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or []), *more]}


def _terms(pod: Pod, part: str) -> list[dict[str, Any]]:
    return list(((pod.spec.get("affinity") or {}).get(part) or {}).get(REQUIRED) or [])


def _preferred(pod: Pod, part: str) -> list[dict[str, Any]]:
    return list(((pod.spec.get("affinity") or {}).get(part) or {}).get(PREFERRED) or [])


def _all(cluster: Cluster) -> Iterator[tuple[Pod, Node]]:
    for node in cluster.nodes.values():
        for pod in cluster.pods_on(node):
            yield pod, node


def _same_domain(term: Manifest, one: Node, other: Node) -> bool:
    key = term["topologyKey"]
    return key in one.labels and key in other.labels and one.labels[key] == other.labels[key]


def _in_domain(term: Manifest, node: Node, cluster: Cluster) -> Iterator[Pod]:
    for pod, at in _all(cluster):
        if _same_domain(term, node, at):
            yield pod
