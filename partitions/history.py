"""One store of a partition, and all that hangs on its revisions.

A partition has a main store, and may have another one for Events. Each has revisions, an incarnation, a quota and a
pace of commits of its own, so that a flood of Events neither fills the main store nor makes its writers wait:

    State ──stage──> store ──commit, paced──> publish ──> cache (lists, gets)
                                                     └──> dispatcher (watches)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..proto import ursa_pb2 as pb
from ..proto.custom_kinds import DEFINITION, is_established, kind_of_definition
from ..proto.errors import ApiError, NotFound
from ..proto.kinds import KINDS, MAIN_STORE, Kind, KindTable, Role
from ..storage import RESERVED_PREFIX, AutoCompaction, Record, Store
from ..storage import Change as StoreChange
from .cache.watch_cache import Change, WatchCache
from .entries import Entry
from .expiry import Expiry
from .pacing import CommitDriver, Runtime
from .reads.freshness import Freshness
from .watches.dispatching import Dispatcher

# How much of the log an opened server keeps at hand for watches of its predecessor.
WINDOW_AT_OPEN = 16_384


class History:
    """See the module. `on_published` is told after each commit how many changes it had, how many events watches got."""

    def __init__(
        self,
        name: str,
        store: Store,
        kinds: Sequence[Kind],
        runtime: Runtime,
        on_published: Callable[[History, int, int], None],
        *,
        commits_per_second: float,
    ) -> None:
        self.name = name
        self.store = store
        self.cache = WatchCache(kinds)
        self.dispatcher = Dispatcher(self.cache)
        self.expiry = Expiry()
        self.runtime = runtime
        self.freshness = Freshness(runtime, store.head)
        self._on_published = on_published
        self._driver = CommitDriver(store, runtime, self._publish, commits_per_second=commits_per_second)
        self._unpublished: deque[Change] = deque()
        # Told of each change of a definition when it is published.
        self.on_definition: Callable[[Change], None] | None = None
        self._gone: list[str] = []  # Kinds that are gone, in the commit that is being published.
        self._compaction = AutoCompaction(compacted=store.compacted)

    @property
    def wire_name(self) -> str:
        """As a WatchReply names it."""
        return "" if self.name == MAIN_STORE else self.name

    def load(
        self, entries: Iterator[tuple[Kind, Entry]], changes: Callable[[Iterator[Record]], Iterator[Change]]
    ) -> None:
        """Fill the cache with what the store holds, and with the end of its log, so that watches of our predecessor
        can go on behind what they have seen. `changes` makes these again from their records."""
        store = self.store
        self.cache.load(self._expiring(entries), store.head)
        floor = max(store.compacted, store.head - WINDOW_AT_OPEN)
        records = (record for record in store.log(floor) if not _reserved(record))
        self.cache.load_window(changes(records), floor)

    def stage(self, changes: Sequence[StoreChange]) -> list[Record]:
        """Raises StoreFull: nothing was staged."""
        return self.store.stage(changes)

    def staged(self, change: Change) -> None:
        """What one of the records just staged means; to be published once it is committed."""
        self._unpublished.append(change)

    def unpublished_keys(self, kind: Kind) -> Iterator[str]:
        """Of the objects of a kind whose newest change is not in the cache yet."""
        return (
            change.new.key
            for change in self._unpublished
            if change.kind.resource == kind.resource and change.new is not None
        )

    def poke(self) -> None:
        """Something may have been staged."""
        self._driver.poke()

    def stop(self, error: ApiError) -> None:
        """Commit nothing more, and answer reads that wait with the error."""
        self._driver.stop()
        self.freshness.stop(error)

    def compact(self) -> None:
        """Forget old history when it is time; the sweep goes on with the commits."""
        revision = self._compaction.due(self.cache.head, self.runtime.monotonic())
        if revision is not None and revision > self.store.compacted:
            self.store.compact(revision)

    def _publish(self, records: Sequence[Record]) -> None:
        events = 0
        before = self.cache.head
        for record in records:
            if _reserved(record):
                self.cache.pass_over(record.revision)
                continue
            change = self._unpublished.popleft()
            assert change.revision == record.revision, "the store commits in the order in which we staged"
            self.cache.publish(change)
            events += self.dispatcher.dispatch(change)
            if change.kind is DEFINITION and self.on_definition is not None:
                self.on_definition(change)
            if change.kind.ttl_seconds and change.new is not None:
                self.expiry.changed(change.kind, change.new, self.runtime.monotonic())
        self.dispatcher.committed(before)
        self._end_watches()
        self.freshness.published(self.cache.head)
        self._on_published(self, len(records), events)
        self.dispatcher.wake()

    def serve(self, kind: Kind) -> None:
        """A custom kind is published."""
        self.cache.serve(kind)
        self.dispatcher.serve(kind.resource)

    def end_serving(self, resource: str) -> None:
        """One is gone; its watches end when all changes of the commit have been told."""
        self.cache.end_serving(resource)
        self._gone.append(resource)

    def _end_watches(self) -> None:
        gone, self._gone = self._gone, []
        for resource in gone:
            self.dispatcher.end_serving(resource, NotFound(f"the kind {resource} is no longer defined"))
            if resource in self.cache.collections:  # It is defined anew.
                self.dispatcher.serve(resource)

    def _expiring(self, entries: Iterator[tuple[Kind, Entry]]) -> Iterator[tuple[Kind, Entry]]:
        now = self.runtime.monotonic()
        for kind, entry in entries:
            self.expiry.changed(kind, entry, now)
            yield kind, entry


class Histories:
    """The histories of a partition, the main one first, and which of them keeps a kind.

    `kinds` are those that readers find: a custom kind is there when its definition is published, and then is kept in
    the main store. (Writers find it as soon as the definition is staged: see `definitions`.)
    """

    def __init__(self, histories: Sequence[History], role: Role) -> None:
        self.kinds = KindTable()
        self._role = role
        self._histories = tuple(histories)
        self._by_resource = {resource: history for history in histories for resource in history.cache.collections}
        self.main = self._histories[0]
        self.main.on_definition = self._defined

    def of(self, kind: Kind) -> History:
        return self._by_resource.get(kind.resource, self.main)

    def of_resource(self, resource: str) -> History:
        """Of a resource that is not served here, too: then the main one."""
        return self._by_resource.get(resource, self.main)

    def serve(self, kind: Kind) -> None:
        """A custom kind is published, or another definition of it."""
        self.kinds.put(kind)
        self.main.serve(kind)

    def __iter__(self) -> Iterator[History]:
        return iter(self._histories)

    def _defined(self, change: Change) -> None:
        entry = change.new or change.old
        assert entry is not None
        message = pb.Object.FromString(entry.data)
        kind = kind_of_definition(message, (self._role,))
        if change.new is not None and is_established(message):
            self.serve(kind)
        elif change.new is None and is_established(message):
            self.kinds.discard(kind.resource)
            self.main.end_serving(kind.resource)


def open_histories(
    role: Role,
    stores: Mapping[str, tuple[Store, float]],
    runtime: Runtime,
    on_published: Callable[[History, int, int], None],
) -> Histories:
    """`stores`: by name, each with its commits a second, the main one first. It keeps what has no store of its own."""
    kept: dict[str, list[Kind]] = {name: [] for name in stores}
    for kind in KINDS:
        if role in kind.roles:
            kept[kind.store if kind.store in stores else MAIN_STORE].append(kind)
    return Histories(
        [
            History(name, store, kept[name], runtime, on_published, commits_per_second=pace)
            for name, (store, pace) in stores.items()
        ],
        role,
    )


def _reserved(record: Record) -> bool:
    """The store's own: it has a revision, and is nobody's business."""
    return record.key.startswith(RESERVED_PREFIX)
