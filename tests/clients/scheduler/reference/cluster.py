"""A cluster as plain data, and what Kubernetes' documentation says of labels, selectors, taints and tolerations.

The references in this folder go over nodes and pods one by one, on manifests as a user writes them. They share no code
with the scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Labels = Mapping[str, str]
Manifest = Mapping[str, Any]


@dataclass
class Node:
    partition: str
    name: str
    labels: dict[str, str]
    taints: list[dict[str, str]] = field(default_factory=list)
    unschedulable: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return (self.partition, self.name)


@dataclass
class Pod:
    """`node`: the key of the one it is on."""

    uid: str
    tenant: str
    namespace: str
    labels: dict[str, str]
    spec: dict[str, Any]
    node: tuple[str, str] = ("", "")
    terminating: bool = False


@dataclass
class Cluster:
    """Nodes by their key; pods on nodes, by uid; the labels of namespaces, by tenant and name."""

    nodes: dict[tuple[str, str], Node] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    namespaces: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    def pods_on(self, node: Node) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.node == node.key]


def selects(selector: Manifest | None, labels: Labels) -> bool:
    """A null label selector matches no objects, an empty one all; else all its requirements must hold."""
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], expression.get("values") or []
        holds = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[expression["operator"]]
        if not holds:
            return False
    return True


def selected(spec: Manifest, node: Node) -> bool:
    """The pod's nodeSelector admits the node, and so does one term of its required node affinity, if it has any."""
    if not selects({"matchLabels": spec.get("nodeSelector")}, node.labels):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(selects(term, node.labels) for term in required["nodeSelectorTerms"])


def tolerated(spec: Manifest, node: Node) -> bool:
    """The pod tolerates all NoSchedule and NoExecute taints of the node; to be cordoned is one of them."""
    taints = [taint for taint in node.taints if taint["effect"] in ("NoSchedule", "NoExecute")]
    if node.unschedulable:
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    return all(any(_tolerates(each, taint) for each in spec.get("tolerations") or []) for taint in taints)


def _tolerates(toleration: Manifest, taint: Manifest) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint["key"]
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")
