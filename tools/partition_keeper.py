"""Lets a one box run the partitions that its registry names: `ursa partition add` and `remove` write, this carries out.

    rp-3  Active, no address    -> its apiserver is started, its address written, then its controllers are started
    rp-3  Removed               -> its controllers and nodes are stopped, then its apiserver

One change at a time; one that fails is said, and tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from ..clients.client import ClientSet
from ..clients.informer import Event, EventType
from ..clients.registry_core import REMOVED, RESOURCE_OF, Entry, Registry, read_entry
from ..clients.spanning import SpanningInformer
from ..proto.errors import UrsaError
from ..proto.kinds import Role
from .bootstrap import write_entries

RETRY_SECONDS = 5.0

log = logging.getLogger("ursa.partitions")


class Runtime(Protocol):
    """What runs partitions."""

    @property
    def partitions(self) -> Mapping[str, Role]: ...
    async def add_partition(self, name: str, role: Role) -> str: ...
    async def start_components_of(self, partition: str) -> None: ...
    async def remove_partition(self, name: str) -> None: ...


class PartitionKeeper:
    """`on_removed` is called with the name of a partition before it is stopped."""

    def __init__(self, clients: ClientSet, runtime: Runtime, on_removed: Callable[[str], None]) -> None:
        self._clients, self._runtime, self._on_removed = clients, runtime, on_removed
        self._registry = Registry()
        self._starting: dict[str, str] = {}  # The addresses of those whose components are still to be started.
        self._news = trio.Event()
        self._views = [
            SpanningInformer(clients.of_role(members), resource)
            for members in Role
            for resource in RESOURCE_OF.values()
        ]
        for view in self._views:
            view.add_handler(self._event)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for view in self._views:
                nursery.start_soon(view.run)
            while True:
                await self._news.wait()
                self._news = trio.Event()
                for entry in list(self._registry.entries.values()):
                    await self._keep(entry)

    def _event(self, _: str, event: Event) -> None:
        if event.type is not EventType.DELETED and self._registry.learn(read_entry(event.object)):
            self._news.set()

    async def _keep(self, entry: Entry) -> None:
        try:
            if entry.state == REMOVED:
                await self._remove(entry)
            elif not entry.address or entry.name in self._starting:
                await self._start(entry)
        except UrsaError as error:
            log.warning("%s: %s; it will be tried again", entry.name, error)
            await trio.sleep(RETRY_SECONDS)
            self._news.set()

    async def _start(self, entry: Entry) -> None:
        name, runtime = entry.name, self._runtime
        if name in runtime.partitions and name not in self._starting:
            return  # It works: its address has just been written.
        # What was done before something failed is not done again.
        address = entry.address or self._starting.get(name) or await runtime.add_partition(name, entry.role)
        self._starting[name] = address
        if not entry.address:
            await write_entries(self._clients, [entry.changed(address=address)])
        await runtime.start_components_of(name)
        del self._starting[name]
        log.warning("%s runs, at %s", name, address)

    async def _remove(self, entry: Entry) -> None:
        if entry.name in self._runtime.partitions:
            self._on_removed(entry.name)
            await self._runtime.remove_partition(entry.name)
            log.warning("%s was removed, and is stopped", entry.name)
