"""StatefulSets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode_shared
from .validation import Causes, check_choice, check_count, check_count_or_percent, is_label, mapping, sequence
from .workloads import REVISION_HISTORY_LIMIT, WorkloadStrategy

# Its pods bear the names of its revisions as a label: its own, a dash, and a hash of ten letters.
NAME_LENGTH_MAX = 52
POLICIES = ("OrderedReady", "Parallel")
UPDATES = ("RollingUpdate", "OnDelete")
RETENTIONS = ("Retain", "Delete")

_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


class StatefulSetStrategy(WorkloadStrategy):
    """Its pods have names and an order of their own."""

    def default_spec(self, spec: dict[str, Any]) -> None:
        for field, value in (("replicas", 1), ("podManagementPolicy", POLICIES[0])):
            if spec.get(field) is None:
                spec[field] = value
        super().default_spec(spec)
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = REVISION_HISTORY_LIMIT
        strategy = spec["updateStrategy"] = {**(spec.get("updateStrategy") or {})}
        strategy["type"] = strategy.get("type") or UPDATES[0]
        if strategy["type"] == UPDATES[0]:
            rolling = strategy["rollingUpdate"] = {**(strategy.get("rollingUpdate") or {})}
            if rolling.get("partition") is None:
                rolling["partition"] = 0

    def check_spec(self, spec: Any, causes: Causes) -> None:
        super().check_spec(spec, causes)
        check_count(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit", causes)
        check_choice(spec, "podManagementPolicy", POLICIES, "spec", causes)
        ordinals = mapping(spec.get("ordinals"), "spec.ordinals", causes)
        check_count(ordinals.get("start"), "spec.ordinals.start", causes)
        service = spec.get("serviceName")
        if service and (not isinstance(service, str) or not is_label(service)):
            causes.add("spec.serviceName", f"{service!r} is no DNS label")
        _check_update_strategy(spec, causes)
        if sequence(spec.get("volumeClaimTemplates"), "spec.volumeClaimTemplates", causes):
            told = "is not served: create the claims, and name them in the template's volumes"
            causes.forbid("spec.volumeClaimTemplates", told)
        field = "spec.persistentVolumeClaimRetentionPolicy"
        retention = mapping(spec.get("persistentVolumeClaimRetentionPolicy"), field, causes)
        for name in ("whenDeleted", "whenScaled"):
            check_choice(retention, name, RETENTIONS, field, causes)

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        name = message.metadata.name
        if len(name) > NAME_LENGTH_MAX:
            told = f"must have at most {NAME_LENGTH_MAX} characters: what is of it is called by it and more"
            causes.add("metadata.name", told)
        elif not is_label(name):
            causes.add("metadata.name", f"{name!r} is no DNS label, which the host names of its pods are made of")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        if new.spec != old.spec and _fixed(decode_shared(new.spec)) != _fixed(decode_shared(old.spec)):
            causes.forbid("spec", f"is fixed but for {', '.join(_MUTABLE)}; delete the StatefulSet and create another")


def _check_update_strategy(spec: Any, causes: Causes) -> None:
    field = "spec.updateStrategy"
    strategy = mapping(spec.get("updateStrategy"), field, causes)
    check_choice(strategy, "type", UPDATES, field, causes)
    if strategy.get("rollingUpdate") is not None and strategy.get("type") == UPDATES[1]:
        causes.forbid(f"{field}.rollingUpdate", "must not be set where the type is OnDelete")
    rolling = mapping(strategy.get("rollingUpdate"), f"{field}.rollingUpdate", causes)
    check_count(rolling.get("partition"), f"{field}.rollingUpdate.partition", causes)
    unavailable = rolling.get("maxUnavailable")
    check_count_or_percent(unavailable, f"{field}.rollingUpdate.maxUnavailable", causes)
    if unavailable in (0, "0%"):
        causes.add(f"{field}.rollingUpdate.maxUnavailable", "must not be 0: nothing could be updated")


def _fixed(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in spec.items() if field not in _MUTABLE}
