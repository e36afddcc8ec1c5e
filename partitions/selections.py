"""From the Selection of a request to the matcher and the index that serve it."""

from __future__ import annotations

from typing import NamedTuple

from ..proto import ursa_pb2 as pb
from ..proto.errors import BadRequest
from ..proto.kinds import BY_RESOURCE, KINDS, Kind, Role
from ..proto.selectors import parse_field_selector, parse_label_selector
from .entries import Matcher

_METADATA_FIELDS = ("metadata.name", "metadata.namespace")


class CompiledSelection(NamedTuple):
    """`indexed_by`: the (field, value) by which the kind's index finds all candidates; None: look at every object."""

    kind: Kind
    matches: Matcher
    indexed_by: tuple[str, str] | None


def served_kind(resource: str, role: Role) -> Kind:
    """The kind of a request.

    Raises:
        BadRequest: unknown, or served by the other role of partition; the message says which.
    """
    kind = BY_RESOURCE.get(resource)
    if kind is None:
        known = ", ".join(kind.resource for kind in KINDS if role in kind.roles)
        raise BadRequest(f"there is no resource {resource!r}; this {role.title} serves {known}")
    if role not in kind.roles:
        right = " or ".join(f"a {other.title}" for other in kind.roles)
        raise BadRequest(f"{resource} are served by {right}, this is a {role.title}")
    return kind


def compile_selection(selection: pb.Selection, role: Role) -> CompiledSelection:
    """Raises BadRequest: unknown resource, selector that does not parse, field that the kind does not index."""
    kind = served_kind(selection.resource, role)
    labels = parse_label_selector(selection.label_selector)
    fields = parse_field_selector(selection.field_selector)
    for requirement in fields:
        if requirement.key not in kind.fields and requirement.key not in _METADATA_FIELDS:
            known = ", ".join((*_METADATA_FIELDS, *kind.fields))
            raise BadRequest(f"{kind.resource} cannot be selected by field {requirement.key!r}; known are {known}")
    index = next(
        (
            (requirement.key, requirement.values[0])
            for requirement in fields
            if requirement.operator == "In" and requirement.key in kind.indexes
        ),
        None,
    )
    return CompiledSelection(kind, Matcher(kind, selection.tenant, selection.namespace, labels, fields), index)
