"""What is known of the form of a value: its fields, and how lists of it are merged.

A patch needs to know which lists are sets, which are maps in disguise (containers by name), and which are one value.
Kubernetes says it twice, with small differences: `patchMergeKey` for strategic merge patch, and for apply
`x-kubernetes-list-map-keys` (ports by containerPort there, by containerPort and protocol here). A `Shape` holds both.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


class Form(enum.Enum):
    ANY = "any"  # Nothing is known: maps are merged by field, lists are one value.
    STRUCT = "struct"  # A map with these fields and no others.
    MAP = "map"  # A map whose keys are data, as labels are.
    LIST = "list"  # One value.
    SET = "set"  # Strings or numbers, each at most once.
    KEYED = "keyed"  # Maps that some of their fields tell apart.


@dataclass(frozen=True, slots=True)
class Shape:
    """See the module. `atomic`: applied as one value, whatever it is; a strategic merge looks inside all the same."""

    form: Form = Form.ANY
    fields: Mapping[str, Shape] = field(default_factory=dict)
    items: Shape | None = None
    keys: tuple[str, ...] = ()
    key_defaults: Mapping[str, Any] = field(default_factory=dict)
    merge_key: str = ""
    atomic: bool = False

    def of_field(self, name: str) -> Shape:
        if self.form is Form.MAP:
            return self.items or ANY
        return self.fields.get(name, ANY)

    def declares(self, name: str) -> bool:
        """Whether the field is one of a struct's, and not data."""
        return self.form is Form.STRUCT and name in self.fields

    @property
    def of_items(self) -> Shape:
        return self.items or ANY


ANY = Shape()
STRINGS = Shape(Form.MAP)
ATOMIC_STRINGS = Shape(Form.MAP, atomic=True)
LIST = Shape(Form.LIST)
SET = Shape(Form.SET)


def struct(scalars: str = "", /, **fields: Shape) -> Shape:
    """A map with fields: `scalars` names those of which no more is known, with blanks between."""
    return Shape(Form.STRUCT, {**dict.fromkeys(scalars.split(), ANY), **fields})


def atomic(shape: Shape) -> Shape:
    return replace(shape, atomic=True)


def map_of(items: Shape) -> Shape:
    return Shape(Form.MAP, items=items)


def list_of(items: Shape) -> Shape:
    return Shape(Form.LIST, items=items)


def keyed(items: Shape, *keys: str, merge_key: str = "", **key_defaults: Any) -> Shape:
    """`merge_key`: that of a strategic merge, where it is not the first of `keys`; "-": it replaces the list."""
    merge_key = "" if merge_key == "-" else merge_key or keys[0]
    return Shape(Form.KEYED, items=items, keys=keys, key_defaults=key_defaults, merge_key=merge_key)


def merged_only(items: Shape, merge_key: str) -> Shape:
    """A list that a strategic merge merges, and apply takes as one value."""
    return Shape(Form.LIST, items=items, merge_key=merge_key)
