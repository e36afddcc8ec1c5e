"""Taints and tolerations, with the meaning of Kubernetes.

The hard effects, NoSchedule and NoExecute, keep a pod away; PreferNoSchedule only makes a node a worse choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

NO_SCHEDULE = "NoSchedule"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
HARD_EFFECTS = (NO_SCHEDULE, "NoExecute")
ALL_EFFECTS = (*HARD_EFFECTS, PREFER_NO_SCHEDULE)


class Taint(NamedTuple):
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{{{self.key}: {self.value}}}"


class Toleration(NamedTuple):
    """An empty key tolerates every key, an empty effect every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


# Cordoning a node is a taint in all but name: it is tolerated like one.
UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", NO_SCHEDULE)


def read_taints(taints: Iterable[Mapping[str, Any]] | None, effects: Sequence[str] = HARD_EFFECTS) -> tuple[Taint, ...]:
    """The taints of a node's spec that have one of the effects, in its order."""
    return tuple(
        Taint(taint.get("key") or "", taint.get("value") or "", taint["effect"])
        for taint in taints or ()
        if taint.get("effect") in effects
    )


def read_tolerations(tolerations: Iterable[Mapping[str, Any]] | None) -> tuple[Toleration, ...]:
    return tuple(
        Toleration(
            each.get("key") or "", each.get("operator") or "Equal", each.get("value") or "", each.get("effect") or ""
        )
        for each in tolerations or ()
    )


def untolerated(taints: Iterable[Taint], tolerations: Sequence[Toleration]) -> Taint | None:
    """The first taint that none of the tolerations covers."""
    for taint in taints:
        if not any(toleration.tolerates(taint) for toleration in tolerations):
            return taint
    return None
