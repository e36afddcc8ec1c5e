"""A watch that goes on: it resumes after a lost link, and starts over where its revision is gone.

It does as little as possible with an event, because a load test sees every event of a cluster and its own CPU counts
against what it measures: whole batches go to `on_events`, undecoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ...clients.backoff import Backoff
from ...clients.client import PartitionClient, Watch, WatchSink
from ...proto import ursa_pb2 as pb

OnEvents = Callable[[Sequence[pb.WatchEvent]], None]


class Follower:
    """The objects of one resource in one partition: from their present state on, or from the history behind a revision.

    `on_events` is called with the events of each message. `on_restart` is called before the present objects are sent
    again as ADDED because the partition no longer had the events in between: whatever is not among them is gone.
    """

    def __init__(
        self,
        partition_client: PartitionClient,
        resource: str,
        on_events: OnEvents,
        *,
        field_selector: str = "",
        on_restart: Callable[[], None] = lambda: None,
        behind_revision: int = 0,
    ) -> None:
        self._client = partition_client
        self._selection = pb.Selection(resource=resource, field_selector=field_selector)
        self._on_events = on_events
        self._on_restart = on_restart
        self._watch: Watch | None = None
        self._position = _Position(behind_revision)
        self._synced = trio.Event()

    @property
    def resource_version(self) -> int:
        """Every event up to here has been seen."""
        if self._watch is None or not self._position.live:
            return self._position.resource_version
        return max(self._position.resource_version, self._watch.resource_version)

    async def wait_synced(self) -> None:
        """Until all objects that were there at the start have been seen."""
        await self._synced.wait()

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(self._client.actor.random)
        while True:
            sink = _Sink(self._on_batch)
            watch = self._watch = self._client.watch(self._start(), sink)
            try:
                await sink.ended.wait()
            finally:
                self._position.resource_version = self.resource_version
                self._watch = None
                watch.stop()
            if sink.error is not None or not self._position.live:
                self._position = _Position()
                self._on_restart()
            if sink.heard:
                backoff.reset()
            await trio.sleep(backoff.next_seconds())

    def _start(self) -> pb.WatchStart:
        position = self._position
        if not position.resource_version:
            return pb.WatchStart(selection=self._selection, initial_events=True)
        return pb.WatchStart(
            selection=self._selection,
            resource_version=position.resource_version,
            incarnation=position.incarnation,
        )

    def _on_batch(self, batch: pb.WatchBatch, incarnation: str) -> None:
        position = self._position
        events = batch.events
        if events:
            self._on_events(events)
            if position.live:
                position.resource_version = events[-1].resource_version
        if batch.initial_events_end:
            # Only now may a lost watch be resumed: initial events come in the order of keys, not of revisions.
            position.live = True
            self._synced.set()
        position.incarnation = incarnation


class _Position:
    """How far a watch has come, and in which incarnation of the partition's store."""

    __slots__ = ("incarnation", "live", "resource_version")

    def __init__(self, resource_version: int = 0) -> None:
        self.resource_version = resource_version
        self.incarnation = ""
        self.live = resource_version > 0


class _Sink(WatchSink):
    """One opening of the watch."""

    def __init__(self, on_batch: Callable[[pb.WatchBatch, str], None]) -> None:
        self.ended = trio.Event()
        self.error: pb.Status | None = None
        self.heard = False
        self._on_batch = on_batch

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        self.heard = True
        self._on_batch(batch, incarnation)
        if batch.HasField("error"):
            self.error = batch.error
            self.ended.set()

    def on_lost(self) -> None:
        self.ended.set()
