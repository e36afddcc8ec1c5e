"""Partitions are added to, drained in and removed from a cluster that runs on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
import ursa
from ursa.tools.partitions import list_partitions

SMALL: dict[str, Any] = {"tenant_partitions": 1, "resource_partitions": 1, "nodes": 2, "processes": False}


def run(main: Any) -> None:
    async def bounded() -> None:
        with trio.fail_after(10_000):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def pods(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name}, "spec": spec}


async def where(cluster: ursa.Cluster) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pod in await cluster.wait_for_pods(6):
        counts[pod.spec["resourcePartition"]] = counts.get(pod.spec["resourcePartition"], 0) + 1
    return counts


def test_a_resource_partition_is_added_used_drained_and_removed_while_pods_run() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            await cluster.apply(pods("web", 6))
            assert await where(cluster) == {"rp-1": 6}
            assert await cluster.add_partition("resource") == "rp-2"
            await cluster.scale_nodes(4)
            assert [len(nodes) for nodes in cluster._open_runtime.nodes.values()] == [2, 2]
            with pytest.raises(ursa.InputError, match=r"6 pods are on the nodes of rp-1: drain it first"):
                await cluster.remove_partition("rp-1")
            assert await cluster.drain_partition("rp-1") == 6
            assert await where(cluster) == {"rp-2": 6}
            await cluster.remove_partition("rp-1")
            assert [node.name for node in cluster.nodes] == [node.name for node in cluster._open_runtime.nodes["rp-2"]]
            assert list(cluster.clients.resource_clients) == ["rp-2"]
            with pytest.raises(ursa.InputError, match="rp-2 is the last resource partition"):
                await cluster.remove_partition("rp-2")
            assert await cluster.add_partition("resource") == "rp-3", "a name is not used again by itself"
            await cluster.apply(pods("more", 2))
            assert len(await cluster.wait_for_pods(8)) == 8

    run(main)


def test_a_tenant_partition_is_added_has_its_pods_run_everywhere_and_is_removed_when_it_is_empty() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            assert await cluster.add_partition("tenant") == "tp-2"
            assert await cluster.create_tenant("new") == "tp-2"
            await cluster.apply({**pods("web", 3), "metadata": {"name": "web", "tenant": "new"}})
            assert len(await cluster.wait_for_pods(3, tenant="new")) == 3
            with pytest.raises(ursa.InputError, match=r"tp-2 holds 1 tenants, new among them"):
                await cluster.remove_partition("tp-2")
            await cluster.remove_partition("tp-2", force=True)
            await trio.sleep(120)
            assert list(cluster.clients.tenant_clients) == ["tp-1"]
            placements = await cluster.clients.resource_clients["rp-1"].list("placements.ursa.dev")
            assert not placements.items, "what its pods held is free again"

    run(main)


def test_pods_on_a_partition_that_is_removed_by_force_are_made_again_elsewhere() -> None:
    async def main() -> None:
        async with ursa.Cluster(**{**SMALL, "resource_partitions": 2}) as cluster:
            await cluster.apply(pods("web", 6))
            assert await where(cluster) == {"rp-1": 3, "rp-2": 3}
            await cluster.remove_partition("rp-2", force=True)
            await trio.sleep(200)
            assert await where(cluster) == {"rp-1": 6}

    run(main)


def test_a_drain_leaves_alone_what_nobody_would_make_again() -> None:
    async def main() -> None:
        async with ursa.Cluster(**{**SMALL, "resource_partitions": 2, "nodes": 2}) as cluster:
            pod = {"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}}
            await cluster.apply({"apiVersion": "v1", "kind": "Pod", **pod})
            [bare] = await cluster.wait_for_pods(1)
            home = bare.spec["resourcePartition"]
            with pytest.raises(ursa.InputError, match=r"1 pods on rp-\d would not be made again elsewhere"):
                await cluster.drain_partition(home)
            assert await cluster.drain_partition(home, force=True) == 1
            with pytest.raises(ursa.InputError, match="tp-1 is a tenant partition"):
                await cluster.drain_partition("tp-1")
            with pytest.raises(ursa.InputError, match="there is no partition 'rp-9': there are rp-1, rp-2, tp-1"):
                await cluster.drain_partition("rp-9")

    run(main)


def test_a_partition_that_is_away_holds_nobody_up_and_learns_of_it_when_it_is_back() -> None:
    async def main() -> None:
        async with ursa.Cluster(**{**SMALL, "tenant_partitions": 2}) as cluster:
            away = list(cluster._open_runtime._links["tp-2"])
            for link in away:
                link.cut()
            assert await cluster.add_partition("resource") == "rp-2"
            await cluster.apply(pods("web", 6))
            await cluster.scale_nodes(4)
            assert len(await cluster.wait_for_pods(6, tenant="default")) == 6
            for link in away:
                link.heal()
            await trio.sleep(60)
            known = (await cluster.clients.tenant_clients["tp-2"].list("resourcepartitions.ursa.dev")).items
            assert [each.name for each in known] == ["rp-1", "rp-2"]
            assert await cluster.create_tenant("far", "tp-2") == "tp-2"
            await cluster.apply({**pods("web", 2), "metadata": {"name": "web", "tenant": "far"}})
            assert len(await cluster.wait_for_pods(2, tenant="far")) == 2

    run(main)


def test_what_fails_while_a_partition_is_started_is_done_later() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            runtime = cluster._open_runtime
            real, failures = runtime.start_components_of, ["once"]

            async def fails_once(partition: str) -> None:
                if failures:
                    raise ursa.UrsaError(failures.pop())
                await real(partition)

            runtime.start_components_of = fails_once
            assert await cluster.add_partition("tenant") == "tp-2"
            await trio.sleep(30)
            assert "scheduler-tp-2" in cluster.processes

    run(main)


def test_without_a_loop_of_ones_own_it_reads_the_same() -> None:
    with ursa.Cluster(**SMALL) as cluster:
        assert cluster.add_partition("resource") == "rp-2"
        cluster.scale_nodes(4)
        assert cluster.drain_partition("rp-1") == 0
        cluster.remove_partition("rp-1")
        assert list(cluster.resource_clients) == ["rp-2"]
        with pytest.raises(ValueError, match="upper"):
            cluster.add_partition("upper")


def test_partitions_are_listed_with_what_they_hold() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            await cluster.apply(pods("web", 6))
            await cluster.wait_for_pods(6)
            rows = [
                (row.entry.name, row.entry.state, row.holds, row.pods) for row in await list_partitions(cluster.clients)
            ]
            assert rows == [("tp-1", "Active", 2, 6), ("rp-1", "Active", 2, 6)]

    run(main)
