"""Two replicas, each with links of its own to one partition or two, on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import ClientSet, PartitionClient, open_client, open_clients
from ursa.clients.fencing import fenced_clients
from ursa.clients.leader_election import LeaderElection
from ursa.clients.leader_election_core import Term
from ursa.clients.operations import create_operation
from ursa.clients.transport.memory import MemoryTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object

from .worlds import WALL_OFFSET_SECONDS, World

NAME = "controller-manager-p-1"
HOME, OTHER = "p-1", "p-2"


class Replica:
    """What it has been told to do it notes in `terms`: the terms in which it led, and when each began and ended."""

    def __init__(self, name: str, transport: MemoryTransport, client: PartitionClient) -> None:
        self.name = name
        self.transport = transport
        self.client = client
        self.actor = Actor(name, Clock(WALL_OFFSET_SECONDS), Random(name))
        self.election = LeaderElection(client, NAME, self.actor)
        self.terms: list[Term] = []
        self.began: list[float] = []
        self.ended: list[float] = []
        self.scope = trio.CancelScope()

    @property
    def working(self) -> bool:
        return len(self.began) > len(self.ended)

    async def run(self) -> None:
        with self.scope:
            await self.election.run(self.lead)

    async def lead(self) -> None:
        term = self.election.term
        assert term is not None
        self.terms.append(term)
        self.began.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append(trio.current_time())

    def metric(self, name: str) -> float | None:
        return self.actor.registry.get_sample_value(name, {"name": NAME})


@asynccontextmanager
async def open_replica(world: World, name: str) -> AsyncIterator[Replica]:
    transport = MemoryTransport("p-1", world._server, random=Random(name), user=name)
    actor = Actor(name, Clock(WALL_OFFSET_SECONDS), Random(f"{name}/client"))
    async with open_client(transport, actor) as client:
        yield Replica(name, transport, client)


class Fenced:
    """A replica that may write in its home and in another partition, while it leads."""

    def __init__(self, replica: Replica, other_transport: MemoryTransport, clients: ClientSet) -> None:
        self.replica = replica
        self.other_transport = other_transport
        self.bare = clients
        self.calls: list[str] = []  # Messages to the other partition, as MemoryTransport traces them.
        self.clients = fenced_clients(clients, replica.election, HOME)

    async def write(self, partition: str, name: str) -> pb.Result:
        """A ConfigMap."""
        [result] = await self.clients.for_partition(partition).mutate([_config_map(name, {})])
        return result

    async def write_with_term(self, partition: str, name: str) -> None:
        """A ConfigMap that says which fence it went with."""
        client = self.clients.for_partition(partition)
        assert client._fencing is not None
        fence = await client._fencing.fence()
        await client._mutate([_config_map(name, {"uid": fence.uid, "term": str(fence.term)})], "", fence)


def _config_map(name: str, data: dict[str, str]) -> pb.Operation:
    metadata = {"name": name, "namespace": "default", "tenant": "system"}
    return create_operation(
        Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    )


@asynccontextmanager
async def open_fenced(home: World, other: World, name: str) -> AsyncIterator[Fenced]:
    home_transport = MemoryTransport(HOME, home._server, random=Random(name), user=name)
    calls: list[str] = []
    other_transport = MemoryTransport(
        OTHER, other._server, random=Random(f"{name}/other"), user=name, trace=calls.append
    )
    actor = Actor(name, Clock(WALL_OFFSET_SECONDS), Random(f"{name}/client"))
    async with open_clients({HOME: home_transport, OTHER: other_transport}, {}, actor) as clients:
        fenced = Fenced(Replica(name, home_transport, clients.tenant_clients[HOME]), other_transport, clients)
        fenced.calls = calls
        yield fenced


@asynccontextmanager
async def open_two_fenced() -> AsyncIterator[tuple[World, World, Fenced, Fenced]]:
    """The first leads already, the second stands by."""
    home, other = World(), World()
    async with (
        home.open(),
        other.open(),
        open_fenced(home, other, "one") as one,
        open_fenced(home, other, "two") as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(one.replica.run)
        await trio.sleep(1)
        nursery.start_soon(two.replica.run)
        await trio.sleep(1.1)
        yield home, other, one, two
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_two() -> AsyncIterator[tuple[World, Replica, Replica]]:
    """The first leads already, the second stands by."""
    world = World()
    async with (
        world.open(),
        open_replica(world, "one") as one,
        open_replica(world, "two") as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(one.run)
        await trio.sleep(1)
        nursery.start_soon(two.run)
        await trio.sleep(5)
        assert (one.working, two.working) == (True, False)
        yield world, one, two
        nursery.cancel_scope.cancel()
