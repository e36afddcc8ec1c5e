"""Several partitions in memory, and any number of clients of all of them, each with links of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import ClientSet, open_clients
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import BY_KIND, Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Service
from ursa.proto.tenants import ACTIVE, TENANTS, Record, record_of
from ursa.storage import Change, MemoryStore

WALL_OFFSET_SECONDS = 1_790_000_000.0


class Region:
    """`partitions` by name; tp-... are tenant partitions. A partition may be set back to what it was."""

    def __init__(self, seed: int = 1, names: tuple[str, ...] = ("tp-1", "tp-2")) -> None:
        self.random = Random(seed)
        self.names = names
        self.stores: dict[str, MemoryStore] = {}
        self.services: dict[str, Service] = {}
        self.links: dict[str, list[MemoryTransport]] = {name: [] for name in names}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Region]:
        async with trio.open_nursery() as self._nursery:
            for name in self.names:
                self.stores[name] = MemoryStore(incarnation=name)
                await self._nursery.start(self._serve, name)
            yield self
            self._nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def clients(
        self, name: str = "test", latency_seconds: tuple[float, float] = (0.0, 0.0)
    ) -> AsyncIterator[ClientSet]:
        links: dict[str, MemoryTransport] = {}
        for partition in self.names:
            link = MemoryTransport(
                partition,
                self.services[partition],
                random=Random(self.random.getrandbits(32)),
                latency_seconds=latency_seconds,
                user=name,
            )
            links[partition] = link
            self.links[partition].append(link)
        actor = Actor(name, Clock(WALL_OFFSET_SECONDS), Random(self.random.getrandbits(32)))
        tenant = {each: link for each, link in links.items() if each.startswith("tp-")}
        resource = {each: link for each, link in links.items() if not each.startswith("tp-")}
        async with open_clients(tenant, resource, actor) as clients:
            yield clients

    def cut(self, name: str) -> None:
        for link in self.links[name]:
            link.cut()

    def heal(self, name: str) -> None:
        for link in self.links[name]:
            link.heal(self.services[name])

    async def set_back(self, name: str, objects: list[Object]) -> None:
        """It is opened again, in another history, with no more than these, which keep what they say of themselves."""
        self.cut(name)
        self._scopes[name].cancel()
        store = MemoryStore(incarnation=f"{name}-{len(self.stores[name].incarnation)}")
        self.stores[name] = store
        put(store, objects)
        await self._nursery.start(self._serve, name)
        self.heal(name)

    def stored(self, partition: str, resource: str = "") -> list[Object]:
        """Read behind everybody's back."""
        prefix = f"/registry/{resource}/" if resource else "/registry/"
        return [
            Object(pb.Object.FromString(record.value), partition) for record in self.stores[partition].range(prefix)
        ]

    def records(self, tenant: str) -> dict[str, Record]:
        """What the partitions say of a tenant."""
        return {
            name: record_of(each)
            for name in self.names
            if name.startswith("tp-")
            for each in self.stored(name, TENANTS)
            if each.name == tenant
        }

    def ever_active(self, tenant: str) -> list[str]:
        """Partitions in which the tenant was Active at any time that the log knows."""
        found: dict[str, None] = {}
        for name in self.names:
            for record in self.stores[name].log(0):
                is_tenant = record.key == f"/registry/{TENANTS}///{tenant}" and not record.deleted
                if is_tenant and record_of(Object(pb.Object.FromString(record.value))).state == ACTIVE:
                    found[name] = None
        return list(found)

    def log(self, partition: str) -> Iterator[Any]:
        return iter(self.stores[partition].log(0))

    async def _serve(self, name: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        role = Role.TENANT if name.startswith("tp-") else Role.RESOURCE
        random = Random(self.random.getrandbits(32))
        with trio.CancelScope() as self._scopes[name]:
            async with open_local_partition(
                name, role, self.stores[name], random, wall_offset_seconds=WALL_OFFSET_SECONDS
            ) as self.services[name]:
                task_status.started()
                await trio.sleep_forever()


def put(store: MemoryStore, objects: list[Object]) -> None:
    def encoded(message: pb.Object, revision: int) -> bytes:
        message.metadata.resource_version = revision
        return message.SerializeToString(deterministic=True)

    changes = [
        Change(BY_KIND[obj.kind].key(obj.tenant, obj.namespace, obj.name), partial(encoded, obj.message))
        for obj in objects
    ]
    if changes:
        store.stage(changes)
        store.commit(lambda _: None)
