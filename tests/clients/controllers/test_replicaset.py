"""The ReplicaSet controller against a real apiserver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from ursa.clients.controllers.replicaset import ReplicaSetController
from ursa.clients.informer import Informer
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey

from .region import Backup, Region, actor, key, open_region, replicaset, run

RESOURCE = "replicasets.apps"


@asynccontextmanager
async def controller(region: Region) -> AsyncIterator[None]:
    client = region.clients.tenant_clients["tp-1"]
    replicasets, pods = Informer(client, RESOURCE), Informer(client, "pods")
    this = ReplicaSetController(client, replicasets, pods, actor())
    async with trio.open_nursery() as nursery:
        for part in (replicasets, pods, this):
            nursery.start_soon(part.run)
        yield
        nursery.cancel_scope.cancel()


async def status_of(region: Region, name: str = "web") -> dict:
    return (await region.tenant_client().get(RESOURCE, key(name))).status


async def scale(region: Region, name: str, replicas: int) -> None:
    client = region.tenant_client()
    current: Object = await client.get(RESOURCE, key(name))
    await client.update(current.with_spec({**current.spec, "replicas": replicas}))


def test_a_set_gets_its_pods_and_reports_them() -> None:
    async def main() -> None:
        async with open_region() as region, controller(region):
            await region.tenant_client().create(replicaset("web", 3))
            await trio.sleep(1)
            assert len(await region.pods()) == 3
            await region.run_all_pods()
            await trio.sleep(1)
            assert await status_of(region) == {
                "replicas": 3,
                "fullyLabeledReplicas": 3,
                "readyReplicas": 3,
                "availableReplicas": 3,
                "observedGeneration": 1,
            }

    run(main)


def test_a_set_larger_than_a_burst_is_filled() -> None:
    async def main() -> None:
        async with open_region() as region, controller(region):
            await region.tenant_client().create(replicaset("web", 1300))
            await trio.sleep(5)
            assert len(await region.pods()) == 1300
            assert (await status_of(region))["replicas"] == 1300

    run(main)


def test_scaling_down_deletes_and_what_fails_or_vanishes_is_replaced() -> None:
    async def main() -> None:
        async with open_region() as region, controller(region):
            await region.tenant_client().create(replicaset("web", 6))
            await trio.sleep(1)
            await region.run_all_pods()
            await scale(region, "web", 4)
            await trio.sleep(1)
            await region.confirm_deletions()
            pods = await region.pods()
            assert len(pods) == 4
            await region.tenant_client().delete("pods", pods[0].key, grace_seconds=0)
            await region.set_status(pods[1], phase="Failed")
            await trio.sleep(1)
            names = {pod.name for pod in await region.pods() if pod.status["phase"] != "Failed"}
            assert len(names) == 4
            assert not names & {pods[0].name, pods[1].name}

    run(main)


def test_after_a_lost_link_there_are_as_many_pods_as_wanted() -> None:
    async def main() -> None:
        async with open_region() as region, controller(region):
            await region.tenant_client().create(replicaset("web", 50))
            await trio.sleep(0.02)
            region.links["tp-1"].cut()
            await scale(region, "web", 80)
            for pod in (await region.pods())[:3]:
                await region.tenant_client().delete("pods", pod.key)
            await trio.sleep(20)
            region.links["tp-1"].heal()
            await trio.sleep(30)
            assert len(await region.pods()) == 80
            assert (await status_of(region))["replicas"] == 80

    run(main)


def test_refused_creates_show_in_the_status_and_make_no_storm() -> None:
    async def main() -> None:
        async with open_region() as region, controller(region):
            client = region.tenant_client()
            await client.create(replicaset("web", 0))
            await trio.sleep(1)
            await client.delete("namespaces", ObjectKey("acme", "", "default"))
            await scale(region, "web", 5)
            messages = len(region.trace)
            await trio.sleep(120)
            (condition,) = (await status_of(region))["conditions"]
            assert (condition["type"], condition["reason"]) == ("ReplicaFailure", "FailedCreate")
            assert "being deleted" in condition["message"]
            sent = [line for line in region.trace[messages:] if " Mutate > " in line]
            assert 5 < len(sent) < 40

    run(main)


def test_what_a_set_asked_for_in_a_history_that_was_set_back_makes_no_pods_in_the_next(tmp_path: Path) -> None:
    """The controller sees the pods of the new history while it still has the sets of the old one."""

    async def main() -> None:
        backup = Backup("tp-1", Role.TENANT, tmp_path)
        async with open_region(stores=backup.stores) as region, trio.open_nursery() as nursery:
            client, link = region.tenant_client(), region.links["tp-1"]
            replicasets, pods = Informer(region.clients.tenant_clients["tp-1"], RESOURCE), Informer(client, "pods")
            this = ReplicaSetController(client, replicasets, pods, actor())
            for part in (replicasets, pods, this):
                nursery.start_soon(part.run)
            await client.create(replicaset("web", 1))
            await trio.sleep(1)
            backup.take()
            await scale(region, "web", 5)
            await trio.sleep(1)
            assert len(await region.pods()) == 5
            async with backup.restored(region):
                link.cut()
                await trio.sleep(15)
                assert pods.history != replicasets.history
                assert len(await region.pods()) == 1
                link.heal()
                await trio.sleep(15)
                await scale(region, "web", 2)
                await trio.sleep(1)
                assert len(await region.pods()) == 2
                nursery.cancel_scope.cancel()

    run(main)
