"""The Leases of components whose home has been removed go, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from ursa.clients.controllers.leader_leases import KEEP_SECONDS, LOOK_SECONDS, LeaderLeasesController, home_of
from ursa.clients.registry_core import ACTIVE, DRAINING, REMOVED, Entry, entry_object
from ursa.proto.kinds import Role
from ursa.proto.leases import LEASES, leader_lease
from ursa.proto.objects import Object
from ursa.proto.restores import HISTORY_LEASE

from .region import Region, actor, open_region, run

LATER = KEEP_SECONDS + 2 * LOOK_SECONDS


def entry(name: str, state: str = ACTIVE, epoch: int = 1) -> Entry:
    role = Role.RESOURCE if name.startswith("rp") else Role.TENANT
    return Entry(epoch, state, "here", role, name)


def lease(name: str, holder: str = "somebody") -> Object:
    key = leader_lease(name)
    metadata = {"name": key.name, "namespace": key.namespace, "tenant": key.tenant}
    spec = {"holderIdentity": holder, "leaseTransitions": 3}
    return Object.from_dict(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    )


@asynccontextmanager
async def opened(*names: str) -> AsyncIterator[Region]:
    """With these Leases in rp-1, and the controller there."""
    async with open_region() as region, trio.open_nursery() as nursery:
        for name in names:
            await region.resource_client().create(lease(name))
        nursery.start_soon(LeaderLeasesController(region.clients.resource_clients["rp-1"], actor()).run)
        yield region
        nursery.cancel_scope.cancel()


async def tell(region: Region, *entries: Entry) -> None:
    for each in entries:
        await region.resource_client().create(entry_object(each))


async def left(region: Region) -> list[str]:
    leases = (await region.resource_client().list(LEASES)).items
    return [each.name for each in leases if each.key != HISTORY_LEASE]


def test_the_leases_of_a_removed_partition_go_after_a_time_and_those_of_others_stay() -> None:
    async def main() -> None:
        names = (
            "controller-manager-tp-2",
            "controller-manager-tp-3",
            "scheduler-rp-4",
            "scheduler-tp-2",
            "unknown-tp-9",
        )
        async with opened(*names) as region:
            await tell(region, entry("tp-2", REMOVED), entry("tp-3", DRAINING), entry("rp-4"))
            await trio.sleep(KEEP_SECONDS)
            assert await left(region) == sorted(names)
            await trio.sleep(LATER)
            assert await left(region) == ["controller-manager-tp-3", "scheduler-rp-4", "unknown-tp-9"]

    run(main)


def test_a_lease_that_is_still_written_stays() -> None:
    async def main() -> None:
        async with opened("scheduler-tp-2") as region:
            await tell(region, entry("tp-2", REMOVED))
            for term in range(8):
                await trio.sleep(LOOK_SECONDS - 50)
                there = await region.resource_client().get(LEASES, leader_lease("scheduler-tp-2"))
                await region.resource_client().update(there.with_spec({**there.spec, "leaseTransitions": term}))
            assert await left(region) == ["scheduler-tp-2"]
            await trio.sleep(LATER)
            assert await left(region) == []

    run(main)


def test_a_partition_that_is_used_again_keeps_its_leases() -> None:
    async def main() -> None:
        async with opened("scheduler-tp-2") as region:
            await tell(region, entry("tp-2", REMOVED))
            await trio.sleep(KEEP_SECONDS)
            again = entry_object(entry("tp-2", ACTIVE, epoch=2))
            await region.resource_client().update(again)
            await trio.sleep(LATER)
            assert await left(region) == ["scheduler-tp-2"]

    run(main)


def test_while_the_partition_does_not_answer_nothing_is_concluded_and_later_it_is() -> None:
    async def main() -> None:
        async with opened("scheduler-tp-2") as region:
            await tell(region, entry("tp-2", REMOVED))
            region.links["rp-1"].cut()
            await trio.sleep(LATER)
            assert await left(region) == ["scheduler-tp-2"]
            region.links["rp-1"].heal()
            await trio.sleep(LATER)
            assert await left(region) == []

    run(main)


def test_a_lease_is_of_the_partition_with_the_longest_name_that_it_ends_with() -> None:
    entries = {name: entry(name) for name in ("2", "tp-2", "a-tp-2")}
    names = ("scheduler-tp-2", "scheduler-a-tp-2", "scheduler-2", "tp-2", "scheduler-tp2")
    homes = [home_of(name, entries) for name in names]
    assert [home and home.name for home in homes] == ["tp-2", "a-tp-2", "2", "2", None]
