"""Taints and tolerations, as all who place pods know them."""

from __future__ import annotations

from ..taints import (
    HARD_EFFECTS,
    NO_SCHEDULE,
    UNSCHEDULABLE,
    Taint,
    Toleration,
    read_taints,
    read_tolerations,
    untolerated,
)

__all__ = [
    "HARD_EFFECTS",
    "NO_SCHEDULE",
    "UNSCHEDULABLE",
    "Taint",
    "Toleration",
    "read_taints",
    "read_tolerations",
    "untolerated",
]
