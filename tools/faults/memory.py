"""Faults of a cluster in one process: of links in memory, which have no packets, and no keepalive of their own."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ...clients.transport.conditions import CLEAR, Conditions
from ...clients.transport.memory import MemoryTransport
from .control import Change
from .rules import Fault, Names, conditions_of

# As between processes (clients/transport): a link that has been silent for so long is given up, and opened anew.
KEEPALIVE_SECONDS = 20.0


class FaultsInMemory:
    """`names`: of the cluster's parts, as they are now. `nursery`: where its keepalive runs while a link is silent."""

    def __init__(self, names: Callable[[], Names], nursery: trio.Nursery) -> None:
        self.names = names
        self._nursery = nursery
        self._faults: list[Fault] = []
        self._links: dict[MemoryTransport, str] = {}  # The component at its end.
        self._conditions: dict[MemoryTransport, Conditions] = {}
        self._kept_alive: dict[MemoryTransport, None] = {}

    def add(self, component: str, link: MemoryTransport) -> None:
        """One more link. It is disturbed as those of its component are."""
        self._links[link] = component
        self._apply(link)

    def partition_removed(self, partition: str) -> None:
        for link in [each for each in self._links if each.partition == partition]:
            del self._links[link]
            self._conditions.pop(link, None)

    def in_force(self) -> list[Fault]:
        return list(self._faults)

    async def change(self, change: Change) -> tuple[list[Fault], list[Fault]]:
        await trio.lowlevel.checkpoint()
        before, self._faults = self._faults, change(self._faults)
        for link in self._links:
            self._apply(link)
        return before, list(self._faults)

    def _apply(self, link: MemoryTransport) -> None:
        before = self._conditions.get(link, CLEAR)
        now = conditions_of(self._links[link], self._faults).get(link.partition, CLEAR)
        if now == before:
            return
        self._conditions[link] = now
        if now.refused:
            link.cut()
        elif before.refused:
            link.heal()
        if _heals_a_cut(before, now):
            link.drop()  # Each stream of it may have a hole in it.
        link.slow(now.requests.delay_seconds, now.replies.delay_seconds)
        link.silence(requests=now.requests.silent, replies=now.replies.silent)
        if now.silent and link not in self._kept_alive:
            self._kept_alive[link] = None
            self._nursery.start_soon(self._keep_alive, link)

    async def _keep_alive(self, link: MemoryTransport) -> None:
        """Give up what is under way on it from time to time, for as long as it is silent."""
        while self._conditions.get(link, CLEAR).silent:
            await trio.sleep(KEEPALIVE_SECONDS)
            if self._conditions.get(link, CLEAR).silent:
                link.drop()
        del self._kept_alive[link]


def _heals_a_cut(before: Conditions, now: Conditions) -> bool:
    return (before.requests.cut and not now.requests.cut) or (before.replies.cut and not now.replies.cut)
