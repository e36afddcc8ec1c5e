"""Watches the ledger of a resource partition, and checks every revision of it: live, or afterwards from the history.

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
from .survey import NODES, PLACEMENTS

# Events that wait are few kilobytes each; a second of them is under 10 MB at the rates a partition reaches.
DRAIN_SECONDS = 1.0
POLL_SECONDS = 0.05


class LedgerWatch:
    """The check of one resource partition.

    With `behind_revision` 0 it is fed live, and must run before the first placement is made. With 1 it reads the whole
    history, as far as the partition still has it at hand; where it has not, that is a gap of the check.
    """

    def __init__(self, resource_client: PartitionClient, *, behind_revision: int = 0) -> None:
        self.check = LedgerCheck(resource_client.partition)
        self._waiting: list[tuple[int, Callable[[pb.WatchEvent], None], pb.WatchEvent]] = []
        self._nodes = self._follow(resource_client, NODES, self.check.apply_node, behind_revision)
        self._placements = self._follow(resource_client, PLACEMENTS, self.check.apply_placement, behind_revision)

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

    def _follow(
        self,
        resource_client: PartitionClient,
        resource: str,
        apply: Callable[[pb.WatchEvent], None],
        behind_revision: int,
    ) -> Follower:
        return Follower(
            resource_client,
            resource,
            self._take(apply),
            on_restart=self._restart,
            behind_revision=behind_revision,
        )

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
