"""Taints and tolerations, as all who place pods know them."""

from __future__ import annotations

from ..taints import (
    ALL_EFFECTS,
    HARD_EFFECTS,
    NO_SCHEDULE,
    PREFER_NO_SCHEDULE,
    UNSCHEDULABLE,
    Taint,
    Toleration,
    read_taints,
    read_tolerations,
    untolerated,
)

__all__ = [
    "ALL_EFFECTS",
    "HARD_EFFECTS",
    "NO_SCHEDULE",
    "PREFER_NO_SCHEDULE",
    "UNSCHEDULABLE",
    "Taint",
    "Toleration",
    "read_taints",
    "read_tolerations",
    "untolerated",
]
