"""The newest state of a partition, and how an operation changes it.

Operations are checked (`planning.py`) and applied here, one after another, against the newest state, committed or not.
What is applied is staged in the store and waits, in the same order, to be published once the commit is through. Nobody
but the next operation sees it before that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from random import Random

from ..proto import ursa_pb2 as pb
from ..proto.custom_kinds import DEFINITION, DEFINITION_FINALIZER
from ..proto.errors import Invalid, ServiceUnavailable, StoreFull, UrsaError
from ..proto.kinds import ADMISSION_GROUP, BY_KIND, SYSTEM_TENANT, Kind, Role
from ..proto.objects import decode, encode, new_uid
from ..proto.restores import HISTORY_LEASE, history_spec, restores_of
from ..storage import Change as StoreChange
from ..storage import InvalidKey, Record, Store, ValueTooLarge
from .admission import (
    Hooks,
    Ledger,
    PodStrategy,
    PriorityClassStrategy,
    Quotas,
    ServiceStrategy,
    Session,
    Tenants,
    Unanswered,
)
from .admission.webhooks import Ask
from .cache.watch_cache import Change
from .definitions import Definitions
from .entries import Entry
from .expiry import Expiring
from .forgetting import Forgetter
from .history import Histories, History
from .patching import check_validation
from .planning import Planner
from .requests.request import Stopwatch
from .selections import served_kind
from .writes import plans
from .writes.encoding import Encoder
from .writes.fences import Fences
from .writes.node_pods import NodePods
from .writes.outcomes import Outcomes, tell_again
from .writes.ownership import Writer, check_manager
from .writes.plans import Plan, Write

_TENANT = BY_KIND["Tenant"]
_NODE = BY_KIND["Node"]
_PLACEMENT = BY_KIND["Placement"]
_LEASE = BY_KIND["Lease"]
_POD = BY_KIND["Pod"]
_SERVICE = BY_KIND["Service"]
_PRIORITY_CLASS = BY_KIND["PriorityClass"]
# Beside the namespace that every tenant is born with.
_SYSTEM_NAMESPACE = "kube-system"


class State:
    """All objects of a partition as the next operation will find them."""

    def __init__(self, partition: str, role: Role, histories: Histories, random: Random) -> None:
        self._role = role
        self._histories = histories
        self._random = random
        self._definitions = Definitions(role, partition)
        self._strategies = self._definitions.strategies
        self._readers = self._definitions.readers
        self._clean_up_at: dict[str, str] = {}  # Where the next step of deleting a kind's objects goes on.
        self._latest: dict[str, Entry] = {}
        self._fences = Fences(self._latest)
        self._ledger = Ledger()
        self._placed = (_POD, _PLACEMENT) if role is Role.RESOURCE else ()
        strategy = self._strategies[_PLACEMENT.resource]
        self._node_pods = NodePods(partition, self._latest, self._ledger, strategy, partial(new_uid, random))
        self._quotas = Quotas()
        self._tenants = Tenants()
        self._planner = Planner(
            role, random, self._latest, histories, self._definitions, self._ledger, self._quotas, self._tenants
        )
        self._forgetter = Forgetter(self._tenants, self._definitions.kinds, self._planner.selected, self._stage)
        self.hooks = Hooks(self._planner.namespace_labels)
        self.outcomes = Outcomes(histories)
        self.encoding = Stopwatch(histories.main.runtime.monotonic)  # Of objects, within `apply`.

    # ----------------------------------------------------------------------------------------------------- open

    def load(self, history: History) -> Iterator[tuple[Kind, Entry]]:
        """Take in everything a store holds; yields it for the watch cache.

        Raises:
            UrsaError: it holds objects that belong in another store.
        """
        if history is self._histories.main:
            self._load_definitions(history)
        for record in history.store.range("/registry/"):
            kind = self._kind_of(record.key)
            if kind is None:
                raise UrsaError(f"the {history.name} store holds {record.key}, and no definition of that kind")
            if self._histories.of(kind) is not history:
                raise UrsaError(
                    f"the {history.name} store holds {record.key}: {kind.resource} must be moved apart first"
                )
            entry, message = self.entry_of(kind, record.key, record.value, record.revision)
            self._latest[record.key] = entry
            self._observe(kind, None, message)
            self._quotas.changed(kind, None, entry, message)
            if kind.group == ADMISSION_GROUP:
                self.hooks.changed(kind, entry, message)
            yield kind, entry

    def changes(self, store: Store, records: Iterable[Record]) -> Iterator[Change]:
        """What was changed, made again from the records of the log, which follow one another.

        What one of them left is what the next one of its key has found: few are read, and made, twice.
        """
        left: dict[str, Entry] = {}
        for record in records:
            kind = self._kind_of(record.key) or _forgotten_kind(record)
            old = left.pop(record.key, None)
            if record.previous_revision and old is None:  # It was left before the first of these records.
                previous = store.get(record.key, record.revision - 1)
                if previous is not None:
                    old, _ = self.entry_of(kind, previous.key, previous.value, previous.revision)
            entry, message = self.entry_of(kind, record.key, record.value, record.revision)
            if message.metadata.request_id:
                history = self._histories.of_resource(kind.resource)
                self.outcomes.note(history, message.metadata.request_id, entry)
            if record.deleted:
                yield Change(record.revision, kind, old or entry, None, entry)
            else:
                left[record.key] = entry
                yield Change(record.revision, kind, old, entry, None)

    def entry_of(self, kind: Kind, key: str, data: bytes, revision: int) -> tuple[Entry, pb.Object]:
        """An entry made again from stored bytes."""
        message = pb.Object.FromString(data)
        reader = self._readers.get(kind.resource)
        return Entry(key, message, data, revision, reader.fields(message) if reader else ()), message

    def _load_definitions(self, history: History) -> None:
        """Before the objects of the kinds that they define."""
        for record in history.store.range(DEFINITION.key("", "", "")):
            message = pb.Object.FromString(record.value)
            kind = self._definitions.observe(message, message.metadata.name)
            if kind is not None:
                self._histories.serve(kind)

    def _kind_of(self, key: str) -> Kind | None:
        return self._definitions.kinds.get(resource_of(key))

    def bootstrap(self, now_ms: int) -> None:
        """What every tenant partition has from the start: the system tenant and its namespaces. A resource partition
        notes whose history it is."""
        if self._role is Role.RESOURCE:
            self._begin_history(now_ms)
            return
        if _TENANT.key("", "", SYSTEM_TENANT) in self._latest:
            return
        tenant = pb.Object(api_version=_TENANT.api_version, kind=_TENANT.kind)
        tenant.metadata.name = SYSTEM_TENANT
        writes = self._planner.plan_create(_TENANT, tenant, now_ms).writes
        writes += self._planner.plan_namespace(SYSTEM_TENANT, _SYSTEM_NAMESPACE, now_ms).writes
        self._stage(writes)

    def _begin_history(self, now_ms: int) -> None:
        incarnation = self._histories.main.store.incarnation
        key = _LEASE.key(*HISTORY_LEASE)
        entry = self._latest.get(key)
        lease = pb.Object(api_version=_LEASE.api_version, kind=_LEASE.kind) if entry is None else entry.message()
        restores = restores_of(None if entry is None else decode(lease.spec), incarnation)
        if restores:
            self._ledger.begin_restored(incarnation)
        lease.spec, before = encode(history_spec(incarnation, restores)), lease.spec
        lease.metadata.tenant, lease.metadata.namespace, lease.metadata.name = HISTORY_LEASE
        if entry is None:
            self._stage(self._planner.plan_create(_LEASE, lease, now_ms).writes)
        elif lease.spec != before:
            self._stage((Write(_LEASE, key, lease, entry),))

    # -------------------------------------------------------------------------------------------------- operate

    def apply(self, operation: pb.Operation, writer: Writer, result: pb.Result, session: Session | None = None) -> None:
        """Carry out one operation against the newest state. What became of it is put into `result`, which is empty.

        `writer` is the batch's, of whom the operation may say more. `session`: who is asked.

        Raises:
            ApiError: refused; nothing was changed.
            Unanswered: webhooks must be asked first; nothing was changed but the operation, a copy of which is to be
                tried again.
        """
        kind = served_kind(operation.resource, self._role, self._definitions.kinds)
        if operation.request_id and self._was_done_before(kind, operation, result):
            return
        if writer.fence is not None:
            self._fences.check(writer.fence)
        manager, validation = operation.field_manager, operation.field_validation
        if manager or validation or session is not None:
            check_manager(manager)
            check_validation(validation)
            writer = writer._replace(manager=manager, field_validation=validation, reviewer=session)
        plan = self._planner.plan(kind, operation, writer)
        if kind in self._placed:  # What becomes of the room of its own pods is a part of what becomes of them.
            plan = self._node_pods.accounted(plan, writer.now_ms)
        if session is not None and not operation.HasField("transfer"):
            plan = _validated(plan, session)
        if kind is DEFINITION:
            self._settle_definitions(plan.writes, writer.now_ms)
        if not operation.dry_run:
            # The objects of a collection were deleted by nobody's one operation: what is left of it is done again.
            request_id = b"" if operation.HasField("delete_collection") else operation.request_id
            self._stage(plan.writes, request_id)
        _answer(operation, plan, result)

    def _was_done_before(self, kind: Kind, operation: pb.Operation, result: pb.Result) -> bool:
        """Then what became of it is in the result."""
        done = self.outcomes.find(operation)
        if done is None or operation.dry_run:
            return False
        tell_again(kind, operation, done, result)
        return True

    def give_name(self, operation: pb.Operation) -> None:
        """Make up the name now, of an object that has none, so that it is the same however often it is planned."""
        if operation.WhichOneof("verb") == "create":
            kind = served_kind(operation.resource, self._role, self._definitions.kinds)
            self._planner.give_name(kind, operation.create.object.metadata)

    def settle(self) -> None:
        """Say in the status of quotas what is used now. Called when a batch has been applied, not yet committed."""
        for kind, key, status in self._quotas.outdated():
            entry = self._latest[key]
            message = entry.message()
            message.status = status
            try:
                self._stage((Write(kind, key, message, entry, reserve=True),))
            except (ServiceUnavailable, Invalid):  # No room, not even for this: its next change is the next chance.
                self._quotas.tell_again(key)

    # ---------------------------------------------------------------------------------------------- custom kinds

    @property
    def has_to_clean_up(self) -> bool:
        """A definition is being deleted, or waits for the names of one that was; or a tenant has moved."""
        return bool(self._definitions.terminating or self._definitions.waiting or self._tenants.forgetting)

    def clean_up(self, now_ms: int) -> bool:
        """One step for each definition that is being deleted: some of its objects go, or it goes itself; and one for
        the tenants that have moved. Whether any of them has found something to delete."""
        definitions = self._definitions
        going_on = self._forgetter.step()
        for name in list(definitions.terminating):
            going_on = self._clean_up_one(name, now_ms) or going_on
        for name in list(definitions.waiting):
            entry = self._latest[DEFINITION.key("", "", name)]
            message = entry.message()
            definitions.settle(message, now_ms)
            if message.status != entry.message().status:
                self._stage((Write(DEFINITION, entry.key, message, entry, reserve=True),))
        return going_on

    def _clean_up_one(self, name: str, now_ms: int) -> bool:
        kind = self._definitions.kinds.get(name)
        if kind is not None:
            token = self._clean_up_at.pop(name, "")
            request = pb.DeleteCollection(selection=pb.Selection(resource=name), continue_token=token)
            entries, following = self._planner.collection(kind, request)
            for entry in entries:
                if not entry.deleting:
                    plan = plans.plan_delete(kind, self._strategies[name], entry, pb.Delete(), now_ms=now_ms)
                    self._stage(plan.writes)
            if following:
                self._clean_up_at[name] = following
            if entries or token:
                return True
        entry = self._latest[DEFINITION.key("", "", name)]
        message = entry.message()
        if DEFINITION_FINALIZER in message.metadata.finalizers:  # Else it waits for others' finalizers.
            message.metadata.finalizers.remove(DEFINITION_FINALIZER)
            self._stage((Write(DEFINITION, entry.key, message, entry, deleted=not message.metadata.finalizers),))
        return False

    def _settle_definitions(self, writes: tuple[Write, ...], now_ms: int) -> None:
        for write in writes:
            if not write.deleted:
                self._definitions.settle(write.message, now_ms)

    def expire(self, expiring: Expiring, now_ms: int) -> None:
        """Delete an object whose time to live is over, unless it has changed since."""
        kind, entry = expiring.kind, self._latest.get(expiring.key)
        if entry is not None and entry.revision == expiring.revision:
            plan = plans.plan_delete(kind, self._strategies[kind.resource], entry, pb.Delete(), now_ms=now_ms)
            self._stage(plan.writes)

    # ---------------------------------------------------------------------------------------------------- stage

    def _stage(self, writes: tuple[Write, ...], request_id: bytes = b"") -> None:
        """Every plan concerns one store. The first of its writes bears the id of the operation."""
        if not writes:
            return
        history = self._histories.of(writes[0].kind)
        changes, encoding = [], self.encoding
        for write in writes:
            metadata = write.message.metadata
            metadata.request_id = request_id if write is writes[0] else b""  # That of the operation before is gone.
            # A full store takes what leads to a deletion, and the heartbeats without which all nodes would be lost.
            must_go_on = write.reserve or write.kind is _LEASE or metadata.deletion_ms != 0
            changes.append(StoreChange(write.key, Encoder(write, metadata, encoding), write.deleted, None, must_go_on))
        try:
            records = history.stage(changes)
        except (InvalidKey, ValueTooLarge) as error:
            raise Invalid(str(error)) from None
        except StoreFull as error:
            raise ServiceUnavailable(f"the {history.name} store is full: {error}") from None
        for write, record in zip(writes, records, strict=True):
            entry = self._settle(history, write, record)
            if request_id:
                self.outcomes.note(history, request_id, entry)
                request_id = b""

    def _settle(self, history: History, write: Write, record: Record) -> Entry:
        """A write is staged: it is the newest state, and all that follow the newest state are told."""
        kind, key, message, old, deleted, _, twin = write
        if twin is None:
            entry = Entry(key, message, record.value, record.revision, self._readers[kind.resource].fields(message))
        elif twin.labels is None:
            entry = Entry(key, message, record.value, record.revision, self._readers[kind.resource].fields(message))
            twin.labels, twin.fields = entry.labels, entry.fields
        else:
            entry = Entry(key, message, record.value, record.revision, twin.fields, twin.labels)
        if deleted:
            del self._latest[key]
            history.staged(Change(record.revision, kind, old, None, entry))
            self._observe(kind, message, None)
            self._quotas.changed(kind, old, None, message)
        else:
            self._latest[key] = entry
            history.staged(Change(record.revision, kind, old, entry, None))
            self._observe(kind, None if old is None else message, message)
            self._quotas.changed(kind, old, entry, message)
        if kind.group == ADMISSION_GROUP:
            self.hooks.changed(kind, entry, None if deleted else message)
        return entry

    def _observe(self, kind: Kind, old: pb.Object | None, new: pb.Object | None) -> None:
        """Keep the ledger with the newest state."""
        if kind is DEFINITION:
            either = new or old
            assert either is not None
            self._definitions.observe(new, either.metadata.name)
        elif kind is _TENANT:
            either = new or old
            assert either is not None
            self._tenants.observe(either.metadata.name, new)
        elif kind is _PLACEMENT:
            if old is None and new is not None:
                self._ledger.placement_created(new)
            elif new is None and old is not None:
                self._ledger.placement_deleted(old)
        elif kind is _NODE:
            if new is not None:
                self._ledger.node_changed(new)
            elif old is not None:
                self._ledger.node_deleted(old)
        elif kind is _SERVICE:
            strategy, either = self._strategies[kind.resource], new or old
            assert isinstance(strategy, ServiceStrategy)
            assert either is not None
            strategy.observe(either, deleted=new is None)
        elif kind is _PRIORITY_CLASS:
            either = new or old
            assert either is not None
            self._observe_priority_class(either.metadata.name, new)

    def _observe_priority_class(self, name: str, new: pb.Object | None) -> None:
        classes, pods = self._strategies[_PRIORITY_CLASS.resource], self._strategies[_POD.resource]
        assert isinstance(classes, PriorityClassStrategy)
        assert isinstance(pods, PodStrategy)
        classes.classes.observe(name, new)
        pods.classes_changed()


def _answer(operation: pb.Operation, plan: Plan, result: pb.Result) -> None:
    metadata = plan.result.metadata
    result.resource_version = metadata.resource_version
    result.uid = metadata.uid
    if metadata.generate_name:
        result.name = metadata.name
    if operation.return_object:
        result.object.CopyFrom(plan.result if plan.view is None else plan.view(plan.result))
    if plan.warnings:
        result.warnings.extend(plan.warnings)
    if plan.deleted or plan.continue_token:
        result.deleted, result.continue_token = plan.deleted, plan.continue_token
        if plan.writes:
            result.resource_version = plan.writes[-1].message.metadata.resource_version


def _validated(plan: Plan, session: Session) -> Plan:
    """Raises ApiError: one of the writes is refused. Unanswered: webhooks must be asked about some first."""
    asks: list[Ask] = []
    for write in plan.writes:
        if write.reserve:
            continue  # The server's own account of what is asked for.
        try:
            session.validate(write.kind, write.message, write.old)
        except Unanswered as missing:
            asks += missing.asks
    if asks:
        raise Unanswered(asks)
    return plan._replace(warnings=plan.warnings + session.warnings) if session.warnings else plan


def _forgotten_kind(record: Record) -> Kind:
    """Of an object in the log whose definition is gone: enough to know that it is nobody's."""
    message = pb.Object.FromString(record.value)
    return Kind(message.kind, resource_of(record.key), message.api_version)


def resource_of(key: str) -> str:
    """`/registry/pods/t/n/name` -> `pods`."""
    return key.split("/", 3)[2]
