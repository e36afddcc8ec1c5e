"""Sets of fields, as managers own them, and how two values differ in them.

A field is a path of elements, each in the form of Kubernetes' FieldsV1:

    ("f:spec", "f:containers", 'k:{"name":"app"}', "f:image")    .spec.containers[name="app"].image
    ("f:metadata", "f:finalizers", 'v:"a"')                      .metadata.finalizers["a"]

In FieldsV1 a set is a tree of these elements; "." says that an inner path is itself a member, as an item of a list is:

    {"f:containers": {'k:{"name":"app"}': {".": {}, "f:image": {}, "f:name": {}}}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from .shapes import Form, Shape
from .values import same

Path = tuple[str, ...]
FieldSet = dict[Path, None]

_MEMBER = "."


# ---------------------------------------------------------------------------------------------------------- elements


def items_by_element(values: Any, shape: Shape) -> dict[str, Any] | None:
    """The items of a list that is merged, by their path elements; None: the list is one value.

    It also is where it does not have the form it should have: items without their keys, or two of the same.
    """
    if not isinstance(values, list) or shape.form not in (Form.SET, Form.KEYED):
        return None
    found: dict[str, Any] = {}
    for item in values:
        element = _element(item, shape)
        if element is None or element in found:
            return None
        found[element] = item
    return found


def _element(item: Any, shape: Shape) -> str | None:
    if shape.form is Form.SET:
        return None if isinstance(item, Mapping | list) else f"v:{_compact(item)}"
    if not isinstance(item, Mapping):
        return None
    keys = {key: item.get(key, shape.key_defaults.get(key)) for key in shape.keys}
    if any(value is None or isinstance(value, Mapping | list) for value in keys.values()):
        return None
    return f"k:{_compact(keys)}"


def broken_lists(value: Any, shape: Shape, path: str = "") -> Iterator[tuple[str, str]]:
    """The lists that should be merged and cannot be, each with the reason: items without their keys, or alike."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from broken_lists(item, shape.of_field(name), f"{path}.{name}" if path else name)
    elif isinstance(value, list) and shape.form in (Form.SET, Form.KEYED):
        seen: dict[str, None] = {}
        for number, item in enumerate(value):
            element = _element(item, shape)
            where = f"{path}[{number}]"
            if element is None:
                what = f"a map with {' and '.join(shape.keys)}" if shape.keys else "a string or a number"
                yield where, f"must be {what}, by which the list is merged"
            elif element in seen:
                yield where, "is in the list already"
            else:
                seen[element] = None
                yield from broken_lists(item, shape.of_items, where)


def is_granular_map(value: Any, shape: Shape) -> bool:
    return isinstance(value, Mapping) and not shape.atomic and shape.form not in (Form.LIST, Form.SET, Form.KEYED)


def text_of(path: Path) -> str:
    """As Kubernetes prints it: `.spec.containers[name="app"].image`."""
    return "".join(map(_element_text, path))


def _element_text(element: str) -> str:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = ",".join(f"{key}={_compact(value)}" for key, value in json.loads(rest).items())
        return f"[{keys}]"
    return f"[={rest}]"


# -------------------------------------------------------------------------------------------------------------- sets


def fields_of(value: Any, shape: Shape, path: Path = ()) -> FieldSet:
    """The fields a value sets: its leaves, the items of its merged lists, and the keys of its maps."""
    found: FieldSet = {}
    _gather(value, shape, path, found)
    return found


def _gather(value: Any, shape: Shape, path: Path, found: FieldSet) -> None:
    if is_granular_map(value, shape):
        for name, item in value.items():
            inner = (*path, f"f:{name}")
            if not shape.declares(name) or item in ({}, None):
                found[inner] = None
            _gather(item, shape.of_field(name), inner, found)
        return
    items = items_by_element(value, shape)
    if not items:
        if path:
            found[path] = None
        return
    for element, item in items.items():
        inner = (*path, element)
        found[inner] = None
        if shape.form is Form.KEYED:
            _gather(item, shape.of_items, inner, found)


class Difference(NamedTuple):
    """`changed` fields were added or have another value now."""

    changed: FieldSet
    removed: FieldSet


def difference(old: Any, new: Any, shape: Shape) -> Difference:
    found = Difference({}, {})
    _compare(old, new, shape, (), found)
    return found


def _compare(old: Any, new: Any, shape: Shape, path: Path, found: Difference) -> None:
    if is_granular_map(old, shape) and is_granular_map(new, shape):
        for name in {**old, **new}:
            inner, field_shape = (*path, f"f:{name}"), shape.of_field(name)
            if name not in new:
                _whole(old[name], field_shape, inner, found.removed)
            elif name not in old:
                _whole(new[name], field_shape, inner, found.changed)
            else:
                _compare(old[name], new[name], field_shape, inner, found)
        return
    old_items, new_items = items_by_element(old, shape), items_by_element(new, shape)
    if old_items is None or new_items is None:
        if not same(old, new):
            found.changed[path] = None
        return
    for element in {**old_items, **new_items}:
        inner = (*path, element)
        if element not in new_items:
            _whole(old_items[element], shape.of_items, inner, found.removed)
        elif element not in old_items:
            _whole(new_items[element], shape.of_items, inner, found.changed)
        else:
            _compare(old_items[element], new_items[element], shape.of_items, inner, found)


def _whole(value: Any, shape: Shape, path: Path, into: FieldSet) -> None:
    """The fields of a value that is there on one side only, itself included where it can be a member."""
    if path[-1][0] != "f" or not value or not is_granular_map(value, shape):
        into[path] = None
    _gather(value, shape, path, into)


def prefixes(fields: FieldSet) -> FieldSet:
    """The fields, and all that hold them."""
    found: FieldSet = {}
    for path in fields:
        for length in range(len(path), 0, -1):
            if path[:length] in found:
                break
            found[path[:length]] = None
    return found


def within(fields: FieldSet, roots: FieldSet) -> FieldSet:
    """Those of the fields that are one of the roots, or inside one."""
    return {path: None for path in fields if any(path[:length] in roots for length in range(1, len(path) + 1))}


# ------------------------------------------------------------------------------------------------------------ stored


def to_fields_v1(fields: FieldSet) -> bytes:
    """As stored, in a form that equal sets share."""
    tree: dict[str, Any] = {}
    for path in fields:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node[_MEMBER] = {}
    return _compact(_closed(tree)).encode()


def _closed(tree: dict[str, Any]) -> dict[str, Any]:
    """A leaf is a member without saying so."""
    if len(tree) == 1 and _MEMBER in tree:
        return {}
    return {element: _closed(node) if element != _MEMBER else {} for element, node in sorted(tree.items())}


@lru_cache(maxsize=1024)
def from_fields_v1(data: bytes) -> FieldSet:
    """Shared between those who ask for the same: never change it."""
    return dict.fromkeys(_paths(json.loads(data or b"{}"), ()))


def _paths(tree: Mapping[str, Any], path: Path) -> Iterator[Path]:
    if path and (not tree or _MEMBER in tree):
        yield path
    for element, node in tree.items():
        if element != _MEMBER:
            yield from _paths(node, (*path, element))


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=repr)
