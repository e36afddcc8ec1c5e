"""The apiserver of one partition: a synchronous core behind `proto.sessions.Service`.

    request ──> Mutator ──> State.apply ──> Store.stage          (at once, against the newest state)
                                                │
                         CommitDriver: Store.commit              (paced, beside the loop)
                                                │
       answers <── Mutate sessions <──┐         ▼
       events  <── Watch sessions  <──┴── publish ──> WatchCache (in revision order)
       lists, gets <──────────────────────────────────┘

One loop owns all of it: nothing here waits, and there is no lock. A write is visible, watched and acknowledged at the
same moment, when it is durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, InternalError, NotFound, ServiceUnavailable
from ..proto.kinds import BY_RESOURCE, Role
from ..proto.sessions import METHODS, ServerStream
from ..storage import AutoCompaction, Record, Store
from . import frames
from .listing import Lister, ListStream
from .metrics import ApiMetrics, gauge
from .mutations import Answer, MutateSession, Mutator
from .pacing import COMMITS_PER_SECOND, CommitDriver, Runtime
from .requests import parse_request
from .selections import served_kind
from .state import State
from .watch_cache import Change, WatchCache
from .watching import Dispatcher, WatchSession

# A quiet watch learns this often how far it is complete; it bounds what a client must read again after a lost link.
BOOKMARK_SECONDS = 5.0
# How often to ask whether a compaction is due.
COMPACTION_SECONDS = 10.0
# How much of the log an opened server keeps at hand for watches of its predecessor.
WINDOW_AT_OPEN = 16_384


class ApiServer:
    """A partition. Single-threaded: every method is called on the loop that owns it."""

    def __init__(
        self,
        name: str,
        role: Role,
        store: Store,
        runtime: Runtime,
        random: Random,
        registry: CollectorRegistry | None = None,
        *,
        commits_per_second: float = COMMITS_PER_SECOND,
    ) -> None:
        self.name = name
        self.role = role
        self._store = store
        self._runtime = runtime
        self._metrics = ApiMetrics(registry or CollectorRegistry())
        self._cache = WatchCache(role)
        self._state = State(role, store, random)
        self._cache.load(self._state.load(), store.head)
        self._load_window()
        self._dispatcher = Dispatcher(self._cache)
        self._lister = Lister(self._cache, store, self._state, role)
        self._driver = CommitDriver(store, runtime, self._publish, commits_per_second=commits_per_second)
        self._mutator = Mutator(self._state, runtime, lambda: store.staged_head, self._driver.poke, self._metrics)
        self._watch_sessions: dict[WatchSession, None] = {}
        self._mutate_sessions: dict[MutateSession, None] = {}
        self._writes: deque[tuple[Answer, Callable[[bytes | ApiError], None]]] = deque()
        self._closed = False
        self._metrics.add_gauges(self._gauges)
        self._state.bootstrap(runtime.wall_ms())
        self._driver.poke()
        runtime.call_later(BOOKMARK_SECONDS, self._bookmark)
        self._compaction = AutoCompaction(compacted=store.compacted)
        runtime.call_later(COMPACTION_SECONDS, self._compact)

    # --------------------------------------------------------------------------------------- sessions.Service

    def call(self, method: str, request: bytes, user: str, reply: Callable[[bytes | ApiError], None]) -> None:
        if self._closed:
            reply(ServiceUnavailable(f"{self.name} is stopping"))
            return
        started = self._runtime.monotonic()
        try:
            if method == "Write":
                written = self._mutator.apply(request)
                self._writes.append((written, reply))
                self._answer_writes()
                return
            answer, resource = self._read(method, request)
        except ApiError as error:
            self._metrics.count_request(method.lower(), "", error.code, self._runtime.monotonic() - started)
            reply(error)
            return
        self._metrics.count_request(method.lower(), resource, 200, self._runtime.monotonic() - started)
        reply(answer)

    def open(self, method: str, user: str, wake: Callable[[], None]) -> ServerStream:
        if self._closed:
            raise ServiceUnavailable(f"{self.name} is stopping")
        if method == "Watch":
            watch_session = WatchSession(
                self._cache,
                self._dispatcher,
                self.role,
                self._store.incarnation,
                wake,
                lambda closed: self._watch_sessions.pop(closed, None),
            )
            self._watch_sessions[watch_session] = None
            return watch_session
        if method == "Mutate":
            mutate_session = MutateSession(
                self._mutator,
                lambda: self._cache.head,
                wake,
                lambda closed: self._mutate_sessions.pop(closed, None),
            )
            self._mutate_sessions[mutate_session] = None
            return mutate_session
        if method == "List":
            return ListStream(self._lister, wake)
        raise InternalError(f"{method} is no stream; known are {', '.join(METHODS)}")

    def close(self) -> None:
        """End all watches; take no more requests. The store is its opener's to close."""
        self._closed = True
        self._driver.stop()
        for session in list(self._watch_sessions):
            session.end(ServiceUnavailable(f"{self.name} is stopping"))

    # ---------------------------------------------------------------------------------------------------- reads

    def _read(self, method: str, request: bytes) -> tuple[bytes, str]:
        if method == "Get":
            return self._get(parse_request(pb.GetRequest, request))
        if method == "Status":
            return self.status().SerializeToString(deterministic=True), ""
        raise InternalError(f"there is no method {method!r}; known are {', '.join(METHODS)}")

    def _get(self, request: pb.GetRequest) -> tuple[bytes, str]:
        kind = served_kind(request.resource, self.role)
        key = kind.key(request.tenant, request.namespace, request.name)
        entry = self._cache.collections[kind.resource].entries.get(key)
        if entry is None:
            raise NotFound(f"{key} does not exist", key=key)
        return frames.list_item(entry.data), kind.resource

    def status(self) -> pb.PartitionStatus:
        store = self._store.status()
        return pb.PartitionStatus(
            name=self.name,
            role=self.role.value,
            objects={name: len(collection.entries) for name, collection in self._cache.collections.items()},
            watches=self._dispatcher.count,
            stores=[
                pb.StoreStatus(
                    name="main",
                    incarnation=store.incarnation,
                    resource_version=self._cache.head,
                    compacted_resource_version=store.compacted,
                    bytes=store.bytes,
                    bytes_max=store.bytes_max,
                    alarms=store.alarms,
                )
            ],
        )

    # -------------------------------------------------------------------------------------------------- publish

    def _publish(self, records: Sequence[Record]) -> None:
        events = 0
        for record in records:
            change = self._state.take_unpublished()
            assert change.revision == record.revision, "the store commits in the order in which we staged"
            self._cache.publish(change)
            events += self._dispatcher.dispatch(change)
        if not self._closed:
            self._store.sweep_step()
        self._metrics.commits.inc()
        self._metrics.committed.inc(len(records))
        self._metrics.watch_events.inc(events)
        for mutate_session in self._mutate_sessions:
            mutate_session.wake_if_durable()
        for watch_session in self._watch_sessions:
            watch_session.wake_if_news()
        self._answer_writes()

    def _answer_writes(self) -> None:
        while self._writes and self._writes[0][0].revision <= self._cache.head:
            answer, reply = self._writes.popleft()
            self._mutator.sent(answer)
            reply(answer.reply)

    def _bookmark(self) -> None:
        if not self._closed:
            for session in self._watch_sessions:
                session.want_bookmark()
            self._runtime.call_later(BOOKMARK_SECONDS, self._bookmark)

    def _compact(self) -> None:
        """Forget old history when it is time; the sweep goes on with the commits."""
        if self._closed:
            return
        revision = self._compaction.due(self._cache.head, self._runtime.monotonic())
        if revision is not None and revision > self._store.compacted:
            self._store.compact(revision)
        self._runtime.call_later(COMPACTION_SECONDS, self._compact)

    # ----------------------------------------------------------------------------------------------------- open

    def _load_window(self) -> None:
        """Read the end of the log again, so that watches of our predecessor can go on behind what they have seen."""
        floor = max(self._store.compacted, self._store.head - WINDOW_AT_OPEN)
        self._cache.load_window(self._logged(floor), floor)

    def _logged(self, floor: int) -> Iterator[Change]:
        for record in self._store.log(floor):
            kind = BY_RESOURCE[record.key.split("/", 3)[2]]
            entry, _ = self._state.entry_of(kind, record.key, record.value, record.revision)
            old = None
            if record.previous_revision:
                previous = self._store.get(record.key, record.revision - 1)
                if previous is not None:
                    old, _ = self._state.entry_of(kind, previous.key, previous.value, previous.revision)
            if record.deleted:
                yield Change(record.revision, kind, old or entry, None, entry)
            else:
                yield Change(record.revision, kind, old, entry, None)

    # -------------------------------------------------------------------------------------------------- metrics

    def _gauges(self) -> Iterable[Metric]:
        objects = GaugeMetricFamily("apiserver_storage_objects", "Objects stored, by resource", labels=["resource"])
        for resource, collection in self._cache.collections.items():
            objects.add_metric([resource], len(collection.entries))
        yield objects
        status = self._store.status()
        yield gauge("apiserver_watch_cache_resource_version", "The newest published revision", self._cache.head)
        yield gauge("apiserver_longrunning_requests", "Open watches", self._dispatcher.count)
        yield gauge("ursa_store_bytes", "Size of the store's files", status.bytes)
