"""A component has clients of the partitions that there are, and what it does for each comes and goes with them."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from ursa.clients.client import ClientSet, PartitionClient, open_clients
from ursa.clients.informer import Informer
from ursa.clients.registry import RegistryFollower
from ursa.clients.registry_core import ACTIVE, DRAINING, REMOVED, Entry, entry_object
from ursa.clients.spanning import SpanningInformer
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.errors import InputError, NotFound, Unreachable
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.sessions import Service
from ursa.storage import MemoryStore

from .worlds import WALL_OFFSET_SECONDS, actor, run

ROLES = {"tp-1": Role.TENANT, "tp-2": Role.TENANT, "rp-1": Role.RESOURCE, "rp-2": Role.RESOURCE}


class Servers:
    """Four partitions. One at the address `elsewhere:NAME` is the same."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.links: list[MemoryTransport] = []

    def link(self, name: str) -> MemoryTransport:
        self.links.append(MemoryTransport(name, self.services[name], random=Random(1)))
        return self.links[-1]


@asynccontextmanager
async def opened(*names: str) -> AsyncIterator[tuple[Servers, ClientSet]]:
    """The partitions, and clients of these of them."""
    servers = Servers()
    async with trio.open_nursery() as nursery:

        async def serve(name: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            store = MemoryStore(incarnation=name)
            async with open_local_partition(
                name, ROLES[name], store, Random(name), wall_offset_seconds=WALL_OFFSET_SECONDS
            ) as servers.services[name]:
                task_status.started()
                await trio.sleep_forever()

        for name in ROLES:
            await nursery.start(serve, name)
        links = {name: servers.link(name) for name in names}
        async with open_clients(
            {name: link for name, link in links.items() if ROLES[name] is Role.TENANT},
            {name: link for name, link in links.items() if ROLES[name] is Role.RESOURCE},
            actor(),
        ) as clients:
            yield servers, clients
        nursery.cancel_scope.cancel()


def entry(name: str, epoch: int = 1, state: str = ACTIVE, address: str = "here") -> Entry:
    return Entry(epoch, state, address, ROLES[name], name)


def node(name: str) -> Object:
    return Object.from_dict({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})


# ----------------------------------------------------------------------------------------------------- sets of clients


def test_what_is_served_for_each_member_comes_and_goes_with_it() -> None:
    async def main() -> None:
        served: list[str] = []

        async def serve(client: PartitionClient) -> None:
            served.append(f"+{client.partition}")
            try:
                await trio.sleep_forever()
            finally:
                served.append(f"-{client.partition}")

        async with opened("tp-1", "rp-1") as (servers, clients), trio.open_nursery() as nursery:
            nursery.start_soon(clients.resource_clients.serve_each, serve)
            await trio.sleep(1)
            clients.add(Role.RESOURCE, servers.link("rp-2"))
            assert list(clients.resource_clients) == ["rp-1", "rp-2"]
            await trio.sleep(1)
            clients.remove("rp-1")
            await trio.sleep(1)
            assert served == ["+rp-1", "+rp-2", "-rp-1"]
            assert list(clients.resource_clients) == ["rp-2"]
            assert list(clients.resource_clients.removed) == ["rp-1"]
            clients.move(servers.link("rp-2"))
            await trio.sleep(1)
            assert served[3:] == [], "its link was lost, and that is all"
            assert list(clients.resource_clients.removed) == ["rp-1"]
            nursery.cancel_scope.cancel()

    run(main)


def test_a_set_whose_clients_are_dressed_follows_and_dresses_each_once() -> None:
    async def main() -> None:
        made: list[str] = []

        def dress(client: PartitionClient) -> PartitionClient:
            made.append(client.partition)
            return copy.copy(client)

        async with opened("tp-1", "rp-1") as (servers, clients):
            dressed = clients.dressed(dress)
            first = dressed.resource_clients["rp-1"]
            assert first is not clients.resource_clients["rp-1"]
            changed = dressed.resource_clients.wait_changed
            clients.add(Role.RESOURCE, servers.link("rp-2"))
            assert list(dressed.resource_clients) == ["rp-1", "rp-2"]
            assert dressed.resource_clients["rp-1"] is first
            assert made == ["tp-1", "rp-1", "rp-2"]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(changed)
                await trio.sleep(1)
                clients.resource_clients.set_draining("rp-2", draining=True)
            assert list(dressed.resource_clients.draining) == ["rp-2"]
            clients.remove("rp-1")
            assert list(dressed.resource_clients) == ["rp-2"]
            assert list(dressed.resource_clients.removed) == ["rp-1"]
            clients.move(servers.link("rp-2"))
            assert made[3:] == []

    run(main)


def test_the_client_of_a_partition_that_left_is_closed_and_the_others_work() -> None:
    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients):
            added = clients.add(Role.RESOURCE, servers.link("rp-2"))
            await added.create(node("n1"))
            clients.remove("rp-2")
            await trio.sleep(1)
            with pytest.raises(Unreachable):
                await added.create(node("n2"))
            await clients.resource_clients["rp-1"].create(node("n1"))
            again = clients.add(Role.RESOURCE, servers.link("rp-2"))
            assert not clients.resource_clients.removed
            assert (await again.get("nodes", ObjectKey("", "", "n1"))).name == "n1"

    run(main)


