"""All partitions come to have the newest entry of each, whichever of them was told, was away, or was set back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from ursa.clients.client import PartitionClient
from ursa.clients.controllers.registry import RegistryController
from ursa.clients.registry_core import ACTIVE, REMOVED, RESOURCE_OF, Entry, entry_object, read_entry
from ursa.proto.kinds import Role
from ursa.proto.objects import ObjectKey

from .region import Backup, Region, actor, open_region, run

FIRST = Entry(1, ACTIVE, "h:1", Role.RESOURCE, "rp-9")
GONE = FIRST.changed(state=REMOVED)


@asynccontextmanager
async def controllers(region: Region) -> AsyncIterator[None]:
    """One of each partition."""
    async with trio.open_nursery() as nursery:
        for name in (*region.clients.tenant_clients, *region.clients.resource_clients):
            nursery.start_soon(RegistryController(region.clients, name, actor(name)).run)
        await trio.sleep(1)
        yield
        nursery.cancel_scope.cancel()


def everybody(region: Region) -> list[PartitionClient]:
    return [*region.user.tenant_clients.values(), *region.user.resource_clients.values()]


async def known(client: PartitionClient) -> list[Entry]:
    return [read_entry(obj) for resource in RESOURCE_OF.values() for obj in (await client.list(resource)).items]


def test_what_one_partition_is_told_all_know() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2, resource_partitions=2) as region, controllers(region):
            first, *_, last = everybody(region)
            await first.create(entry_object(FIRST))
            await last.create(entry_object(Entry(1, ACTIVE, "h:2", Role.TENANT, "tp-9")))
            await trio.sleep(10)
            for client in everybody(region):
                assert sorted(each.name for each in await known(client)) == ["rp-9", "tp-9"]
            await last.update(entry_object(GONE))
            await trio.sleep(10)
            for client in everybody(region):
                assert GONE in await known(client)

    run(main)


def test_a_partition_that_was_away_learns_what_it_missed_and_forgets_nothing_that_is_newer() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2) as region, controllers(region):
            one, other, resource = everybody(region)
            await one.create(entry_object(FIRST))
            await trio.sleep(10)
            region.links["tp-2"].cut()
            await other.update(entry_object(GONE.changed(state=ACTIVE)))  # What nobody else can see.
            await one.update(entry_object(GONE))
            await trio.sleep(60)
            assert await known(resource) == [GONE]
            region.links["tp-2"].heal()
            await trio.sleep(60)
            for client in (one, other, resource):
                assert await known(client) == [GONE.changed(state=ACTIVE)]

    run(main)


def test_an_entry_that_was_deleted_is_written_again() -> None:
    async def main() -> None:
        async with open_region() as region, controllers(region):
            one, other = everybody(region)
            await one.create(entry_object(FIRST))
            await trio.sleep(10)
            await other.delete(RESOURCE_OF[Role.RESOURCE], ObjectKey("", "", "rp-9"))
            await trio.sleep(30)
            assert await known(other) == [FIRST]

    run(main)


def test_a_partition_that_was_set_back_is_told_again_what_it_has_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        backup = Backup("rp-1", Role.RESOURCE, tmp_path)
        async with open_region(stores=backup.stores) as region, controllers(region):
            one, other = everybody(region)
            await one.create(entry_object(FIRST))
            await trio.sleep(10)
            backup.take()
            await one.update(entry_object(GONE))
            await trio.sleep(10)
            async with backup.restored(region):
                await trio.sleep(60)
                assert await known(other) == [GONE]

    run(main)
