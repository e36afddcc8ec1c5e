"""Moving a tenant loses nothing, whatever fails, and at no time two partitions have it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from ursa.clients.client import ClientSet, PartitionClient
from ursa.clients.tenants import moving
from ursa.clients.tenants.moving import move_tenant, undo_move
from ursa.proto.errors import Conflict, InputError, LinkError, NotFound, ServiceUnavailable, UrsaError
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, TENANTS, Record, record_of, with_record
from ursa.tools.bootstrap import tenant_object
from ursa.tools.tenant_acts import move_tenant as move_act
from ursa.tools.tenant_acts import resolve_tenant

from ..clients.worlds import SEEDS, run
from .regions import Region

KEY = ObjectKey("", "", "acme")
WIDGETS = "widgets.example.com"


def config_map(name: str, value: str = "1") -> Object:
    metadata = {"name": name, "namespace": "default", "tenant": "acme"}
    return Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}})


def pod(name: str) -> Object:
    metadata = {"name": name, "namespace": "default", "tenant": "acme"}
    spec = {"containers": [{"name": "main", "image": "app:1"}]}
    return Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


async def filled(clients: ClientSet, count: int = 3) -> PartitionClient:
    client = clients.tenant_clients["tp-1"]
    await client.create(tenant_object("acme"))
    for number in range(count):
        await client.create(config_map(f"c-{number}"))
        await client.create(pod(f"p-{number}"))
    return client


def held(region: Region, partition: str) -> dict[str, bytes]:
    """What a tenant has, but for the revisions, which are the partition's."""
    found = {}
    for obj in region.stored(partition):
        if obj.tenant == "acme":
            obj.message.metadata.resource_version = 0
            obj.message.metadata.request_id = b""
            found[f"{obj.kind} {obj.key}"] = obj.message.SerializeToString(deterministic=True)
    return found


def states(region: Region) -> dict[str, tuple[str, int]]:
    return {name: (record.state, record.epoch) for name, record in region.records("acme").items()}


class Writer:
    """Writes numbered values, wherever the tenant is, and knows which were acknowledged."""

    def __init__(self, clients: ClientSet, random: Random) -> None:
        self._clients, self._random = clients, random
        self.acknowledged: dict[str, int] = {}
        self.tried: dict[str, list[int]] = {}
        self._number = 0

    async def run(self) -> None:
        while True:
            self._number += 1
            name, number = f"w-{self._random.randint(1, 3)}", self._number
            self.tried.setdefault(name, []).append(number)
            for client in self._random.sample(list(self._clients.tenant_clients.values()), 2):
                try:
                    with trio.fail_after(40):
                        await self._put(client, name, number)
                except (UrsaError, trio.TooSlowError):
                    continue
                self.acknowledged[name] = number
                break
            await trio.sleep(self._random.choice((0.0, 0.01, 0.1)))

    async def _put(self, client: PartitionClient, name: str, number: int) -> None:
        obj = config_map(name, str(number))
        try:
            await client.update(obj)
        except NotFound:
            await client.create(obj)

    def check(self, home: list[Object]) -> None:
        values = {obj.name: int(obj.rest["data"]["key"]) for obj in home if obj.kind == "ConfigMap"}
        for name, number in self.acknowledged.items():
            # A later one, whose answer was lost, may have happened as well.
            assert values.get(name, 0) >= number, f"{name} was acknowledged at {number}"
            assert values[name] in self.tried[name]


async def bring_home(region: Region, clients: ClientSet, home: str) -> None:
    for _ in range(4):
        if states(region).get(home, ("", 0))[0] == ACTIVE:
            return
        try:
            await move_act(clients, "acme", home)
        except InputError:  # It is on its way to the other one.
            await move_act(clients, "acme", next(name for name in region.names if name != home))


