"""The form of a custom kind's objects, as its schema says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .shapes import ANY, LIST, SET, Form, Shape, atomic, keyed, list_of, map_of


def shape_of_schema(schema: Mapping[str, Any]) -> Shape:
    """Of a structural schema."""
    shape = _shape(schema)
    return atomic(shape) if schema.get("x-kubernetes-map-type") == "atomic" else shape


def _shape(schema: Mapping[str, Any]) -> Shape:
    if schema.get("type") == "array":
        return _list(schema)
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        return map_of(shape_of_schema(additional))
    if schema.get("type") != "object":
        return ANY
    fields = {name: shape_of_schema(each) for name, each in (schema.get("properties") or {}).items()}
    free = additional is True or schema.get("x-kubernetes-preserve-unknown-fields")
    free = free or schema.get("x-kubernetes-embedded-resource")
    return Shape(Form.ANY if free else Form.STRUCT, fields)


def _list(schema: Mapping[str, Any]) -> Shape:
    items = schema["items"]
    list_type = schema.get("x-kubernetes-list-type", "atomic")
    if list_type == "set":
        return SET
    inner = shape_of_schema(items)
    if list_type == "map":
        keys = schema["x-kubernetes-list-map-keys"]
        defaults = {key: items["properties"][key].get("default") for key in keys}
        shape = keyed(inner, *keys, merge_key="-")
        return replace(shape, key_defaults={key: value for key, value in defaults.items() if value is not None})
    return LIST if inner is ANY else list_of(inner)