def test_a_name_is_used_once_and_what_is_not_there_cannot_leave() -> None:
    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients):
            for role in Role:
                with pytest.raises(InputError, match="'tp-1' already"):
                    clients.add(role, servers.link("tp-1"))
            with pytest.raises(NotFound, match="rp-2"):
                clients.remove("rp-2")

    run(main)


# -------------------------------------------------------------------------------------------------- spanning informers


def test_an_informer_over_all_partitions_tells_who_speaks_and_who_left_for_good() -> None:
    async def main() -> None:
        told: list[str] = []
        async with opened("tp-1", "rp-1") as (servers, clients), trio.open_nursery() as nursery:
            spanning = SpanningInformer(clients.resource_clients, "nodes")
            spanning.add_handler(lambda partition, event: told.append(f"{partition} {event.object.name}"))
            spanning.add_leave_handler(lambda partition: told.append(f"{partition} left"))
            spanning.add_index("names", lambda obj: (obj.name,))
            assert spanning.synced == {"rp-1": False}
            nursery.start_soon(spanning.run)
            await clients.resource_clients["rp-1"].create(node("n1"))
            await clients.add(Role.RESOURCE, servers.link("rp-2")).create(node("n2"))
            await trio.sleep(1)
            assert told == ["rp-1 n1", "rp-2 n2"]
            assert spanning.synced == {"rp-1": True, "rp-2": True}
            assert [each.name for each in spanning["rp-2"].by_index("names", "n2")] == ["n2"]
            clients.move(servers.link("rp-2"))
            await clients.resource_clients["rp-2"].create(node("n3"))
            await trio.sleep(1)
            assert told[2:] == ["rp-2 n3"], "it goes on where it was, and has not left"
            servers.links[-1].cut()
            await trio.sleep(60)
            assert list(spanning.fresh(12.0)) == ["rp-1"], "nothing may be missing from a view that is old"
            assert not spanning.removed
            clients.remove("rp-2")
            await trio.sleep(1)
            assert told[3:] == ["rp-2 left"]
            assert list(spanning) == ["rp-1"]
            assert spanning.removed == ["rp-2"]
            nursery.cancel_scope.cancel()

    run(main)


# -------------------------------------------------------------------------------------------------------- the registry


@asynccontextmanager
async def following(servers: Servers, clients: ClientSet, home: str = "tp-1") -> AsyncIterator[list[Entry]]:
    """A follower of the registry of `home`. Yields what it connected to."""
    connected: list[Entry] = []

    def connect(to: Entry) -> MemoryTransport:
        connected.append(to)
        return servers.link(to.name)

    addresses = dict.fromkeys(ROLES, "here")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(RegistryFollower(clients, home, addresses, connect, actor()).run)
        await trio.sleep(1)
        yield connected
        nursery.cancel_scope.cancel()


async def write(client: PartitionClient, what: Entry) -> None:
    resource = "tenantpartitions.ursa.dev" if what.role is Role.TENANT else "resourcepartitions.ursa.dev"
    obj = entry_object(what)
    if what.key in [each.key for each in (await client.list(resource)).items]:
        await client.update(obj)
    else:
        await client.create(obj)
    await trio.sleep(1)


