"""PodDisruptionBudgets."""

from __future__ import annotations

from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode_shared
from .strategy import Strategy
from .validation import Causes, check_count, check_count_or_percent, check_selector_form, mapping

COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods", "observedGeneration")
UNHEALTHY_POLICIES = ("IfHealthyBudget", "AlwaysAllow")
LIMITS = ("minAvailable", "maxUnavailable")
PERCENT_MAX = 100


class BudgetStrategy(Strategy):
    """How many of the pods that it selects must be there, or may be missing."""

    def check_spec(self, spec: Any, causes: Causes) -> None:
        given = [limit for limit in LIMITS if spec.get(limit) is not None]
        if len(given) != 1:
            told = "and maxUnavailable cannot be both set" if given else "or maxUnavailable must be set"
            causes.add("spec.minAvailable", told)
        for limit in given:
            _check_limit(spec[limit], f"spec.{limit}", causes)
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None and policy not in UNHEALTHY_POLICIES:
            told = f"must be one of {', '.join(UNHEALTHY_POLICIES)}, not {policy!r}"
            causes.add("spec.unhealthyPodEvictionPolicy", told)
        check_selector_form(spec.get("selector"), "spec.selector", causes)

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        status = decode_shared(message.status)
        for count in COUNTS:
            check_count(status.get(count), f"status.{count}", causes)
        mapping(status.get("disruptedPods"), "status.disruptedPods", causes)


def _check_limit(value: Any, field: str, causes: Causes) -> None:
    known = len(causes.found)
    check_count_or_percent(value, field, causes)
    if len(causes.found) == known and isinstance(value, str) and int(value[:-1]) > PERCENT_MAX:
        causes.add(field, f"must not be more than 100%, but is {value}")