@settings(max_examples=20)
@given(SEEDS)
def test_whatever_fails_nothing_is_lost_and_the_tenant_is_never_in_two_partitions(seed: int) -> None:
    """Writers write, movers move it to and fro, some die, links are lost; then all is healed and it is moved once."""
    random = Random(seed)

    async def mover(region: Region, number: int) -> None:
        latency = random.choice(((0.0, 0.0), (0.0, 0.02), (0.0, 0.3)))
        async with region.clients(f"mover-{number}", latency) as clients:
            for _ in range(random.randint(1, 3)):
                await trio.sleep(random.uniform(0.0, 2.0))
                with trio.move_on_after(random.choice((500.0, random.uniform(0.0, 2.0)))):
                    try:
                        await move_act(clients, "acme", random.choice(region.names))
                    except UrsaError:
                        continue

    async def trouble(region: Region) -> None:
        for _ in range(random.choice((0, 1, 4))):
            await trio.sleep(random.uniform(0.0, 2.0))
            name = random.choice(region.names)
            region.cut(name)
            await trio.sleep(random.choice((0.05, random.uniform(0.0, 40.0))))
            region.heal(name)

    async def look(region: Region) -> None:
        while True:
            assert [record.state for record in region.records("acme").values()].count(ACTIVE) <= 1
            await trio.sleep(0.05)

    async def main() -> None:
        async with Region(seed).open() as region, region.clients("writer") as clients:
            await filled(clients, 2)
            kept = held(region, "tp-1")
            writer = Writer(clients, random)
            async with trio.open_nursery() as watched:
                watched.start_soon(look, region)
                watched.start_soon(writer.run)
                async with trio.open_nursery() as nursery:
                    for number in range(random.randint(1, 2)):
                        nursery.start_soon(mover, region, number)
                    nursery.start_soon(trouble, region)
                for name in region.names:
                    region.heal(name)
                await trio.sleep(5)
                home = random.choice(region.names)
                await bring_home(region, clients, home)
                await trio.sleep(1)
                watched.cancel_scope.cancel()
            await trio.sleep(60)
            assert states(region)[home][0] == ACTIVE
            assert kept.items() <= held(region, home).items()
            writer.check(region.stored(home))

    run(main)


def test_what_comes_is_what_was_there_and_nothing_is_left_behind() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client = await filled(clients)
            status = (await client.get("pods", ObjectKey("acme", "default", "p-0"))).with_status({"phase": "Running"})
            await client.update_status(status)
            before = held(region, "tp-1")
            moved = await move_tenant(client, clients.tenant_clients["tp-2"], "acme")
            assert held(region, "tp-2") == before
            assert moved.objects == len(before) == 7
            assert moved.frozen_seconds <= moved.seconds
            await trio.sleep(10)
            assert held(region, "tp-1") == {}
            assert states(region) == {"tp-1": (MOVED, 1), "tp-2": (ACTIVE, 1)}

    run(main)


def test_what_is_written_while_it_is_brought_comes_too() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients(latency_seconds=(0.2, 0.2)) as clients:
            client = await filled(clients)
            async with region.clients() as others, trio.open_nursery() as nursery:
                nursery.start_soon(move_tenant, client, clients.tenant_clients["tp-2"], "acme")
                written: dict[str, bool] = {}
                for number in range(400):
                    name = f"late-{number}"
                    try:
                        await others.tenant_clients["tp-1"].create(config_map(name))
                        await others.tenant_clients["tp-1"].delete("configmaps", config_map("c-0").key)
                    except NotFound:
                        pass
                    except ServiceUnavailable:
                        break
                    written[name] = True
                    await trio.sleep(0.05)
            names = [obj.name for obj in region.stored("tp-2", "configmaps")]
            assert len(written) > 10
            assert [name for name in written if name not in names] == []
            assert "c-0" not in names

    run(main)


def test_the_last_write_before_the_freeze_comes_too_however_late_the_mover_hears_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients(latency_seconds=(0.5, 0.5)) as slow:
            async with region.clients() as quick:
                client = await filled(quick)
                step = moving.step

                async def frozen_at_once(
                    at: PartitionClient, tenant: Object, old: Record, new: Record, **_: Any
                ) -> Object:
                    if new.state == LEAVING:
                        await client.create(config_map("last"))
                        return await step(client, tenant, old, new)
                    return await step(at, tenant, old, new)

                monkeypatch.setattr(moving, "step", frozen_at_once)
                await move_tenant(slow.tenant_clients["tp-1"], slow.tenant_clients["tp-2"], "acme")
            assert "last" in [obj.name for obj in region.stored("tp-2", "configmaps")]

    run(main)


def test_kinds_that_the_other_partition_does_not_serve_are_named_before_anything_is_begun() -> None:
    definition: dict[str, Any] = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": WIDGETS},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "singular": "widget"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }

    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client = await filled(clients, 1)
            target = clients.tenant_clients["tp-2"]
            await client.create(Object.from_dict(definition))
            metadata = {"name": "w", "namespace": "default", "tenant": "acme"}
            widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1}}
            await client.create(Object.from_dict(widget))
            with pytest.raises(InputError, match=r"tp-2 does not serve: widgets\.example\.com \(v1\)"):
                await move_tenant(client, target, "acme")
            assert states(region) == {"tp-1": (ACTIVE, 0)}
            await target.create(Object.from_dict(definition))
            await move_tenant(client, target, "acme")
            assert [obj.name for obj in region.stored("tp-2", WIDGETS)] == ["w"]

    run(main)


