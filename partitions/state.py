"""The newest state of a partition, and how an operation changes it.

Operations are checked and applied here, one after another, against the newest state, committed or not. What is applied
is staged in the store and waits, in the same order, to be published once the commit is through. Nobody but the next
operation sees it before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from random import Random

from ..proto import ursa_pb2 as pb
from ..proto.custom_kinds import DEFINITION, DEFINITION_FINALIZER
from ..proto.errors import (
    AlreadyExists,
    BadRequest,
    Forbidden,
    Invalid,
    NotFound,
    ServiceUnavailable,
    StoreFull,
    UrsaError,
)
from ..proto.kinds import ADMISSION_GROUP, BY_KIND, EVENTS_STORE, SYSTEM_TENANT, Kind, Role, Scope
from ..proto.objects import Object, decode, encode, new_uid
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
from .admission.contents import check_decodes
from .admission.tenants import check_arrival, is_born
from .admission.validation import Causes, check_scope
from .admission.webhooks import Ask
from .cache.watch_cache import Change
from .definitions import Definitions
from .entries import NO_LABELS, Entry
from .expiry import Expiring
from .forgetting import Forgetter
from .history import Histories, History
from .patching import check_validation, report_unknown, shape_of
from .requests.request import Stopwatch
from .selections import compile_selection, served_kind
from .writes import plans
from .writes.encoding import Encoder
from .writes.evictions import plan_eviction
from .writes.fences import Fences
from .writes.node_pods import NodePods
from .writes.outcomes import Outcomes, tell_again
from .writes.ownership import Reviewer, Writer, check_manager
from .writes.patch_plans import applied_object, plan_patch
from .writes.plans import Plan, Write
from .writes.transfers import plan_transfer

_NAMESPACE = BY_KIND["Namespace"]
_TENANT = BY_KIND["Tenant"]
_NODE = BY_KIND["Node"]
_PLACEMENT = BY_KIND["Placement"]
_LEASE = BY_KIND["Lease"]
_POD = BY_KIND["Pod"]
_BUDGET = BY_KIND["PodDisruptionBudget"]
_SERVICE = BY_KIND["Service"]
_PRIORITY_CLASS = BY_KIND["PriorityClass"]
DEFAULT_NAMESPACE = "default"
_SYSTEM_NAMESPACES = (DEFAULT_NAMESPACE, "kube-system")
# Kubernetes leaves out vowels and look-alikes, so that no made-up name is a word.
_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NAME_SUFFIX_LENGTH = 5
# Of 14 million suffixes, two of 5,000 are the same more often than not; so one that is taken is drawn again. As
# Kubernetes since 1.32.
_NAMES_TRIED_MAX = 8
# How many objects one DeleteCollection deletes: some 10 ms of the loop, as much as the largest batch.
DELETE_COLLECTION_STEP = 256
_VERBS = ("create", "update", "patch", "delete", "bind", "evict", "delete_collection", "transfer")


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
        self._forgetter = Forgetter(self._tenants, self._definitions.kinds, self._selected, self._stage)
        self.hooks = Hooks(self._namespace_labels)
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

    def changed(self, store: Store, record: Record) -> Change:
        """A change made again from its record in the log."""
        kind = self._kind_of(record.key) or _forgotten_kind(record)
        entry, message = self.entry_of(kind, record.key, record.value, record.revision)
        if message.metadata.request_id:
            history = self._histories.of_resource(kind.resource)
            self.outcomes.note(history, message.metadata.request_id, entry)
        old = None
        if record.previous_revision:
            previous = store.get(record.key, record.revision - 1)
            if previous is not None:
                old, _ = self.entry_of(kind, previous.key, previous.value, previous.revision)
        if record.deleted:
            return Change(record.revision, kind, old or entry, None, entry)
        return Change(record.revision, kind, old, entry, None)

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
        writes = self._plan_create(_TENANT, tenant, now_ms).writes
        for name in _SYSTEM_NAMESPACES[1:]:
            writes += self._plan_namespace(SYSTEM_TENANT, name, now_ms).writes
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
            self._stage(self._plan_create(_LEASE, lease, now_ms).writes)
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
        plan = self._accounted(kind, self._plan(kind, operation, writer), writer.now_ms)
        if session is not None and not operation.HasField("transfer"):
            plan = _validated(plan, session)
        if kind is DEFINITION:
            self._settle_definitions(plan.writes, writer.now_ms)
        if not operation.dry_run:
            # The objects of a collection were deleted by nobody's one operation: what is left of it is done again.
            request_id = b"" if operation.HasField("delete_collection") else operation.request_id
            self._stage(plan.writes, request_id)
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
            self._give_name(kind, operation.create.object.metadata)

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
            entries, following = self._collection(kind, request)
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

    def _plan(self, kind: Kind, operation: pb.Operation, writer: Writer) -> Plan:
        verb = operation.WhichOneof("verb")
        strategy = self._strategies[kind.resource]
        now_ms = writer.now_ms
        if self._tenants:
            self._tenants.check(kind, operation)
        if verb == "create":
            return self._plan_new(kind, operation.create.object, writer)
        if verb == "update":
            new = operation.update.object
            metadata = new.metadata
            entry = self._entry(kind, metadata.tenant, metadata.namespace, metadata.name)
            plan = plans.plan_update(kind, strategy, entry, new, operation.update.subresource, writer)
            return self._with_namespace(plan, now_ms) if kind is _TENANT else plan
        if verb == "bind":
            return plans.plan_bind(kind, self._target(kind, operation.bind.target), operation.bind)
        if verb == "delete":
            target = self._target(kind, operation.delete.target)
            return plans.plan_delete(kind, strategy, target, operation.delete, now_ms=now_ms)
        if verb == "patch":
            plan = self._plan_patch(kind, operation.patch, writer)
            return self._with_namespace(plan, now_ms) if kind is _TENANT else plan
        if verb == "evict":
            target = self._target(kind, operation.evict.target)
            return plan_eviction(kind, strategy, target, operation.evict, self._budgets_beside, now_ms=now_ms)
        if verb == "delete_collection":
            return self._plan_delete_collection(kind, operation.delete_collection, now_ms)
        if verb == "transfer":
            return self._plan_transfer(kind, operation.transfer)
        raise BadRequest(f"the operation has no verb: set one of {', '.join(_VERBS)}")

    def _accounted(self, kind: Kind, plan: Plan, now_ms: int) -> Plan:
        """In a resource partition, what becomes of the room of its own pods is a part of what becomes of them."""
        return self._node_pods.accounted(plan, now_ms) if kind in self._placed else plan

    def _plan_new(self, kind: Kind, message: pb.Object, writer: Writer) -> Plan:
        message.metadata.ClearField("managed_fields")  # The server's to keep.
        if not writer.field_validation:
            return self._plan_create(kind, message, writer.now_ms, writer.reviewer)
        check_decodes(message, message.metadata.name)
        warnings = report_unknown(Object(message).to_dict(), None, shape_of(kind), writer.field_validation)
        return self._plan_create(kind, message, writer.now_ms, writer.reviewer)._replace(warnings=warnings)

    def _plan_transfer(self, kind: Kind, transfer: pb.Transfer) -> Plan:
        metadata = transfer.object.metadata
        causes = Causes()
        check_scope(kind, metadata.tenant, metadata.namespace, causes)
        if (kind.scope is Scope.CLUSTER and kind is not _TENANT) or kind.store == EVENTS_STORE:
            causes.add("kind", f"{kind.plural} do not move with a tenant")
        causes.raise_if_any(kind.kind, metadata.name)
        key = kind.key(metadata.tenant, metadata.namespace, metadata.name)
        existing = self._latest.get(key)
        if kind is _TENANT:
            present = None if existing is None else existing.message()
            check_arrival(transfer.object, present, forgetting=metadata.name in self._tenants.forgetting)
        else:
            self._tenants.check_transfer(metadata.tenant, transfer.move)
        return plan_transfer(kind, self._strategies[kind.resource], key, existing, transfer)

    def _plan_patch(self, kind: Kind, patch: pb.Patch, writer: Writer) -> Plan:
        target = patch.target
        key = kind.key(target.tenant, target.namespace, target.name)
        if patch.type == pb.Patch.APPLY and not patch.subresource and key not in self._latest:
            message, warnings = applied_object(kind, patch, writer)
            return self._plan_create(kind, message, writer.now_ms, writer.reviewer)._replace(warnings=warnings)
        return plan_patch(kind, self._strategies[kind.resource], self._target(kind, target), patch, writer)

    def _plan_delete_collection(self, kind: Kind, request: pb.DeleteCollection, now_ms: int) -> Plan:
        selection = request.selection
        if selection.resource != kind.resource:
            raise BadRequest(f"the operation is for {kind.resource}, its selection for {selection.resource!r}")
        causes = Causes()
        check_scope(kind, selection.tenant, selection.namespace, causes)
        causes.raise_if_any(f"Collection of {kind.plural}", "")
        entries, continue_token = self._collection(kind, request)
        strategy = self._strategies[kind.resource]
        return plans.plan_delete_collection(
            kind, strategy, entries, request, now_ms=now_ms, continue_token=continue_token
        )

    def _collection(self, kind: Kind, request: pb.DeleteCollection) -> tuple[list[Entry], str]:
        """The next objects of a collection as they are now, and where to go on."""
        start = request.continue_token
        if start and not start.startswith(kind.key("", "", "").rstrip("/")):
            raise BadRequest("the continue_token is of another kind: begin again without it")
        found: list[Entry] = []
        for entry in self._selected(kind, request.selection, start):
            if len(found) == DELETE_COLLECTION_STEP:
                return found, entry.key
            found.append(entry)
        return found, ""

    def _selected(self, kind: Kind, selection: pb.Selection, start: str = "") -> Iterator[Entry]:
        """What is selected of a kind as it is now, from a key on. What is published is found fast, the rest is few."""
        compiled = compile_selection(selection, self._role, self._definitions.kinds)
        history = self._histories.of(kind)
        published = history.cache.collections.get(kind.resource)  # None: the kind was defined just now.
        keys = {entry.key: None for entry in published.select(compiled)} if published is not None else {}
        keys.update(dict.fromkeys(history.unpublished_keys(kind)))
        for key in sorted(keys):
            entry = self._latest.get(key)
            if key >= start and entry is not None and compiled.matches(entry):
                yield entry

    def _budgets_beside(self, pod: Entry) -> list[Entry]:
        """Looked for when a pod is evicted, so that no other write of a pod pays for them."""
        if self._role not in _BUDGET.roles:
            return []
        selection = pb.Selection(resource=_BUDGET.resource, tenant=pod.tenant, namespace=pod.namespace)
        return list(self._selected(_BUDGET, selection))

    def _plan_create(self, kind: Kind, message: pb.Object, now_ms: int, reviewer: Reviewer | None = None) -> Plan:
        self._give_name(kind, message.metadata)
        if reviewer is not None:
            message = reviewer.mutate(kind, message, None)
        metadata = message.metadata
        strategy = self._strategies[kind.resource]
        self._definitions.check_new(kind)
        twin = plans.check_new(kind, strategy, message)
        self._check_namespace(kind, metadata)
        key = kind.key(metadata.tenant, metadata.namespace, metadata.name)
        existing = self._latest.get(key)
        if kind is _PLACEMENT and not self._ledger.admit(message) and existing is not None:
            return plans.no_change(existing)
        if existing is not None:
            state = "is being deleted" if existing.deleting else "exists already"
            raise AlreadyExists(f"{key} {state}", key=key, resource_version=existing.revision)
        self._quotas.check(kind, message)
        plan = plans.plan_create(kind, strategy, key, message, twin, uid=new_uid(self._random), now_ms=now_ms)
        return self._with_namespace(plan, now_ms) if kind is _TENANT else plan

    def _give_name(self, kind: Kind, metadata: pb.ObjectMeta) -> None:
        if metadata.name or not metadata.generate_name:
            return
        for _ in range(_NAMES_TRIED_MAX):
            suffix = "".join(self._random.choices(_NAME_ALPHABET, k=_NAME_SUFFIX_LENGTH))
            metadata.name = metadata.generate_name + suffix
            if kind.key(metadata.tenant, metadata.namespace, metadata.name) not in self._latest:
                return

    def _namespace_labels(self, tenant: str, namespace: str) -> Mapping[str, str]:
        entry = self._latest.get(_NAMESPACE.key(tenant, "", namespace))
        return NO_LABELS if entry is None else entry.labels

    def _with_namespace(self, plan: Plan, now_ms: int) -> Plan:
        """A tenant that is Active for the first time has its namespace, in the same step: nobody sees one without."""
        if not plan.writes or not is_born(plan.writes[0]):
            return plan
        default = self._plan_namespace(plan.result.metadata.name, DEFAULT_NAMESPACE, now_ms)
        return plan._replace(writes=plan.writes + default.writes)

    def _plan_namespace(self, tenant: str, name: str, now_ms: int) -> Plan:
        message = pb.Object(api_version=_NAMESPACE.api_version, kind=_NAMESPACE.kind)
        message.metadata.tenant, message.metadata.name = tenant, name
        strategy = self._strategies[_NAMESPACE.resource]
        twin = plans.check_new(_NAMESPACE, strategy, message)
        key = _NAMESPACE.key(tenant, "", name)
        return plans.plan_create(_NAMESPACE, strategy, key, message, twin, uid=new_uid(self._random), now_ms=now_ms)

    def _check_namespace(self, kind: Kind, metadata: pb.ObjectMeta) -> None:
        """In a tenant partition, tenants and namespaces must be there before what they hold."""
        if self._role is not Role.TENANT or kind.scope is Scope.CLUSTER:
            return
        if kind.scope is Scope.NAMESPACE:
            holder = _NAMESPACE.key(metadata.tenant, "", metadata.namespace)
        else:
            holder = _TENANT.key("", "", metadata.tenant)
        entry = self._latest.get(holder)
        if entry is None:
            what = f"namespace {metadata.tenant}/{metadata.namespace}"
            if kind.scope is not Scope.NAMESPACE:
                what = f"tenant {metadata.tenant!r}"
            raise NotFound(f"{what} does not exist in this partition: create it first", key=holder)
        if entry.deleting:
            raise Forbidden(f"{holder} is being deleted, nothing can be created in it", key=holder)

    def _target(self, kind: Kind, target: pb.GetRequest) -> Entry:
        return self._entry(kind, target.tenant, target.namespace, target.name)

    def _entry(self, kind: Kind, tenant: str, namespace: str, name: str) -> Entry:
        key = kind.key(tenant, namespace, name)
        entry = self._latest.get(key)
        if entry is None:
            raise NotFound(f"{key} does not exist", key=key)
        return entry

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


def _forgotten_kind(record: Record) -> Kind:
    """Of an object in the log whose definition is gone: enough to know that it is nobody's."""
    message = pb.Object.FromString(record.value)
    return Kind(message.kind, resource_of(record.key), message.api_version)


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


def resource_of(key: str) -> str:
    """`/registry/pods/t/n/name` -> `pods`."""
    return key.split("/", 3)[2]
