"""Who wants which change.

A change is encoded as an event at most once per type and shared by all watches that want it. Watches that select by an
indexed field are found through that field, so an event costs the watches that want it and not the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..proto import ursa_pb2 as pb
from . import frames
from .entries import Entry
from .selections import CompiledSelection
from .watch_cache import Change, Collection, WatchCache


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
    """One watch on one stream. `enqueue` is called with each event it wants, encoded."""

    __slots__ = ("collection", "enqueue", "id", "initial", "queue", "selection", "waiting")

    def __init__(
        self,
        watch_id: int,
        selection: CompiledSelection,
        collection: Collection,
        enqueue: Callable[[Watch, bytes], None],
    ) -> None:
        self.id = watch_id
        self.selection = selection
        self.collection = collection
        self.enqueue = enqueue
        self.initial: Iterator[Entry] | None = None  # Objects still to be sent before any event.
        self.queue: list[bytes] = []
        self.waiting = False  # It stands in its lane's line of watches with something to send.

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
                watch.enqueue(watch, frame)
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
