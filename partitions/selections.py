"""From the Selection of a request to what it selects, and to the index by which its candidates are found."""

from __future__ import annotations

from ..proto import ursa_pb2 as pb
from ..proto.errors import BadRequest
from ..proto.kinds import Kind, KindTable, Role
from ..proto.selectors import Requirement, Selector, parse_field_selector, parse_label_selector, selects
from .entries import Entry

_NAME, _NAMESPACE = "metadata.name", "metadata.namespace"
_METADATA_FIELDS = (_NAME, _NAMESPACE)
_NOT_INDEXED = -1
_REQUIREMENTS_OF_AN_ORDINARY_ONE = 4


class CompiledSelection:
    """A selection of one kind. Immutable.

    There may be hundreds of thousands of these, so they are small: what one equality says stands in a slot of its own,
    and only the rest in requirements. `place` and `value`: the indexed field, by its place among an entry's fields, and
    the value it must have; a place below 0: none. Empty tenant, namespace, name: any.
    """

    __slots__ = (
        "everything",
        "kind",
        "labels",
        "metadata_only",
        "name",
        "namespace",
        "place",
        "requirements",
        "tenant",
        "value",
    )

    def __init__(self, kind: Kind, selection: pb.Selection, labels: Selector, fields: Selector) -> None:
        self.kind = kind
        self.tenant = selection.tenant
        self.namespace = selection.namespace
        self.name = ""
        self.place = _NOT_INDEXED
        self.value = ""
        self.labels = labels
        self.metadata_only = selection.metadata_only
        self.requirements = tuple(requirement for requirement in fields if not self._settled(requirement))
        self.everything = not (
            self.tenant or self.namespace or self.name or self.indexed or labels or self.requirements
        )

    @property
    def indexed(self) -> bool:
        return self.place >= 0

    @property
    def weight(self) -> int:
        """How many ordinary selections take as long to look at an object."""
        return 1 + (len(self.labels) + len(self.requirements)) // _REQUIREMENTS_OF_AN_ORDINARY_ONE

    def matches(self, entry: Entry) -> bool:
        if self.everything:
            return True
        if self.place >= 0 and entry.fields[self.place] != self.value:
            return False
        if self.name and entry.name != self.name:
            return False
        if self.namespace and entry.namespace != self.namespace:
            return False
        if self.tenant and entry.tenant != self.tenant:
            return False
        for requirement in self.requirements:
            if not requirement.matches(self._field(entry, requirement.key)):
                return False
        return selects(self.labels, entry.labels.get)

    @property
    def parts(self) -> tuple[object, ...]:
        """Selections with equal parts select the same."""
        return (
            self.kind.resource,
            self.tenant,
            self.namespace,
            self.name,
            self.place,
            self.value,
            self.requirements,
            self.labels,
            self.metadata_only,
        )

    def _settled(self, requirement: Requirement) -> bool:
        """Whether a slot of its own could be given to what a requirement says."""
        if requirement.operator != "In":
            return False
        value = requirement.values[0]
        if requirement.key == _NAME and value and not self.name:
            self.name = value
        elif requirement.key == _NAMESPACE and value and not self.namespace:
            self.namespace = value
        elif requirement.key in self.kind.indexes and not self.indexed:
            self.place = self.kind.places[requirement.key]
            self.value = value
        else:
            return False
        return True

    def _field(self, entry: Entry, name: str) -> str:
        place = self.kind.places.get(name)
        if place is not None:
            # While a custom kind is defined anew, watches of the old one are still there.
            return entry.fields[place] if place < len(entry.fields) else ""
        return entry.name if name == _NAME else entry.namespace


def served_kind(resource: str, role: Role, kinds: KindTable) -> Kind:
    """The kind of a request, of those that there are.

    Raises:
        BadRequest: unknown, or served by the other role of partition; the message says which.
    """
    kind = kinds.get(resource)
    if kind is None:
        known = ", ".join(kind.resource for kind in kinds if role in kind.roles)
        raise BadRequest(f"there is no resource {resource!r}; this {role.title} serves {known}")
    if role not in kind.roles:
        right = " or ".join(f"a {other.title}" for other in kind.roles)
        raise BadRequest(f"{resource} are served by {right}, this is a {role.title}")
    return kind


def compile_selection(selection: pb.Selection, role: Role, kinds: KindTable) -> CompiledSelection:
    """Raises BadRequest: unknown resource, selector that does not parse, field that the kind does not index."""
    kind = served_kind(selection.resource, role, kinds)
    labels = parse_label_selector(selection.label_selector)
    fields = parse_field_selector(selection.field_selector)
    for requirement in fields:
        if requirement.key not in kind.fields and requirement.key not in _METADATA_FIELDS:
            known = ", ".join((*_METADATA_FIELDS, *kind.fields))
            raise BadRequest(f"{kind.resource} cannot be selected by field {requirement.key!r}; known are {known}")
    return CompiledSelection(kind, selection, labels, fields)
