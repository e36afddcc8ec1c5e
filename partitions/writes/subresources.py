"""The scale of a workload: an autoscaling/v1 Scale that shows how many replicas it has and should have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest, Cause, Invalid
from ...proto.kinds import Kind, Path, ScalePaths
from ...proto.objects import decode, decode_shared, encode, require_kind

SCALE_API_VERSION = "autoscaling/v1"
SCALE_KIND = "Scale"
REPLICAS_MAX = 2**31 - 1
_OPERATORS = {"In": "in", "NotIn": "notin"}


def check_subresource(kind: Kind, subresource: str) -> None:
    """Raises BadRequest: the kind has no such subresource."""
    if not subresource or (subresource == "status" and kind.has_status):
        return
    known = [name for name, has in (("status", kind.has_status), ("scale", kind.scale is not None)) if has]
    if subresource not in known:
        if subresource == "status":
            raise BadRequest(f"{kind.resource} have no status")
        names = f"known is {' and '.join(known)}" if known else "they have none"
        raise BadRequest(f"{kind.resource} have no subresource {subresource!r}; {names}")


def scale_of(kind: Kind, message: pb.Object) -> pb.Object:
    """The Scale of a workload. The selector of a built-in one is a LabelSelector, that of a custom one is text."""
    paths = _paths(kind)
    contents = {"spec": decode_shared(message.spec), "status": decode_shared(message.status)}
    scale = pb.Object(api_version=SCALE_API_VERSION, kind=SCALE_KIND)
    metadata, shown = message.metadata, scale.metadata
    shown.name, shown.namespace, shown.tenant = metadata.name, metadata.namespace, metadata.tenant
    shown.uid, shown.resource_version, shown.creation_ms = metadata.uid, metadata.resource_version, metadata.creation_ms
    scale.spec = encode({"replicas": _at(contents, paths.spec_replicas) or 0})
    selector = _at(contents, paths.selector) if paths.selector else None
    text = selector_text(selector) if kind.custom is None else selector if isinstance(selector, str) else ""
    scale.status = encode({"replicas": _at(contents, paths.status_replicas) or 0, "selector": text})
    return scale


def _paths(kind: Kind) -> ScalePaths:
    assert kind.scale is not None, "it was checked that it has a scale"
    return kind.scale


def _at(contents: Any, path: Path) -> Any:
    for step in path:
        contents = contents.get(step) if isinstance(contents, Mapping) else None
    return contents


def scaled(kind: Kind, message: pb.Object, scale: pb.Object) -> None:
    """Give a workload the replicas of a Scale, in place.

    Raises:
        BadRequest: it is no Scale. Invalid: replicas that are no number of replicas.
    """
    require_kind(scale, SCALE_KIND, SCALE_API_VERSION)
    try:
        wanted = decode(scale.spec)
    except ValueError:
        wanted = None
    replicas = wanted.get("replicas", 0) if isinstance(wanted, Mapping) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas <= REPLICAS_MAX:
        told = f"must be a whole number from 0 to {REPLICAS_MAX}, not {replicas!r}"
        raise Invalid(
            f"Scale {scale.metadata.name!r} is invalid: spec.replicas: {told}", causes=[Cause("spec.replicas", told)]
        )
    path = _paths(kind).spec_replicas
    spec = decode(message.spec)
    if _at({"spec": spec}, path) != replicas:
        message.spec = encode(_with(spec, path[1:], replicas))


def _with(contents: Any, path: Path, value: int) -> Any:
    if not path:
        return value
    inner = contents if isinstance(contents, Mapping) else {}
    return {**inner, path[0]: _with(inner.get(path[0]), path[1:], value)}


def selector_text(selector: Any) -> str:
    """A LabelSelector as a label selector of a list: `app=web,tier in (a,b)`."""
    if not isinstance(selector, Mapping):
        return ""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression["key"], expression["operator"]
        if operator in _OPERATORS:
            parts.append(f"{key} {_OPERATORS[operator]} ({','.join(sorted(expression['values']))})")
        else:
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts)
