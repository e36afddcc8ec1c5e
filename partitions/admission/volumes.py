"""PersistentVolumes, PersistentVolumeClaims and StorageClasses.

As in Kubernetes (https://kubernetes.io/docs/concepts/storage/persistent-volumes/), but for what hollow volumes cannot
be: resized, cloned from others, or recycled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode, decode_shared, encode
from ...proto.quantities import parse_quantity
from ...proto.volumes import (
    ACCESS_MODES,
    BLOCK,
    DELETE,
    FILESYSTEM,
    IMMEDIATE,
    PENDING,
    RETAIN,
    STORAGE,
    WAIT_FOR_FIRST_CONSUMER,
)
from .strategy import Strategy
from .validation import (
    Causes,
    check_choice,
    check_quantities,
    check_selector_form,
    is_qualified,
    is_subdomain,
    mapping,
    sequence,
)

_PENDING: Final = encode({"phase": PENDING})
_CHOICES: Final = {"reclaimPolicy": (RETAIN, DELETE), "volumeBindingMode": (IMMEDIATE, WAIT_FOR_FIRST_CONSUMER)}
_LISTED, _BARE, _COMPARED = ("In", "NotIn"), ("Exists", "DoesNotExist"), ("Gt", "Lt")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")


class VolumeStrategy(Strategy):
    def initial_status(self, message: pb.Object) -> bytes:
        return _PENDING

    def default_spec(self, spec: dict[str, Any]) -> None:
        if spec.get("volumeMode") is None:
            spec["volumeMode"] = FILESYSTEM
        if spec.get("persistentVolumeReclaimPolicy") is None:
            spec["persistentVolumeReclaimPolicy"] = RETAIN

    def check_spec(self, spec: Any, causes: Causes) -> None:
        _check_storage(spec.get("capacity"), "spec.capacity", causes)
        _check_modes(spec, causes)
        _check_class_name(spec, causes)
        check_choice(spec, "persistentVolumeReclaimPolicy", (RETAIN, DELETE), "spec", causes)
        claim = mapping(spec.get("claimRef"), "spec.claimRef", causes)
        for part in ("namespace", "name", "uid"):
            if claim and (not isinstance(claim.get(part, ""), str) or not (claim.get(part) or part == "uid")):
                causes.require(f"spec.claimRef.{part}")
        affinity = mapping(spec.get("nodeAffinity"), "spec.nodeAffinity", causes)
        if affinity:
            _check_node_selector(affinity.get("required"), "spec.nodeAffinity.required", causes)

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        before = decode_shared(old.spec).get("nodeAffinity")
        if before and decode_shared(new.spec).get("nodeAffinity") != before:
            causes.add("spec.nodeAffinity", "is immutable once it is set: delete the volume and create another")


class ClaimStrategy(Strategy):
    def initial_status(self, message: pb.Object) -> bytes:
        return _PENDING

    def default_spec(self, spec: dict[str, Any]) -> None:
        if spec.get("volumeMode") is None:
            spec["volumeMode"] = FILESYSTEM

    def check_spec(self, spec: Any, causes: Causes) -> None:
        resources = mapping(spec.get("resources"), "spec.resources", causes)
        _check_storage(resources.get("requests"), "spec.resources.requests", causes)
        check_quantities(resources.get("limits"), "spec.resources.limits", causes)
        _check_modes(spec, causes)
        _check_class_name(spec, causes)
        check_selector_form(spec.get("selector"), "spec.selector", causes)
        if not isinstance(spec.get("volumeName"), str | None):
            causes.add("spec.volumeName", "must be the name of a PersistentVolume")
        for field in ("dataSource", "dataSourceRef"):
            if spec.get(field):
                causes.forbid(f"spec.{field}", "is not served: hollow volumes have no contents to begin with")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        after, before = decode_shared(new.spec), decode_shared(old.spec)
        # Both are filled in once: the class by whoever knows the default, the volume when it is bound.
        free = [field for field in ("storageClassName", "volumeName") if before.get(field) in (None, "")]
        if before.get("storageClassName") == "":
            free.remove("storageClassName")
        for field in dict.fromkeys((*before, *after)):
            if field not in free and after.get(field) != before.get(field):
                causes.add(f"spec.{field}", "of a claim is fixed: delete it and create another")


class StorageClassStrategy(Strategy):
    """What a class says stands beside `metadata`, not in a spec."""

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        rest = decode(message.rest) if message.rest else {}
        provisioner = rest.get("provisioner")
        if not isinstance(provisioner, str) or not is_qualified(provisioner):
            causes.add("provisioner", f"must be a name like ursa.dev/hollow, not {provisioner!r}")
        for field, choices in _CHOICES.items():
            if rest.get(field) not in (None, "", *choices):
                causes.add(field, f"must be {' or '.join(choices)}, not {rest[field]!r}")
        if not isinstance(rest.get("allowVolumeExpansion"), bool | None):
            causes.add("allowVolumeExpansion", "must be true or false")
        for key, value in mapping(rest.get("parameters"), "parameters", causes).items():
            if not isinstance(value, str):
                causes.add(f"parameters[{key}]", f"must be a string, not {value!r}; quote it")
        for number, topology in enumerate(sequence(rest.get("allowedTopologies"), "allowedTopologies", causes)):
            _check_topology(topology, f"allowedTopologies[{number}]", causes)
        rest["reclaimPolicy"] = rest.get("reclaimPolicy") or DELETE
        rest["volumeBindingMode"] = rest.get("volumeBindingMode") or IMMEDIATE
        message.rest = encode(rest)

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        after, before = decode_shared(new.rest), decode_shared(old.rest)
        for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
            if (after.get(field) or None) != (before.get(field) or None):
                causes.add(field, "is immutable: delete the class and create it anew")


def _check_storage(quantities: Any, field: str, causes: Causes) -> None:
    known = len(causes.found)
    check_quantities(quantities, field, causes)
    if len(causes.found) > known:
        return
    if STORAGE not in mapping(quantities, field, causes):
        causes.require(f"{field}.{STORAGE}")
    elif not parse_quantity(quantities[STORAGE]):
        causes.add(f"{field}.{STORAGE}", "must be more than 0")


def _check_modes(spec: Mapping[str, Any], causes: Causes) -> None:
    modes = sequence(spec.get("accessModes"), "spec.accessModes", causes)
    if not modes:
        causes.require("spec.accessModes")
    for number, mode in enumerate(modes):
        if mode not in ACCESS_MODES:
            causes.add(f"spec.accessModes[{number}]", f"must be one of {', '.join(ACCESS_MODES)}, not {mode!r}")
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        causes.forbid("spec.accessModes", "ReadWriteOncePod cannot be combined with others")
    check_choice(spec, "volumeMode", (FILESYSTEM, BLOCK), "spec", causes)


def _check_class_name(spec: Mapping[str, Any], causes: Causes) -> None:
    name = spec.get("storageClassName")
    if name not in (None, "") and (not isinstance(name, str) or not is_subdomain(name)):
        causes.add("spec.storageClassName", f"must be the name of a StorageClass, not {name!r}")


def _check_node_selector(selector: Any, field: str, causes: Causes) -> None:
    terms = sequence(mapping(selector, field, causes).get("nodeSelectorTerms"), f"{field}.nodeSelectorTerms", causes)
    if not terms:
        causes.require(f"{field}.nodeSelectorTerms")
    for number, term in enumerate(terms):
        place = f"{field}.nodeSelectorTerms[{number}]"
        for part in ("matchExpressions", "matchFields"):
            entries = sequence(mapping(term, place, causes).get(part), f"{place}.{part}", causes)
            for count, entry in enumerate(entries):
                _check_requirement(entry, f"{place}.{part}[{count}]", part == "matchFields", causes)


def _check_requirement(entry: Any, field: str, of_name: bool, causes: Causes) -> None:
    entry = mapping(entry, field, causes)
    key, operator = entry.get("key"), entry.get("operator")
    values = sequence(entry.get("values"), f"{field}.values", causes)
    if not isinstance(key, str) or (key != "metadata.name" if of_name else not is_qualified(key)):
        causes.add(f"{field}.key", "must be metadata.name" if of_name else "must be the key of a label")
    if operator not in (_LISTED if of_name else (*_LISTED, *_BARE, *_COMPARED)):
        causes.add(f"{field}.operator", f"must be one of In, NotIn, Exists, DoesNotExist, Gt, Lt, not {operator!r}")
        return
    texts = all(isinstance(value, str) for value in values)
    if operator in _LISTED and not (values and texts):
        causes.add(f"{field}.values", f"must be texts where the operator is {operator}")
    if operator in _BARE and values:
        causes.add(f"{field}.values", f"must be left out where the operator is {operator}")
    if operator in _COMPARED and not (texts and len(values) == 1 and _NUMBER.fullmatch(values[0])):
        causes.add(f"{field}.values", f"must be one whole number, as a text, where the operator is {operator}")


def _check_topology(topology: Any, field: str, causes: Causes) -> None:
    place = f"{field}.matchLabelExpressions"
    entries = sequence(mapping(topology, field, causes).get("matchLabelExpressions"), place, causes)
    for number, each in enumerate(entries):
        entry = mapping(each, f"{place}[{number}]", causes)
        if not isinstance(entry.get("key"), str) or not is_qualified(entry["key"]):
            causes.add(f"{place}[{number}].key", "must be the key of a label")
        values = sequence(entry.get("values"), f"{place}[{number}].values", causes)
        if not values or not all(isinstance(value, str) for value in values):
            causes.add(f"{place}[{number}].values", "must be texts, at least one")
