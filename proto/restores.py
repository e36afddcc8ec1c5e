"""What is kept, where all can read it, of how often a resource partition was set back; and what a kubelet says then.

A resource partition keeps a Lease, `kube-system/history`: its holder is the incarnation of its store, its transitions
say how often it was restored from a snapshot. A kubelet that has told a restored partition what runs on its node says
so on its Node, by the incarnation it has told it to.
"""

from __future__ import annotations

from typing import Any

from .kinds import SYSTEM_TENANT
from .leases import LEADER_NAMESPACE, holding
from .objects import ObjectKey

HISTORY_LEASE = ObjectKey(SYSTEM_TENANT, LEADER_NAMESPACE, "history")
TOLD_ANNOTATION = "ursa.dev/told-incarnation"


def history_spec(incarnation: str, restores: int) -> dict[str, Any]:
    return {"holderIdentity": incarnation, "leaseTransitions": restores}


def restores_of(spec: Any, incarnation: str) -> int:
    """How often the partition had been restored when this incarnation began; `spec` is what it found, None: nothing."""
    if spec is None:
        return 0
    found = holding(spec)
    return found.term if found.holder == incarnation else found.term + 1
