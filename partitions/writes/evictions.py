"""What an eviction would do: a delete of a pod, if the PodDisruptionBudget that selects it has one to spare.

The budget pays in the same step in which the pod is deleted, so two evictions never share one disruption. It pays by
its status, whose `disruptedPods` tell the disruption controller of pods that it may still see running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest, Cause, Forbidden, InternalError, TooManyRequests
from ...proto.kinds import BY_KIND, Kind
from ...proto.objects import decode_shared, encode, format_time
from ...proto.selectors import label_selector_of, selects
from ..admission.strategy import Strategy
from ..entries import Entry
from .plans import Plan, Write, plan_delete

DISRUPTION_BUDGET_CAUSE = "DisruptionBudget"
# What Kubernetes tells those that come while a budget is worked out. A pod that starts takes about as long.
RETRY_AFTER_MS = 10_000
# Disruptions that the controller has not confirmed. More than that, and something is wrong with it.
DISRUPTED_PODS_MAX = 2000
# What is not running yet, or not any more, serves nobody.
_UNGUARDED_PHASES = ("Pending", "Succeeded", "Failed")

_BUDGET = BY_KIND["PodDisruptionBudget"]


def plan_eviction(
    kind: Kind,
    strategy: Strategy,
    entry: Entry,
    request: pb.Evict,
    budgets_beside: Callable[[Entry], Sequence[Entry]],
    *,
    now_ms: int,
) -> Plan:
    """`budgets_beside`: the budgets of a pod's namespace.

    Raises:
        BadRequest: not a pod, or as for a delete. Conflict: a precondition does not hold.
        TooManyRequests: the budget has nothing to spare, or is still being worked out.
        InternalError: several budgets select the pod. Forbidden: the budget's status makes no sense.
    """
    if kind.kind != "Pod":
        raise BadRequest(f"only pods are evicted, not {kind.resource}")
    delete = pb.Delete(preconditions=request.preconditions)
    if request.HasField("grace_seconds"):
        delete.grace_seconds = request.grace_seconds
    plan = plan_delete(kind, strategy, entry, delete, now_ms=now_ms)
    status = decode_shared(entry.message().status)
    if entry.deleting or status.get("phase", "Pending") in _UNGUARDED_PHASES:
        return plan
    budget = _budget_of(entry, budgets_beside(entry))
    if budget is None or (not _is_ready(status) and _lets_unhealthy_go(budget.message())):
        return plan
    return plan._replace(writes=(*plan.writes, _paid(budget, entry, now_ms)))


def _budget_of(pod: Entry, budgets: Sequence[Entry]) -> Entry | None:
    found = [budget for budget in budgets if _selects(decode_shared(budget.message().spec), pod)]
    if len(found) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support: "
            + ", ".join(budget.name for budget in found),
            key=pod.key,
        )
    return found[0] if found else None


def _selects(spec: Mapping[str, Any], pod: Entry) -> bool:
    """An empty selector selects all pods of the namespace, and one that is left out none."""
    selector = spec.get("selector")
    return selector is not None and selects(label_selector_of(selector), pod.labels.get)


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in _conditions(status))


def _conditions(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of any status, whatever it is that somebody wrote there."""
    conditions = status.get("conditions")
    return [each for each in conditions if isinstance(each, Mapping)] if isinstance(conditions, list | tuple) else []


def _lets_unhealthy_go(budget: pb.Object) -> bool:
    """A pod that is not ready does not count among the healthy, so its loss costs the budget nothing."""
    if decode_shared(budget.spec).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = decode_shared(budget.status)
    return 0 < _count(status, "desiredHealthy") <= _count(status, "currentHealthy")


def _count(status: Mapping[str, Any], name: str) -> int:
    return int(status.get(name) or 0)


def _paid(budget: Entry, pod: Entry, now_ms: int) -> Write:
    """The budget with one disruption less. Raises TooManyRequests, Forbidden: it cannot pay."""
    message = budget.message()
    status = decode_shared(message.status)
    disrupted = status.get("disruptedPods") or {}
    if _count(status, "observedGeneration") < message.metadata.generation:
        raise _refusal(budget, f"The disruption budget {budget.name} is still being processed by the server.")
    if len(disrupted) >= DISRUPTED_PODS_MAX:
        told = f"{budget.name}: DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise Forbidden(told, key=budget.key)
    allowed = _count(status, "disruptionsAllowed")
    if allowed <= 0:
        raise _refusal(budget, _why_none(budget.name, status))
    paid = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": {**disrupted, pod.name: format_time(now_ms)}}
    if allowed == 1:
        paid["conditions"] = _none_left(_conditions(status), now_ms)
    message.status = encode(paid)
    return Write(_BUDGET, budget.key, message, budget, reserve=True)


def _refusal(budget: Entry, why: str) -> TooManyRequests:
    return TooManyRequests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        key=budget.key,
        causes=[Cause("", why, DISRUPTION_BUDGET_CAUSE)],
        retry_after_ms=RETRY_AFTER_MS,
    )


def _why_none(name: str, status: Mapping[str, Any]) -> str:
    for condition in _conditions(status):
        if (condition.get("type"), condition.get("reason")) == ("DisruptionAllowed", "SyncFailed"):
            return (
                f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
                f"{condition.get('message', '')}"
            )
    desired, current = _count(status, "desiredHealthy"), _count(status, "currentHealthy")
    return f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"


def _none_left(conditions: Sequence[Mapping[str, Any]], now_ms: int) -> list[Mapping[str, Any]]:
    told = {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "lastTransitionTime": format_time(now_ms),
    }
    return [*(each for each in conditions if each.get("type") != told["type"]), told]
