"""What an operation comes to: the writes that it makes of the newest state, and nothing is changed yet.

Each plan says what is written, and what the client is told. `state.py` carries it out, or drops it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from ..proto import ursa_pb2 as pb
from ..proto.errors import AlreadyExists, BadRequest, Forbidden, NotFound
from ..proto.kinds import BY_KIND, EVENTS_STORE, Kind, Role, Scope
from ..proto.objects import Object, new_uid
from .admission import Ledger, Quotas, Tenants
from .admission.contents import check_decodes
from .admission.tenants import check_arrival, is_born
from .admission.validation import Causes, check_scope
from .definitions import Definitions
from .entries import NO_LABELS, Entry
from .history import Histories
from .patching import report_unknown, shape_of
from .selections import compile_selection
from .writes import plans
from .writes.evictions import plan_eviction
from .writes.ownership import Reviewer, Writer
from .writes.patch_plans import applied_object, plan_patch
from .writes.plans import Plan
from .writes.transfers import plan_transfer

_NAMESPACE = BY_KIND["Namespace"]
_TENANT = BY_KIND["Tenant"]
_PLACEMENT = BY_KIND["Placement"]
_BUDGET = BY_KIND["PodDisruptionBudget"]
DEFAULT_NAMESPACE = "default"
# Kubernetes leaves out vowels and look-alikes, so that no made-up name is a word.
_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NAME_SUFFIX_LENGTH = 5
# Of 14 million suffixes, two of 5,000 are the same more often than not; so one that is taken is drawn again. As
# Kubernetes since 1.32.
_NAMES_TRIED_MAX = 8
# How many objects one DeleteCollection deletes: some 10 ms of the loop, as much as the largest batch.
DELETE_COLLECTION_STEP = 256
_VERBS = ("create", "update", "patch", "delete", "bind", "evict", "delete_collection", "transfer")


class Planner:
    """`latest`: the newest state of everything, committed or not, by key. All of it is read only."""

    def __init__(
        self,
        role: Role,
        random: Random,
        latest: Mapping[str, Entry],
        histories: Histories,
        definitions: Definitions,
        ledger: Ledger,
        quotas: Quotas,
        tenants: Tenants,
    ) -> None:
        self._role, self._random, self._latest, self._histories = role, random, latest, histories
        self._definitions, self._strategies = definitions, definitions.strategies
        self._ledger, self._quotas, self._tenants = ledger, quotas, tenants

    def plan(self, kind: Kind, operation: pb.Operation, writer: Writer) -> Plan:
        """
        Raises:
            ApiError: the operation is refused.
            Unanswered: webhooks must be asked about it first.
        """
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

    def _plan_new(self, kind: Kind, message: pb.Object, writer: Writer) -> Plan:
        message.metadata.ClearField("managed_fields")  # The server's to keep.
        if not writer.field_validation:
            return self.plan_create(kind, message, writer.now_ms, writer.reviewer)
        check_decodes(message, message.metadata.name)
        warnings = report_unknown(Object(message).to_dict(), None, shape_of(kind), writer.field_validation)
        return self.plan_create(kind, message, writer.now_ms, writer.reviewer)._replace(warnings=warnings)

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
            return self.plan_create(kind, message, writer.now_ms, writer.reviewer)._replace(warnings=warnings)
        return plan_patch(kind, self._strategies[kind.resource], self._target(kind, target), patch, writer)

    def _plan_delete_collection(self, kind: Kind, request: pb.DeleteCollection, now_ms: int) -> Plan:
        selection = request.selection
        if selection.resource != kind.resource:
            raise BadRequest(f"the operation is for {kind.resource}, its selection for {selection.resource!r}")
        causes = Causes()
        check_scope(kind, selection.tenant, selection.namespace, causes)
        causes.raise_if_any(f"Collection of {kind.plural}", "")
        entries, continue_token = self.collection(kind, request)
        strategy = self._strategies[kind.resource]
        return plans.plan_delete_collection(
            kind, strategy, entries, request, now_ms=now_ms, continue_token=continue_token
        )

    def collection(self, kind: Kind, request: pb.DeleteCollection) -> tuple[list[Entry], str]:
        """The next objects of a collection as they are now, and where to go on."""
        start = request.continue_token
        if start and not start.startswith(kind.key("", "", "").rstrip("/")):
            raise BadRequest("the continue_token is of another kind: begin again without it")
        found: list[Entry] = []
        for entry in self.selected(kind, request.selection, start):
            if len(found) == DELETE_COLLECTION_STEP:
                return found, entry.key
            found.append(entry)
        return found, ""

    def selected(self, kind: Kind, selection: pb.Selection, start: str = "") -> Iterator[Entry]:
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
        return list(self.selected(_BUDGET, selection))

    def plan_create(self, kind: Kind, message: pb.Object, now_ms: int, reviewer: Reviewer | None = None) -> Plan:
        self.give_name(kind, message.metadata)
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

    def give_name(self, kind: Kind, metadata: pb.ObjectMeta) -> None:
        if metadata.name or not metadata.generate_name:
            return
        for _ in range(_NAMES_TRIED_MAX):
            suffix = "".join(self._random.choices(_NAME_ALPHABET, k=_NAME_SUFFIX_LENGTH))
            metadata.name = metadata.generate_name + suffix
            if kind.key(metadata.tenant, metadata.namespace, metadata.name) not in self._latest:
                return

    def namespace_labels(self, tenant: str, namespace: str) -> Mapping[str, str]:
        entry = self._latest.get(_NAMESPACE.key(tenant, "", namespace))
        return NO_LABELS if entry is None else entry.labels

    def _with_namespace(self, plan: Plan, now_ms: int) -> Plan:
        """A tenant that is Active for the first time has its namespace, in the same step: nobody sees one without."""
        if not plan.writes or not is_born(plan.writes[0]):
            return plan
        default = self.plan_namespace(plan.result.metadata.name, DEFAULT_NAMESPACE, now_ms)
        return plan._replace(writes=plan.writes + default.writes)

    def plan_namespace(self, tenant: str, name: str, now_ms: int) -> Plan:
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
