"""Tenants, and which writes of what they hold are taken here: see `proto/tenants.py` for the states and what they mean.

A partition knows only what its own Tenant objects say. While a tenant is not open here, what writes its objects is
refused; reads go on, and so do Events, which are kept apart and stay where they are.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

from ...proto import ursa_pb2 as pb
from ...proto.errors import Cause, Conflict, Forbidden, Invalid, NotFound, ServiceUnavailable
from ...proto.kinds import BY_KIND, EVENTS_STORE, SYSTEM_TENANT, Kind
from ...proto.objects import decode_shared, encode
from ...proto.tenants import (
    ACTIVE,
    ARRIVING,
    LEAVING,
    LEFT,
    MOVED,
    PENDING,
    TENANT_NOT_HERE,
    Record,
    may_follow,
    problems,
    read_record,
)
from ..entries import Entry
from .strategy import Strategy
from .validation import Causes

TENANT_FINALIZER = "ursa.dev/tenant"
# A move freezes a tenant for a second or two, a claim takes a few round trips.
RETRY_AFTER_MS = 500

_TENANT = BY_KIND["Tenant"]


def tenant_record(message: pb.Object) -> Record:
    return read_record(decode_shared(message.spec))


class TenantStrategy(Strategy):
    """Stays until its namespaces are gone."""

    def prepare_create(self, message: pb.Object) -> None:
        spec = decode_shared(message.spec)
        if not isinstance(spec, dict) or spec.get("state") != PENDING:
            _add_finalizer(message)  # A claim holds nothing, and is given up at once.

    def initial_status(self, message: pb.Object) -> bytes:
        return encode({"phase": tenant_record(message).state})

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        spec = decode_shared(message.spec)
        for field, problem in problems(message.metadata.name, spec).items():
            causes.add(f"spec.{field}", problem)
        if not causes.found:
            # People look at the phase, and whoever writes a status has an older one.
            message.status = encode({**decode_shared(message.status), "phase": tenant_record(message).state})

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        record = tenant_record(message)
        if record.state not in (ACTIVE, PENDING) or record.epoch:
            causes.add("spec.state", "of a new tenant is Pending or left out: it is moved by `ursa tenant move`")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        before, after = tenant_record(old), tenant_record(new)
        if not may_follow(before, after):
            causes.add(
                "spec",
                f"goes from {before.state} at epoch {before.epoch} to {after.state} at {after.epoch}, which no tenant "
                "does: leave state and epoch as they are",
            )
        elif old.metadata.deletion_ms and after != before:
            causes.add("spec.state", "stays as it is: the tenant is being deleted")
        if after.state == ACTIVE and before.state == PENDING:
            _add_finalizer(new)
        if after.state == MOVED and TENANT_FINALIZER in new.metadata.finalizers:
            new.metadata.finalizers.remove(TENANT_FINALIZER)  # There will be nothing to empty.

    def check_delete(self, message: pb.Object) -> None:
        record, name = tenant_record(message), message.metadata.name
        if name == SYSTEM_TENANT:
            raise Forbidden(f"the tenant {name!r} cannot be deleted: the partition needs it")
        if record.state in (ARRIVING, LEAVING, LEFT):
            _refuse(name, record)


class _Write(Protocol):
    @property
    def message(self) -> pb.Object: ...
    @property
    def old(self) -> Entry | None: ...
    @property
    def deleted(self) -> bool: ...


class Tenants:
    """The tenants that are not open for writes here. Follows the newest state."""

    def __init__(self) -> None:
        self._closed: dict[str, Record] = {}
        # Moved, and there may still be something to forget: where to.
        self.forgetting: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._closed)

    def observe(self, name: str, new: pb.Object | None) -> None:
        """A Tenant was written, or is gone."""
        record = Record() if new is None else tenant_record(new)
        self.forgetting.pop(name, None)
        if record.state == ACTIVE:
            self._closed.pop(name, None)
            return
        self._closed[name] = record
        if record.state == MOVED:
            self.forgetting[name] = record.partition

    def check(self, kind: Kind, operation: pb.Operation) -> None:
        """Raises ServiceUnavailable: not now. NotFound: the tenant has moved."""
        verb = operation.WhichOneof("verb")
        if kind is _TENANT and verb == "delete" and operation.delete.target.name in self.forgetting:
            _forgetting(operation.delete.target.name)
        if verb is None or verb == "transfer" or kind is _TENANT or kind.store == EVENTS_STORE:
            return
        tenant = _tenant_of(verb, operation)
        record = self._closed.get(tenant)
        if record is not None:
            _refuse(tenant, record)
        elif verb == "delete_collection" and not tenant:
            raise Invalid("a collection is deleted of one tenant: some are being moved")

    def check_transfer(self, tenant: str, move: str) -> None:
        """Raises Conflict: nothing is brought for this tenant, or another one brings it by now."""
        record = self._closed.get(tenant)
        if record is None or record.state != ARRIVING:
            state = "is open, or unknown, here" if record is None else f"is {record.state} here"
            raise Conflict(f"tenant {tenant!r} {state}: nothing can be brought", causes=[_cause("it does not arrive")])
        if record.move != move:
            raise Conflict(
                f"tenant {tenant!r} is being moved by another one: this move is over",
                causes=[_cause(f"the move is {record.move}")],
            )


def is_born(write: _Write) -> bool:
    """A Tenant becomes Active that never was."""
    if write.deleted or tenant_record(write.message).state != ACTIVE:
        return False
    return write.old is None or tenant_record(write.old.message()).state == PENDING


def check_arrival(new: pb.Object, existing: pb.Object | None, *, forgetting: bool) -> None:
    """A Tenant is brought.

    Raises:
        Invalid: it is none that arrives. Conflict: it is here, or was so later. ServiceUnavailable: it was here, and is
            not forgotten yet.
    """
    record, name = tenant_record(new), new.metadata.name
    if found := problems(name, decode_shared(new.spec)):
        raise Invalid("; ".join(f"spec.{field} {problem}" for field, problem in found.items()))
    if record.state != ARRIVING or not record.move or not new.metadata.uid:
        raise Invalid(f"a tenant is brought Arriving, with a move and its uid, not {record.state}")
    if existing is None:
        return
    before = tenant_record(existing)
    if before.state not in (ARRIVING, MOVED):
        raise Conflict(
            f"there is a tenant {name!r} here, which is {before.state}", causes=[_cause("the name is taken")]
        )
    if existing.metadata.uid != new.metadata.uid:
        if before.state == ARRIVING:
            raise Conflict(f"another tenant {name!r} is arriving here", causes=[_cause("the name is taken")])
    elif record.epoch < before.epoch or (before.state == MOVED and record.epoch == before.epoch):
        raise Conflict(
            f"tenant {name!r} was here at epoch {before.epoch}, and cannot arrive at {record.epoch}",
            causes=[_cause(f"the epoch is {before.epoch}")],
        )
    if forgetting:
        _forgetting(name)


def _add_finalizer(message: pb.Object) -> None:
    if TENANT_FINALIZER not in message.metadata.finalizers:
        message.metadata.finalizers.append(TENANT_FINALIZER)


def _refuse(tenant: str, record: Record) -> NoReturn:
    other, key = record.partition, _TENANT.key("", "", tenant)
    if record.state == MOVED:
        raise NotFound(
            f"tenant {tenant!r} has moved to {other}: ask there", key=key, causes=[_cause(f"it is in {other}")]
        )
    why = {
        PENDING: "is being created: all partitions are asked whether its name is free",
        ARRIVING: f"is being moved here from {other}",
        LEAVING: f"is being moved to {other}",
        LEFT: f"is being moved to {other}",
    }[record.state]
    raise ServiceUnavailable(
        f"tenant {tenant!r} {why}: nothing of it can be written now, try again soon",
        key=key,
        retry_after_ms=RETRY_AFTER_MS,
        causes=[_cause(f"it is {record.state}")],
    )


def _forgetting(tenant: str) -> NoReturn:
    raise ServiceUnavailable(
        f"what tenant {tenant!r} had here is not forgotten yet: try again", retry_after_ms=RETRY_AFTER_MS
    )


def _cause(message: str) -> Cause:
    return Cause("metadata.tenant", message, TENANT_NOT_HERE)


def _tenant_of(verb: str, operation: pb.Operation) -> str:
    request: Any = getattr(operation, verb)
    if verb in ("create", "update"):
        return str(request.object.metadata.tenant)
    return str(request.selection.tenant if verb == "delete_collection" else request.target.tenant)
