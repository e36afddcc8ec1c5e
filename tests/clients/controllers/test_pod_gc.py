"""Garbage goes, and nothing else: above all not the pods of a partition that does not answer (Arktos #1020, #1038)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from ursa.clients.controllers.options import TenantControllerOptions
from ursa.clients.controllers.pod_gc import PodGcController
from ursa.clients.controllers.pod_gc_core import PodGcCore
from ursa.clients.controllers.replicaset import ReplicaSetController
from ursa.clients.informer import Informer
from ursa.proto.objects import Object, ObjectKey

from .region import Region, actor, manifest, node, open_region, pod_template, replicaset, run

OPTIONS = TenantControllerOptions()
LONG = OPTIONS.node_quarantine_seconds + 3 * OPTIONS.pod_gc_seconds


@asynccontextmanager
async def controller(region: Region, options: TenantControllerOptions = OPTIONS) -> AsyncIterator[None]:
    tenant_client = region.clients.tenant_clients["tp-1"]
    own = [Informer(tenant_client, resource) for resource in ("pods", "replicasets.apps", "deployments.apps")]
    nodes = {name: Informer(client, "nodes") for name, client in region.clients.resource_clients.items()}
    # It only looks: what it would create is nobody's wish here.
    replicasets = ReplicaSetController(tenant_client, own[1], own[0], actor())
    this = PodGcController(
        tenant_client, region.clients.resource_clients, *own, nodes, replicasets.ownerless_pods, options, actor()
    )
    async with trio.open_nursery() as nursery:
        for part in (*own, *nodes.values(), this):
            nursery.start_soon(part.run)
        await trio.sleep(1)
        yield
        nursery.cancel_scope.cancel()


async def pod(region: Region, name: str, owner: Object | None = None) -> Object:
    metadata = {}
    if owner is not None:
        reference = {
            "apiVersion": "apps/v1",
            "kind": owner.kind,
            "name": owner.name,
            "uid": owner.uid,
            "controller": True,
        }
        metadata = {"ownerReferences": [reference]}
    return await region.tenant_client().create(manifest("Pod", name, metadata=metadata, spec=pod_template()["spec"]))


async def names(region: Region) -> list[str]:
    return [each.name for each in await region.pods() if not each.deletion_ms]


def test_pods_of_a_node_that_is_gone_are_deleted_after_the_quarantine() -> None:
    async def main() -> None:
        async with open_region(resource_partitions=2) as region:
            for rp, name in (("rp-1", "n1"), ("rp-2", "n2")):
                await region.resource_client(rp).create(node(name))
            for name, where in (("a", ("n1", "rp-1")), ("b", ("n2", "rp-2")), ("c", ("n1", "rp-2"))):
                await region.bind(await pod(region, name), *where)
            async with controller(region):
                await region.resource_client().delete("nodes", ObjectKey("", "", "n1"))
                await trio.sleep(OPTIONS.node_quarantine_seconds / 2)
                assert await names(region) == ["a", "b", "c"]
                await trio.sleep(LONG)
                # The node n1 of rp-2 never was: a pod bound to it is lost, whatever rp-1 calls its nodes.
                assert await names(region) == ["b"]

    run(main)


def test_a_resource_partition_that_does_not_answer_is_not_one_without_nodes() -> None:
    async def main() -> None:
        async with open_region(resource_partitions=2) as region:
            await region.resource_client("rp-2").create(node("n2"))
            await region.bind(await pod(region, "a"), "n2", "rp-2")
            region.links["rp-2"].cut()
            async with controller(region):  # It has never seen rp-2.
                await trio.sleep(LONG)
                assert await names(region) == ["a"]
                region.links["rp-2"].heal()
                await trio.sleep(LONG)
                assert await names(region) == ["a"]
                region.links["rp-2"].cut()  # It has, and sees it no more.
                await region.resource_client("rp-2").delete("nodes", ObjectKey("", "", "n2"))
                await trio.sleep(LONG)
                assert await names(region) == ["a"]
                region.links["rp-2"].heal()
                await trio.sleep(LONG)
                assert await names(region) == []

    run(main)


def test_pods_of_an_unknown_partition_are_left_alone() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.bind(await pod(region, "a"), "n9", "rp-9")
            async with controller(region):
                await trio.sleep(LONG)
                assert await names(region) == ["a"]

    run(main)


def test_dependents_go_soon_after_their_owner_and_those_of_a_living_owner_stay() -> None:
    async def main() -> None:
        async with open_region() as region:
            owners = [await region.tenant_client().create(replicaset(name, 1)) for name in ("r1", "r2")]
            for number in range(3):
                await pod(region, f"a{number}", owners[0])
            await pod(region, "b", owners[1])
            await pod(region, "bare")
            async with controller(region):
                await region.tenant_client().delete("replicasets.apps", owners[0].key)
                await trio.sleep(1)
                assert await names(region) == ["b", "bare"]

    run(main)


def test_dependents_of_an_owner_reborn_under_the_same_name_go() -> None:
    async def main() -> None:
        async with open_region() as region:
            first = await region.tenant_client().create(replicaset("r", 1))
            await pod(region, "a", first)
            await region.tenant_client().delete("replicasets.apps", first.key)
            await region.tenant_client().create(replicaset("r", 1))
            async with controller(region):
                await trio.sleep(2 * OPTIONS.pod_gc_seconds)
                assert await names(region) == []

    run(main)


def test_an_owner_this_controller_cannot_ask_about_keeps_its_dependents() -> None:
    async def main() -> None:
        async with open_region() as region:
            owner = await region.tenant_client().create(replicaset("r", 1))
            await pod(region, "a", owner)
            async with controller(region):
                region.links["tp-1"].cut()
                await region.tenant_client().delete("replicasets.apps", owner.key)
                await trio.sleep(LONG)
                assert await names(region) == ["a"]

    run(main)


def test_finished_pods_beyond_the_limit_go_oldest_first() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            for number in range(4):
                created = await pod(region, f"p{number}")
                await region.bind(created, "n1")
                await region.set_status(created, phase="Failed" if number != 1 else "Running")
                await trio.sleep(1)
            async with controller(region, TenantControllerOptions(finished_pods_max=1)):
                await trio.sleep(2 * OPTIONS.pod_gc_seconds)
                assert await names(region) == ["p1", "p3"]

    run(main)


def test_a_partition_that_drops_out_ends_the_quarantine_of_its_nodes() -> None:
    bound = Object.from_dict(
        {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"nodeName": "n1", "resourcePartition": "rp-1"}}
    )
    core = PodGcCore(OPTIONS)
    wait = OPTIONS.node_quarantine_seconds
    assert core.lost_with_their_node([bound], {"rp-1": {}}, 0) == []
    assert core.lost_with_their_node([bound], {}, wait) == []
    assert core.lost_with_their_node([bound], {"rp-1": {}}, wait + 1) == []
    [suspect] = core.lost_with_their_node([bound], {"rp-1": {}}, 2 * wait + 1)
    assert suspect.object is bound