def test_partitions_come_and_go_by_the_registry_of_the_home_partition() -> None:
    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients), following(servers, clients) as connected:
            home = clients.tenant_clients["tp-1"]
            await write(home, entry("rp-1"))
            await write(home, entry("tp-2"))
            await write(home, entry("rp-2", address=""))
            assert connected == [entry("tp-2")], "one is known already, the other is still to be started"
            await write(home, entry("rp-2", epoch=2))
            assert list(clients.tenant_clients) == ["tp-1", "tp-2"]
            assert list(clients.resource_clients) == ["rp-1", "rp-2"]
            await write(home, entry("rp-2", epoch=3, address="elsewhere"))
            assert connected[-1] == entry("rp-2", epoch=3, address="elsewhere")
            assert (await clients.resource_clients["rp-2"].list("nodes")).items == []
            await write(home, entry("rp-1", epoch=2, state=DRAINING))
            assert list(clients.resource_clients.draining) == ["rp-1"]
            await write(home, entry("rp-1", epoch=3, state=REMOVED))
            assert list(clients.resource_clients) == ["rp-2"]
            assert list(clients.resource_clients.removed) == ["rp-1"]
            assert not clients.resource_clients.draining

    run(main)


def test_nothing_is_concluded_from_an_entry_that_is_missing_or_old() -> None:
    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients), following(servers, clients):
            home = clients.tenant_clients["tp-1"]
            await write(home, entry("rp-1", epoch=5))
            await home.delete("resourcepartitions.ursa.dev", ObjectKey("", "", "rp-1"))
            await trio.sleep(1)
            await write(home, entry("rp-1", epoch=4, state=REMOVED))
            assert list(clients.resource_clients) == ["rp-1"]
            assert not clients.resource_clients.removed

    run(main)


def test_the_home_partition_stays_and_a_name_in_the_other_role_is_not_believed() -> None:
    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients), following(servers, clients):
            home = clients.tenant_clients["tp-1"]
            await write(home, entry("tp-1", epoch=9, state=REMOVED))
            await write(home, Entry(9, REMOVED, "here", Role.TENANT, "rp-1"))
            assert list(clients.tenant_clients) == ["tp-1"]
            assert list(clients.resource_clients) == ["rp-1"]

    run(main)


@pytest.mark.parametrize("away_seconds", [1, 600])
def test_a_home_that_is_elsewhere_is_found_again_by_what_the_others_say(away_seconds: float) -> None:
    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients), trio.open_nursery() as nursery:

            def connect(to: Entry) -> MemoryTransport:
                link = servers.link(to.name)
                if to.address == "wrong":
                    link.cut()
                return link

            addresses = dict.fromkeys(ROLES, "here")
            nursery.start_soon(RegistryFollower(clients, "tp-1", addresses, connect, actor()).run)
            home, other = clients.tenant_clients["tp-1"], clients.resource_clients["rp-1"]
            pods = Informer(home, "pods")
            nursery.start_soon(pods.run)
            await trio.sleep(1)
            await write(other, entry("rp-2"))
            assert "rp-2" not in clients.resource_clients, "while home answers, its registry is the one"
            await write(home, entry("tp-1", epoch=2, address="wrong"))
            with pytest.raises(Unreachable):
                await home.create(node("n"))
            await trio.sleep(away_seconds)
            await write(other, entry("tp-1", epoch=3, address="right"))
            await trio.sleep(60)
            assert clients.tenant_clients["tp-1"] is home
            assert pods.synced
            assert pods.staleness_seconds < 6
            await write(other, entry("tp-2"))
            assert list(clients.tenant_clients) == ["tp-1"], "home answers again"
            await write(home, entry("tp-2"))
            assert list(clients.tenant_clients) == ["tp-1", "tp-2"]
            nursery.cancel_scope.cancel()

    run(main)


def test_without_a_home_the_registry_of_any_partition_will_do() -> None:
    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients), following(servers, clients, home=""):
            servers.links[0].cut()
            await write(clients.resource_clients["rp-1"], entry("rp-2"))
            assert list(clients.resource_clients) == ["rp-1", "rp-2"]
            await write(clients.resource_clients["rp-2"], entry("tp-2"))
            assert list(clients.tenant_clients) == ["tp-1", "tp-2"]

    run(main)
