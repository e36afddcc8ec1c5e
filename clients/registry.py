"""Keeps the clients of a component those of the partitions that there are, by the registry's word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import trio

from ..proto.errors import UrsaError
from ..proto.kinds import Role
from .actor import Actor
from .client_set import ClientSet, Members
from .contact import Contact
from .informer import Event, EventType, Informer
from .nurseries import run_all
from .partition_client import PartitionClient
from .registry_core import ACTIVE, DRAINING, REMOVED, RESOURCE_OF, Entry, Registry, read_entry
from .transport.interface import Transport

# Of what a component is given when it starts: whatever a registry says is newer.
_GIVEN_EPOCH = -1


class RegistryFollower:
    """Follows the registry of `home` (of all partitions, if there is none), and opens and closes clients by it.

    Args:
        clients: as they were opened from what the component was given: those partitions, at `addresses`.
        connect: a transport to a partition, at the address of its entry.
    """

    def __init__(
        self,
        clients: ClientSet,
        home: str,
        addresses: Mapping[str, str],
        connect: Callable[[Entry], Transport],
        actor: Actor,
    ) -> None:
        self._clients, self._home, self._connect = clients, home, connect
        self._log = actor.log
        self._registry = Registry()
        self._home_missed, self._home_back = trio.Event(), trio.Event()
        self._ignored: dict[Entry, None] = {}  # Each is told of once.
        for role in Role:
            for name in clients.of_role(role):
                self._registry.learn(Entry(_GIVEN_EPOCH, ACTIVE, addresses.get(name, ""), role, name))

    async def run(self) -> None:
        """Until cancelled."""
        await run_all([partial(self._clients.of_role(role).serve_each, self._follow) for role in Role])

    async def _follow(self, client: PartitionClient) -> None:
        if not self._home:
            await self._learn_from(client)
        elif client.partition == self._home:
            await run_all([partial(self._learn_from, client), partial(self._heed, client.contact)])
        else:
            while True:
                await self._home_missed.wait()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._learn_from, client)
                    await self._home_back.wait()
                    nursery.cancel_scope.cancel()

    async def _learn_from(self, client: PartitionClient) -> None:
        informers = [Informer(client, resource) for resource in RESOURCE_OF.values()]
        for informer in informers:
            informer.add_handler(self._event)
        await run_all([informer.run for informer in informers])

    async def _heed(self, home: Contact) -> None:
        """A home that is elsewhere, or whose address was wrong, cannot say so: meanwhile the others are asked."""
        while True:
            if home.said and not self._home_missed.is_set():
                self._home_missed.set()
                self._home_back = trio.Event()
            elif not home.said and self._home_missed.is_set():
                self._home_missed = trio.Event()
                self._home_back.set()
            await home.wait_turned()

    def _event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            return  # Nothing is concluded from what is missing: see the core.
        entry = read_entry(event.object)
        before = self._registry.entries.get(entry.name)
        if self._registry.learn(entry):
            self._become(entry, before)
        elif before is not None and before.role is not entry.role and entry not in self._ignored:
            self._ignored[entry] = None
            self._log.warning(
                "%s has an entry for %s as a %s, which is a %s: it is ignored; remove it under that name",
                event.object.partition,
                entry.name,
                entry.role.title,
                before.role.title,
            )

    def _become(self, entry: Entry, before: Entry | None) -> None:
        members = self._clients.of_role(entry.role)
        members.set_draining(entry.name, draining=entry.state == DRAINING)
        if entry.state == REMOVED:
            if entry.name == self._home:
                self._log.warning("%s has been removed, the home of this component: it is to be stopped", entry.name)
            elif entry.name in members:
                self._log.warning("%s has been removed", entry.name)
                self._clients.remove(entry.name)
            else:
                members.removed[entry.name] = None
        elif not entry.address:
            pass  # It is still to be started.
        elif entry.name not in members or (before is not None and entry.address != before.address):
            self._reach(entry, members)

    def _reach(self, entry: Entry, members: Members) -> None:
        """A partition that is at this address from now on. One whose address is none stays where it was, or away."""
        try:
            transport = self._connect(entry)
        except (UrsaError, ValueError, LookupError) as error:
            self._log.warning(
                "%s cannot be at %r (%s): correct its entry, with a higher epoch", entry.name, entry.address, error
            )
            return
        if entry.name in members:
            self._log.warning("%s is at %s now", entry.name, entry.address)
            self._clients.move(transport)
        else:
            self._log.warning("%s has been added, at %s", entry.name, entry.address)
            self._clients.add(entry.role, transport)
