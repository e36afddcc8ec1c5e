"""What a density run creates, and when: ReplicaSets, on a schedule that does not look at how the cluster fares.

The rate must be smooth. A set's pods all come at once, so sets are small: about twenty sets a second at any rate, of at
most a hundred pods each; below twenty pods a second every set is one pod. Then the pods of a set, which have to share
batches on their way, are 50 ms of the rate and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...proto.objects import Object

SETS_PER_SECOND = 20
REPLICAS_MAX = 100

NAMESPACE = "default"
APP_LABEL = "app"


@dataclass(frozen=True)
class TenantPlace:
    """A tenant and the partition it lives in."""

    partition: str
    tenant: str


@dataclass(frozen=True)
class PlannedSet:
    """One ReplicaSet, to be created `due_seconds` after the start of the load."""

    place: TenantPlace
    name: str
    replicas: int
    due_seconds: float


def tenants_of(partitions: Sequence[str], per_partition: int) -> list[TenantPlace]:
    """The tenants of a run, neighbours in different partitions, so that going round them loads all evenly."""
    return [
        TenantPlace(partition, f"density-{partition}-{number}")
        for number in range(per_partition)
        for partition in partitions
    ]


def replicas_per_set(qps: float) -> int:
    return min(REPLICAS_MAX, max(1, round(qps / SETS_PER_SECOND)))


def plan_sets(places: Sequence[TenantPlace], pods: int, qps: float, replicas: int) -> list[PlannedSet]:
    """Sets for so many pods in all, each due when the rate has come to its first pod."""
    plan = []
    for index, first in enumerate(range(0, pods, replicas)):
        size = min(replicas, pods - first)
        plan.append(PlannedSet(places[index % len(places)], f"density-{index}", size, first / qps))
    return plan


def replica_set(planned: PlannedSet, requests: dict[str, Any]) -> Object:
    labels = {APP_LABEL: planned.name}
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10", "resources": {"requests": requests}}
    return Object.from_dict(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": planned.name, "namespace": NAMESPACE, "tenant": planned.place.tenant},
            "spec": {
                "replicas": planned.replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    )
