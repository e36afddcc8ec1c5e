"""The rules all kinds share: names, labels, shapes. Every broken rule of an object is listed at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import Cause, Invalid
from ...proto.kinds import Kind, Scope
from ...proto.propagation import POLICY_OF
from ...proto.quantities import parse_quantity

CAUSES_MAX = 100
NAME_LENGTH_MAX = 253
LABEL_LENGTH_MAX = 63
# etcd's and Kubernetes' limit of a request.
OBJECT_BYTES_MAX = 1_572_864

# Names that are parts of other names.
_NAMED_BY_LABELS = ("Tenant", "Namespace", "TenantQuota")

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PERCENT = re.compile(r"[0-9]{1,9}%")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")

_LABEL_RULE = "a DNS label: lower case letters, digits and '-', starting and ending with a letter or digit, at most 63"
_SUBDOMAIN_RULE = (
    "a DNS name: lower case letters, digits, '-' and '.', starting and ending with a letter or digit, at most 253"
)


class Causes:
    """Gathers broken rules."""

    def __init__(self) -> None:
        self.found: list[Cause] = []

    def add(self, field: str, message: str) -> None:
        self.found.append(Cause(field, message))

    def require(self, field: str) -> None:
        self.found.append(Cause(field, "is required", "FieldValueRequired"))

    def forbid(self, field: str, message: str) -> None:
        self.found.append(Cause(field, message, "FieldValueForbidden"))

    def raise_if_any(self, kind: str, name: str) -> None:
        if self.found:
            told = self.found[:CAUSES_MAX]  # A list of a hundred thousand wrong items has as many.
            text = "; ".join(map(repr, told))
            raise Invalid(f"{kind} {name!r} is invalid: {text}", causes=told)


@lru_cache(maxsize=65536)
def is_label(text: str) -> bool:
    return len(text) <= LABEL_LENGTH_MAX and _LABEL.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    return len(text) <= NAME_LENGTH_MAX and _SUBDOMAIN.fullmatch(text) is not None


def check_metadata(kind: Kind, metadata: pb.ObjectMeta, causes: Causes) -> None:
    check_name(kind, metadata, causes)
    causes.found += _wrong_places(kind.kind, kind.scope.value, metadata.tenant, metadata.namespace)
    if labels := metadata.labels:
        check_labels({key: labels[key] for key in labels}, "metadata.labels", causes)
    if metadata.annotations:
        _check_annotations(metadata.annotations, causes)
    if metadata.owner_references:
        _check_owners(metadata.owner_references, causes)
    if metadata.finalizers:
        _check_finalizers(metadata.finalizers, causes)


def check_new_finalizers(new: pb.ObjectMeta, old: pb.ObjectMeta, causes: Causes) -> None:
    """What waits for an object that is being deleted is decided before it is."""
    if not old.deletion_ms or not new.finalizers:
        return
    before = dict.fromkeys(old.finalizers)
    added = [finalizer for finalizer in new.finalizers if finalizer not in before]
    if added:
        told = f"no new finalizers can be added if the object is being deleted, found {', '.join(added)}"
        causes.forbid("metadata.finalizers", told)


def _check_annotations(annotations: Iterable[str], causes: Causes) -> None:
    for key in annotations:
        if not is_qualified(key.lower()):
            causes.add("metadata.annotations", f"{key!r} is no annotation key: [prefix/]name, as a label key")


def _check_finalizers(finalizers: Sequence[str], causes: Causes) -> None:
    for number, finalizer in enumerate(finalizers):
        if not is_qualified(finalizer):
            causes.add(f"metadata.finalizers[{number}]", f"{finalizer!r} is no name: [prefix/]name, as a label key")
    if all(finalizer in finalizers for finalizer in POLICY_OF):
        causes.add("metadata.finalizers", f"{' and '.join(POLICY_OF)} cannot be both set")


def _check_owners(owners: Sequence[pb.OwnerReference], causes: Causes) -> None:
    controllers = [owner.name for owner in owners if owner.controller]
    if len(controllers) > 1:
        causes.add("metadata.ownerReferences", f"only one may have controller set, not {', '.join(controllers)}")
    for number, owner in enumerate(owners):
        field = f"metadata.ownerReferences[{number}]"
        for part in ("api_version", "kind", "name", "uid"):
            if not getattr(owner, part):
                causes.require(f"{field}.{'apiVersion' if part == 'api_version' else part}")


@lru_cache(maxsize=65536)
def _wrong_places(kind: str, scope: str, tenant: str, namespace: str) -> tuple[Cause, ...]:
    """What is wrong with where an object is. Most are where others are. (`scope` is a text, which hashes fast.)"""
    causes = Causes()
    for field, value in (("metadata.tenant", tenant), ("metadata.namespace", namespace)):
        if value and not is_label(value):
            causes.add(field, f"{value!r} is not {_LABEL_RULE}")
    _check_scope(kind, Scope(scope), tenant, namespace, causes)
    return tuple(causes.found)


def check_name(kind: Kind, metadata: pb.ObjectMeta, causes: Causes) -> None:
    if not metadata.name:
        causes.require("metadata.name")
    elif kind.kind in _NAMED_BY_LABELS or (kind.scope is Scope.TENANT and kind.custom is not None):
        if not is_label(metadata.name):
            causes.add("metadata.name", f"{metadata.name!r} is not {_LABEL_RULE}")
    elif not is_subdomain(metadata.name):
        causes.add("metadata.name", f"{metadata.name!r} is not {_SUBDOMAIN_RULE}")


def check_scope(kind: Kind, tenant: str, namespace: str, causes: Causes) -> None:
    """A key has just the parts that its kind's scope gives it."""
    _check_scope(kind.kind, kind.scope, tenant, namespace, causes)


