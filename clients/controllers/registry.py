"""Keeps the registry of its home partition up to date with those of all others (`registry_core.py`).

It writes to its home only, so a partition that is down when something changes learns of it when it is back; and one
that was set back to an older snapshot is told again what it has forgotten.
"""

from __future__ import annotations

import trio

from ...proto.kinds import Role
from ...proto.objects import ObjectKey
from ..actor import Actor
from ..client import ClientSet
from ..informer import Event, EventType
from ..operations import create_operation, raise_for_error, update_operation
from ..registry_core import RESOURCE_OF, Registry, entry_object, read_entry
from ..spanning import SpanningInformer
from .reconciler import Reconciler

WORKERS = 1


class RegistryController:
    """Of one partition, of either role."""

    def __init__(self, clients: ClientSet, home: str, actor: Actor) -> None:
        self._client = clients.for_partition(home)
        self._log = actor.log
        self._registry = Registry()
        self._reconciler: Reconciler[str] = Reconciler(actor, "registry", self._sync, WORKERS)
        self._views = {
            (members_role, role): SpanningInformer(clients.of_role(members_role), RESOURCE_OF[role])
            for members_role in Role
            for role in Role
        }
        for view in self._views.values():
            view.add_handler(self._event)
        home_role = Role.TENANT if home in clients.tenant_clients else Role.RESOURCE
        self._own = {role: self._views[home_role, role] for role in Role}

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for view in self._views.values():
                nursery.start_soon(view.run)
            nursery.start_soon(self._reconciler.run)

    def _event(self, partition: str, event: Event) -> None:
        name = event.object.name
        if event.type is not EventType.DELETED:
            self._registry.learn(read_entry(event.object))
        if name in self._registry.entries:
            self._reconciler.queue.add(name)

    async def _sync(self, name: str) -> None:
        entry = self._registry.entries[name]
        view = self._own[entry.role].get(self._client.partition)
        if view is None or not view.synced:
            self._reconciler.queue.add_after(name, 1.0)
            return
        present = view.objects.get(ObjectKey("", "", name))
        if not entry.supersedes(None if present is None else read_entry(present)):
            return
        wanted = entry_object(entry)
        if present is None:
            operation = create_operation(wanted)
        else:
            wanted.message.metadata.resource_version = present.resource_version
            operation = update_operation(wanted)
        [result] = await self._client.mutate([operation])
        raise_for_error(result)
        self._log.info(
            "the registry of %s had %s entry for %s: it has that of epoch %d now, as others do",
            self._client.partition,
            "no" if present is None else "an older",
            name,
            entry.epoch,
        )
