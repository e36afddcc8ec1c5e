"""A cluster's whole life from one seed, as a trace. As a program it prints it: `python determinism_workload.py 7`."""

from __future__ import annotations

import sys
from typing import Any

import trio
import ursa
from ursa.tools.determinism import Trace, seeded_run

NODES = 20
PODS = 200
PODS_LEFT = 40
TENANTS = ("default", "other")


def replica_set(tenant: str, replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web", "tenant": tenant},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web", "tier": "front"}},
                "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]},
            },
        },
    }


def run(seed: int) -> list[str]:
    """Every message of every link, with its time and the checksum of its bytes."""
    trace = Trace()

    async def main() -> None:
        async with ursa.Cluster(
            tenant_partitions=2,
            resource_partitions=2,
            nodes=NODES,
            processes=False,
            seed=seed,
            start_delay_seconds=(0.1, 2.0),
            latency_seconds=(0.0001, 0.002),
            trace=trace,
        ) as cluster:
            await cluster.create_tenant("other")
            for tenant in TENANTS:
                await cluster.apply(replica_set(tenant, PODS // len(TENANTS)))
            await cluster.wait_for_pods(PODS)
            for tenant in TENANTS:
                await cluster.apply(replica_set(tenant, PODS_LEFT // len(TENANTS)))
            # Long enough for the others to go, and for the leases' own rhythm.
            await trio.sleep(60)
            pods = await cluster.wait_for_pods(PODS_LEFT)
            trace(", ".join(sorted(f"{pod.uid} on {pod.spec['nodeName']}" for pod in pods)))

    seeded_run(seed, main)
    return trace.lines


if __name__ == "__main__":
    print("\n".join(run(int(sys.argv[1]))))
