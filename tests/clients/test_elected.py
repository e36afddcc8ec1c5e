"""A component of several replicas: the one that leads works, made anew for its term, and its writes are fenced."""

from __future__ import annotations

from random import Random

import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import ClientSet, open_clients
from ursa.clients.elected import Elected
from ursa.clients.leader_election_core import JITTER, ElectionOptions
from ursa.clients.transport.memory import MemoryTransport
from ursa.proto.kinds import Role
from ursa.proto.leases import LEASES, holding
from ursa.proto.objects import Object

from .worlds import WALL_OFFSET_SECONDS, World, run

OPTIONS = ElectionOptions()
LOOK_SECONDS_MAX = OPTIONS.retry_period_seconds * (1 + JITTER)


class Part:
    """A component that writes, and says which life of it did."""

    made = 0

    def __init__(self, clients: ClientSet, actor: Actor) -> None:
        Part.made += 1
        self.name = f"{actor.name.partition('#')[0]}-{Part.made}"
        self.clients = clients
        self.synced = False

    def ready(self) -> dict[str, bool]:
        return {"synced": self.synced}

    async def run(self) -> None:
        await trio.sleep(0.5)
        self.synced = True
        for client in (*self.clients.tenant_clients.values(), *self.clients.resource_clients.values()):
            manifest = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name, "namespace": "default", "tenant": "system"},
            }
            await client.create(Object.from_dict(manifest))
        await trio.sleep_forever()


class Host:
    def __init__(self, name: str, tenant: World, resource: World) -> None:
        self.name = name
        self.transports = {
            "tp-1": MemoryTransport("tp-1", tenant._server, random=Random(name), user=name),
            "rp-1": MemoryTransport("rp-1", resource._server, random=Random(f"{name}/rp"), user=name),
        }
        self.elected: Elected
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        actor = Actor(self.name, Clock(WALL_OFFSET_SECONDS), Random(self.name))
        async with open_clients({"tp-1": self.transports["tp-1"]}, {"rp-1": self.transports["rp-1"]}, actor) as clients:
            self.elected = Elected(Part, clients, "tp-1", "part-tp-1", actor)
            with self.scope:
                await self.elected.run()


def written(world: World) -> list[str]:
    return [record.key.rsplit("/", 1)[1] for record in world.store.range(f"/registry/{LEASES}/system/default/")]


def test_replicas_take_turns_and_each_term_has_a_component_of_its_own() -> None:
    async def main() -> None:
        Part.made = 0
        tenant, resource = World(), World(Role.RESOURCE)
        async with tenant.open(), resource.open(), trio.open_nursery() as nursery:
            one, two = Host("one", tenant, resource), Host("two", tenant, resource)
            nursery.start_soon(one.run)
            await trio.sleep(0.25)
            assert one.elected.ready() == {"leader": True, "synced": False}
            two.transports["tp-1"].cut()
            nursery.start_soon(two.run)
            await trio.sleep(1)
            assert two.elected.ready() == {"standby": False}, "it has not seen yet that there is a leader"
            two.transports["tp-1"].heal()
            await trio.sleep(10)
            assert one.elected.ready() == {"leader": True, "synced": True}
            assert two.elected.ready() == {"standby": True}
            one.transports["tp-1"].cut()
            await trio.sleep(OPTIONS.lease_duration_seconds + LOOK_SECONDS_MAX + 2)
            assert one.elected.ready() == {"standby": True}
            assert two.elected.ready() == {"leader": True, "synced": True}
            one.transports["tp-1"].heal()
            two.scope.cancel()
            await trio.sleep(LOOK_SECONDS_MAX + 2)
            assert one.elected.ready() == {"leader": True, "synced": True}
            assert written(tenant) == written(resource) == ["one-1", "one-3", "two-2"]
            record = resource.store.get(f"/registry/{LEASES}/system/kube-system/part-tp-1")
            assert record is not None
            assert holding(Object.from_bytes(record.value).spec)[:2] == (one.elected.election.identity, 3)
            nursery.cancel_scope.cancel()

    run(main)
