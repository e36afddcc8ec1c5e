"""An informer: a partition's objects of one kind, kept in memory by list and watch.

It opens a watch with initial events; after a lost link it resumes behind the last revision it has seen, and where the
partition says Expired (compacted, or another incarnation) it takes the initial events again and reports what vanished
meanwhile as DELETED. Handlers are plain functions, called in order, after the cache has changed.

    watch from nothing -> initial events ... end  -> synced, complete up to 90
    events 91, 94; a bookmark 97                  -> complete up to 97
    link lost; watch from 97 in the same history  -> events 98 ...
    or Expired; watch from nothing                -> initial events ... end, what was not among them is DELETED
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, Expired, from_status
from ..proto.objects import Object, ObjectKey
from .backoff import Backoff
from .client import PartitionClient, Watch, WatchSink
from .metrics import counter
from .object_cache import Event, EventType, ObjectCache
from .revisions import Revision

__all__ = ["Event", "EventType", "Informer"]


class Informer(WatchSink):
    """Objects read are shared: never change them."""

    partition: str
    resource: str
    objects: Mapping[ObjectKey, Object]  # the cache itself, ordered by arrival

    def __init__(
        self,
        client: PartitionClient,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> None:
        """`metadata_only`: of each object only that and its kind are sent and kept."""
        self.partition = client.partition
        self.resource = resource
        self._client = client
        self._selection = pb.Selection(
            resource=resource,
            tenant=tenant,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
        )
        self._cache = ObjectCache(self._dispatch)
        self.objects = self._cache.objects
        self._handlers: list[Callable[[Event], None]] = []
        self._burst_handlers: list[Callable[[], None]] = []
        self._history_handlers: list[Callable[[], None]] = []
        self._backoff = Backoff(client.actor.random)
        self._synced = trio.Event()
        self._running = False

        self._watch: Watch | None = None
        self._watch_over = trio.Event()
        self._refusal: ApiError | None = None
        # The next watch takes a full view; and one is being taken.
        self._needs_view = True
        self._in_view = False
        self._revision = 0
        self._view_revision = 0
        self._heard_at = -math.inf

        registry = client.actor.registry
        self._views = counter(registry, "reflector_lists_total", "Full views taken.", ["name"]).labels(resource)
        self._watches = counter(registry, "reflector_watches_total", "Watches opened.", ["name"]).labels(resource)

    # --------------------------------------------------------------------------------------------------- what it has

    @property
    def resource_version(self) -> int:
        """The cache is complete up to here. It never falls, unless the partition begins another history."""
        if self._watch is None or self._needs_view:
            return self._revision
        return max(self._revision, self._watch.resource_version)

    @property
    def revision(self) -> Revision:
        """The same, for those who have several partitions in reach."""
        return Revision(self.partition, self.resource_version, self._cache.incarnation)

    @property
    def selection(self) -> pb.Selection:
        """What it was asked to follow. Not to be changed."""
        return self._selection

    @property
    def incarnation(self) -> str:
        """The partition's history that `resource_version` belongs to."""
        return self._cache.incarnation

    @property
    def history(self) -> str:
        """The incarnation of which the cache is a complete view; empty while a view is needed, or being taken."""
        return "" if self._needs_view else self._cache.incarnation

    @property
    def synced(self) -> bool:
        """The first full view has been taken. It stays true over lost links; see `staleness_seconds`."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    @property
    def staleness_seconds(self) -> float:
        """Since the partition last said anything on this informer's stream; infinity before it ever did."""
        heard_at = self._heard_at if self._watch is None else max(self._heard_at, self._watch.heard_at)
        return trio.current_time() - heard_at

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        """The objects that have this value, ordered by arrival."""
        return self._cache.by_index(name, value)

    # ---------------------------------------------------------------------------------------------------- before run

    def add_handler(self, handler: Callable[[Event], None]) -> None:
        """Called for every event from now on; before `run` only."""
        assert not self._running, "add handlers before the informer runs"
        self._handlers.append(handler)

    def add_burst_handler(self, handler: Callable[[], None]) -> None:
        """Called once after each burst of events (one message's worth), and at the end of a full view."""
        assert not self._running, "add handlers before the informer runs"
        self._burst_handlers.append(handler)

    def add_history_handler(self, handler: Callable[[], None]) -> None:
        """Called at the end of a full view that has replaced one of another history; before `run` only.

        The events of such a view tell how objects differ from what was shown of them. That what was done about them in
        the history before may be undone, also where they do not differ, only this tells.
        """
        assert not self._running, "add handlers before the informer runs"
        self._history_handlers.append(handler)

    def add_index(self, name: str, values: Callable[[Object], Iterable[str]]) -> None:
        """An index by strings computed from each object; before `run` only."""
        assert not self._running, "add indexes before the informer runs"
        self._cache.add_index(name, values)

    # ----------------------------------------------------------------------------------------------------------- run

    async def run(self) -> None:
        """Until cancelled. Never raises for a lost or refusing partition: it retries with backoff (100 ms to 5 s)."""
        self._running = True
        try:
            while True:
                self._open_watch()
                await self._watch_over.wait()
                # A lost link has its own backoff: the next watch waits for it.
                if self._refusal is not None:
                    self._client.actor.log.info(
                        "watch of %s at %s ended: %s", self.resource, self.partition, self._refusal
                    )
                    pause = max(self._backoff.next_seconds(), self._refusal.retry_after_ms / 1000)
                    await trio.sleep(pause)
        finally:
            self._end_watch(None)

    def _open_watch(self) -> None:
        start = pb.WatchStart(selection=self._selection)
        if self._needs_view:
            start.initial_events = True
            self._views.inc()
        else:
            start.resource_version = self._revision
            start.incarnation = self._cache.incarnation
        self._watches.inc()
        self._refusal = None
        self._in_view = False
        self._watch_over = trio.Event()
        self._watch = self._client.watch(start, self)

    def _end_watch(self, refusal: ApiError | None) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        if not self._needs_view:
            self._revision = max(self._revision, watch.resource_version)
        self._heard_at = max(self._heard_at, watch.heard_at)
        if isinstance(refusal, Expired):
            self._needs_view = True
            if 0 < refusal.resource_version < self._revision:
                # Our revision is from the future: this is not the history we have seen, whatever it calls itself.
                self._cache.forget_history()
        if not self._revision:
            # On the wire, behind revision 0 means from now on; an empty partition is quickly viewed again.
            self._needs_view = True
        self._refusal = refusal
        watch.stop()
        self._watch_over.set()

    # ---------------------------------------------------------------------------------------------- what watches call

    def on_lost(self) -> None:
        self._end_watch(None)

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        if batch.HasField("error"):
            self._end_watch(from_status(batch.error))
            return
        if self._needs_view:
            if not self._in_view:
                self._begin_view(incarnation)
        elif incarnation != self._cache.incarnation:
            self._end_watch(Expired("the partition has begun another history: a full view is needed"))
            return
        else:
            self._backoff.reset()
        self._apply(batch)
        if batch.initial_events_end:
            self._end_view()
        if not self._needs_view:
            self._revision = max(self._revision, self._view_revision, resource_version)
        if batch.initial_events_end or batch.events:
            for handler in self._burst_handlers:
                handler()
            self._cache.tidy()

    def _apply(self, batch: pb.WatchBatch) -> None:
        apply, partition = self._cache.apply, self.partition
        revision = self._view_revision
        for event in batch.events:
            event_revision = event.resource_version
            apply(event.type, Object(event.object, partition), event_revision)
            if event_revision > revision:  # Not in order within a view.
                revision = event_revision
        self._view_revision = revision

    def _begin_view(self, incarnation: str) -> None:
        self._in_view = True
        self._view_revision = 0
        if incarnation != self._cache.incarnation:
            self._revision = 0
        self._cache.begin_view(incarnation)

    def _end_view(self) -> None:
        other_history = self._cache.end_view()
        self._in_view = self._needs_view = False
        self._backoff.reset()
        self._synced.set()
        if other_history:
            for handler in self._history_handlers:
                handler()

    def _dispatch(self, event: Event) -> None:
        for handler in self._handlers:
            handler(event)
