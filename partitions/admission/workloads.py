"""ReplicaSets and Deployments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode_shared
from .pods import check_pod_spec, default_pod_spec
from .strategy import Strategy
from .validation import Causes, check_count, check_count_or_percent, check_labels, check_selector, mapping

REVISION_HISTORY_LIMIT = 10


def check_template_labels(template: Mapping[str, Any], field: str, causes: Causes) -> Mapping[str, Any]:
    """The labels that pods of a template get."""
    metadata = mapping(template.get("metadata"), f"{field}.metadata", causes)
    labels = mapping(metadata.get("labels"), f"{field}.metadata.labels", causes)
    check_labels(labels, f"{field}.metadata.labels", causes)
    return labels


class WorkloadStrategy(Strategy):
    """What has replicas, a selector and a pod template."""

    def default_spec(self, spec: dict[str, Any]) -> None:
        spec.setdefault("replicas", 1)
        default_pod_spec(spec["template"]["spec"])

    def check_spec(self, spec: Any, causes: Causes) -> None:
        check_count(spec.get("replicas"), "spec.replicas", causes)
        check_count(spec.get("minReadySeconds"), "spec.minReadySeconds", causes)
        template = mapping(spec.get("template"), "spec.template", causes)
        labels = check_template_labels(template, "spec.template", causes)
        check_selector(spec.get("selector"), labels, "spec.selector", causes)
        pod_spec = mapping(template.get("spec"), "spec.template.spec", causes)
        check_pod_spec(pod_spec, "spec.template.spec", causes)
        if pod_spec.get("restartPolicy") not in (None, "Always"):
            causes.add("spec.template.spec.restartPolicy", "must be Always: what ends is replaced")
        if pod_spec.get("activeDeadlineSeconds") is not None:
            causes.forbid("spec.template.spec.activeDeadlineSeconds", "must not be set: these pods do not end")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        if new.spec != old.spec and decode_shared(new.spec).get("selector") != decode_shared(old.spec).get("selector"):
            causes.add("spec.selector", "is immutable; delete the object and create another")


class DeploymentStrategy(WorkloadStrategy):
    """Adds the strategy of an update."""

    def default_spec(self, spec: dict[str, Any]) -> None:
        super().default_spec(spec)
        spec.setdefault("revisionHistoryLimit", REVISION_HISTORY_LIMIT)
        strategy = spec.setdefault("strategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")

    def check_spec(self, spec: Any, causes: Causes) -> None:
        super().check_spec(spec, causes)
        check_count(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit", causes)
        strategy = mapping(spec.get("strategy"), "spec.strategy", causes)
        if strategy.get("type") not in (None, "RollingUpdate", "Recreate"):
            causes.add("spec.strategy.type", f"must be RollingUpdate or Recreate, not {strategy['type']!r}")
        rolling = mapping(strategy.get("rollingUpdate"), "spec.strategy.rollingUpdate", causes)
        for field in ("maxSurge", "maxUnavailable"):
            check_count_or_percent(rolling.get(field), f"spec.strategy.rollingUpdate.{field}", causes)
        if all(rolling.get(field) in (0, "0", "0%") for field in ("maxSurge", "maxUnavailable")):
            causes.add("spec.strategy.rollingUpdate.maxUnavailable", "must not be 0 where maxSurge is 0")
