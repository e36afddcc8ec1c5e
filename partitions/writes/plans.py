"""What an operation would do, worked out against the newest state, before anything is staged.

Each verb is a function from the present object and the request to a `Plan`: the changes to make, all or none, and the
object that the caller is told about. Nothing here touches the state, so a dry run is a plan that is not carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.devices import DEVICES_ANNOTATION, check_devices, device_request, written_devices
from ...proto.errors import BadRequest, Conflict, Forbidden
from ...proto.kinds import Kind
from ...proto.objects import Object, require_kind
from ...proto.propagation import check_policy
from ..admission.contents import check_contents, check_decodes
from ..admission.scheduling_gates import is_gated
from ..admission.strategy import Strategy
from ..admission.twins import Twin, likeness_of
from ..admission.usage import charge_of
from ..admission.validation import Causes, check_metadata, check_name, check_new_finalizers
from ..entries import Entry
from ..patching import report_unknown, shape_of
from .ownership import Writer, keep_managed_fields, track_update
from .propagation import set_policy
from .spec_bytes import append_fields
from .subresources import check_subresource, scale_of, scaled


class Write(NamedTuple):
    """One change: `message` is the object after it, or its last state where `deleted`."""

    kind: Kind
    key: str
    message: pb.Object
    old: Entry | None
    deleted: bool = False
    reserve: bool = False  # Small, and taken by a full store, too.
    twin: Twin | None = None  # Of a new object: what it shares with others like it.


class Plan(NamedTuple):
    """`writes` is empty where the object is as wanted already; `result` is what it then is.

    `warnings` are lines for the caller. `view`: what the caller is shown of the result, where it is not the result.
    Of a collection: `deleted` of its objects are deleted or marked, and it goes on at `continue_token` if there is one.
    """

    writes: tuple[Write, ...]
    result: pb.Object
    warnings: tuple[str, ...] = ()
    view: Callable[[pb.Object], pb.Object] | None = None
    deleted: int = 0
    continue_token: str = ""


def no_change(entry: Entry) -> Plan:
    return Plan((), entry.message())


def check_preconditions(entry: Entry, uid: str, resource_version: int) -> None:
    """Raises Conflict: the object is another one, or has changed."""
    if uid and uid != entry.uid:
        raise Conflict(
            f"{entry.key} has uid {entry.uid}, not {uid}: it was deleted and created again",
            key=entry.key,
            resource_version=entry.revision,
        )
    if resource_version and resource_version != entry.revision:
        raise Conflict(
            f"{entry.key} has changed since revision {resource_version}, it is at {entry.revision}: "
            "read it again and apply your change to what you find",
            key=entry.key,
            resource_version=entry.revision,
        )


# ------------------------------------------------------------------------------------------------------------ create


def check_new(kind: Kind, strategy: Strategy, message: pb.Object) -> Twin | None:
    """Default a new object, and check all of it; or what there is to check of one that is like others but for its name.

    Raises:
        BadRequest: it is of another kind. Invalid: it breaks rules, all of which are listed.
    """
    twins = strategy.twins
    if twins is None:
        _check_all(kind, strategy, message)
        return None
    likeness = likeness_of(message)
    twin = twins.find(likeness)
    if twin is None:
        _check_all(kind, strategy, message)
        return twins.add(likeness, message.spec)
    causes = Causes()
    check_name(kind, message.metadata, causes)
    if causes.found:
        causes.raise_if_any(kind.kind, message.metadata.name)
    message.spec = twin.spec
    return twin


def _check_all(kind: Kind, strategy: Strategy, message: pb.Object) -> None:
    require_kind(message, kind.kind, kind.api_version)
    strategy.prepare_create(message)
    causes = Causes()
    check_metadata(kind, message.metadata, causes)
    strategy.admit(message, causes)
    if not causes.found:
        strategy.check_create(message, causes)
    if causes.found:
        causes.raise_if_any(kind.kind, message.metadata.name)


def plan_create(
    kind: Kind, strategy: Strategy, key: str, message: pb.Object, twin: Twin | None, *, uid: str, now_ms: int
) -> Plan:
    """For an object that `check_new` has passed; it has said of which others this is the `twin`."""
    metadata = message.metadata
    metadata.uid = uid
    metadata.creation_ms = now_ms
    metadata.generation = 1
    metadata.deletion_ms = metadata.deletion_grace_seconds = 0
    strategy.know_uid(message)
    if kind.has_status:
        message.status = strategy.initial_status(message)
    return Plan((Write(kind, key, message, None, twin=twin),), message)


# ------------------------------------------------------------------------------------------------------------ update


def plan_update(kind: Kind, strategy: Strategy, entry: Entry, new: pb.Object, subresource: str, writer: Writer) -> Plan:
    """Raises BadRequest, Conflict or Invalid."""
    check_subresource(kind, subresource)
    if subresource == "scale":
        return plan_scale(kind, strategy, entry, new, writer)
    check_preconditions(entry, new.metadata.uid, new.metadata.resource_version)
    old = entry.message()
    keep_managed_fields(new.metadata, old.metadata)
    if not subresource:
        require_kind(new, kind.kind, kind.api_version)
    warnings: tuple[str, ...] = ()
    if writer.field_validation or new.metadata.managed_fields:
        check_decodes(new, entry.name)
        warnings = report_unknown(Object(new).to_dict(), Object(old).to_dict(), shape_of(kind), writer.field_validation)
        track_update(kind, old, new, subresource, writer)
    plan = plan_replacement(kind, strategy, entry, old, new, writer, subresource)
    return plan._replace(warnings=warnings) if warnings else plan


def plan_scale(kind: Kind, strategy: Strategy, entry: Entry, scale: pb.Object, writer: Writer) -> Plan:
    """Only the number of replicas. Raises BadRequest, Conflict or Invalid."""
    check_preconditions(entry, scale.metadata.uid, scale.metadata.resource_version)
    old, new = entry.message(), entry.message()
    scaled(kind, new, scale)
    track_update(kind, old, new, "scale", writer)
    return plan_replacement(kind, strategy, entry, old, new, writer)._replace(view=partial(scale_of, kind))


def plan_replacement(
    kind: Kind,
    strategy: Strategy,
    entry: Entry,
    old: pb.Object,
    new: pb.Object,
    writer: Writer,
    subresource: str = "",
) -> Plan:
    """For an object whose preconditions hold, and whose managed fields are those it shall have.

    Raises:
        Invalid: it breaks rules, all of which are listed.
    """
    if writer.reviewer is not None:
        new = writer.reviewer.mutate(kind, new, entry.message())
    if subresource == "status":
        return _plan_status(kind, strategy, entry, old, new)
    _keep_what_the_server_owns(kind, new, old)
    causes = Causes()
    check_metadata(kind, new.metadata, causes)
    check_new_finalizers(new.metadata, old.metadata, causes)
    strategy.admit(new, causes)
    if not causes.found:
        strategy.check_update(new, old, causes)
    causes.raise_if_any(kind.kind, entry.name)
    metadata = new.metadata
    if new.spec != old.spec:
        metadata.generation = old.metadata.generation + 1
    if metadata.deletion_ms and not metadata.finalizers and not metadata.deletion_grace_seconds:
        # The last finalizer of an object that was being deleted is gone.
        return Plan((Write(kind, entry.key, new, entry, deleted=True),), new)
    if new.SerializeToString(deterministic=True) == entry.data:
        return Plan((), new)
    return Plan((Write(kind, entry.key, new, entry),), new)


def _plan_status(kind: Kind, strategy: Strategy, entry: Entry, message: pb.Object, new: pb.Object) -> Plan:
    """`message` is the object as it is; it becomes what it shall be."""
    metadata = message.metadata
    if message.status == new.status and metadata.managed_fields == new.metadata.managed_fields:
        return Plan((), message)
    message.status = new.status
    if new.metadata.managed_fields or metadata.managed_fields:
        del metadata.managed_fields[:]
        metadata.managed_fields.extend(new.metadata.managed_fields)
    causes = Causes()
    check_contents(message, causes)
    if not causes.found:
        strategy.check_object(message, causes)
    causes.raise_if_any(kind.kind, entry.name)
    return Plan((Write(kind, entry.key, message, entry),), message)


def _keep_what_the_server_owns(kind: Kind, new: pb.Object, old: pb.Object) -> None:
    metadata, kept = new.metadata, old.metadata
    metadata.uid = kept.uid
    metadata.creation_ms = kept.creation_ms
    metadata.generation = kept.generation
    metadata.deletion_ms = kept.deletion_ms
    metadata.deletion_grace_seconds = kept.deletion_grace_seconds
    metadata.resource_version = kept.resource_version
    metadata.generate_name = kept.generate_name
    metadata.request_id = kept.request_id
    if kind.has_status:
        new.status = old.status


# ------------------------------------------------------------------------------------------------------------ delete


def plan_delete(kind: Kind, strategy: Strategy, entry: Entry, request: pb.Delete, *, now_ms: int) -> Plan:
    """At once, or marked: an object with finalizers or a grace period stays until it is confirmed.

    Of what is being deleted already, a request may shorten the grace, and change what becomes of its dependents. Where
    a pod ends by its grace, only together, as in Kubernetes.

    Raises:
        Conflict: a precondition does not hold. BadRequest: there is no such propagation, a negative grace. Or what the
            kind has against it.
    """
    check_policy(request.propagation)
    check_preconditions(entry, request.preconditions.uid, request.preconditions.resource_version)
    message = entry.message()
    strategy.check_delete(message)
    metadata = message.metadata
    asked = request.grace_seconds if request.HasField("grace_seconds") else None
    if asked is not None and asked < 0:
        raise BadRequest(f"grace_seconds must not be negative, but is {asked}")
    grace_seconds = strategy.deletion_grace_seconds(message, asked)
    sooner = not entry.deleting or grace_seconds < metadata.deletion_grace_seconds
    if not sooner and strategy.graceful:
        return Plan((), message)
    policy_changed = set_policy(strategy, metadata, request.propagation)
    if not metadata.finalizers and not grace_seconds:
        return Plan((Write(kind, entry.key, message, entry, deleted=True),), message)
    if not sooner and not policy_changed:
        return Plan((), message)
    if not entry.deleting:
        metadata.generation += 1
    if sooner:
        metadata.deletion_ms = now_ms + grace_seconds * 1000
        metadata.deletion_grace_seconds = grace_seconds
    return Plan((Write(kind, entry.key, message, entry),), message)


def plan_delete_collection(
    kind: Kind,
    strategy: Strategy,
    entries: Iterable[Entry],
    request: pb.DeleteCollection,
    *,
    now_ms: int,
    continue_token: str,
) -> Plan:
    """Each as by a delete, in one step."""
    delete = pb.Delete(propagation=request.propagation)
    if request.HasField("grace_seconds"):
        delete.grace_seconds = request.grace_seconds
    plans = [plan_delete(kind, strategy, entry, delete, now_ms=now_ms) for entry in entries]
    writes = tuple(write for plan in plans for write in plan.writes)
    return Plan(writes, pb.Object(), deleted=len(writes), continue_token=continue_token)


# -------------------------------------------------------------------------------------------------------------- bind


def plan_bind(kind: Kind, entry: Entry, bind: pb.Bind) -> Plan:
    """Set a pod's node, once.

    Raises:
        BadRequest: no uid or no node, or devices that the pod does not ask for.
        Conflict: the pod is another one, is bound elsewhere, has changed, asks for something else than what was
            decided on, or has scheduling gates.
        Forbidden: it is being deleted.
    """
    if kind.kind != "Pod":
        raise BadRequest(f"only pods are bound, not {kind.resource}")
    if not bind.preconditions.uid or not bind.node or not bind.resource_partition:
        raise BadRequest("a bind needs the pod's uid, a node and the node's resource partition")
    check_preconditions(entry, bind.preconditions.uid, 0)
    values = dict(zip(kind.fields, entry.fields, strict=True))
    node, partition = values["spec.nodeName"], values["spec.resourcePartition"]
    if (node, partition) == (bind.node, bind.resource_partition):
        return no_change(entry)  # Asked once more, perhaps; what it was decided on has done its work.
    if node:
        raise Conflict(
            f"pod {entry.key} is bound to {partition}/{node} already", key=entry.key, resource_version=entry.revision
        )
    if entry.deleting:
        raise Forbidden(f"pod {entry.key} is being deleted", key=entry.key)
    check_preconditions(entry, "", bind.preconditions.resource_version)
    message = entry.message()
    if is_gated(message.spec):
        raise Conflict(
            f"pod {entry.key} has scheduling gates: it is not to be bound before they are removed",
            key=entry.key,
            resource_version=entry.revision,
        )
    if bind.generation and bind.generation != message.metadata.generation:
        raise Conflict(
            f"pod {entry.key} is of generation {message.metadata.generation}, and it was decided on {bind.generation}: "
            "look at what it asks for now",
            key=entry.key,
            resource_version=entry.revision,
        )
    message.spec = append_fields(message.spec, {"nodeName": bind.node, "resourcePartition": bind.resource_partition})
    _record_devices(message, bind)
    return Plan((Write(kind, entry.key, message, entry),), message)


def _record_devices(pod: pb.Object, bind: pb.Bind) -> None:
    """Raises BadRequest: they do not go with what the pod requests."""
    if not bind.devices:
        return
    try:
        check_devices(bind.devices, device_request(charge_of(pod.spec).units))
    except ValueError as error:
        raise BadRequest(f"a bind to {bind.node}: {error}") from None
    pod.metadata.annotations[DEVICES_ANNOTATION] = written_devices(bind.devices)
