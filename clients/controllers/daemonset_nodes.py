"""On which nodes a DaemonSet wants a pod, with the rules of Kubernetes: selector, required node affinity, taints.

Whether a node is ready, or unschedulable, does not matter; nor whether it has room, which its ledger says when a pod is
created there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...proto.objects import Object
from ..taints import NO_SCHEDULE, UNSCHEDULABLE, read_taints, read_tolerations, untolerated

_NOT_READY, _UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_PRESSURES = tuple(f"node.kubernetes.io/{what}-pressure" for what in ("disk", "memory", "pid"))
# What every daemon tolerates, whatever its template says.
TOLERATIONS: tuple[Mapping[str, str], ...] = (
    {"key": _NOT_READY, "operator": "Exists", "effect": "NoExecute"},
    {"key": _UNREACHABLE, "operator": "Exists", "effect": "NoExecute"},
    *({"key": key, "operator": "Exists", "effect": NO_SCHEDULE} for key in (*_PRESSURES, UNSCHEDULABLE.key)),
)
_HOST_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": NO_SCHEDULE}


class Wish(NamedTuple):
    """Whether there should be a pod on a node, and whether one that is there may stay."""

    wanted: bool
    may_stay: bool


_NEVER = Wish(wanted=False, may_stay=False)


def tolerations(spec: Mapping[str, Any]) -> list[Any]:
    """Those of the pods of a template: its own, and what every daemon tolerates."""
    own = list(spec.get("tolerations") or ())
    standard = (*TOLERATIONS, _HOST_NETWORK) if spec.get("hostNetwork") else TOLERATIONS
    return [*own, *(dict(each) for each in standard if each not in own)]


class Eligibility:
    """Of the nodes of one DaemonSet, by the spec of its template."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._node_name = spec.get("nodeName") or ""
        self._selector = dict(spec.get("nodeSelector") or {})
        affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        self._required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        self._tolerations = read_tolerations(tolerations(spec))

    def of(self, node: Object) -> Wish:
        labels = node.labels
        if self._node_name not in ("", node.name):
            return _NEVER
        if any(labels.get(name) != value for name, value in self._selector.items()):
            return _NEVER
        if self._required is not None and not _matches(self._required, node):
            return _NEVER
        taints = read_taints(node.spec.get("taints"))
        if untolerated(taints, self._tolerations) is None:
            return Wish(wanted=True, may_stay=True)
        drives_out = untolerated([each for each in taints if each.effect == "NoExecute"], self._tolerations)
        return Wish(wanted=False, may_stay=drives_out is None)


def _matches(required: Mapping[str, Any], node: Object) -> bool:
    """One of the terms, all of which is so; an empty term is so of no node."""
    for term in required.get("nodeSelectorTerms") or ():
        answers = [
            *(_holds(each, node.labels) for each in term.get("matchExpressions") or ()),
            *(_holds(each, {"metadata.name": node.name}) for each in term.get("matchFields") or ()),
        ]
        if answers and all(answers):
            return True
    return False


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    operator, value = requirement["operator"], labels.get(requirement["key"])
    values: Sequence[Any] = requirement.get("values") or ()
    if operator == "DoesNotExist":
        return value is None
    if operator == "NotIn":
        return value not in values
    if value is None:
        return False
    if operator == "In":
        return value in values
    if operator == "Exists":
        return True
    number = value.removeprefix("-")
    if not (number.isascii() and number.isdecimal()):
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
