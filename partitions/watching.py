"""Watches: who wants which change, and what is on its way to whom.

A change is encoded as an event at most once per type and shared by all watches that want it. Watches that select by an
indexed field are found through that field, so an event costs the watches that want it and not the others.

Every stream has its own queue. It is bounded in bytes: a watch whose events would exceed it is ended with an explicit
Expired and the stream's other watches, and all other streams, go on. Order within a stream is the order of revisions:
initial objects are taken at one revision, and what is committed meanwhile queues behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, BadRequest, Expired
from ..proto.kinds import Role
from . import frames
from .entries import Entry
from .requests import parse_request
from .selections import CompiledSelection, compile_selection
from .watch_cache import Change, Collection, WatchCache

# What one reply carries: enough to make a message cheap, little enough to keep others waiting briefly.
REPLY_BYTES = 256 * 1024
# A stream that lets this much pile up does not read; its watches end and list again when it is back.
QUEUE_BYTES_MAX = 64 * 1024 * 1024
WATCHES_PER_STREAM_MAX = 100_000


class EventFrames:
    """The encoded events of one change, each made when first wanted."""

    __slots__ = ("_change", "_frames")

    def __init__(self, change: Change) -> None:
        self._change = change
        self._frames: dict[int, bytes] = {}

    def of(self, kind: pb.WatchEvent.Type, entry: Entry) -> bytes:
        frame = self._frames.get(kind)
        if frame is None:
            frame = self._frames[kind] = frames.watch_event(kind, entry.data, self._change.revision)
        return frame


class Watch:
    """One watch on one stream."""

    __slots__ = ("collection", "id", "initial", "queue", "selection", "session", "waiting")

    def __init__(self, session: WatchSession, watch_id: int, selection: CompiledSelection, to: Collection) -> None:
        self.session = session
        self.id = watch_id
        self.selection = selection
        self.collection = to
        self.initial: Iterator[Entry] | None = None  # Objects still to be sent before any event.
        self.queue: list[bytes] = []
        self.waiting = False  # It stands in its session's line of watches with something to send.

    def event(self, change: Change, shared: EventFrames) -> bytes | None:
        """What this watch sees of a change: entering its selection is ADDED, leaving it DELETED."""
        matches = self.selection.matches
        old, new = change.old, change.new
        was = old is not None and matches(old)
        if new is not None and matches(new):
            return shared.of(frames.MODIFIED if was else frames.ADDED, new)
        if was:
            last = change.final or old
            assert last is not None
            return shared.of(frames.DELETED, last)
        return None


class Dispatcher:
    """Finds the watches a change may concern."""

    def __init__(self, cache: WatchCache) -> None:
        self._plain: dict[str, dict[Watch, None]] = {name: {} for name in cache.collections}
        self._indexed: dict[str, list[tuple[int, dict[str, dict[Watch, None]]]]] = {}
        self._by_field: dict[tuple[str, str], dict[str, dict[Watch, None]]] = {}
        for name, collection in cache.collections.items():
            kind = collection.kind
            self._indexed[name] = []
            for field in kind.indexes:
                by_value: dict[str, dict[Watch, None]] = {}
                self._indexed[name].append((list(kind.fields).index(field), by_value))
                self._by_field[name, field] = by_value
        self.count = 0

    def add(self, watch: Watch) -> None:
        self._bucket(watch)[watch] = None
        self.count += 1

    def remove(self, watch: Watch) -> None:
        bucket = self._bucket(watch)
        if bucket.pop(watch, False) is None:
            self.count -= 1
        if not bucket and watch.selection.indexed_by is not None:
            field, value = watch.selection.indexed_by
            del self._by_field[watch.collection.kind.resource, field][value]

    def dispatch(self, change: Change) -> int:
        """Queue a change for every watch that wants it; returns how many did."""
        shared = EventFrames(change)
        sent = 0
        for watch in self._candidates(change):
            frame = watch.event(change, shared)
            if frame is not None:
                watch.session.enqueue(watch, frame)
                sent += 1
        return sent

    def _candidates(self, change: Change) -> Iterator[Watch]:
        resource = change.kind.resource
        # A full stream drops its watches while we walk, so the walk is over a copy.
        yield from list(self._plain[resource])
        for position, by_value in self._indexed[resource]:
            if not by_value:
                continue
            old = change.old.fields[position] if change.old is not None else None
            new = change.new.fields[position] if change.new is not None else None
            if old is not None and old in by_value:
                yield from list(by_value[old])
            if new is not None and new != old and new in by_value:
                yield from list(by_value[new])

    def _bucket(self, watch: Watch) -> dict[Watch, None]:
        resource = watch.collection.kind.resource
        if watch.selection.indexed_by is None:
            return self._plain[resource]
        field, value = watch.selection.indexed_by
        return self._by_field[resource, field].setdefault(value, {})


class WatchSession:
    """The server's end of one Watch stream: a `sessions.ServerStream`."""

    def __init__(
        self,
        cache: WatchCache,
        dispatcher: Dispatcher,
        role: Role,
        incarnation: str,
        wake: Callable[[], None],
        on_close: Callable[[WatchSession], object],
    ) -> None:
        self._cache = cache
        self._dispatcher = dispatcher
        self._role = role
        self._incarnation = incarnation
        self._incarnation_told = False
        self._wake = wake
        self._on_close = on_close
        self._watches: dict[int, Watch] = {}
        self._ready: deque[Watch] = deque()  # Watches with something to send, each once, in order of their turn.
        self._ended: list[bytes] = []  # Last words of watches that have ended.
        self._queued_bytes = 0
        self._bookmark_due = False
        self._requests_ended = False
        self._closed = False

    # ---------------------------------------------------------------------------------------------- requests

    def receive(self, data: bytes) -> None:
        request = parse_request(pb.WatchRequest, data)
        for stop in request.stop:
            self._drop(stop.id)
        for start in request.start:
            if not start.id or start.id in self._watches:
                raise BadRequest(f"watch id {start.id} is zero or in use on this stream; choose another")
            try:
                self._start(start)
            except ApiError as error:
                self._end(start.id, error)
        self._wake()

    def end_requests(self) -> None:
        self._requests_ended = True
        self._wake()

    def _start(self, start: pb.WatchStart) -> None:
        if len(self._watches) >= WATCHES_PER_STREAM_MAX:
            raise BadRequest(f"a stream carries at most {WATCHES_PER_STREAM_MAX} watches; open another stream")
        selection = compile_selection(start.selection, self._role)
        collection = self._cache.collections[selection.kind.resource]
        watch = Watch(self, start.id, selection, collection)
        if start.initial_events:
            watch.initial = iter(collection.select(selection))
        elif start.resource_version:
            self._resume(watch, start)
        self._watches[start.id] = watch
        self._dispatcher.add(watch)
        self._line_up(watch)  # Its first batch, perhaps empty, tells the client that it is open.

    def _resume(self, watch: Watch, start: pb.WatchStart) -> None:
        if start.incarnation and start.incarnation != self._incarnation:
            raise Expired("the store has another incarnation than the one you watched: list again")
        if start.resource_version > self._cache.head:
            raise Expired(
                f"revision {start.resource_version} is from the future, the newest is {self._cache.head}: list again",
                resource_version=self._cache.head,
            )
        missed = self._cache.changes_behind(start.resource_version, watch.selection.kind)
        if missed is None:
            floor = self._cache.floor
            raise Expired(
                f"changes behind revision {start.resource_version} are no longer kept, the oldest are behind {floor}: "
                "list again",
                resource_version=floor,
            )
        for change in missed:
            frame = watch.event(change, EventFrames(change))
            if frame is not None:
                watch.queue.append(frame)
                self._queued_bytes += len(frame)

    # ----------------------------------------------------------------------------------------------- replies

    def enqueue(self, watch: Watch, frame: bytes) -> None:
        if self._queued_bytes > QUEUE_BYTES_MAX:
            self._end(
                watch.id,
                Expired(f"more than {QUEUE_BYTES_MAX} bytes of events are waiting for you: list again"),
            )
            return
        watch.queue.append(frame)
        self._queued_bytes += len(frame)
        self._line_up(watch)

    def _line_up(self, watch: Watch) -> None:
        if not watch.waiting:
            watch.waiting = True
            self._ready.append(watch)

    @property
    def has_news(self) -> bool:
        return bool(self._ready or self._ended or self._bookmark_due)

    def wake_if_news(self) -> None:
        if self.has_news:
            self._wake()

    def want_bookmark(self) -> None:
        """A quiet stream still learns, every few seconds, how far it is complete."""
        if self._watches:
            self._bookmark_due = True
            self._wake()

    def take(self) -> bytes | None:
        if not self.has_news:
            return None
        self._bookmark_due = False
        batches, self._ended = self._ended, []
        room = REPLY_BYTES
        while self._ready and room > 0:
            watch = self._ready[0]
            events, finished_initial, size = self._events_of(watch, room)
            room -= size
            batches.append(frames.watch_batch(watch.id, events, finished_initial))
            if watch.initial is None and not watch.queue:
                self._ready.popleft()
                watch.waiting = False
        incarnation = "" if self._incarnation_told else self._incarnation
        self._incarnation_told = True
        # A bookmark only when nothing older is still queued behind it.
        return frames.watch_reply(batches, 0 if self._ready else self._cache.head, incarnation)

    def _events_of(self, watch: Watch, room: int) -> tuple[list[bytes], bool, int]:
        events: list[bytes] = []
        size = 0
        finished_initial = False
        if watch.initial is not None:
            for entry in watch.initial:
                frame = frames.watch_event(frames.ADDED, entry.data, entry.revision)
                events.append(frame)
                size += len(frame)
                if size >= room:
                    return events, False, size
            watch.initial = None
            finished_initial = True
        sent = 0
        for frame in watch.queue:
            if size >= room:
                break
            events.append(frame)
            size += len(frame)
            self._queued_bytes -= len(frame)
            sent += 1
        del watch.queue[:sent]
        return events, finished_initial, size

    @property
    def finished(self) -> bool:
        return self._closed or (self._requests_ended and not self.has_news)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._ready.clear()
            for watch_id in list(self._watches):
                self._drop(watch_id)
            self._on_close(self)

    def end(self, error: ApiError) -> None:
        """End every watch with an error, for instance when the server stops."""
        for watch_id in list(self._watches):
            self._end(watch_id, error)
        self._wake()

    def _drop(self, watch_id: int) -> None:
        watch = self._watches.pop(watch_id, None)
        if watch is None:
            return
        self._dispatcher.remove(watch)
        self._queued_bytes -= sum(map(len, watch.queue))
        watch.queue.clear()
        watch.initial = None
        if watch in self._ready:
            self._ready.remove(watch)

    def _end(self, watch_id: int, error: ApiError) -> None:
        self._drop(watch_id)
        self._ended.append(frames.watch_batch(watch_id, [], error=error.status.SerializeToString()))
