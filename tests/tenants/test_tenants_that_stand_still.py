"""What a partition's controllers make of tenants whose creator or mover has died, and of copies that should not be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import ClientSet
from ursa.clients.controllers.options import TenantControllerOptions
from ursa.clients.controllers.tenants import TenantController
from ursa.clients.controllers.tenants_core import (
    ARRIVING_SECONDS_MAX,
    CLAIM_SECONDS_MAX,
    LEAVING_SECONDS_MAX,
    LEFT_SECONDS_MAX,
    has_let_go,
    told_of,
)
from ursa.clients.tenants.moving import arrival, move_tenant
from ursa.clients.tenants.whereabouts import Sight
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, PENDING, TENANTS, Record, with_record
from ursa.tools.bootstrap import tenant_object
from ursa.tools.tenant_acts import list_tenants, resolve_tenant

from ..clients.worlds import WALL_OFFSET_SECONDS, run
from .regions import Region

KEY = ObjectKey("", "", "acme")
MARGIN = 20.0


def config_map(name: str) -> Object:
    metadata = {"name": name, "namespace": "default", "tenant": "acme"}
    return Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": name}})


@asynccontextmanager
async def controlled() -> AsyncIterator[tuple[Region, ClientSet]]:
    """Two tenant partitions, with their controllers of tenants."""
    async with Region().open() as region, region.clients() as clients, trio.open_nursery() as nursery:
        for name in region.names:
            actor = Actor(f"controllers-{name}", Clock(WALL_OFFSET_SECONDS), Random(name))
            nursery.start_soon(TenantController(clients, name, TenantControllerOptions(), actor).run)
        await trio.sleep(1)
        yield region, clients
        nursery.cancel_scope.cancel()


async def says(clients: ClientSet, partition: str, *records: Record) -> Object:
    """The tenant's object there says these, one after the other."""
    client = clients.tenant_clients[partition]
    for record in records:
        present = await client.get(TENANTS, KEY)
        present = await client.update(with_record(present, record))
    return present


async def arrives(clients: ClientSet, partition: str, record: Record, tenant: Object) -> None:
    [result] = await clients.tenant_clients[partition].mutate([arrival(with_record(tenant, record))])
    assert not result.HasField("error"), result.error


def states(region: Region) -> dict[str, str]:
    return {name: record.state for name, record in region.records("acme").items()}


def maps(region: Region, partition: str) -> list[str]:
    return [obj.name for obj in region.stored(partition, "configmaps")]


def test_a_claim_that_nobody_goes_on_with_is_taken_away() -> None:
    async def main() -> None:
        async with controlled() as (region, clients):
            await clients.tenant_clients["tp-1"].create(with_record(tenant_object("acme"), Record(PENDING)))
            await trio.sleep(CLAIM_SECONDS_MAX - MARGIN)
            assert states(region) == {"tp-1": PENDING}
            await trio.sleep(2 * MARGIN)
            assert states(region) == {}

    run(main)


@pytest.mark.parametrize("target", ["answers", "is away"])
def test_a_tenant_whose_mover_died_before_it_let_go_is_opened_where_it_is(target: str) -> None:
    async def main() -> None:
        async with controlled() as (region, clients):
            tenant = await clients.tenant_clients["tp-1"].create(tenant_object("acme"))
            await clients.tenant_clients["tp-1"].create(config_map("a"))
            await arrives(clients, "tp-2", Record(ARRIVING, 1, "tp-1", "m"), tenant)
            await says(clients, "tp-1", Record(LEAVING, 1, "tp-2"))
            if target == "is away":
                region.cut("tp-2")
            await trio.sleep(LEAVING_SECONDS_MAX - MARGIN)
            assert states(region)["tp-1"] == LEAVING, "its mover may live"
            await trio.sleep(2 * MARGIN)
            if target == "is away":
                assert states(region)["tp-1"] == LEAVING, "ours may be an older copy"
                region.heal("tp-2")
                await trio.sleep(2 * MARGIN)
            assert states(region) == {"tp-1": ACTIVE, "tp-2": MOVED}
            assert maps(region, "tp-1") == ["a"]

    run(main)


