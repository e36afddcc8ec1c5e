"""A run of a whole cluster in this process, recorded: the material of the tests of recordings and of their judges."""

from __future__ import annotations

from functools import cache
from typing import Any

import trio
import ursa
from ursa.clients.informer import Informer
from ursa.clients.nurseries import open_background
from ursa.tools.determinism import seeded_run
from ursa.tools.recording import Recorder
from ursa.tools.recording.records import Record

NODES = 6
TENANTS = ("default", "other")


def workload(kind: str, tenant: str, replicas: int, image: str = "i") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "tenant": tenant},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": "100m"}}}]},
            },
        },
    }


@cache
def recorded_run(seed: int = 1) -> tuple[Record, ...]:
    """A Deployment that is scaled and rolled out, a ReplicaSet that shrinks, a pod that is deleted, and reads."""
    recorder = Recorder()

    async def main() -> None:
        async with ursa.Cluster(
            tenant_partitions=2,
            resource_partitions=2,
            nodes=NODES,
            processes=False,
            seed=seed,
            start_delay_seconds=(0.1, 1.0),
            latency_seconds=(0.0001, 0.002),
            recorder=recorder,
        ) as cluster:
            await cluster.create_tenant("other")
            await cluster.apply(workload("Deployment", "default", 6))
            await cluster.apply(workload("ReplicaSet", "other", 8))
            pods = await cluster.wait_for_pods(14)
            await cluster.apply(workload("ReplicaSet", "other", 5))
            await cluster.apply(workload("Deployment", "default", 6, image="j"))
            client = cluster.tenant_client(pods[0].tenant)
            await client.delete("pods", pods[0].key)
            informers = [Informer(each, "pods") for each in cluster.clients.tenant_clients.values()]
            async with open_background() as nursery:
                for informer in informers:
                    nursery.start_soon(informer.run)
                for seconds in (1, 29):
                    await trio.sleep(seconds)
                    for informer in informers:
                        recorder.view("user#1", informer)
            for each in cluster.clients.tenant_clients.values():
                await each.list("pods", label_selector="app=web")
                page = await each.list("pods", limit=2)
                await each.list("pods", limit=4)
                if page.continue_token:
                    await each.list("pods", limit=100, continue_token=page.continue_token)
                    await each.get("pods", page.items[0].key)
                await each.list("pods", tenant="other", resource_version="0")
            await cluster.wait_for_pods(11)
        recorder.finish(healed=True)

    seeded_run(seed, main)
    return tuple(recorder.records)
