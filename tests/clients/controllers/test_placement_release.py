"""The release of placements, with real tenant and resource partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from ursa.clients.controllers.options import ResourceControllerOptions
from ursa.clients.controllers.placement_release import PlacementReleaseController
from ursa.clients.informer import Informer
from ursa.proto.objects import Object, ObjectKey

from .region import Region, actor, key, manifest, node, open_region, pod_template, run

RESOURCE = "placements.ursa.dev"


@asynccontextmanager
async def controller(region: Region) -> AsyncIterator[None]:
    resource_client = region.clients.resource_clients["rp-1"]
    placements = Informer(resource_client, RESOURCE)
    pods = {
        name: Informer(client, "pods", field_selector="spec.resourcePartition=rp-1")
        for name, client in region.clients.tenant_clients.items()
    }
    this = PlacementReleaseController(
        resource_client, region.clients.tenant_clients, placements, pods, ResourceControllerOptions(), actor()
    )
    async with trio.open_nursery() as nursery:
        for part in (placements, *pods.values(), this):
            nursery.start_soon(part.run)
        await trio.sleep(1)
        yield
        nursery.cancel_scope.cancel()


async def running_pod(region: Region, name: str, tp: str = "tp-1") -> Object:
    """Created, claimed, bound, Running."""
    created = await region.tenant_client(tp).create(manifest("Pod", name, spec=pod_template()["spec"]))
    await region.place(created, "n1", tp=tp)
    await region.run_pod(created, tp=tp)
    return created


async def placed(region: Region) -> list[str]:
    return [each.name for each in (await region.resource_client().list(RESOURCE)).items]


def test_many_deleted_and_finished_pods_release_their_placements_and_the_others_stay() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2) as region:
            await region.resource_client().create(node("n1"))
            async with controller(region):
                pods = [await running_pod(region, f"pod-{n}", f"tp-{1 + n % 2}") for n in range(12)]
                for pod in pods[:4]:
                    await region.tenant_client("tp-1" if int(pod.name[4:]) % 2 == 0 else "tp-2").delete(
                        "pods", pod.key, grace_seconds=0
                    )
                await region.set_status(pods[4], phase="Succeeded")
                await trio.sleep(1)
                assert await placed(region) == sorted(pod.uid for pod in pods[5:])

    run(main)


def test_a_pod_that_is_only_terminating_keeps_its_placement() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            async with controller(region):
                pod = await running_pod(region, "web")
                await region.tenant_client().delete("pods", pod.key)
                await trio.sleep(100)
                assert await placed(region) == [pod.uid]
                await region.confirm_deletions()
                await trio.sleep(1)
                assert await placed(region) == []

    run(main)


def test_a_claim_that_was_never_bound_is_released_when_its_pod_is_gone_or_bound_elsewhere() -> None:
    async def main() -> None:
        async with open_region(resource_partitions=2) as region:
            await region.resource_client().create(node("n1"))
            await region.resource_client("rp-2").create(node("n1"))
            async with controller(region):
                spec = pod_template()["spec"]
                pods = [await region.tenant_client().create(manifest("Pod", f"p{n}", spec=spec)) for n in range(3)]
                for pod in pods:
                    await region.place(pod, "n1")
                await region.tenant_client().delete("pods", pods[0].key)
                await region.bind(pods[1], "n1", "rp-2")
                await trio.sleep(25)
                assert len(await placed(region)) == 3, "its bind may be on the way"
                await trio.sleep(15)
                assert await placed(region) == [pods[2].uid]
                await trio.sleep(300)
                assert await placed(region) == [pods[2].uid], "it may still be bound"

    run(main)


def test_nothing_is_released_while_the_tenant_partition_cannot_be_reached() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2) as region:
            await region.resource_client().create(node("n1"))
            async with controller(region):
                pods = [await running_pod(region, "web", name) for name in ("tp-1", "tp-2")]
                lost = await region.tenant_client().create(manifest("Pod", "lost", spec=pod_template()["spec"]))
                await region.place(lost, "n1")
                region.links["tp-1"].cut()
                for name in ("tp-1", "tp-2"):
                    await region.tenant_client(name).delete("pods", key("web"), grace_seconds=0)
                await region.tenant_client().delete("pods", lost.key)
                await trio.sleep(600)
                assert await placed(region) == sorted([pods[0].uid, lost.uid])
                region.links["tp-1"].heal()
                await trio.sleep(60)
                assert await placed(region) == []

    run(main)


def test_what_ended_while_the_controller_was_down_is_released_when_it_is_back() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            pods = [await running_pod(region, f"p{n}") for n in range(3)]
            await region.tenant_client().delete("pods", pods[0].key, grace_seconds=0)
            await region.tenant_client().delete("pods", pods[1].key, grace_seconds=0)
            await region.tenant_client().create(manifest("Pod", "p1", spec=pod_template()["spec"]))
            async with controller(region):
                await trio.sleep(60)
                assert await placed(region) == [pods[2].uid]

    run(main)


def test_releases_survive_an_unreachable_ledger() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            async with controller(region):
                pod = await running_pod(region, "web")
                await trio.sleep(1)
                region.links["rp-1"].cut()
                await region.tenant_client().delete("pods", pod.key, grace_seconds=0)
                await trio.sleep(100)
                region.links["rp-1"].heal()
                await trio.sleep(20)
                assert not await region.exists(region.resource_client(), RESOURCE, ObjectKey("", "", pod.uid))

    run(main)
