"""What an operation would do, worked out against the newest state, before anything is staged.

Each verb is a function from the present object and the request to a `Plan`: the changes to make, all or none, and the
object that the caller is told about. Nothing here touches the state, so a dry run is a plan that is not carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..proto import ursa_pb2 as pb
from ..proto.errors import BadRequest, Conflict, Forbidden, UnsupportedMediaType
from ..proto.kinds import Kind
from ..proto.objects import Object, decode, require_kind
from .admission.strategy import Strategy
from .admission.validation import Causes, check_metadata
from .entries import Entry
from .spec_bytes import append_fields


class Write(NamedTuple):
    """One change: `message` is the object after it, or its last state where `deleted`."""

    kind: Kind
    key: str
    message: pb.Object
    old: Entry | None
    deleted: bool = False


class Plan(NamedTuple):
    """`writes` is empty where the object is as wanted already; `result` is what it then is."""

    writes: tuple[Write, ...]
    result: pb.Object


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


def check_new(kind: Kind, strategy: Strategy, message: pb.Object) -> None:
    """Default a new object, and check all of it.

    Raises:
        BadRequest: it is of another kind. Invalid: it breaks rules, all of which are listed.
    """
    require_kind(message, kind.kind, kind.api_version)
    strategy.prepare_create(message)
    causes = Causes()
    check_metadata(kind, message.metadata, causes)
    strategy.admit(message, causes)
    if not causes.found:
        strategy.check_create(message, causes)
    causes.raise_if_any(kind.kind, message.metadata.name)


def plan_create(kind: Kind, strategy: Strategy, key: str, message: pb.Object, *, uid: str, now_ms: int) -> Plan:
    """For an object that `check_new` has passed."""
    metadata = message.metadata
    metadata.uid = uid
    metadata.creation_ms = now_ms
    metadata.generation = 1
    metadata.deletion_ms = metadata.deletion_grace_seconds = 0
    if kind.has_status:
        message.status = strategy.initial_status(message)
    return Plan((Write(kind, key, message, None),), message)


# ------------------------------------------------------------------------------------------------------------ update


def plan_update(kind: Kind, strategy: Strategy, entry: Entry, new: pb.Object, subresource: str) -> Plan:
    """Raises BadRequest, Conflict or Invalid."""
    check_preconditions(entry, new.metadata.uid, new.metadata.resource_version)
    if subresource == "status":
        return _plan_status(kind, strategy, entry, new)
    if subresource:
        raise BadRequest(f"{kind.resource} have no subresource {subresource!r}; known is status")
    require_kind(new, kind.kind, kind.api_version)
    old = entry.message()
    _keep_what_the_server_owns(kind, new, old)
    causes = Causes()
    check_metadata(kind, new.metadata, causes)
    strategy.admit(new, causes)
    if not causes.found:
        strategy.check_update(new, old, causes)
    causes.raise_if_any(kind.kind, entry.name)
    if new.spec != old.spec:
        new.metadata.generation = old.metadata.generation + 1
    return _plan_replacement(kind, entry, new)


def _plan_status(kind: Kind, strategy: Strategy, entry: Entry, new: pb.Object) -> Plan:
    if not kind.has_status:
        raise BadRequest(f"{kind.resource} have no status")
    message = entry.message()
    if message.status == new.status:
        return Plan((), message)
    message.status = new.status
    causes = Causes()
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
    if kind.has_status:
        new.status = old.status


def _plan_replacement(kind: Kind, entry: Entry, new: pb.Object) -> Plan:
    metadata = new.metadata
    if metadata.deletion_ms and not metadata.finalizers and not metadata.deletion_grace_seconds:
        # The last finalizer of an object that was being deleted is gone.
        return Plan((Write(kind, entry.key, new, entry, deleted=True),), new)
    if new.SerializeToString(deterministic=True) == entry.data:
        return Plan((), new)
    return Plan((Write(kind, entry.key, new, entry),), new)


def plan_patch(kind: Kind, strategy: Strategy, entry: Entry, patch: pb.Patch) -> Plan:
    """A merge patch (RFC 7386) on the Kubernetes form of the object.

    Raises:
        UnsupportedMediaType: another type of patch. BadRequest, Conflict, Invalid: as for an update.
    """
    if patch.type != pb.Patch.MERGE:
        raise UnsupportedMediaType(f"{pb.Patch.Type.Name(patch.type)} patches are not served; send a MERGE patch")
    body = decode(patch.body)
    if not isinstance(body, Mapping):
        raise BadRequest("the patch must be a map")
    current = Object(entry.message()).to_dict()
    merged = Object.from_dict(merge_patch(current, body)).message
    if (merged.metadata.name, merged.metadata.namespace, merged.metadata.tenant) != (
        entry.name,
        entry.namespace,
        entry.tenant,
    ):
        raise BadRequest("a patch cannot change the name, the namespace or the tenant of an object")
    asked = body.get("metadata") or {}
    if not (isinstance(asked, Mapping) and asked.get("resourceVersion")):
        merged.metadata.resource_version = 0
    return plan_update(kind, strategy, entry, merged, patch.subresource)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, None removes, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for field, value in patch.items():
        if value is None:
            result.pop(field, None)
        else:
            result[field] = merge_patch(result.get(field), value)
    return result


# ------------------------------------------------------------------------------------------------------------ delete


def plan_delete(kind: Kind, strategy: Strategy, entry: Entry, request: pb.Delete, *, now_ms: int) -> Plan:
    """At once, or marked: an object with finalizers or a grace period stays until it is confirmed.

    Raises:
        Conflict: a precondition does not hold. BadRequest: a propagation that is not served, a negative grace.
    """
    if request.propagation not in ("", "Background"):
        raise BadRequest(f"propagation {request.propagation!r} is not served; dependents are deleted in the Background")
    check_preconditions(entry, request.preconditions.uid, request.preconditions.resource_version)
    message = entry.message()
    metadata = message.metadata
    asked = request.grace_seconds if request.HasField("grace_seconds") else None
    if asked is not None and asked < 0:
        raise BadRequest(f"grace_seconds must not be negative, but is {asked}")
    grace_seconds = strategy.deletion_grace_seconds(message, asked)
    if not metadata.finalizers and not grace_seconds:
        return Plan((Write(kind, entry.key, message, entry, deleted=True),), message)
    if entry.deleting and grace_seconds >= metadata.deletion_grace_seconds:
        return Plan((), message)
    metadata.deletion_ms = now_ms + grace_seconds * 1000
    metadata.deletion_grace_seconds = grace_seconds
    return Plan((Write(kind, entry.key, message, entry),), message)


# -------------------------------------------------------------------------------------------------------------- bind


def plan_bind(kind: Kind, entry: Entry, bind: pb.Bind) -> Plan:
    """Set a pod's node, once.

    Raises:
        BadRequest: no uid or no node. Conflict: the pod is another one, is bound elsewhere, or has changed.
        Forbidden: it is being deleted.
    """
    if kind.kind != "Pod":
        raise BadRequest(f"only pods are bound, not {kind.resource}")
    if not bind.preconditions.uid or not bind.node or not bind.resource_partition:
        raise BadRequest("a bind needs the pod's uid, a node and the node's resource partition")
    check_preconditions(entry, bind.preconditions.uid, bind.preconditions.resource_version)
    values = dict(zip(kind.fields, entry.fields, strict=True))
    node, partition = values["spec.nodeName"], values["spec.resourcePartition"]
    if (node, partition) == (bind.node, bind.resource_partition):
        return no_change(entry)
    if node:
        raise Conflict(
            f"pod {entry.key} is bound to {partition}/{node} already", key=entry.key, resource_version=entry.revision
        )
    if entry.deleting:
        raise Forbidden(f"pod {entry.key} is being deleted", key=entry.key)
    message = entry.message()
    message.spec = append_fields(message.spec, {"nodeName": bind.node, "resourcePartition": bind.resource_partition})
    return Plan((Write(kind, entry.key, message, entry),), message)
