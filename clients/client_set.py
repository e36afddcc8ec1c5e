"""The clients of one component: one per partition, by name. Partitions come and go while it runs.

    async with open_clients(tenant_transports, resource_transports, actor) as clients:
        nursery.start_soon(clients.resource_clients.serve_each, follow_nodes)
        clients.add(Role.RESOURCE, transport)   # follow_nodes(client) begins for it
        clients.remove("rp-2")                  # that of rp-2 is cancelled, and its client closed

A partition leaves only because somebody says so (`registry.py`): one that does not answer is still one.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from ..proto.errors import InputError, NotFound
from ..proto.kinds import Role
from .actor import Actor
from .contact import contacts_of
from .nurseries import open_background
from .partition_client import PartitionClient, make_client
from .throttling import RateLimit
from .transport.interface import Transport
from .transport.movable import MovableTransport


class _Service(NamedTuple):
    """What `serve_each` runs for one client."""

    client: PartitionClient
    scope: trio.CancelScope
    ended: trio.Event

    async def run(self, serve: Callable[[PartitionClient], Awaitable[object]], before: _Service | None) -> None:
        try:
            with self.scope:
                if before is not None:
                    await before.ended.wait()
                await serve(self.client)
        finally:
            self.ended.set()


class Members(Mapping[str, PartitionClient]):
    """The clients of one role by partition name, in the order of the names, as they are now.

    `removed`: partitions that are none any more, by the registry's word. What was theirs is gone for good.
    `draining`: those that are to be empty soon: nothing new goes there.
    """

    def __init__(self) -> None:
        self.removed: dict[str, None] = {}
        self.draining: dict[str, None] = {}
        self._clients: dict[str, PartitionClient] = {}
        self._changed = trio.Event()
        self._watchers: list[Callable[[], None]] = []

    def __getitem__(self, partition: str) -> PartitionClient:
        return self._clients[partition]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    async def serve_each(self, serve: Callable[[PartitionClient], Awaitable[object]]) -> None:
        """Run `serve` for every member, those to come too, each for as long as it is one. Until cancelled.

        A partition that has another client by now is served anew, once what served the one before has ended.
        """
        served: dict[str, _Service] = {}
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._changed
                present = dict(self)
                for name, service in served.items():
                    if present.get(name) is not service.client:
                        service.scope.cancel()
                for name, client in present.items():
                    before = served.get(name)
                    if before is None or before.client is not client:
                        service = served[name] = _Service(client, trio.CancelScope(), trio.Event())
                        nursery.start_soon(service.run, serve, before)
                await changed.wait()

    async def wait_changed(self) -> None:
        """Until something here changes."""
        await self._changed.wait()

    def set_draining(self, partition: str, *, draining: bool) -> None:
        if draining != (partition in self.draining):
            if draining:
                self.draining[partition] = None
            else:
                del self.draining[partition]
            self._announce()

    def add(self, client: PartitionClient) -> None:
        """For `ClientSet`, like `discard`."""
        self._clients = dict(sorted({**self._clients, client.partition: client}.items()))
        self.removed.pop(client.partition, None)
        self._announce()

    def discard(self, client: PartitionClient) -> None:
        self._clients = {name: each for name, each in self._clients.items() if each is not client}
        self._announce()

    def watch(self, changed: Callable[[], None]) -> None:
        """`changed` is called whenever something here has changed, for as long as this lives."""
        self._watchers.append(changed)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        for changed in self._watchers:
            changed()


class _DressedMembers(Members):
    """Members as somebody sees them whose clients are dressed: each once, for as long as it is a member."""

    def __init__(self, members: Members, dress: Callable[[PartitionClient], PartitionClient]) -> None:
        super().__init__()
        self._members, self._dress = members, dress
        self._dressed: dict[str, tuple[PartitionClient, PartitionClient]] = {}
        members.watch(self._follow)
        self._follow()

    def _follow(self) -> None:
        for name, client in self._members.items():
            known = self._dressed.get(name)
            if known is None or known[0] is not client:
                self._dressed[name] = client, self._dress(client)
        self._dressed = {name: both for name, both in self._dressed.items() if name in self._members}
        self._clients = {name: self._dressed[name][1] for name in self._members}
        self.removed, self.draining = self._members.removed, self._members.draining
        self._announce()


class ClientSet:
    """The clients of one component, by partition name and role. Make one with `open_clients`."""

    def __init__(self, nursery: trio.Nursery, actor: Actor, rate_limit: RateLimit | None = None) -> None:
        """`nursery`: where its clients live, each with the rate limit."""
        self.tenant_clients = Members()
        self.resource_clients = Members()
        self.contacts = contacts_of(actor.registry)
        self._nursery = nursery
        self._actor = actor
        self._rate_limit = rate_limit
        self._lives: dict[str, trio.CancelScope] = {}
        self._transports: dict[str, MovableTransport] = {}

    def dressed(self, dress: Callable[[PartitionClient], PartitionClient]) -> ClientSet:
        """The same set, now and later, with what `dress` makes of each client in its place."""
        view = copy.copy(self)
        view.tenant_clients = _DressedMembers(self.tenant_clients, dress)
        view.resource_clients = _DressedMembers(self.resource_clients, dress)
        return view

    def of_role(self, role: Role) -> Members:
        return self.tenant_clients if role is Role.TENANT else self.resource_clients

    def for_partition(self, partition: str) -> PartitionClient:
        """The client of a partition of either role.

        Raises:
            NotFound: the component was not given this partition.
        """
        client = self.tenant_clients.get(partition) or self.resource_clients.get(partition)
        if client is None:
            known = ", ".join([*self.tenant_clients, *self.resource_clients]) or "none"
            raise NotFound(f"no client for partition {partition!r}; there are clients for: {known}")
        return client

    def add(self, role: Role, transport: Transport) -> PartitionClient:
        """Open a client of one more partition, which waits for nothing. It owns the transport.

        Raises:
            InputError: there is a partition of that name.
        """
        name = transport.partition
        if name in self._lives:
            raise InputError(f"there is a partition {name!r} already: a name is used once, over both roles")
        movable = self._transports[name] = MovableTransport(transport)
        client = make_client(movable, self._actor, rate_limit=self._rate_limit)
        scope = self._lives[name] = trio.CancelScope()
        self._nursery.start_soon(_within, scope, client.run)
        self.of_role(role).add(client)
        self.contacts.add(client.contact)
        return client

    def move(self, transport: Transport) -> None:
        """Lead the client of a partition to where that is now: its streams are lost, and come back there, and what is
        served for it goes on. It owns the transport.

        Raises:
            NotFound: there is none.
        """
        client = self.for_partition(transport.partition)
        client.contact.moved()
        self._nursery.start_soon(self._transports[transport.partition].move, transport)

    def remove(self, partition: str) -> None:
        """Close the client of a partition that is none any more. What was served for it is cancelled.

        Raises:
            NotFound: there is none.
        """
        for members in (self.tenant_clients, self.resource_clients):
            if partition in members:
                members.removed[partition] = None
        self._close(partition)

    def _close(self, partition: str) -> None:
        client = self.for_partition(partition)
        role = Role.TENANT if partition in self.tenant_clients else Role.RESOURCE
        self.of_role(role).discard(client)
        self.contacts.discard(client.contact)
        self._lives.pop(partition).cancel()
        del self._transports[partition]


@asynccontextmanager
async def open_clients(
    tenant_transports: Mapping[str, Transport],
    resource_transports: Mapping[str, Transport],
    actor: Actor,
    *,
    rate_limit: RateLimit | None = None,
) -> AsyncIterator[ClientSet]:
    """A client for each transport, by partition name, each with the rate limit. Opening waits for no partition."""
    async with open_background() as nursery:
        clients = ClientSet(nursery, actor, rate_limit)
        for role, transports in ((Role.TENANT, tenant_transports), (Role.RESOURCE, resource_transports)):
            for _, transport in sorted(transports.items()):
                clients.add(role, transport)
        yield clients


async def _within(scope: trio.CancelScope, work: Callable[[], Awaitable[object]]) -> None:
    with scope:
        await work()
