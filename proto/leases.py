"""What the spec of a Lease says of who leads. Anybody may write one, so nothing of it is taken for granted."""

from __future__ import annotations

from typing import Any, NamedTuple

from .kinds import BY_KIND, SYSTEM_TENANT
from .objects import ObjectKey

LEASES = BY_KIND["Lease"].resource
# Where components keep the leases by which they elect their leaders, in each partition.
LEADER_NAMESPACE = "kube-system"


class Holding(NamedTuple):
    """`holder` is empty where nobody holds it; the numbers are 0 where the spec says nothing of them."""

    holder: str
    term: int
    duration_seconds: float


def leader_lease(name: str) -> ObjectKey:
    """The Lease of a component, under its name."""
    return ObjectKey(SYSTEM_TENANT, LEADER_NAMESPACE, name)


def holding(spec: Any) -> Holding:
    """The term is Kubernetes' leaseTransitions."""
    fields = spec if isinstance(spec, dict) else {}
    holder = fields.get("holderIdentity")
    term = fields.get("leaseTransitions")
    duration = fields.get("leaseDurationSeconds")
    return Holding(
        holder if isinstance(holder, str) else "",
        term if type(term) is int and term > 0 else 0,
        duration if isinstance(duration, int | float) and not isinstance(duration, bool) and duration > 0 else 0,
    )
