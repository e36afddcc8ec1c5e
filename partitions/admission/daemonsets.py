"""DaemonSets."""

from __future__ import annotations

from typing import Any

from ...proto import ursa_pb2 as pb
from .node_pods import check_system_tenant
from .pods import default_pod_spec
from .validation import (
    LABEL_LENGTH_MAX,
    Causes,
    check_choice,
    check_count,
    check_count_or_percent,
    mapping,
    sequence,
)
from .workloads import REVISION_HISTORY_LIMIT, WorkloadStrategy

UPDATES = ("RollingUpdate", "OnDelete")
# The labels of revisions, and the names of pods, are its own name and more.
NAME_LENGTH_MAX = LABEL_LENGTH_MAX - 11
_NOTHING = (0, "0%")
_LISTED, _BARE, _COMPARED = ("In", "NotIn"), ("Exists", "DoesNotExist"), ("Gt", "Lt")


class DaemonSetStrategy(WorkloadStrategy):
    """Has a pod on each node of its resource partition that its template admits."""

    def default_spec(self, spec: dict[str, Any]) -> None:
        default_pod_spec(spec["template"]["spec"])
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = REVISION_HISTORY_LIMIT
        strategy = spec["updateStrategy"] = {**(spec.get("updateStrategy") or {})}
        strategy["type"] = strategy.get("type") or UPDATES[0]
        if strategy["type"] == UPDATES[0]:
            rolling = strategy["rollingUpdate"] = {**(strategy.get("rollingUpdate") or {})}
            if rolling.get("maxUnavailable") is None:
                surges = rolling.get("maxSurge") not in (None, *_NOTHING)
                rolling["maxUnavailable"] = 0 if surges else 1
            if rolling.get("maxSurge") is None:
                rolling["maxSurge"] = 0

    def check_spec(self, spec: Any, causes: Causes) -> None:
        super().check_spec(spec, causes)
        check_count(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit", causes)
        _check_update_strategy(spec, causes)
        template = mapping(spec.get("template"), "spec.template", Causes())
        pod_spec = mapping(template.get("spec"), "spec.template.spec", Causes())
        _check_affinity(pod_spec.get("affinity"), "spec.template.spec.affinity", causes)

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        check_system_tenant(message, causes)
        if len(message.metadata.name) > NAME_LENGTH_MAX:
            causes.add("metadata.name", f"must have at most {NAME_LENGTH_MAX} characters: its pods are called by it")


def _check_update_strategy(spec: Any, causes: Causes) -> None:
    field = "spec.updateStrategy"
    strategy = mapping(spec.get("updateStrategy"), field, causes)
    check_choice(strategy, "type", UPDATES, field, causes)
    if strategy.get("rollingUpdate") is not None and strategy.get("type") == UPDATES[1]:
        causes.forbid(f"{field}.rollingUpdate", "must not be set where the type is OnDelete")
    rolling = mapping(strategy.get("rollingUpdate"), f"{field}.rollingUpdate", causes)
    known = len(causes.found)
    for name in ("maxUnavailable", "maxSurge"):
        check_count_or_percent(rolling.get(name), f"{field}.rollingUpdate.{name}", causes)
    if len(causes.found) > known:
        return
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    if unavailable in _NOTHING and surge in (None, *_NOTHING):
        causes.add(f"{field}.rollingUpdate.maxUnavailable", "must not be 0 where maxSurge is 0")
    elif unavailable not in (None, *_NOTHING) and surge not in (None, *_NOTHING):
        causes.add(f"{field}.rollingUpdate.maxSurge", "must be 0 where maxUnavailable is not 0")


def _check_affinity(affinity: Any, field: str, causes: Causes) -> None:
    """Of what nodes it must be; what else an affinity may say does not matter to a DaemonSet."""
    node = mapping(mapping(affinity, field, causes).get("nodeAffinity"), f"{field}.nodeAffinity", causes)
    field = f"{field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return
    terms = sequence(mapping(required, field, causes).get("nodeSelectorTerms"), f"{field}.nodeSelectorTerms", causes)
    if not terms:
        causes.require(f"{field}.nodeSelectorTerms")
    for number, entry in enumerate(terms):
        place = f"{field}.nodeSelectorTerms[{number}]"
        term = mapping(entry, place, causes)
        for group in ("matchExpressions", "matchFields"):
            for at, each in enumerate(sequence(term.get(group), f"{place}.{group}", causes)):
                _check_requirement(each, group, f"{place}.{group}[{at}]", causes)


def _check_requirement(entry: Any, group: str, field: str, causes: Causes) -> None:
    requirement = mapping(entry, field, causes)
    key, operator = requirement.get("key"), requirement.get("operator")
    values = sequence(requirement.get("values"), f"{field}.values", causes)
    if not isinstance(key, str) or not key:
        causes.require(f"{field}.key")
    elif group == "matchFields" and key != "metadata.name":
        causes.add(f"{field}.key", f"must be metadata.name, not {key!r}")
    operators = _LISTED if group == "matchFields" else (*_LISTED, *_BARE, *_COMPARED)
    if operator not in operators:
        causes.add(f"{field}.operator", f"must be one of {', '.join(operators)}, not {operator!r}")
    elif operator in _LISTED and not values:
        causes.require(f"{field}.values")
    elif operator in _BARE and values:
        causes.forbid(f"{field}.values", f"must not be set where the operator is {operator}")
    elif operator in _COMPARED and not (len(values) == 1 and _is_number(values[0])):
        causes.add(f"{field}.values", f"must be one whole number, as a string, where the operator is {operator}")


def _is_number(text: Any) -> bool:
    return isinstance(text, str) and text.removeprefix("-").isdecimal() and text.isascii()
