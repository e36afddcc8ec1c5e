"""The apiserver of one partition: a synchronous core behind `proto.sessions.Service`.

    request ──> Mutator ──> State.apply ──> Store.stage          (at once, against the newest state)
                                                │
                         CommitDriver: Store.commit              (paced, beside the loop)
                                                │
       answers <── Mutate sessions <──┐         ▼
       events  <── Watch sessions  <──┴── publish ──> WatchCache (in revision order)
       lists, gets <──────────────────────────────────┘

One loop owns all of it: nothing here waits, and there is no lock. A write is visible, watched and acknowledged at the
same moment, when it is durable. What hangs on the revisions of a store is a History; Events may have one of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, InternalError, ServiceUnavailable
from ..proto.kinds import EVENTS_STORE, MAIN_STORE, Role
from ..proto.sessions import METHODS, Caller, ServerStream
from ..storage import Store
from .administration import ADMINISTRATION_METHODS, Administration
from .admission import Admission, AdmissionMetrics, Plugin, WebhookCaller, Webhooks, no_webhooks
from .flow import FlowControl, FlowOptions, Ticket
from .history import History, open_histories
from .maintenance import Maintenance
from .metrics import ApiMetrics, gauge
from .pacing import COMMITS_PER_SECOND, Runtime
from .reads.consistency import ConsistencyChecker
from .reads.list_stream import ListStream
from .reads.listing import Lister
from .reads.reading import Getter
from .requests.audit import OK, SLOW_SECONDS, AuditSink, RequestLog
from .requests.request import Phase, Request, parse_request
from .state import State
from .watches.watching import WatchSession
from .writes.mutations import Batch, BatchWriter, MutateSession, Mutator
from .writes.outcomes import Writers

# A quiet watch learns this often how far it is complete; it bounds what a client must read again after a lost link.
BOOKMARK_SECONDS = 5.0
# How often to ask whether a compaction is due.
COMPACTION_SECONDS = 10.0
# How often to look for objects whose time to live is over.
EXPIRY_SECONDS = 10.0
# Events are for people, and many: fewer, larger commits are cheaper, and leave the disk to the main store.
EVENT_COMMITS_PER_SECOND = 20.0
# How often to look for kinds that are to go, and how soon the next of their objects may.
CLEAN_UP_SECONDS = 1.0
CLEAN_UP_AGAIN_SECONDS = 0.05
# How many objects may expire at once: some 5 ms of the loop; and how soon the next ones may.
EXPIRE_AT_ONCE_MAX = 256
EXPIRE_AGAIN_SECONDS = 0.05


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
        events_store: Store | None = None,
        commits_per_second: float = COMMITS_PER_SECOND,
        flow_options: FlowOptions | None = None,
        audit: AuditSink | None = None,
        slow_request_seconds: float = SLOW_SECONDS,
        admission_plugins: Sequence[Plugin] = (),
        webhook_caller: WebhookCaller = no_webhooks,
    ) -> None:
        """`events_store` keeps the Events if it is given; else `store` keeps them with everything else.

        `audit` is told of every request that is over; one that took `slow_request_seconds` has a line in the log.
        `admission_plugins` are asked about writes, in order; webhooks are called through `webhook_caller`.

        Raises:
            UrsaError: a store holds what belongs in the other.
        """
        self.name = name
        self.role = role
        self._runtime = runtime
        registry = registry or CollectorRegistry()
        self._metrics = ApiMetrics(registry)
        stores = {MAIN_STORE: (store, commits_per_second)}
        if events_store is not None:
            stores[EVENTS_STORE] = (events_store, min(commits_per_second, EVENT_COMMITS_PER_SECOND))
        self._histories = open_histories(role, stores, runtime, self._published)
        self._state = State(name, role, self._histories, random)
        for history in self._histories:
            history.load(self._state.load(history), partial(self._state.changes, history.store))
        self._getter = Getter(self._histories, role)
        self._lister = Lister(self._histories, self._state, role)
        self._flow = FlowControl(runtime, flow_options)
        self._log = RequestLog(
            name, runtime, self._metrics, self._histories.kinds, sink=audit, slow_seconds=slow_request_seconds
        )
        timing = AdmissionMetrics(registry)
        admission = Admission(admission_plugins, self._state.hooks, runtime.monotonic, timing)
        self._webhooks = Webhooks(webhook_caller, runtime, random, timing)
        writers = Writers(random)
        mutator = Mutator(self._state, self._histories, runtime, admission, self._webhooks, writers)
        self._writer = BatchWriter(mutator, self._flow, runtime.monotonic, self._log, writers)
        by_name = {history.name: history.store for history in self._histories}
        self._administration = Administration(name, by_name, runtime)
        self._maintenance = Maintenance(by_name, runtime)
        self._consistency = ConsistencyChecker(self._histories, runtime, self._metrics.count_consistency_check)
        self._watch_sessions: dict[WatchSession, None] = {}
        self._mutate_sessions: dict[MutateSession, None] = {}
        # Unary writes that wait to be durable, by the history that will be the last to tell.
        self._writes: dict[str, deque[tuple[Batch, Callable[[bytes | ApiError], None]]]] = {
            history.name: deque() for history in self._histories
        }
        self._closed = False
        self._metrics.add_gauges(self._gauges)
        self._state.bootstrap(runtime.wall_ms())
        self._histories.main.poke()
        runtime.call_later(BOOKMARK_SECONDS, self._bookmark)
        runtime.call_later(COMPACTION_SECONDS, self._compact)
        runtime.call_later(EXPIRY_SECONDS, self._expire)
        runtime.call_later(CLEAN_UP_SECONDS, self._clean_up)

    # --------------------------------------------------------------------------------------- sessions.Service

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[[bytes | ApiError], None]) -> None:
        if self._closed:
            reply(ServiceUnavailable(f"{self.name} is stopping"))
            return
        if method == "Write":
            try:
                self._write(self._writer.parse(request, caller), reply)
            except ApiError as error:
                error.trace = caller.trace
                reply(error)
            return
        timed = Request(caller, method.lower(), self._runtime.monotonic, len(request))
        timed.enter(Phase.ADMISSION)
        answered = partial(self._answered, timed, reply)
        try:
            if method == "Get":
                self._get(parse_request(pb.GetRequest, request), timed, answered)
            else:
                answered("", self._read(method, request))
        except ApiError as error:
            answered("", error)

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> ServerStream:
        if self._closed:
            raise ServiceUnavailable(f"{self.name} is stopping")
        if method == "Watch":
            watch_session = WatchSession(
                self._histories,
                self.role,
                caller,
                self._log,
                self._flow,
                self._runtime.monotonic,
                wake,
                lambda closed: self._watch_sessions.pop(closed, None),
            )
            self._watch_sessions[watch_session] = None
            return watch_session
        if method == "Mutate":
            mutate_session = MutateSession(
                self._writer, caller, wake, lambda closed: self._mutate_sessions.pop(closed, None)
            )
            self._mutate_sessions[mutate_session] = None
            return mutate_session
        if method == "List":
            timed = Request(caller, "list", self._runtime.monotonic)
            return ListStream(self._lister, self._flow, self._log, timed, wake)
        if method in ADMINISTRATION_METHODS:
            return self._administration.open(method, wake)
        raise InternalError(f"{method} is no stream; known are {', '.join(METHODS)}")

    def close(self) -> None:
        """End all watches; take no more requests. The store is its opener's to close."""
        self._closed = True
        self._maintenance.stop()
        self._consistency.stop()
        self._flow.stop(ServiceUnavailable(f"{self.name} is stopping"))
        self._administration.close()
        self._webhooks.close()
        for history in self._histories:
            history.stop(ServiceUnavailable(f"{self.name} is stopping"))
        for session in list(self._watch_sessions):
            session.end(ServiceUnavailable(f"{self.name} is stopping"))

    def _write(self, batch: Batch, reply: Callable[[bytes | ApiError], None]) -> None:
        def applied() -> None:
            assert batch.answer is not None, "it was applied, or refused"
            if batch.refusal is not None:
                self._writer.answered(batch)
                reply(batch.refusal)
                return
            self._writes[batch.answer.last_awaited.name].append((batch, reply))
            self._answer_writes()

        self._writer.submit(batch, applied)

    # ---------------------------------------------------------------------------------------------------- reads

    def _answered(
        self, timed: Request, reply: Callable[[bytes | ApiError], None], resource: str, answer: bytes | ApiError
    ) -> None:
        if isinstance(answer, ApiError):
            answer.trace = timed.trace
            self._log.refused(timed, answer, resource)
        else:
            timed.bytes_out = len(answer)
            self._log.answered(timed, {(timed.verb, resource, OK): 1})
        reply(answer)

    def _read(self, method: str, request: bytes) -> bytes:
        if method == "Status":
            return self.status().SerializeToString(deterministic=True)
        if method == "Requests":
            asked = parse_request(pb.RequestsRequest, request)
            return self._log.reply(asked).SerializeToString(deterministic=True)
        raise InternalError(f"there is no method {method!r}; known are {', '.join(METHODS)}")

    def _get(self, asked: pb.GetRequest, timed: Request, answered: Callable[[str, bytes | ApiError], None]) -> None:
        def start(ticket: Ticket) -> None:
            def answered_and_released(answer: bytes | ApiError) -> None:
                ticket.release()
                answered(asked.resource, answer)

            timed.enter(Phase.ADMISSION)
            self._getter.get(asked, answered_and_released, timed)

        timed.enter(Phase.QUEUE)
        # A resource that is not served is refused before it becomes a label of metrics.
        self._flow.submit(timed, 1, start, partial(answered, ""), resource=asked.resource)

    def status(self) -> pb.PartitionStatus:
        status = pb.PartitionStatus(name=self.name, role=self.role.value)
        for history in self._histories:
            store = history.store.status()
            status.stores.add(
                name=history.name,
                incarnation=store.incarnation,
                resource_version=history.cache.head,
                compacted_resource_version=store.compacted,
                bytes=store.bytes,
                bytes_max=store.bytes_max,
                alarms=store.alarms,
                backend=store.backend,
                keys=store.keys,
                bytes_on_disk=store.bytes_on_disk,
                leases=store.leases,
            )
            status.watches += history.dispatcher.count
            for name, collection in history.cache.collections.items():
                status.objects[name] = len(collection.entries)
        return status

    # -------------------------------------------------------------------------------------------------- publish

    def _published(self, history: History, changes: int, events: int) -> None:
        """A commit is through, and in the cache."""
        if not self._closed:
            history.store.sweep_step()
        self._metrics.commits += 1
        self._metrics.committed += changes
        self._metrics.watch_events += events
        for mutate_session in self._mutate_sessions:
            mutate_session.wake_if_durable()
        self._answer_writes()

    def _answer_writes(self) -> None:
        for waiting in self._writes.values():
            while waiting and waiting[0][0].durable:
                batch, reply = waiting.popleft()
                reply(self._writer.answered(batch))

    # --------------------------------------------------------------------------------------------------- timers

    def _bookmark(self) -> None:
        if not self._closed:
            for session in self._watch_sessions:
                session.want_bookmark()
            self._runtime.call_later(BOOKMARK_SECONDS, self._bookmark)

    def _compact(self) -> None:
        if not self._closed:
            for history in self._histories:
                history.compact()
            self._runtime.call_later(COMPACTION_SECONDS, self._compact)

    def _expire(self) -> None:
        """Delete what has reached the end of its time to live."""
        if self._closed:
            return
        more = False
        for history in self._histories:
            expired = list(history.expiry.over(self._runtime.monotonic(), EXPIRE_AT_ONCE_MAX))
            for expiring in expired:
                self._state.expire(expiring, self._runtime.wall_ms())
            history.poke()
            more = more or len(expired) == EXPIRE_AT_ONCE_MAX
        self._runtime.call_later(EXPIRE_AGAIN_SECONDS if more else EXPIRY_SECONDS, self._expire)

    def _clean_up(self) -> None:
        """Delete the objects of custom kinds whose definitions are being deleted, and then these."""
        if self._closed:
            return
        more = False
        if self._state.has_to_clean_up:
            more = self._state.clean_up(self._runtime.wall_ms())
            self._histories.main.poke()
        self._runtime.call_later(CLEAN_UP_AGAIN_SECONDS if more else CLEAN_UP_SECONDS, self._clean_up)

    # -------------------------------------------------------------------------------------------------- metrics

    def _gauges(self) -> Iterable[Metric]:
        objects = GaugeMetricFamily("apiserver_storage_objects", "Objects stored, by resource", labels=["resource"])
        revisions = GaugeMetricFamily(
            "apiserver_watch_cache_resource_version", "The newest published revision, by store", labels=["store"]
        )
        sizes = GaugeMetricFamily("ursa_store_bytes", "Bytes of the records a store keeps", labels=["store"])
        watches = 0
        for history in self._histories:
            for resource, collection in history.cache.collections.items():
                objects.add_metric([resource], len(collection.entries))
            revisions.add_metric([history.name], history.cache.head)
            sizes.add_metric([history.name], history.store.status().bytes)
            watches += history.dispatcher.count
        streams = GaugeMetricFamily("ursa_streams", "Open streams of clients, by method", labels=["method"])
        streams.add_metric(["Watch"], len(self._watch_sessions))
        streams.add_metric(["Mutate"], len(self._mutate_sessions))
        yield from (objects, revisions, sizes, streams)
        yield gauge("apiserver_longrunning_requests", "Open watches", watches)
        yield from self._flow.metrics()
