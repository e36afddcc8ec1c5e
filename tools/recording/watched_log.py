"""The log of one kind, as a watch gives it: for a partition that lives on, and whose store cannot be read."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ...clients.backoff import Backoff
from ...clients.client import PartitionClient, Watch, WatchSink
from ...proto import ursa_pb2 as pb
from .objects import Texts, store_of
from .recorder import Recorder
from .records import Complete, Logged

POLL_SECONDS = 0.05


class WatchedLog(WatchSink):
    """Follows a kind from what there is at the beginning on, and notes each event as the record that it stands for.

    What a store keeps of a record beside the object (its life, the change before) is worked out here. A lost link is
    resumed. Where the partition no longer has the events in between, this log ends: what came later is not known.
    """

    def __init__(self, recorder: Recorder, client: PartitionClient, resource: str) -> None:
        self._recorder = recorder
        self._client = client
        self._selection = pb.Selection(resource=resource)
        self._texts = Texts()
        self._lives: dict[str, tuple[int, int]] = {}  # The create and the newest revision, by key.
        self._initial: list[pb.Object] = []
        self._in_view = True
        self._incarnation = ""
        self._after = self._to = 0
        self._watch: Watch | None = None
        self._wake = trio.Event()
        self._over = False

    async def run(self) -> None:
        """Until cancelled, or until there is a gap."""
        backoff = Backoff(self._client.actor.random)
        while not self._over:
            self._wake = trio.Event()
            self._watch = self._client.watch(self._start(), self)
            await self._wake.wait()
            await trio.sleep(backoff.next_seconds())

    async def reach(self, revision: int) -> None:
        """Wait until everything up to a revision has been noted."""
        while self.resource_version < revision and not self._over:  # noqa: ASYNC110 - bookmarks are told to nobody
            await trio.sleep(POLL_SECONDS)

    @property
    def resource_version(self) -> int:
        return max(self._to, self._watch.resource_version if self._watch is not None and self._after else 0)

    def close(self) -> None:
        """Say up to where it is complete."""
        if self._after:
            to, resources = self.resource_version, (self._selection.resource,)
            name = store_of(self._selection.resource)
            self._recorder.note(Complete(self._client.partition, name, self._incarnation, self._after, to, resources))
        self._over = True
        if self._watch is not None:
            self._watch.stop()

    def _start(self) -> pb.WatchStart:
        if not self._after:
            self._initial, self._in_view = [], True
            return pb.WatchStart(selection=self._selection, initial_events=True)
        start = pb.WatchStart(selection=self._selection, resource_version=self._to)
        start.incarnation = self._incarnation
        return start

    # ---------------------------------------------------------------------------------------------- what watches call

    def on_lost(self) -> None:
        self._to, self._watch = self.resource_version, None
        self._wake.set()

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        if batch.HasField("error") or (self._after and incarnation != self._incarnation):
            self.close()
            self._wake.set()
            return
        if self._in_view:
            self._initial.extend(event.object for event in batch.events)
            self._in_view = not batch.initial_events_end
            events: Sequence[pb.WatchEvent] = ()
        else:
            events = batch.events
        first = events[0].resource_version - 1 if events else resource_version
        if not self._after and not self._in_view and first:
            self._begin(incarnation, first)
        for event in events:
            self._note(event.object, event.resource_version, deleted=event.type == pb.WatchEvent.DELETED)
            self._to = event.resource_version

    def _begin(self, incarnation: str, revision: int) -> None:
        """The objects at the beginning were all, as of this revision."""
        self._incarnation, self._after, self._to = incarnation, revision, revision
        for message in sorted(self._initial, key=lambda each: each.metadata.resource_version):
            self._note(message, message.metadata.resource_version, deleted=False)
        self._initial = []

    def _note(self, message: pb.Object, revision: int, *, deleted: bool) -> None:
        metadata, resource = message.metadata, self._selection.resource
        key = self._texts.key(resource, metadata.tenant, metadata.namespace, metadata.name)
        create, newest = self._lives.get(key, (revision, 0))
        if deleted:
            self._lives.pop(key, None)
        else:
            self._lives[key] = create, revision
        data = message.SerializeToString(deterministic=True)
        of = self._client.partition, store_of(resource), self._incarnation
        self._recorder.note(Logged(*of, revision, key, deleted, create, newest, data))