def test_a_name_that_is_another_tenant_s_there_is_no_place_to_move_to() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client = await filled(clients, 1)
            await clients.tenant_clients["tp-2"].create(tenant_object("acme"))
            with pytest.raises(InputError, match="there is a tenant 'acme' here"):
                await move_tenant(client, clients.tenant_clients["tp-2"], "acme")
            with pytest.raises(InputError, match="is in tp-1 and in tp-2"):
                await move_act(clients, "acme", "tp-2")
            assert states(region) == {"tp-1": (ACTIVE, 0), "tp-2": (ACTIVE, 0)}
            assert await resolve_tenant(clients, "acme", "tp-2") == ["tp-1"]
            await trio.sleep(10)
            assert held(region, "tp-1") == {}
            assert {name: state for name, (state, _) in states(region).items()} == {"tp-1": MOVED, "tp-2": ACTIVE}

    run(main)


def test_a_target_that_goes_away_has_the_tenant_opened_again_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client = await filled(clients)
            before = held(region, "tp-1")

            monkeypatch.setattr(moving._Move, "_verify", cut_and(region))
            with pytest.raises(LinkError):
                await move_tenant(client, clients.tenant_clients["tp-2"], "acme")
            assert states(region)["tp-1"] == (ACTIVE, 2)
            assert held(region, "tp-1") == before
            await client.create(config_map("after"))

    def cut_and(region: Region) -> Any:
        verify = moving._Move._verify

        async def cut(self: Any, views: Any) -> None:
            region.cut("tp-2")
            await verify(self, views)

        return cut

    run(main)


@pytest.mark.parametrize("there", [True, False])
def test_a_move_that_was_left_standing_is_gone_on_with_or_given_up(there: bool) -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client = await filled(clients)
            before = held(region, "tp-1")
            tenant = await client.get(TENANTS, KEY)
            tenant = await client.update(with_record(tenant, Record(LEAVING, 1, "tp-2")))
            await move_act(clients, "acme", "tp-2" if there else "tp-1")
            home = "tp-2" if there else "tp-1"
            assert states(region)[home] == (ACTIVE, 1 if there else 2)
            assert held(region, home) == before
            with pytest.raises(Conflict):
                await undo_move(client, None, tenant)

    run(main)


@pytest.mark.parametrize("state", [ACTIVE, LEAVING, LEFT])
def test_a_move_that_was_given_up_elsewhere_stands_in_no_way(state: str) -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client, target = await filled(clients), clients.tenant_clients["tp-2"]
            before = held(region, "tp-1")
            tenant = await client.get(TENANTS, KEY)
            await target.mutate([moving.arrival(with_record(tenant, Record(ARRIVING, 5, "tp-1", "another")))])
            await moving.abandon(target, tenant, 5, "tp-1")
            for each in (LEAVING, LEFT)[: (ACTIVE, LEAVING, LEFT).index(state)]:
                tenant = await client.update(with_record(tenant, Record(each, 1, "tp-2")))
            await move_act(clients, "acme", "tp-2")
            assert states(region)["tp-2"] == (ACTIVE, 6)
            assert held(region, "tp-2") == before

    run(main)


def test_what_an_earlier_attempt_has_left_is_not_taken_for_what_is_there() -> None:
    """Something was brought that has changed since, and something that is no more."""

    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client, target = await filled(clients), clients.tenant_clients["tp-2"]
            copy = moving.Copy("earlier")
            tenant = await client.get(TENANTS, KEY)
            record = Record(ARRIVING, 1, "tp-1", "earlier")
            await target.mutate([moving.arrival(with_record(tenant, record))])
            present = (await client.list("configmaps", tenant="acme")).items
            await target.mutate(copy.wanted("configmaps", {obj.key: obj for obj in present}))
            await client.delete("configmaps", config_map("c-0").key)
            await client.update(config_map("c-1", "new"))
            await move_tenant(client, target, "acme")
            values = {obj.name: obj.rest["data"]["key"] for obj in region.stored("tp-2", "configmaps")}
            assert values == {"c-1": "new", "c-2": "1"}

    run(main)


def test_a_tenant_that_belongs_to_its_target_is_not_opened_again_at_its_source() -> None:
    async def main() -> None:
        async with Region().open() as region, region.clients() as clients:
            client = await filled(clients)
            tenant = await client.get(TENANTS, KEY)
            tenant = await client.update(with_record(tenant, Record(LEAVING, 1, "tp-2")))
            await client.update(with_record(tenant, Record(LEFT, 1, "tp-2")))
            with pytest.raises(Conflict, match="is Left in tp-1 by now"):
                await undo_move(client, None, tenant)
            with pytest.raises(InputError, match="has left tp-1 for tp-2: move it there first"):
                await move_act(clients, "acme", "tp-1")
            await move_act(clients, "acme", "tp-2")
            assert states(region)["tp-2"] == (ACTIVE, 1)
            assert record_of(await clients.tenant_clients["tp-2"].get(TENANTS, KEY)).partition == ""

    run(main)
