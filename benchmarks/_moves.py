"""How long a tenant cannot write while it moves to another tenant partition, and what becomes of its running pods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ursa import Cluster
from ursa.clients.operations import create_operation
from ursa.proto.objects import Object

TENANT, SOURCE, TARGET = "mover", "tp-1", "tp-2"
PODS, CONFIG_MAPS, NODES = 2_500, 7_500, 100
BATCH = 250


class Moved(NamedTuple):
    """`frozen_seconds`: in which nothing of the tenant could be written. `kept`: pods that run on as they did."""

    objects: int
    frozen_seconds: float
    pods: int
    kept: int

    @property
    def frozen_seconds_per_10_000(self) -> float:
        return self.frozen_seconds * 10_000 / self.objects


async def measure_move(pods: int = PODS, config_maps: int = CONFIG_MAPS) -> Moved:
    """At 2 x 1, real processes."""
    async with Cluster(tenant_partitions=2, resource_partitions=1, nodes=NODES) as cluster:
        await cluster.create_tenant(TENANT, SOURCE)
        for batch in _batches([*map(_config_map, range(config_maps)), *map(_pod, range(pods))]):
            await cluster.clients.tenant_clients[SOURCE].mutate([create_operation(obj) for obj in batch])
        before = _lives(await cluster.wait_for_pods(pods, tenant=TENANT))
        moved = await cluster.move_tenant(TENANT, TARGET)
        after = _lives(await cluster.wait_for_pods(pods, tenant=TENANT))
        kept = sum(after.get(uid) == life for uid, life in before.items())
        return Moved(moved.objects, moved.frozen_seconds, len(before), kept)


def _lives(pods: Sequence[Object]) -> dict[str, Any]:
    """By uid: where each runs, and since when."""
    return {pod.uid: (pod.spec["nodeName"], pod.status.get("startTime")) for pod in pods}


def _batches(objects: Sequence[Object]) -> list[Sequence[Object]]:
    return [objects[first : first + BATCH] for first in range(0, len(objects), BATCH)]


def _config_map(number: int) -> Object:
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"config-{number}", "namespace": "default", "tenant": TENANT},
            "data": {"key": "x" * 500},
        }
    )


def _pod(number: int) -> Object:
    requests = {"cpu": "10m", "memory": "10Mi"}
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{number}", "namespace": "default", "tenant": TENANT},
            "spec": {"containers": [{"name": "main", "image": "app", "resources": {"requests": requests}}]},
        }
    )
