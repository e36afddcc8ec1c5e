"""What a kubelet reads in a pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode, parse_time
from . import statuses


def phase_of(status: bytes) -> str:
    if status == statuses.PENDING or not status:
        return "Pending"
    return str(decode(status).get("phase") or "Pending")


def order_of_adoption(message: pb.Object) -> tuple[bool, int]:
    return phase_of(message.status) == "Pending", message.metadata.creation_ms


def time_or(text: Any, default_ms: int) -> int:
    try:
        return parse_time(str(text))
    except ValueError:
        return default_ms


def internal_ip(status: Mapping[str, Any]) -> str:
    """Of a node, by its status; empty: it says none."""
    for address in status.get("addresses") or ():
        if address.get("type") == "InternalIP":
            return str(address.get("address") or "")
    return ""
