"""All watches of a client, on one Watch stream.

Every reply on the stream speaks of one store of the partition (Events may have one of their own, with revisions of its
own) and carries a resource version that is a bookmark for all watches there at once. A thousand watches are not told
each: the stream keeps the newest of each store, and a watch reads it there when it is asked. A bookmark speaks only for
watches the partition had accepted before: the first batch of a watch, perhaps empty, says that it has been, and the
next bookmark (in the same reply or later) is the first that counts for it. A reply without one (0) says that more is
queued behind it.

    reply {batches: [{id: 1, events: ...}], resource_version: 90}     watch 1 is complete up to 90
    request {start: {id: 2, resource_version: 80}}
    reply {batches: [], resource_version: 95}                         watch 1: 95.  watch 2: nothing known yet
    reply {batches: [{id: 2, events: 81, 83}], resource_version: 0}   watch 2 has been accepted, there is more to come
    reply {batches: [{id: 2, events: 92}], resource_version: 97}      watches 1 and 2: 97
"""

from __future__ import annotations

import math
from typing import ClassVar

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import UrsaError
from .actor import Actor
from .contact import Contact
from .links import Link
from .sightings import Sightings
from .transport.interface import Transport

# A partition bookmarks its streams every few seconds; one that has been silent for this long is gone, whatever the
# link says.
SILENCE_SECONDS_MAX = 60.0

# Starts in one message: at 100 bytes each, a message of 100 KB.
STARTS_PER_MESSAGE_MAX = 1000


class WatchSink:
    """What a watch calls. All are plain functions: they must not block. They may be called outside of all tasks."""

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        """Events of this watch (batch.events may be empty: then it is a bookmark, or the end of the initial events).

        Afterwards the watch is complete up to `resource_version`, unless that is 0: then more is on its way. If
        `batch.error` is set the watch has ended.
        """
        raise NotImplementedError

    def on_covered(self) -> None:
        """The first bookmark holds for this watch: all that had happened when it was opened has been told."""

    def on_lost(self) -> None:
        """The stream is gone; the watch has ended and must be opened again."""
        raise NotImplementedError


class _Lane:
    """What a stream has said of one store, for all watches there. It outlives the stream: watches go on reading it."""

    __slots__ = ("heard_at", "incarnation", "resource_version", "uncovered")

    def __init__(self) -> None:
        self.resource_version = 0
        self.incarnation = ""
        self.heard_at = -math.inf
        self.uncovered: list[Watch] = []  # Accepted, and no bookmark since.


class Watch:
    """An open watch. It ends by `stop`, by a batch with an error, or with its stream."""

    __slots__ = ("_watches", "accepted_by", "covered_by", "id", "sink", "start")

    def __init__(self, watches: Watches, start: pb.WatchStart, sink: WatchSink) -> None:
        self.id = start.id
        self.start = start
        self.sink = sink
        self._watches = watches
        # Set by Watches: the lane that has accepted it, and the same one once a bookmark has covered it.
        self.accepted_by: _Lane | None = None
        self.covered_by: _Lane | None = None

    @property
    def resource_version(self) -> int:
        """The newest bookmark that holds for this watch: it is complete up to here. 0: there has been none."""
        return self.covered_by.resource_version if self.covered_by is not None else 0

    @property
    def heard_at(self) -> float:
        """When its stream last spoke of its store, in trio's time; minus infinity before the watch was accepted."""
        return self.accepted_by.heard_at if self.accepted_by is not None else -math.inf

    def stop(self) -> None:
        """Its sink is not called again. Idempotent."""
        self._watches.stop(self)


class Watches(Link):
    """See the module. A watch opened while there is no link waits for one; it is not lost before it was sent."""

    method: ClassVar[str] = "Watch"

    def __init__(
        self, transport: Transport, actor: Actor, sightings: Sightings | None = None, contact: Contact | None = None
    ) -> None:
        super().__init__(transport, actor, contact)
        self._sightings = sightings or Sightings()
        self._last_id = 0
        self._open: dict[int, Watch] = {}  # Sent or not.
        self._starts: dict[int, Watch] = {}  # Of these, the ones not yet sent.
        self._stops: list[int] = []
        self._lanes: dict[str, _Lane] = {}  # Of the stream, by store.

    def watch(self, start: pb.WatchStart, sink: WatchSink) -> Watch:
        """Open a watch. Its id is given here."""
        self._last_id += 1
        start.id = self._last_id
        watch = Watch(self, start, sink)
        self._open[watch.id] = self._starts[watch.id] = watch
        self._contact.followed = True
        self._wake()
        return watch

    def stop(self, watch: Watch) -> None:
        if self._open.pop(watch.id, None) is None:
            return
        if self._starts.pop(watch.id, None) is None:
            self._stops.append(watch.id)
            self._wake()

    # ----------------------------------------------------------------------------------------------- what links ask

    def _wanted(self) -> bool:
        return bool(self._starts)

    def _next_message(self) -> pb.WatchRequest | None:
        if not self._starts and not self._stops:
            return None
        request = pb.WatchRequest(stop=[pb.WatchStop(id=watch_id) for watch_id in self._stops])
        self._stops.clear()
        for watch in list(self._starts.values())[:STARTS_PER_MESSAGE_MAX]:
            del self._starts[watch.id]
            request.start.append(watch.start)
        self._expect_by(trio.current_time() + SILENCE_SECONDS_MAX)
        return request

    def _receive(self, message: pb.WatchReply) -> None:
        lane = self._lanes.get(message.store)
        if lane is None:
            lane = self._lanes[message.store] = _Lane()
        lane.heard_at = now = self._now()
        self._expect_by(now + SILENCE_SECONDS_MAX if self._open else math.inf)
        if message.incarnation:
            lane.incarnation = message.incarnation
        resource_version = message.resource_version
        for batch in message.batches:
            watch = self._open.get(batch.id)
            if watch is None:  # Stopped, while this was on its way.
                continue
            if watch.accepted_by is None:
                watch.accepted_by = lane
                lane.uncovered.append(watch)
            if batch.HasField("error"):
                del self._open[batch.id]
            watch.sink.on_batch(batch, resource_version, lane.incarnation)
        # Only now: nobody may take a watch for complete whose events of this very reply have not been delivered.
        if not resource_version:
            # No watch is complete up to these, but they have been seen, and no read may go back behind them.
            resource_versions = [event.resource_version for batch in message.batches for event in batch.events]
            self._sightings.saw(message.store, lane.incarnation, max(resource_versions, default=0))
        else:
            if resource_version > lane.resource_version:
                lane.resource_version = resource_version
            self._sightings.saw(message.store, lane.incarnation, resource_version)
            covered, lane.uncovered = lane.uncovered, []
            for watch in covered:
                if watch.id in self._open:  # Not of one that was refused: it is complete up to nothing.
                    watch.covered_by = lane
                    watch.sink.on_covered()

    def _give_up_at(self) -> float:
        return math.inf

    def _give_up(self, error: UrsaError) -> None:
        """Watches wait for as long as it takes."""

    def _lost(self, error: UrsaError) -> None:
        lost = [watch for watch_id, watch in self._open.items() if watch_id not in self._starts]
        self._open = dict(self._starts)
        self._stops.clear()
        self._lanes = {}
        for watch in lost:
            watch.sink.on_lost()
