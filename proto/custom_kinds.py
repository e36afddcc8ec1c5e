"""A CustomResourceDefinition, read as the kind that it defines.

A definition that a partition has accepted is sound, so nothing is checked here; the rules are in
`partitions/admission/definitions.py`. One version is served, and objects are stored in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import ursa_pb2 as pb
from .kinds import BY_KIND, Custom, Kind, Path, PrinterColumn, Role, ScalePaths, Scope
from .objects import decode_shared

DEFINITION = BY_KIND["CustomResourceDefinition"]
# The partition takes it away when the objects of the kind are gone.
DEFINITION_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
ESTABLISHED = "Established"
NAMES_ACCEPTED = "NamesAccepted"
TERMINATING = "Terminating"

SCOPES = {"Namespaced": Scope.NAMESPACE, "Cluster": Scope.CLUSTER}


def is_established(definition: pb.Object) -> bool:
    """Whether the partition serves what it defines."""
    conditions = decode_shared(definition.status).get("conditions") or ()
    return any(each.get("type") == ESTABLISHED and each.get("status") == "True" for each in conditions)


def kind_of_definition(definition: pb.Object, roles: tuple[Role, ...]) -> Kind:
    """The kind, as partitions of these roles serve it. Of a sound definition."""
    return kind_of_spec(decode_shared(definition.spec), roles)


def kind_of_spec(spec: Mapping[str, Any], roles: tuple[Role, ...]) -> Kind:
    names, version = spec["names"], served_version(spec["versions"])
    subresources = version.get("subresources") or {}
    fields = [each["jsonPath"].lstrip(".") for each in version.get("selectableFields") or ()]
    return Kind(
        names["kind"],
        names["plural"],
        version["name"],
        spec["group"],
        SCOPES[spec["scope"]],
        roles,
        tuple(names.get("shortNames") or ()),
        {field: tuple(field.split(".")) for field in fields},
        has_status="status" in subresources,
        scale=_scale(subresources.get("scale")),
        custom=Custom(_schema(version), tuple(_columns(version.get("additionalPrinterColumns") or ()))),
        singular_name=names.get("singular") or "",
    )


def served_version(versions: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(version for version in versions if version.get("served"))


def simple_path(text: str) -> Path:
    """`.spec.replicas` -> ("spec", "replicas")."""
    return tuple(text.lstrip(".").split(".")) if text else ()


def _schema(version: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def _scale(scale: Mapping[str, Any] | None) -> ScalePaths | None:
    if scale is None:
        return None
    return ScalePaths(
        simple_path(scale["specReplicasPath"]),
        simple_path(scale["statusReplicasPath"]),
        simple_path(scale.get("labelSelectorPath") or ""),
    )


def _columns(columns: Iterable[Mapping[str, Any]]) -> Iterable[PrinterColumn]:
    for each in columns:
        yield PrinterColumn(each["name"], each["jsonPath"], each["type"], bool(each.get("priority")))