@pytest.mark.parametrize("set_back", [False, True])
def test_a_tenant_whose_mover_died_after_it_let_go_is_brought_to_its_target(set_back: bool) -> None:
    """Whatever the target has of it: nothing, where it was set back."""

    async def main() -> None:
        async with controlled() as (region, clients):
            tenant = await clients.tenant_clients["tp-1"].create(tenant_object("acme"))
            await clients.tenant_clients["tp-1"].create(config_map("a"))
            before = region.stored("tp-2")
            await arrives(clients, "tp-2", Record(ARRIVING, 1, "tp-1", "m"), tenant)
            await says(clients, "tp-1", Record(LEAVING, 1, "tp-2"), Record(LEFT, 1, "tp-2"))
            if set_back:
                await region.set_back("tp-2", before)
            await trio.sleep(LEFT_SECONDS_MAX + 2 * MARGIN)
            assert states(region) == {"tp-1": MOVED, "tp-2": ACTIVE}
            assert (maps(region, "tp-1"), maps(region, "tp-2")) == ([], ["a"])

    run(main)


def test_what_arrived_of_a_move_that_was_never_begun_is_forgotten() -> None:
    async def main() -> None:
        async with controlled() as (region, clients):
            tenant = await clients.tenant_clients["tp-1"].create(tenant_object("acme"))
            await arrives(clients, "tp-2", Record(ARRIVING, 1, "tp-1", "m"), tenant)
            await trio.sleep(ARRIVING_SECONDS_MAX - MARGIN)
            assert states(region)["tp-2"] == ARRIVING, "much may have to be brought"
            await trio.sleep(2 * MARGIN)
            assert states(region) == {"tp-1": ACTIVE, "tp-2": MOVED}

    run(main)


def test_a_tenant_is_opened_with_what_is_left_of_it_where_its_target_was_set_back_to_its_arrival() -> None:
    """Its source has forgotten it, and says so: it comes from nowhere any more."""

    async def main() -> None:
        async with controlled() as (region, clients):
            tenant = await clients.tenant_clients["tp-1"].create(tenant_object("acme"))
            await clients.tenant_clients["tp-1"].create(config_map("a"))
            await arrives(clients, "tp-2", Record(ARRIVING, 1, "tp-1", "m"), tenant)
            arriving = region.stored("tp-2")
            await move_tenant(clients.tenant_clients["tp-1"], clients.tenant_clients["tp-2"], "acme")
            assert (states(region), maps(region, "tp-2")) == ({"tp-1": MOVED, "tp-2": ACTIVE}, ["a"])
            await region.set_back("tp-2", arriving)
            assert states(region)["tp-2"] == ARRIVING
            await trio.sleep(LEFT_SECONDS_MAX + 2 * MARGIN)
            assert (states(region), maps(region, "tp-2")) == ({"tp-1": MOVED, "tp-2": ACTIVE}, [])
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "tenant": "acme"}}
            await clients.tenant_clients["tp-2"].create(Object.from_dict(namespace))

    run(main)


def test_only_the_signpost_of_this_very_move_says_that_the_source_has_let_go() -> None:
    """The source may have been set back to the end of an earlier move."""
    own = Sight("tp-2", with_record(tenant_object("acme"), Record(ARRIVING, 3, "tp-1", "m")))
    said = {
        Record(MOVED, 3, "tp-2"): True,
        Record(MOVED, 4, "tp-2"): True,
        Record(MOVED, 1, "tp-2"): False,
        Record(MOVED, 3, "tp-3"): False,
        Record(LEFT, 3, "tp-2"): False,
    }
    for record, expected in said.items():
        assert has_let_go(own, Sight("tp-1", with_record(tenant_object("acme"), record))) is expected, record
    assert not has_let_go(own, Sight("tp-3", with_record(tenant_object("acme"), Record(MOVED, 3, "tp-2"))))