def _check_scope(kind: str, scope: Scope, tenant: str, namespace: str, causes: Causes) -> None:
    for field, value, wanted in (
        ("metadata.tenant", tenant, scope is not Scope.CLUSTER),
        ("metadata.namespace", namespace, scope is Scope.NAMESPACE),
    ):
        if wanted and not value:
            causes.require(field)
        elif value and not wanted:
            causes.add(field, f"must be empty: a {kind} has none")


def check_labels(labels: Mapping[str, str], field: str, causes: Causes) -> None:
    for key, value in labels.items():
        if not isinstance(key, str) or not is_qualified(key):
            causes.add(field, f"{key!r} is no label key: [prefix/]name, the name of letters, digits, '-', '_', '.'")
        if not isinstance(value, str) or not _is_label_value(value):
            causes.add(f"{field}[{key}]", f"{value!r} is no label value: letters, digits, '-', '_', '.', at most 63")


@lru_cache(maxsize=16384)
def _is_label_value(value: str) -> bool:
    return len(value) <= LABEL_LENGTH_MAX and _LABEL_VALUE.fullmatch(value) is not None


@lru_cache(maxsize=16384)
def is_qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not is_subdomain(prefix):
        return False
    return 0 < len(name) <= LABEL_LENGTH_MAX and _LABEL_VALUE.fullmatch(name) is not None


def mapping(value: Any, field: str, causes: Causes) -> Mapping[str, Any]:
    """The value if it is a map, else an empty one and a cause."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    causes.add(field, f"must be a map, not {type(value).__name__}")
    return {}


def sequence(value: Any, field: str, causes: Causes) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return value
    causes.add(field, f"must be a list, not {type(value).__name__}")
    return ()


def check_count(value: Any, field: str, causes: Causes) -> None:
    """A whole number that is not negative, or absent."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        causes.add(field, f"must be a whole number, not {value!r}")
    elif value < 0:
        causes.add(field, f"must not be negative, but is {value}")


def check_count_or_percent(value: Any, field: str, causes: Causes) -> None:
    """As `check_count`, or a share of some number."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            causes.add(field, f"must be a whole number or a percentage like 25%, not {value!r}")
    else:
        check_count(value, field, causes)


def check_choice(spec: Mapping[str, Any], name: str, choices: Sequence[str], field: str, causes: Causes) -> None:
    """One of these texts, or absent."""
    if spec.get(name) not in (None, *choices):
        causes.add(f"{field}.{name}", f"must be one of {', '.join(choices)}, not {spec[name]!r}")


def check_quantities(value: Any, field: str, causes: Causes) -> None:
    """A ResourceList: quantities that are not negative."""
    for name, quantity in mapping(value, field, causes).items():
        try:
            if not isinstance(quantity, str | int | float) or isinstance(quantity, bool):
                raise ValueError(
                    f"{quantity!r} is no quantity: write a number with an optional suffix, like 500m or 1Gi"
                )
            if parse_quantity(quantity) < 0:
                raise ValueError(f"must not be negative, but is {quantity}")
        except ValueError as error:
            causes.add(f"{field}[{name}]", str(error))


def check_selector(selector: Any, labels: Mapping[str, str], field: str, causes: Causes) -> None:
    """A workload's selector: not empty, and it selects the workload's own template."""
    selector = mapping(selector, field, causes)
    match_labels = mapping(selector.get("matchLabels"), f"{field}.matchLabels", causes)
    expressions = sequence(selector.get("matchExpressions"), f"{field}.matchExpressions", causes)
    if not match_labels and not expressions:
        causes.require(field)
    check_labels(match_labels, f"{field}.matchLabels", causes)
    for number, expression in enumerate(expressions):
        _check_expression(expression, f"{field}.matchExpressions[{number}]", causes)
    for key, value in match_labels.items():
        if labels.get(key) != value:
            causes.add("spec.template.metadata.labels", f"must have {key}={value}, which the selector asks for")


def check_selector_form(selector: Any, field: str, causes: Causes) -> None:
    """A label selector that may be empty: then it selects everything."""
    selector = mapping(selector, field, causes)
    match_labels = mapping(selector.get("matchLabels"), f"{field}.matchLabels", causes)
    check_labels(match_labels, f"{field}.matchLabels", causes)
    expressions = sequence(selector.get("matchExpressions"), f"{field}.matchExpressions", causes)
    for number, expression in enumerate(expressions):
        _check_expression(expression, f"{field}.matchExpressions[{number}]", causes)


def _check_expression(expression: Any, field: str, causes: Causes) -> None:
    expression = mapping(expression, field, causes)
    if not isinstance(expression.get("key"), str):
        causes.require(f"{field}.key")
    operator = expression.get("operator")
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        causes.add(f"{field}.operator", f"must be In, NotIn, Exists or DoesNotExist, not {operator!r}")
    values = sequence(expression.get("values"), f"{field}.values", causes)
    if operator in ("In", "NotIn") and not values:
        causes.require(f"{field}.values")
