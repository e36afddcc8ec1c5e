"""The release of placements, with real tenant and resource partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from ursa.clients.actor import Actor
from ursa.clients.controllers.options import ResourceControllerOptions
from ursa.clients.controllers.placement_release import PlacementReleaseController
from ursa.clients.informer import Informer
from ursa.clients.spanning import SpanningInformer
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey

from .region import Backup, Region, actor, key, manifest, node, open_region, pod_template, run

RESOURCE = "placements.ursa.dev"
OPTIONS = ResourceControllerOptions()


@asynccontextmanager
async def controller(region: Region) -> AsyncIterator[Actor]:
    own = actor()
    resource_client = region.clients.resource_clients["rp-1"]
    placements = Informer(resource_client, RESOURCE)
    pods = SpanningInformer(region.clients.tenant_clients, "pods", field_selector="spec.resourcePartition=rp-1")
    this = PlacementReleaseController(resource_client, region.clients.tenant_clients, placements, pods, OPTIONS, own)
    async with trio.open_nursery() as nursery:
        for part in (placements, pods, this):
            nursery.start_soon(part.run)
        await trio.sleep(1)
        yield own
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


def test_placements_whose_pods_are_not_seen_for_long_are_counted() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2) as region:
            await region.resource_client().create(node("n1"))
            region.links["tp-2"].cut()
            async with controller(region) as own:

                def counted() -> float | None:
                    return own.registry.get_sample_value("ursa_placements_orphaned", {"partition": "rp-1"})

                await running_pod(region, "seen")
                unbound = await region.tenant_client().create(manifest("Pod", "unbound", spec=pod_template()["spec"]))
                await region.place(unbound, "n1")
                await running_pod(region, "unseen", "tp-2")
                await trio.sleep(20)
                assert counted() == 0, "their binds may be on the way"
                await trio.sleep(200)
                assert counted() == 2
                region.links["tp-2"].heal()
                await region.tenant_client().delete("pods", unbound.key)
                await trio.sleep(60)
                assert counted() == 0

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


def test_the_placements_of_a_partition_that_was_removed_are_released_after_the_grace_period() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2) as region:
            await region.resource_client().create(node("n1"))
            async with controller(region):
                kept = await running_pod(region, "kept", "tp-1")
                gone = await running_pod(region, "gone", "tp-2")
                await trio.sleep(OPTIONS.placement_grace_seconds)
                region.clients.remove("tp-2")
                await trio.sleep(OPTIONS.placement_grace_seconds / 2)
                assert sorted(await placed(region)) == sorted([kept.uid, gone.uid])
                await trio.sleep(2 * OPTIONS.placement_grace_seconds)
                assert await placed(region) == [kept.uid]

    run(main)


def test_a_pod_whose_binding_was_undone_keeps_its_placement_and_one_that_was_never_made_does_not(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        backup = Backup("tp-1", Role.TENANT, tmp_path)
        async with open_region(stores=backup.stores) as region:
            await region.resource_client().create(node("n1"))
            async with controller(region):
                undone = await region.tenant_client().create(manifest("Pod", "undone", spec=pod_template()["spec"]))
                backup.take()
                await region.place(undone, "n1")
                await region.run_pod(undone)
                never = await running_pod(region, "never")
                await trio.sleep(1)
                assert await placed(region) == sorted([undone.uid, never.uid])
                async with backup.restored(region):
                    await trio.sleep(20)
                    assert await placed(region) == [undone.uid], "its scheduler binds it again, without another claim"
                    await region.run_pod(await region.tenant_client().get("pods", undone.key))
                    await trio.sleep(60)
                    assert await placed(region) == [undone.uid]

    run(main)
