"""Watches the ledger of a resource partition while it runs, and checks every revision of it.

Nodes and placements come by two watches of one stream. Each is in the order of revisions; together they are put back
into it: events wait here until both watches have passed their revision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import trio

from ...clients.client import PartitionClient
from ...proto import ursa_pb2 as pb
from .checks import LedgerCheck
from .follow import Follower

# Events that wait are few kilobytes each; a second of them is under 10 MB at the rates a partition reaches.
DRAIN_SECONDS = 1.0
POLL_SECONDS = 0.05


class LedgerWatch:
    """The check of one resource partition, fed live. Run it before the first placement is made."""

    def __init__(self, resource_client: PartitionClient) -> None:
        self.check = LedgerCheck(resource_client.partition)
        self._waiting: list[tuple[int, Callable[[pb.WatchEvent], None], pb.WatchEvent]] = []
        self._nodes = Follower(resource_client, "nodes", self._take(self.check.apply_node), on_restart=self._restart)
        self._placements = Follower(
            resource_client, "placements.ursa.dev", self._take(self.check.apply_placement), on_restart=self._restart
        )

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._nodes.run)
            nursery.start_soon(self._placements.run)
            while True:
                await trio.sleep(DRAIN_SECONDS)
                self._drain()

    async def wait_synced(self) -> None:
        await self._nodes.wait_synced()
        await self._placements.wait_synced()

    async def check_up_to(self, revision: int) -> None:
        """Wait until everything up to a revision has been checked."""
        while True:
            self._drain()
            if self._seen >= revision:
                return
            await trio.sleep(POLL_SECONDS)

    @property
    def _seen(self) -> int:
        return min(self._nodes.resource_version, self._placements.resource_version)

    def _take(self, apply: Callable[[pb.WatchEvent], None]) -> Callable[[Sequence[pb.WatchEvent]], None]:
        def take(events: Sequence[pb.WatchEvent]) -> None:
            self._waiting.extend((event.resource_version, apply, event) for event in events)

        return take

    def _drain(self) -> None:
        seen = self._seen
        self._waiting.sort(key=itemgetter(0))
        count = sum(1 for revision, _, _ in self._waiting if revision <= seen)
        ready, self._waiting = self._waiting[:count], self._waiting[count:]
        for _, apply, event in ready:
            apply(event)

    def _restart(self) -> None:
        self._waiting.clear()
        self.check.restart()