def test_what_arrived_is_kept_where_it_may_be_all_there_is() -> None:
    async def main() -> None:
        async with controlled() as (region, clients):
            before = region.stored("tp-1")
            tenant = await clients.tenant_clients["tp-1"].create(tenant_object("acme"))
            await arrives(clients, "tp-2", Record(ARRIVING, 1, "tp-1", "m"), tenant)
            await region.set_back("tp-1", before)
            await trio.sleep(ARRIVING_SECONDS_MAX + 2 * MARGIN)
            assert states(region) == {"tp-2": ARRIVING}
            assert await resolve_tenant(clients, "acme", "tp-2") == []
            assert states(region) == {"tp-2": ACTIVE}

    run(main)


@pytest.mark.parametrize("state", [ACTIVE, LEAVING])
def test_a_partition_that_was_set_back_forgets_a_tenant_that_has_moved_on_since(state: str) -> None:
    """At once: until then both partitions take writes of it."""

    async def main() -> None:
        async with controlled() as (region, clients):
            source, target = clients.tenant_clients["tp-1"], clients.tenant_clients["tp-2"]
            await source.create(tenant_object("acme"))
            await source.create(config_map("a"))
            if state == LEAVING:
                await says(clients, "tp-1", Record(LEAVING, 1, "tp-2"))
            snapshot = region.stored("tp-1")
            await move_tenant(source, target, "acme")
            await target.create(config_map("b"))
            await trio.sleep(MARGIN)
            await region.set_back("tp-1", snapshot)
            assert states(region)["tp-1"] == state
            await trio.sleep(MARGIN)
            assert states(region) == {"tp-1": MOVED, "tp-2": ACTIVE}
            await trio.sleep(LEAVING_SECONDS_MAX + MARGIN)
            assert states(region) == {"tp-1": MOVED, "tp-2": ACTIVE}
            assert (maps(region, "tp-1"), sorted(maps(region, "tp-2"))) == ([], ["a", "b"])

    run(main)


def test_an_older_copy_is_kept_while_the_newer_one_cannot_be_asked() -> None:
    async def main() -> None:
        async with controlled() as (region, clients):
            source, target = clients.tenant_clients["tp-1"], clients.tenant_clients["tp-2"]
            await source.create(tenant_object("acme"))
            snapshot = region.stored("tp-1")
            await move_tenant(source, target, "acme")
            await trio.sleep(MARGIN)
            region.cut("tp-2")
            await region.set_back("tp-1", snapshot)
            await trio.sleep(10 * MARGIN)
            assert states(region) == {"tp-1": ACTIVE, "tp-2": ACTIVE}

    run(main)


def test_two_tenants_of_one_name_are_named_and_left_as_they_are() -> None:
    async def main() -> None:
        async with controlled() as (region, clients):
            for name, client in clients.tenant_clients.items():
                await client.create(tenant_object("acme"))
                await client.create(config_map(f"of-{name}"))
            await trio.sleep(10 * MARGIN)
            for partition in region.names:
                [tenant] = [each for each in region.stored(partition, TENANTS) if each.name == "acme"]
                assert told_of(Sight(partition, tenant)).startswith("tenant 'acme' is in tp-1 and in tp-2: ")
                events = [each for each in region.stored(partition, "events") if each.rest["type"] == "Warning"]
                assert [each.rest["reason"] for each in events] == ["InSeveralPartitions"]
                assert maps(region, partition) == [f"of-{partition}"]
            [row] = [row for row in (await list_tenants(clients)).rows if row.name == "acme"]
            assert row.whereabouts.home is None
            assert "tp-1 and in tp-2" in row.whereabouts.problem
            await resolve_tenant(clients, "acme", "tp-1")
            await trio.sleep(MARGIN)
            assert states(region) == {"tp-1": ACTIVE, "tp-2": MOVED}
            assert (maps(region, "tp-1"), maps(region, "tp-2")) == (["of-tp-1"], [])
            [tenant] = [each for each in region.stored("tp-1", TENANTS) if each.name == "acme"]
            assert told_of(Sight("tp-1", tenant)) == ""

    run(main)
