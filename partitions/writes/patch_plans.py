"""What a patch would do: the present object in its Kubernetes form, patched, and then an update like any other.

A patch is applied to the newest state in one step, so nothing can come between what it read and what it writes; only a
`resourceVersion` or a `uid` that it sets itself can make it a Conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest, Cause, Conflict, Invalid, UnsupportedMediaType
from ...proto.kinds import Kind
from ...proto.objects import Object
from ..admission.strategy import Strategy
from ..entries import Entry
from ..patching import (
    APPLY,
    SCALE,
    Manager,
    Managers,
    Shape,
    broken_lists,
    copied,
    decode_body,
    has_merge_keys,
    json_patch,
    merge_patch,
    report_unknown,
    same,
    shape_of,
    strategic_merge,
    without_nulls,
)
from .ownership import Writer, owned_part, with_owned_part
from .plans import Plan, check_preconditions, plan_replacement, plan_scale, plan_update
from .subresources import SCALE_API_VERSION, SCALE_KIND, check_subresource, scale_of

_IDENTITY = ("name", "namespace", "tenant")


def plan_patch(kind: Kind, strategy: Strategy, entry: Entry, patch: pb.Patch, writer: Writer) -> Plan:
    """Raises:
    UnsupportedMediaType: a type that is not served for this kind.
    BadRequest: the patch makes no sense. Invalid: it does not fit the object, or what it makes breaks rules.
    Conflict: it asks for another revision or uid; of an apply: others manage what it would change.
    """
    check_subresource(kind, patch.subresource)
    if patch.type == pb.Patch.APPLY:
        return _plan_apply(kind, strategy, entry, patch, writer)
    if patch.force:
        raise BadRequest("force is for APPLY patches only")
    scale = patch.subresource == "scale"
    shape = SCALE if scale else shape_of(kind)
    present = Object(scale_of(kind, entry.message()) if scale else entry.message())
    before = present.to_dict()
    after = _patched(kind, patch, before, shape)
    message = _message_of(after, entry)
    warnings = report_unknown(after, before, shape, writer.field_validation)
    if same(before, after):
        return Plan((), present.message, warnings)
    if scale:
        plan = plan_scale(kind, strategy, entry, message, writer)
    else:
        plan = plan_update(kind, strategy, entry, message, patch.subresource, writer._replace(field_validation=""))
    return plan._replace(warnings=plan.warnings + warnings)


def _patched(kind: Kind, patch: pb.Patch, manifest: dict[str, Any], shape: Shape) -> dict[str, Any]:
    body = decode_body(patch.body)
    result: Any
    if patch.type == pb.Patch.JSON:
        result = json_patch(copied(manifest), body)  # It changes what it is given.
    elif not isinstance(body, Mapping):
        raise BadRequest("the patch must be a map")
    elif patch.type == pb.Patch.MERGE:
        result = merge_patch(manifest, body)
    elif patch.type == pb.Patch.STRATEGIC_MERGE:
        if not has_merge_keys(kind):
            raise UnsupportedMediaType(f"{kind.resource} take no strategic merge patch; send a MERGE patch or APPLY")
        result = strategic_merge(manifest, body, shape)
    else:
        raise UnsupportedMediaType(f"there is no patch type {patch.type}; send MERGE, JSON, STRATEGIC_MERGE or APPLY")
    if not isinstance(result, dict):
        raise Invalid("the patch leaves no object", causes=[Cause("", "the patch leaves no object")])
    return result


def _message_of(manifest: Mapping[str, Any], entry: Entry) -> pb.Object:
    message = object_message(manifest)
    metadata = message.metadata
    if (metadata.name, metadata.namespace, metadata.tenant) != (entry.name, entry.namespace, entry.tenant):
        raise BadRequest("a patch cannot change the name, the namespace or the tenant of an object")
    return message


def object_message(manifest: Mapping[str, Any]) -> pb.Object:
    """Raises Invalid: its metadata cannot be stored."""
    try:
        return Object.from_dict(manifest).message
    except (ValueError, TypeError, OverflowError) as error:
        raise Invalid(
            f"the object cannot be stored: {error}", causes=[Cause("metadata", f"cannot be stored: {error}")]
        ) from None


# ------------------------------------------------------------------------------------------------------------- apply


def _plan_apply(kind: Kind, strategy: Strategy, entry: Entry, patch: pb.Patch, writer: Writer) -> Plan:
    if patch.subresource == "scale" and kind.scale is not None and kind.scale.spec_replicas != ("spec", "replicas"):
        raise BadRequest(f"the scale of {kind.resource} takes no APPLY: send a MERGE patch")
    config = _configuration(kind, patch, writer)
    warnings = report_unknown(config, None, _shape(kind, patch.subresource), writer.field_validation)
    old = entry.message()
    live = Object(old).to_dict()
    asked = _metadata(config)
    check_preconditions(entry, asked.uid, asked.resource_version)
    managers = Managers(old.metadata.managed_fields)
    shape = shape_of(kind)
    if not managers:
        managers.adopt(owned_part(kind, live), shape, kind.api_version)
    part = managers.apply(
        Manager(writer.manager, APPLY, patch.subresource, kind.api_version),
        owned_part(kind, live, patch.subresource),
        owned_part(kind, config, patch.subresource),
        shape,
        force=patch.force,
    )
    after = with_owned_part(kind, live, part, patch.subresource)
    view = partial(scale_of, kind) if patch.subresource == "scale" else None
    if same(live, after) and not managers.changed:
        return Plan((), old, warnings, view)
    new = object_message(after)
    managers.write_to(new.metadata, writer.now_ms)
    subresource = patch.subresource if patch.subresource == "status" else ""
    return plan_replacement(kind, strategy, entry, old, new, writer, subresource)._replace(warnings=warnings, view=view)


def applied_object(kind: Kind, patch: pb.Patch, writer: Writer) -> tuple[pb.Object, tuple[str, ...]]:
    """The object that an apply creates where there is none, with its managed fields; and warnings.

    Raises:
        BadRequest, Invalid: the configuration makes no sense. Conflict: it is for a certain object, which is gone.
    """
    config = _configuration(kind, patch, writer)
    warnings = report_unknown(config, None, shape_of(kind), writer.field_validation)
    message = object_message({name: value for name, value in config.items() if name != "status" or not kind.has_status})
    if message.metadata.uid or message.metadata.resource_version:
        target = patch.target
        key = kind.key(target.tenant, target.namespace, target.name)
        raise Conflict(
            f"{key} does not exist, and the configuration asks for a uid or a resourceVersion of it", key=key
        )
    managers = Managers()
    part = owned_part(kind, config)
    managers.apply(Manager(writer.manager, APPLY, "", kind.api_version), {}, part, shape_of(kind), force=True)
    managers.write_to(message.metadata, writer.now_ms)
    return message, warnings


def _configuration(kind: Kind, patch: pb.Patch, writer: Writer) -> dict[str, Any]:
    """The body of an apply, with the names of its target."""
    if not writer.manager:
        raise Invalid(
            "an APPLY patch needs a field_manager",
            causes=[Cause("fieldManager", "is required for apply patch", "FieldValueRequired")],
        )
    config = decode_body(patch.body)
    if not isinstance(config, dict):
        raise BadRequest("the configuration to apply must be a map")
    config = dict(without_nulls(config))
    wanted = (SCALE_API_VERSION, SCALE_KIND) if patch.subresource == "scale" else (kind.api_version, kind.kind)
    named = (config.get("apiVersion"), config.get("kind"))
    if named != wanted:
        raise BadRequest(f"the configuration is a {named[0]}/{named[1]}, the request is for {wanted[0]}/{wanted[1]}")
    metadata = config.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be a map")
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must not be in a configuration: the server keeps them")
    for name in _IDENTITY:
        target = getattr(patch.target, name)
        if metadata.setdefault(name, target) != target:
            raise BadRequest(f"the configuration's metadata.{name} is {metadata[name]!r}, the request's {target!r}")
    causes = [Cause(field, told) for field, told in broken_lists(config, _shape(kind, patch.subresource))]
    if causes:
        text = "; ".join(map(repr, causes))
        raise Invalid(f"the configuration of {kind.kind} {patch.target.name!r} is invalid: {text}", causes=causes)
    return config


def _metadata(config: Mapping[str, Any]) -> pb.ObjectMeta:
    return object_message({"kind": config["kind"], "metadata": config["metadata"]}).metadata


def _shape(kind: Kind, subresource: str) -> Shape:
    return SCALE if subresource == "scale" else shape_of(kind)
