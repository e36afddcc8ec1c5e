"""Lost placements are made again, with real partitions over links in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from ursa.clients.controllers.managers import ResourceControllerManager
from ursa.proto.errors import Conflict
from ursa.proto.kinds import Role
from ursa.proto.leases import LEASES
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.restores import HISTORY_LEASE, TOLD_ANNOTATION

from .region import Backup, Region, actor, manifest, node, open_region, pod_template, run

RESOURCE = "placements.ursa.dev"


@asynccontextmanager
async def controllers(region: Region) -> AsyncIterator[ResourceControllerManager]:
    manager = ResourceControllerManager(region.clients, "rp-1", actor())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.run)
        await trio.sleep(1)
        yield manager
        nursery.cancel_scope.cancel()


async def running_pod(region: Region, name: str, cpu: str = "2", tp: str = "tp-1") -> Object:
    """Created, claimed, bound, Running."""
    spec = pod_template()["spec"]
    spec["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    created = await region.tenant_client(tp).create(manifest("Pod", name, spec=spec))
    await region.place(created, "n1", tp=tp)
    await region.run_pod(created, tp=tp)
    return created


async def placements(region: Region) -> dict[str, Object]:
    return {each.name: each for each in (await region.resource_client().list(RESOURCE)).items}


def test_a_resource_partition_that_was_set_back_gets_the_placements_again_that_it_has_lost(tmp_path: Path) -> None:
    async def main() -> None:
        backup = Backup("rp-1", Role.RESOURCE, tmp_path)
        async with open_region(tenant_partitions=2, stores=backup.stores) as region:
            await region.resource_client().create(node("n1"))
            kept = await running_pod(region, "kept")
            gone = await running_pod(region, "gone", tp="tp-2")
            backup.take()
            lost = [await running_pod(region, f"lost-{n}", "500m", f"tp-{n}") for n in (1, 2)]
            await region.tenant_client("tp-2").delete("pods", gone.key, grace_seconds=0)
            async with controllers(region), backup.restored(region):
                assert sorted(await placements(region)) == sorted([kept.uid, gone.uid])
                await trio.sleep(60)
                present = await placements(region)
                assert sorted(present) == sorted(pod.uid for pod in (kept, *lost))
                for number, pod in enumerate(lost, 1):
                    spec = present[pod.uid].spec
                    assert (spec["node"], spec["tenantPartition"]) == ("n1", f"tp-{number}")
                    assert spec["requests"]["cpu"] == 500
                    assert spec["bound"] is True

    run(main)


async def told(region: Region, name: str) -> None:
    """The kubelet of a node has said what runs there, since the partition was set back."""
    client = region.resource_client()
    incarnation = (await client.get(LEASES, HISTORY_LEASE)).spec["holderIdentity"]
    await client.patch("nodes", ObjectKey("", "", name), {"metadata": {"annotations": {TOLD_ANNOTATION: incarnation}}})


def test_a_pod_whose_room_was_given_away_meanwhile_is_counted_and_no_claim_finds_room_before_it_has_gone(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        backup = Backup("rp-1", Role.RESOURCE, tmp_path)
        async with open_region(stores=backup.stores) as region:
            await region.resource_client().create(node("n1"))
            backup.take()
            lost = [await running_pod(region, f"lost-{n}") for n in range(8)]
            async with controllers(region), backup.restored(region):
                spec = pod_template()["spec"]
                late = [await region.tenant_client().create(manifest("Pod", f"p{n}", spec=spec)) for n in range(2)]
                await told(region, "n1")  # By a kubelet which knew of none of them yet.
                await region.place(late[0], "n1", cpu=8000)
                await trio.sleep(60)
                assert len(await placements(region)) == 9
                with pytest.raises(Conflict, match="0 is free"):
                    await region.place(late[1], "n1")
                for pod in lost:
                    await region.tenant_client().delete("pods", pod.key, grace_seconds=0)
                await region.tenant_client().delete("pods", late[0].key)
                await trio.sleep(60)
                assert await placements(region) == {}
                await region.place(late[1], "n1")

    run(main)


def test_nothing_is_made_again_on_the_word_of_a_tenant_partition_that_is_away_and_the_others_do_not_wait(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        backup = Backup("rp-1", Role.RESOURCE, tmp_path)
        async with open_region(tenant_partitions=2, stores=backup.stores) as region:
            await region.resource_client().create(node("n1"))
            backup.take()
            pods = [await running_pod(region, "web", tp=f"tp-{n}") for n in (1, 2)]
            async with controllers(region):
                region.links["tp-1"].cut()
                async with backup.restored(region):
                    await trio.sleep(60)
                    assert sorted(await placements(region)) == [pods[1].uid]
                    await region.tenant_client().delete("pods", pods[0].key, grace_seconds=0)
                    region.links["tp-1"].heal()
                    await trio.sleep(60)
                    assert sorted(await placements(region)) == [pods[1].uid]

    run(main)


def test_a_pod_that_came_to_another_node_while_nobody_looked_holds_room_there_and_not_where_it_was() -> None:
    async def main() -> None:
        async with open_region() as region:
            for name in ("n1", "n2"):
                await region.resource_client().create(node(name))
            pod = await region.tenant_client().create(manifest("Pod", "web", spec=pod_template()["spec"]))
            await region.place(pod, "n1")
            await region.run_pod(pod, "n2")
            async with controllers(region):
                await trio.sleep(60)
                (placed,) = (await placements(region)).values()
                assert placed.spec["node"] == "n2"

    run(main)
