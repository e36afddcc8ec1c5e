"""The conditions and the status of a Job. That it will end is decided, and written, before anything is done about it.

(runs) ──> SuccessCriteriaMet ──> Complete        the second once nothing of it runs and all has been counted
   └─────> FailureTarget ───────> Failed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.kinds import Kind
from ...proto.objects import Object, encode, format_time
from .job_pods import time_ms

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
SUCCESS, FAILURE = "SuccessCriteriaMet", "FailureTarget"
# What a Job becomes for good, by what was decided.
END_OF = {SUCCESS: COMPLETE, FAILURE: FAILED}


def is_true(status: Mapping[str, Any], kind: str) -> bool:
    return condition(status, kind).get("status") == "True"


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Empty: there is none of this type."""
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), {})


def decided(status: Mapping[str, Any]) -> str:
    """SuccessCriteriaMet or FailureTarget, once it has been decided how the Job ends; else empty."""
    return next((each for each in END_OF if is_true(status, each)), "")


def ended(status: Mapping[str, Any]) -> str:
    """Complete or Failed; empty while it has not ended."""
    return next((each for each in END_OF.values() if is_true(status, each)), "")


def ended_ms(status: Mapping[str, Any]) -> int:
    """When; 0 where it has not, or does not say."""
    return time_ms(condition(status, ended(status)).get("lastTransitionTime"))


def with_condition(
    status: Mapping[str, Any], kind: str, value: str, reason: str, message: str, now_ms: int
) -> dict[str, Any]:
    now = format_time(now_ms)
    told = {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastProbeTime": now,
        "lastTransitionTime": now,
    }
    others = [each for each in status.get("conditions") or () if each.get("type") != kind]
    return {**status, "conditions": [*others, told]}


def status_operation(kind: Kind, obj: Object, status: Mapping[str, Any]) -> pb.Operation:
    """Over the very revision that the status was worked out from: what was counted from an older one never lands."""
    operation = pb.Operation(resource=kind.resource)
    update, source = operation.update, obj.message.metadata
    update.subresource = "status"
    update.object.api_version, update.object.kind = kind.api_version, kind.kind
    metadata = update.object.metadata
    metadata.tenant, metadata.namespace, metadata.name = source.tenant, source.namespace, source.name
    metadata.uid, metadata.resource_version = source.uid, source.resource_version
    update.object.status = encode(status)
    return operation
