"""Ursa: a partitioned, Kubernetes-shaped control plane in Python.

The names below are the library; they are imported when they are first used.

    async with ursa.Cluster(tenant_partitions=2, resource_partitions=2, nodes=10) as cluster:
        await cluster.apply({"apiVersion": "v1", "kind": "Pod", ...})
        await cluster.wait_for_pods(1)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clients.client import ClientSet, PartitionClient
    from .clients.informer import Informer
    from .proto.errors import (
        AlreadyExists,
        ApiError,
        Conflict,
        Expired,
        Forbidden,
        InputError,
        Invalid,
        LinkError,
        NotFound,
        OutcomeUnknown,
        StoreError,
        Unreachable,
        UrsaError,
    )
    from .proto.objects import Object, ObjectKey
    from .tools.blocking import BlockingCluster
    from .tools.cluster import Cluster
    from .tools.determinism import seeded_run
    from .tools.nodes import NodeOptions
    from .tools.simulation import Outcome, Plan, Swarm, draw_plan, simulate
    from .tools.waiting import WaitTimeout

__all__ = [
    "AlreadyExists",
    "ApiError",
    "BlockingCluster",
    "ClientSet",
    "Cluster",
    "Conflict",
    "Expired",
    "Forbidden",
    "Informer",
    "InputError",
    "Invalid",
    "LinkError",
    "NodeOptions",
    "NotFound",
    "Object",
    "ObjectKey",
    "Outcome",
    "OutcomeUnknown",
    "PartitionClient",
    "Plan",
    "StoreError",
    "Swarm",
    "Unreachable",
    "UrsaError",
    "WaitTimeout",
    "draw_plan",
    "seeded_run",
    "simulate",
]

_HOMES = {
    "BlockingCluster": ".tools.blocking",
    "ClientSet": ".clients.client",
    "Cluster": ".tools.cluster",
    "Informer": ".clients.informer",
    "NodeOptions": ".tools.nodes",
    "Object": ".proto.objects",
    "ObjectKey": ".proto.objects",
    "Outcome": ".tools.simulation",
    "PartitionClient": ".clients.client",
    "Plan": ".tools.simulation",
    "Swarm": ".tools.simulation",
    "WaitTimeout": ".tools.waiting",
    "draw_plan": ".tools.simulation",
    "seeded_run": ".tools.determinism",
    "simulate": ".tools.simulation",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, ".proto.errors"), __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
