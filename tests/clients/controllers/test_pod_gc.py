"""Garbage goes, and nothing else: above all not the pods of a partition that does not answer (Arktos #1020, #1038)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from ursa.clients.controllers.options import TenantControllerOptions
from ursa.clients.controllers.pod_gc import PodGcController
from ursa.clients.controllers.pod_gc_core import PodGcCore
from ursa.clients.informer import Informer
from ursa.clients.spanning import SpanningInformer
from ursa.proto.objects import Object, ObjectKey

from .region import Region, actor, manifest, node, open_region, pod_template, run

OPTIONS = TenantControllerOptions()
LONG = OPTIONS.node_quarantine_seconds + 3 * OPTIONS.pod_gc_seconds


@asynccontextmanager
async def controller(region: Region, options: TenantControllerOptions = OPTIONS) -> AsyncIterator[None]:
    tenant_client = region.clients.tenant_clients["tp-1"]
    pods = Informer(tenant_client, "pods")
    nodes = SpanningInformer(region.clients.resource_clients, "nodes")
    this = PodGcController(tenant_client, region.clients.resource_clients, pods, nodes, options, actor())
    async with trio.open_nursery() as nursery:
        for part in (pods, nodes, this):
            nursery.start_soon(part.run)
        await trio.sleep(1)
        yield
        nursery.cancel_scope.cancel()


async def pod(region: Region, name: str) -> Object:
    return await region.tenant_client().create(manifest("Pod", name, spec=pod_template()["spec"]))


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
    assert suspect.pod is bound


def test_pods_on_the_nodes_of_a_partition_that_was_removed_are_deleted_after_the_quarantine() -> None:
    async def main() -> None:
        async with open_region(resource_partitions=2) as region:
            for rp, name in (("rp-1", "n1"), ("rp-2", "n2")):
                await region.resource_client(rp).create(node(name))
                await region.bind(await pod(region, f"on-{name}"), name, rp)
            async with controller(region):
                await trio.sleep(LONG)
                region.clients.remove("rp-2")
                await trio.sleep(OPTIONS.node_quarantine_seconds - 5)
                assert await names(region) == ["on-n1", "on-n2"]
                await trio.sleep(LONG)
                assert await names(region) == ["on-n1"]

    run(main)


def test_pods_of_a_node_that_is_gone_keep_their_names_until_its_kubelet_must_have_stopped_them() -> None:
    async def main() -> None:
        async with open_region() as region:
            created = await pod(region, "a")
            await region.bind(created, "n1")
            async with controller(region):
                await trio.sleep(LONG)
                [marked] = await region.pods()
                assert marked.deletion_ms
                await trio.sleep(OPTIONS.node_fence_seconds - LONG)
                assert [each.name for each in await region.pods()] == ["a"]
                await trio.sleep(LONG)
                assert await region.pods() == []

    run(main)


def bound_pod(uid: str, **metadata: object) -> Object:
    return Object.from_dict(
        {
            "kind": "Pod",
            "metadata": {"name": uid, "uid": uid, **metadata},
            "spec": {"nodeName": "n1", "resourcePartition": "rp-1"},
            "status": {"phase": "Running"},
        }
    )


def test_who_drops_out_of_the_lost_is_waited_for_anew() -> None:
    core, wait = PodGcCore(OPTIONS), OPTIONS.node_fence_seconds
    lives, going = bound_pod("a"), bound_pod("b", deletionTimestamp="2026-11-30T00:00:00Z")
    assert core.next_steps([lives, going], 0.0) == ([lives], [])
    assert core.next_steps([going], wait - 1) == ([], [])
    assert core.next_steps([], wait) == ([], [])  # Its node may have been there.
    assert core.next_steps([going], wait + 1) == ([], [])
    assert core.next_steps([going], 2 * wait + 1) == ([], [going])


def test_a_finished_pod_has_nobody_to_wait_for() -> None:
    done = bound_pod("a").with_status({"phase": "Failed"})
    assert PodGcCore(OPTIONS).next_steps([done], 0.0) == ([], [done])
