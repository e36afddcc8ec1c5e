"""CustomResourceDefinitions: what makes one sound, and what of it is fixed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.custom_kinds import DEFINITION_FINALIZER, SCOPES, served_version, simple_path
from ...proto.kinds import KINDS
from ...proto.objects import decode_shared
from ..schemas import DEPTH_MAX, broken_rules, schema_at
from .strategy import Strategy
from .validation import Causes, is_label, is_subdomain, mapping, sequence

SELECTABLE_FIELDS_MAX = 8
COLUMN_TYPES = ("string", "integer", "number", "boolean", "date")
_BUILT_IN_GROUPS = dict.fromkeys(kind.group for kind in KINDS)
_KIND = re.compile(r"[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
# Of fields within fields; no deeper than a schema may be, which is less than what an object may be.
_PATH = re.compile(rf"(\.[A-Za-z_][-A-Za-z0-9_]*){{1,{DEPTH_MAX}}}")
_SELECTABLE = ("string", "integer", "boolean")
_SPEC, _STATUS = ".spec.", ".status."


class DefinitionStrategy(Strategy):
    """Group, names and scope are in keys and on the wire, and selectable fields in indexes: they do not change."""

    def prepare_create(self, message: pb.Object) -> None:
        message.status = b""
        if DEFINITION_FINALIZER not in message.metadata.finalizers:
            message.metadata.finalizers.append(DEFINITION_FINALIZER)

    def default_spec(self, spec: dict[str, Any]) -> None:
        names = spec["names"]
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
        spec.setdefault("conversion", {"strategy": "None"})

    def check_spec(self, spec: Any, causes: Causes) -> None:
        group = spec.get("group")
        if not isinstance(group, str) or "." not in group or not is_subdomain(group):
            causes.add("spec.group", f"must be a DNS name with a dot in it, like example.com, not {group!r}")
        elif group in _BUILT_IN_GROUPS:
            causes.add("spec.group", f"{group} is built in: choose one of your own")
        if spec.get("scope") not in tuple(SCOPES):  # It may be a list, which no dict looks up.
            causes.add("spec.scope", f"must be one of {', '.join(SCOPES)}, not {spec.get('scope')!r}")
        _check_names(mapping(spec.get("names"), "spec.names", causes), causes)
        if spec.get("preserveUnknownFields"):
            causes.add("spec.preserveUnknownFields", "must be false: mark fields in the schema instead")
        conversion = mapping(spec.get("conversion"), "spec.conversion", causes)
        if conversion.get("strategy") not in (None, "None"):
            causes.add("spec.conversion.strategy", "must be None: one version is served, the stored one")
        _check_versions(sequence(spec.get("versions"), "spec.versions", causes), causes)

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        spec = decode_shared(message.spec)
        names = spec.get("names")
        if isinstance(names, Mapping):
            wanted = f"{names.get('plural')}.{spec.get('group')}"
            if message.metadata.name != wanted:
                causes.add("metadata.name", f"must be spec.names.plural and spec.group, {wanted}")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        before, after = _fixed(old), _fixed(new)
        for field, value in before.items():
            if after[field] != value:
                causes.add(field, "is fixed; delete the definition, and with it its objects, and create another")
        if DEFINITION_FINALIZER in old.metadata.finalizers and DEFINITION_FINALIZER not in new.metadata.finalizers:
            causes.add(
                "metadata.finalizers", f"{DEFINITION_FINALIZER} is the partition's: it goes when the objects are gone"
            )


def _fixed(definition: pb.Object) -> dict[str, Any]:
    spec = decode_shared(definition.spec)
    names, version = spec["names"], served_version(spec["versions"])
    return {
        "spec.group": spec["group"],
        "spec.scope": spec["scope"],
        **{f"spec.names.{name}": names.get(name) for name in ("plural", "kind", "singular")},
        "spec.versions[].name": version["name"],
        "spec.versions[].selectableFields": version.get("selectableFields") or [],
    }


def _check_names(names: Mapping[str, Any], causes: Causes) -> None:
    for name in ("plural", "singular"):
        value = names.get(name)
        if value is None and name == "plural":
            causes.require("spec.names.plural")
        elif value is not None and not (isinstance(value, str) and is_label(value)):
            causes.add(f"spec.names.{name}", f"must be a DNS label in lower case, not {value!r}")
    for name in ("kind", "listKind"):
        value = names.get(name)
        if value is None and name == "kind":
            causes.require("spec.names.kind")
        elif value is not None and not (isinstance(value, str) and _KIND.fullmatch(value)):
            causes.add(f"spec.names.{name}", f"must be letters, digits and '-', not {value!r}")
    for name in ("shortNames", "categories"):
        for number, value in enumerate(sequence(names.get(name), f"spec.names.{name}", causes)):
            if not (isinstance(value, str) and is_label(value)):
                causes.add(f"spec.names.{name}[{number}]", f"must be a DNS label in lower case, not {value!r}")


def _check_versions(versions: Sequence[Any], causes: Causes) -> None:
    if not versions:
        causes.require("spec.versions")
    names: dict[str, None] = {}
    for number, each in enumerate(versions):
        field = f"spec.versions[{number}]"
        version = mapping(each, field, causes)
        name = version.get("name")
        if not isinstance(name, str) or not is_label(name):
            causes.add(f"{field}.name", f"must be a DNS label like v1, not {name!r}")
        elif name in names:
            causes.add(f"{field}.name", f"{name} is there already")
        else:
            names[name] = None
        for flag in ("served", "storage"):
            if not isinstance(version.get(flag), bool):
                causes.add(f"{field}.{flag}", "must be true or false")
        _check_version(version, field, causes)
    _check_served(versions, causes)


def _check_served(versions: Sequence[Any], causes: Causes) -> None:
    """Nothing converts objects, and a request does not say for which version it asks: there is one."""
    found = [each if isinstance(each, Mapping) else {} for each in versions]
    stored = [str(each.get("name")) for each in found if each.get("storage") is True]
    if found and len(stored) != 1:
        causes.add("spec.versions", f"exactly one must have storage: true, not {len(stored)}")
        return
    for number, version in enumerate(found):
        if version.get("storage") is True and version.get("served") is False:
            causes.add(f"spec.versions[{number}].served", "must be true for the version that objects are stored in")
        elif version.get("served") is True and version.get("storage") is False:
            told = f"must be false: one version is served here, the stored one, {stored[0]}; objects are not converted"
            causes.add(f"spec.versions[{number}].served", told)


def _check_version(version: Mapping[str, Any], field: str, causes: Causes) -> None:
    schema = mapping(version.get("schema"), f"{field}.schema", causes).get("openAPIV3Schema")
    where = f"{field}.schema.openAPIV3Schema"
    if schema is None:
        causes.require(where)
        return
    broken = broken_rules(schema, where)
    causes.found.extend(broken)
    _check_subresources(mapping(version.get("subresources"), f"{field}.subresources", causes), field, causes)
    columns = sequence(version.get("additionalPrinterColumns"), f"{field}.additionalPrinterColumns", causes)
    for number, column in enumerate(columns):
        _check_column(column, f"{field}.additionalPrinterColumns[{number}]", causes)
    selectable = sequence(version.get("selectableFields"), f"{field}.selectableFields", causes)
    if len(selectable) > SELECTABLE_FIELDS_MAX:
        causes.add(f"{field}.selectableFields", f"must be {SELECTABLE_FIELDS_MAX} at most")
    for number, each in enumerate(selectable):
        place = f"{field}.selectableFields[{number}].jsonPath"
        path = mapping(each, f"{field}.selectableFields[{number}]", causes).get("jsonPath")
        if not isinstance(path, str) or not _PATH.fullmatch(path) or path.startswith(".metadata."):
            causes.add(place, f"must be the path of a field, like .spec.color, not {path!r}")
        elif not broken and (schema_at(schema, simple_path(path)) or {}).get("type") not in _SELECTABLE:
            causes.add(place, f"must be a {', '.join(_SELECTABLE)} of the schema")


def _check_subresources(subresources: Mapping[str, Any], field: str, causes: Causes) -> None:
    for name in subresources:
        if name not in ("status", "scale"):
            causes.add(f"{field}.subresources.{name}", "is no subresource; there are status and scale")
    if "scale" not in subresources:
        return
    place = f"{field}.subresources.scale"
    scale = mapping(subresources["scale"], place, causes)
    for name, begins, needed in (
        ("specReplicasPath", _SPEC, True),
        ("statusReplicasPath", _STATUS, True),
        ("labelSelectorPath", "", False),
    ):
        path = scale.get(name)
        if path is None and not needed:
            continue
        if not isinstance(path, str) or not _PATH.fullmatch(path) or not path.startswith(begins or (_SPEC, _STATUS)):
            causes.add(f"{place}.{name}", f"must be a path within {begins or '.spec. or .status.'}, not {path!r}")


def _check_column(column: Any, field: str, causes: Causes) -> None:
    column = mapping(column, field, causes)
    for name in ("name", "jsonPath"):
        if not isinstance(column.get(name), str) or not column[name]:
            causes.require(f"{field}.{name}")
    if column.get("type") not in COLUMN_TYPES:
        causes.add(f"{field}.type", f"must be one of {', '.join(COLUMN_TYPES)}, not {column.get('type')!r}")
    if not isinstance(column.get("priority", 0), int):
        causes.add(f"{field}.priority", "must be a whole number")
