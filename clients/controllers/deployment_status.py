"""The status of a Deployment: counts of its ReplicaSets, and whether it is available and getting on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto.objects import Object, format_time, parse_time
from .deployment_rollout import Rollout

PROGRESS_DEADLINE_SECONDS = 600
_COUNTS = ("replicas", "readyReplicas", "availableReplicas")


def is_complete(deployment: Object, status: Mapping[str, Any]) -> bool:
    """All replicas are of the new template and available, and no old one is left."""
    desired = deployment.spec.get("replicas", 1)
    return bool(
        status.get("updatedReplicas") == desired
        and status.get("replicas") == desired
        and status.get("availableReplicas") == desired
        and (status.get("observedGeneration") or 0) >= deployment.generation
    )


def status_of(deployment: Object, rollout: Rollout, now_ms: int) -> tuple[dict[str, Any], float | None]:
    """The status, and after how many seconds it would change by time alone (None: never)."""
    known = deployment.status
    totals = dict.fromkeys(_COUNTS, 0)
    for each in rollout.sets:
        for field in _COUNTS:
            totals[field] += each.object.status.get(field) or 0
    status: dict[str, Any] = {
        "observedGeneration": deployment.generation,
        **totals,
        "updatedReplicas": (rollout.new.object.status.get("replicas") or 0) if rollout.new is not None else 0,
        "unavailableReplicas": max(rollout.total - totals["availableReplicas"], 0),
    }
    if known.get("collisionCount"):
        status["collisionCount"] = known["collisionCount"]
    conditions = {each["type"]: each for each in known.get("conditions") or ()}
    _set(conditions, _available(rollout, totals["availableReplicas"]), now_ms)
    again_seconds = _set_progressing(conditions, deployment, status, now_ms)
    status["conditions"] = list(conditions.values())
    return status, again_seconds


def _available(rollout: Rollout, available: int) -> dict[str, str]:
    if available >= rollout.least_available:
        return _condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return _condition(
        "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _set_progressing(
    conditions: dict[str, Any], deployment: Object, status: Mapping[str, Any], now_ms: int
) -> float | None:
    known = conditions.get("Progressing")
    name = f"Deployment {deployment.name!r}"
    if deployment.spec.get("paused"):
        _set(conditions, _condition("Progressing", "Unknown", "DeploymentPaused", f"{name} is paused."), now_ms)
    elif is_complete(deployment, status):
        message = f"{name} has successfully progressed."
        _set(conditions, _condition("Progressing", "True", "NewReplicaSetAvailable", message), now_ms)
    elif known is None or known["status"] == "Unknown" or _has_progressed(deployment.status, status):
        wanted = _condition("Progressing", "True", "ReplicaSetUpdated", f"{name} is progressing.")
        _set(conditions, wanted, now_ms, updated=True)
        return _deadline_seconds(deployment)
    elif known["reason"] == "ReplicaSetUpdated":
        left = _deadline_seconds(deployment) - (now_ms - parse_time(known["lastUpdateTime"])) / 1000
        if left > 0:
            return left
        wanted = _condition("Progressing", "False", "ProgressDeadlineExceeded", f"{name} has timed out progressing.")
        _set(conditions, wanted, now_ms)
    return None


def _has_progressed(known: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """A new generation, more of the new, less of the old, or more that is ready or available."""

    def old_replicas(of: Mapping[str, Any]) -> int:
        return (of.get("replicas") or 0) - (of.get("updatedReplicas") or 0)

    if status["observedGeneration"] > (known.get("observedGeneration") or 0):
        return True
    grown = any(status[field] > (known.get(field) or 0) for field in (*_COUNTS[1:], "updatedReplicas"))
    return grown or old_replicas(status) < old_replicas(known)


def _deadline_seconds(deployment: Object) -> float:
    return float(deployment.spec.get("progressDeadlineSeconds") or PROGRESS_DEADLINE_SECONDS)


def _condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _set(conditions: dict[str, Any], wanted: dict[str, str], now_ms: int, *, updated: bool = False) -> None:
    """Put a condition in place; its times move only if it has changed, or `updated` says that there was progress."""
    known = conditions.get(wanted["type"])
    if (
        known is not None
        and known["status"] == wanted["status"]
        and known["reason"] == wanted["reason"]
        and not updated
    ):
        return
    now = format_time(now_ms)
    transition = known["lastTransitionTime"] if known is not None and known["status"] == wanted["status"] else now
    conditions[wanted["type"]] = {**wanted, "lastUpdateTime": now, "lastTransitionTime": transition}
