"""Watches that keep a core informed: a full view first, then what changes, over lost links and restarts.

A thousand kubelets in a process hold thousands of watches, so a feed is small: it keeps no objects and has no task.
A feed whose link is lost resumes behind the last revision it has seen (the client holds the watch back until there is a
link again); it is behind until a bookmark says that it has been told of all it missed. One that the partition refuses
waits for its `FeedKeeper`, one per client, which opens it again after a pause; where the refusal is Expired, with a
full view.

A revision never falls: a view that ends below what the feed has seen of the same incarnation comes from a stale
replica and would bring deleted pods back to life. It is thrown away and taken again.
"""

from __future__ import annotations

import abc
import math
from collections import Counter

import trio

from ..proto import ursa_pb2 as pb
from .actor import Actor
from .backoff import Backoff
from .client import PartitionClient, Watch, WatchSink
from .wake import Wake

# Refusals further apart than this are not one trouble that goes on: the next pause is the shortest again.
CALM_SECONDS = 60.0


class Feed(WatchSink, abc.ABC):
    """One watch, kept open until `stop`. The subclass handles what arrives, quickly."""

    __slots__ = ("_incarnation", "_keeper", "_resumable", "_revision", "_selection", "_viewing", "_watch", "synced")

    def __init__(self, keeper: FeedKeeper, selection: pb.Selection) -> None:
        self._keeper = keeper
        self._selection = selection
        self._watch: Watch | None = None
        self._incarnation = ""
        self._revision = 0  # The newest seen of this incarnation.
        self._resumable = False  # All up to that has been seen.
        self._viewing = False
        self.synced = False  # The first full view has been taken.

    @property
    def incarnation(self) -> str:
        """Of the newest full view; empty before there was one."""
        return self._incarnation

    @property
    def revision(self) -> int:
        """All up to here has been handled, of this incarnation."""
        told = 0 if self._watch is None or self._viewing else self._watch.resource_version
        return max(self._revision, told)

    @property
    def heard_at(self) -> float:
        """When the partition last said anything on this watch, by trio's clock; minus infinity: not since it opened."""
        return -math.inf if self._watch is None else self._watch.heard_at

    @abc.abstractmethod
    def view_started(self) -> None:
        """A full view follows; one that was under way is void."""

    @abc.abstractmethod
    def view_complete(self) -> None: ...

    def resumed(self) -> None:
        """What is told next happened while there was no link: it may be over already."""

    def caught_up(self) -> None:
        """All that was missed has been told."""

    @abc.abstractmethod
    def take(self, batch: pb.WatchBatch) -> None:
        """Handle the events of a batch."""

    @abc.abstractmethod
    def settled(self) -> None:
        """A batch has been handled, or the feed has caught up."""

    def open(self) -> None:
        self._viewing = not self._resumable
        if self._viewing:
            self.view_started()
        else:
            self.resumed()
        start = pb.WatchStart(selection=self._selection, initial_events=self._viewing)
        if self._resumable:
            start.resource_version = self._revision
            start.incarnation = self._incarnation
        self._watch = self._keeper.client.watch(start, self)

    def stop(self) -> None:
        """No handler is called again."""
        self._keeper.forget(self)
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        if batch.HasField("error"):
            self._refused(batch.error)
            return
        if batch.events:
            self.take(batch)
        if self._viewing:
            if batch.initial_events_end:
                self._end_view(resource_version, incarnation)
        elif resource_version:
            self._seen(resource_version)
        elif batch.events:
            self._seen(batch.events[-1].resource_version)
        self.settled()

    def on_covered(self) -> None:
        assert self._watch is not None
        if not self._watch.start.initial_events:
            self.caught_up()
            self.settled()

    def on_lost(self) -> None:
        self._note_bookmark()
        self.open()

    def _end_view(self, resource_version: int, incarnation: str) -> None:
        if incarnation != self._incarnation:
            self._incarnation = incarnation
            self._revision = 0
        if 0 < resource_version < self._revision:
            self._throw_away(resource_version)
            return
        self._viewing = False
        self.synced = True
        self.view_complete()
        if resource_version:
            self._seen(resource_version)

    def _throw_away(self, resource_version: int) -> None:
        self.stop()
        self.view_started()
        self._keeper.reopen(self, f"revision {resource_version} is older than {self._revision}, which was seen before")

    def _refused(self, error: pb.Status) -> None:
        self._note_bookmark()
        self._watch = None
        if error.reason == "Expired":
            self._resumable = False
        self._keeper.reopen(self, f"{error.reason}: {error.message}")

    def _note_bookmark(self) -> None:
        if self._watch is not None and not self._viewing and self._watch.resource_version:
            self._seen(self._watch.resource_version)

    def _seen(self, revision: int) -> None:
        self._revision = max(self._revision, revision)
        self._resumable = True


class FeedKeeper:
    """Opens the refused feeds of a client again, all that have gathered at once, after a pause."""

    def __init__(self, client: PartitionClient, actor: Actor) -> None:
        self.client = client
        self._log = actor.log
        self._backoff = Backoff(actor.random)
        self._waiting: dict[Feed, str] = {}  # Each with the reason.
        self._wake = Wake()

    def reopen(self, feed: Feed, why: str) -> None:
        self._waiting[feed] = why
        self._wake.ring()

    def forget(self, feed: Feed) -> None:
        self._waiting.pop(feed, None)

    async def run(self) -> None:
        reopened_at = trio.current_time()
        while True:
            await self._wake.wait()
            if trio.current_time() - reopened_at > CALM_SECONDS:
                self._backoff.reset()
            await trio.sleep(self._backoff.next_seconds())
            reopened_at = trio.current_time()
            waiting, self._waiting = self._waiting, {}
            for why, count in Counter(waiting.values()).items():
                self._log.warning("%s has ended %d watches (%s): opening them again", self.client.partition, count, why)
            for feed in waiting:
                feed.open()
