"""Tenants are created, moved while their pods run, listed and deleted, in a whole cluster."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
import ursa
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.tenants import MOVED, TENANTS, record_of

SMALL: dict[str, Any] = {"tenant_partitions": 2, "resource_partitions": 2, "nodes": 4, "processes": False}


def run(main: Any) -> None:
    async def bounded() -> None:
        with trio.fail_after(10_000):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def deployment(name: str = "web", replicas: int = 6, image: str = "app:1") -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "tenant": "acme"}, "spec": spec}


def config_map(name: str, value: str) -> dict[str, Any]:
    metadata = {"name": name, "tenant": "acme"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}}


def lives(pods: list[Object]) -> dict[str, tuple[Any, ...]]:
    """What must not change: who runs where, since when."""
    return {pod.uid: (pod.name, pod.spec["nodeName"], pod.status["startTime"], pod.status["podIP"]) for pod in pods}


def test_a_tenant_moves_while_its_pods_run_and_lives_on_where_it_comes() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            await cluster.create_tenant("acme", "tp-1")
            await cluster.apply(deployment())
            await cluster.apply(config_map("settings", "old"))
            before = await cluster.wait_for_pods(6, tenant="acme")
            kept = await cluster.tenant_client("acme").get("configmaps", ObjectKey("acme", "default", "settings"))
            moved = await cluster.move_tenant("acme", "tp-2")
            assert moved is not None
            assert (moved.source, moved.target) == ("tp-1", "tp-2")
            assert moved.objects == 6 + 1 + 1 + 1 + 1, "pods, ReplicaSet, Deployment, ConfigMap, Namespace"
            assert cluster.tenant_client("acme").partition == "tp-2"
            after = await cluster.wait_for_pods(6, tenant="acme")
            assert lives(after) == lives(before)
            there = await cluster.tenant_client("acme").get("configmaps", ObjectKey("acme", "default", "settings"))
            assert (there.uid, there.creation_ms, there.rest) == (kept.uid, kept.creation_ms, kept.rest)
            await trio.sleep(120)
            assert lives(await cluster.wait_for_pods(6, tenant="acme")) == lives(before)
            # All follow: what is changed, scaled, deleted.
            await cluster.apply(deployment(replicas=8))
            assert len(await cluster.wait_for_pods(8, tenant="acme")) == 8
            await cluster.apply(deployment(replicas=2))
            await trio.sleep(60)
            assert len(await cluster.wait_for_pods(tenant="acme")) == 2
            placements = [
                each
                for client in cluster.clients.resource_clients.values()
                for each in (await client.list("placements.ursa.dev")).items
            ]
            assert [each.spec["tenantPartition"] for each in placements] == ["tp-2", "tp-2"]
            left = await cluster.clients.tenant_clients["tp-1"].list("pods")
            assert not left.items

    run(main)


def test_a_tenant_moves_there_and_back_again_and_is_deleted_without_a_trace() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            await cluster.create_tenant("acme", "tp-1")
            await cluster.apply(deployment())
            before = await cluster.wait_for_pods(6, tenant="acme")
            for to in ("tp-2", "tp-1", "tp-2"):
                await cluster.move_tenant("acme", to)
            assert lives(await cluster.wait_for_pods(6, tenant="acme")) == lives(before)
            assert await cluster.move_tenant("acme", "tp-2") is None
            await trio.sleep(60)
            assert lives(await cluster.wait_for_pods(6, tenant="acme")) == lives(before)
            assert await cluster.delete_tenant("acme") == "tp-2"
            await trio.sleep(60)
            for client in cluster.clients.tenant_clients.values():
                assert [each.name for each in (await client.list(TENANTS)).items if each.name == "acme"] == []
                assert not (await client.list("pods")).items
            for client in cluster.clients.resource_clients.values():
                assert not (await client.list("placements.ursa.dev")).items
            assert await cluster.create_tenant("acme") in ("tp-1", "tp-2")

    run(main)


def test_tenants_are_listed_with_where_they_live_and_what_they_hold() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            assert await cluster.create_tenant("acme") == "tp-2", "the other one has the tenant that all begin with"
            await cluster.apply(deployment(replicas=2))
            await cluster.wait_for_pods(2, tenant="acme")
            await cluster.move_tenant("acme", "tp-1")
            rows = {row.name: row for row in (await cluster.tenants()).rows}
            assert list(rows) == ["acme", "default"]
            home = rows["acme"].whereabouts.home
            assert home is not None
            assert (home.partition, rows["acme"].namespaces, rows["acme"].pods) == ("tp-1", 1, 2)
            signpost = await cluster.clients.tenant_clients["tp-2"].get(TENANTS, ObjectKey("", "", "acme"))
            assert record_of(signpost).state == MOVED
            await cluster.remove_partition("tp-2")

    run(main)


def test_what_cannot_be_moved_is_said_before_anything_is_begun() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            await cluster.create_tenant("acme", "tp-1")
            with pytest.raises(ursa.InputError, match="there is no tenant partition 'tp-9': there are tp-1, tp-2"):
                await cluster.move_tenant("acme", "tp-9")
            with pytest.raises(ursa.InputError, match="there is no tenant 'nobody'"):
                await cluster.move_tenant("nobody", "tp-2")
            with pytest.raises(ursa.InputError, match="its own tenant 'system'"):
                await cluster.move_tenant("system", "tp-2")
            with pytest.raises(ursa.InputError, match="there is no tenant 'nobody'"):
                await cluster.delete_tenant("nobody")
            assert await cluster.move_tenant("acme", "tp-1") is None

    run(main)
