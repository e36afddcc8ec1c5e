"""A tenant is created in one partition, whoever else creates one of its name at the same time."""

from __future__ import annotations

from random import Random

import pytest
import trio
from hypothesis import given
from ursa.clients.client import ClientSet
from ursa.proto.errors import AlreadyExists, LinkError
from ursa.proto.objects import ObjectKey
from ursa.proto.tenants import ACTIVE, LEAVING, LEFT, MOVED, PENDING, TENANTS, Record, with_record
from ursa.tools import tenant_claims
from ursa.tools.bootstrap import register_partitions, tenant_object
from ursa.tools.tenant_claims import claim_tenant

from ..clients.worlds import SEEDS, run
from .regions import Region

KEY = ObjectKey("", "", "acme")


async def claimed(clients: ClientSet, partition: str, name: str = "acme", **options: bool) -> bool:
    try:
        await claim_tenant(clients, tenant_object(name), partition, **options)
    except (AlreadyExists, LinkError):
        return False
    return True


@given(SEEDS)
def test_whoever_creates_at_once_and_whatever_fails_one_tenant_comes_of_it_at_most(seed: int) -> None:
    """Several create, from links of any latency; some stop in the middle, some lose partitions, some try again."""
    random = Random(seed)
    told: list[str] = []

    async def create(region: Region, number: int) -> None:
        latency = random.choice(((0.0, 0.0), (0.0, 0.05), (0.0, 1.0)))
        await trio.sleep(random.choice((0.0, random.uniform(0.0, 1.0))))
        async with region.clients(f"creator-{number}", latency) as clients:
            with trio.move_on_after(random.choice((1000.0, random.uniform(0.0, 3.0)))):
                for _ in range(random.randint(1, 3)):
                    partition = random.choice(region.names)
                    if await claimed(clients, partition, unreachable_ok=False):
                        told.append(partition)
                        return

    async def trouble(region: Region) -> None:
        for _ in range(random.choice((0, 0, 1, 3))):
            await trio.sleep(random.uniform(0.0, 1.0))
            name = random.choice(region.names)
            region.cut(name)
            await trio.sleep(random.uniform(0.0, 0.5))
            region.heal(name)

    async def main() -> None:
        async with Region(seed, ("tp-1", "tp-2", "tp-3")).open() as region:
            async with trio.open_nursery() as nursery:
                for number in range(random.randint(2, 4)):
                    nursery.start_soon(create, region, number)
                nursery.start_soon(trouble, region)
            assert len(region.ever_active("acme")) <= 1
            assert len(told) <= 1
            assert told == [] or region.ever_active("acme") == told

    run(main)


def test_two_that_create_at_once_do_not_both_fail() -> None:
    """In lockstep, each after the other's claim: the claim that goes first takes the other away."""

    async def main() -> None:
        for seed in range(10):
            outcomes: list[bool] = []
            async with Region(seed).open() as region:

                async def create(partition: str, region: Region = region, outcomes: list[bool] = outcomes) -> None:
                    async with region.clients(partition, (0.01, 0.01)) as clients:
                        outcomes.append(await claimed(clients, partition))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(create, "tp-1")
                    nursery.start_soon(create, "tp-2")
                assert sorted(outcomes) == [False, True]
                assert len(region.ever_active("acme")) == 1
                assert [each.state for each in region.records("acme").values()] == [ACTIVE]

    run(main)


def test_a_new_tenant_has_its_namespace_and_can_be_written_to() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            await claim_tenant(clients, tenant_object("acme"), "tp-2")
            assert [each.name for each in region.stored("tp-2", "namespaces") if each.tenant == "acme"] == ["default"]
            assert region.stored("tp-2", TENANTS)[0].finalizers, "or it would go before it is emptied"

    run(main)


def test_a_claim_that_is_given_up_leaves_nothing() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            rival = await clients.tenant_clients["tp-2"].create(with_record(tenant_object("acme"), Record(PENDING)))
            with pytest.raises(AlreadyExists, match=r"being created in tp-2"):
                await claim_tenant(clients, tenant_object("acme"), "tp-1")
            assert list(region.records("acme")) == ["tp-2"]
            with pytest.raises(AlreadyExists, match=r"being created|exists already"):
                await claim_tenant(clients, tenant_object("acme"), "tp-2")
            assert (await clients.tenant_clients["tp-2"].get(TENANTS, KEY)).uid == rival.uid

    run(main)


@pytest.mark.parametrize("state", [ACTIVE, LEAVING, LEFT])
def test_a_name_is_taken_whatever_its_tenant_is_about(state: str) -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            present = await clients.tenant_clients["tp-1"].create(tenant_object("acme"))
            for each in (LEAVING, LEFT)[: (ACTIVE, LEAVING, LEFT).index(state)]:
                present = await clients.tenant_clients["tp-1"].update(with_record(present, Record(each, 1, "tp-2")))
            with pytest.raises(AlreadyExists, match="exists already, in tp-1"):
                await claim_tenant(clients, tenant_object("acme"), "tp-2")

    run(main)


def test_a_signpost_takes_no_name() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            for home in ("tp-1", "tp-2"):
                present = await clients.tenant_clients[home].create(tenant_object("acme"))
                for each in (LEAVING, LEFT, MOVED):
                    record = Record(each, 1, "tp-3")
                    present = await clients.tenant_clients[home].update(with_record(present, record))
            await trio.sleep(10)
            assert await claimed(clients, "tp-1")
            assert [each.state for each in region.records("acme").values()] == [ACTIVE, MOVED]

    run(main)


def test_a_partition_that_does_not_answer_may_have_the_name() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            region.cut("tp-2")
            with pytest.raises(LinkError, match=r"tp-2: it does not answer, and may have a tenant 'acme'"):
                await claim_tenant(clients, tenant_object("acme"), "tp-1")
            assert not region.records("acme")
            assert await claimed(clients, "tp-1", unreachable_ok=True)

    run(main)


def test_a_partition_that_was_added_just_now_may_have_the_name() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            addresses = {"tp-1": "a", "tp-2": "b", "tp-3": "c"}
            await register_partitions(clients, addresses, {})
            with pytest.raises(LinkError, match=r"tp-3"):
                await claim_tenant(clients, tenant_object("acme"), "tp-1")

    run(main)


def test_who_is_interrupted_takes_his_claim_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients(latency_seconds=(0.2, 0.2)) as clients:

            async def forever(*_: object, **__: object) -> None:
                assert region.records("acme"), "the claim is there when it is interrupted"
                await trio.sleep_forever()

            with trio.move_on_after(2.5) as scope:
                monkeypatch.setattr(tenant_claims, "_rivals", forever)
                await claim_tenant(clients, tenant_object("acme"), "tp-1")
            assert scope.cancelled_caught
            assert not region.records("acme")

    run(main)
