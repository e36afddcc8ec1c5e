"""Whether a schema is structural, as Kubernetes demands: what a value may have is said outside of all alternatives.

So every field has one place that says its type, and pruning and defaults have one meaning. Rules in CEL are refused,
not ignored: an object that should have been refused would otherwise be stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ...proto.errors import Cause
from .budget import Budget
from .finding import CAUSES_MAX, REQUIRED, named, shown
from .nodes import Node, compile_schema
from .patterns import INSTRUCTIONS_MAX, Pattern

TYPES = ("object", "array", "string", "integer", "number", "boolean")
# Deeper than any schema that people write; a value may nest no deeper, either.
DEPTH_MAX = 64
# More than the schemas of a whole pod have; a definition of so many takes half a second.
SCHEMAS_MAX = 20_000
# A wrong one may take as long to refuse as a thousand sound ones to compile.
_WRONG_PATTERNS_MAX = 10
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_VALUE_RULES = [
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "required",
]
_TEXTS = ("title", "description", "example", "externalDocs")
_STRUCTURE = ("type", "properties", "items", "additionalProperties", "default", "nullable")
_EXTENSIONS = [
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
]
_KNOWN = dict.fromkeys((*_VALUE_RULES, *_TEXTS, *_STRUCTURE, *_EXTENSIONS, *_JUNCTORS, "not"))
# Within an alternative, only values are spoken about.
_NOT_WITHIN = ("type", "additionalProperties", "default", "nullable", *_TEXTS, "x-kubernetes-preserve-unknown-fields")
_COUNTS = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]
_NUMBERS = ("minimum", "maximum", "multipleOf")
_REFUSED = {
    "x-kubernetes-validations": "is not served: rules in CEL are not evaluated here; say it by other means, or leave "
    "it to a webhook",
    "$ref": "is not allowed in a structural schema: write out what it refers to",
    "definitions": "is not allowed in a structural schema",
    "dependencies": "is not allowed in a structural schema",
    "patternProperties": "is not allowed in a structural schema: use additionalProperties",
    "additionalItems": "is not allowed in a structural schema",
}


class _Enough(Exception):
    """What is left of the schema is not looked at."""


class _Room:
    """How much more there may be in a schema."""

    def __init__(self) -> None:
        self._schemas = SCHEMAS_MAX
        self._instructions = INSTRUCTIONS_MAX
        self._wrong_patterns = _WRONG_PATTERNS_MAX

    def schema(self, field: str) -> Iterator[tuple[str, str]]:
        self._schemas -= 1
        if self._schemas < 0:
            yield field, f"has more than {SCHEMAS_MAX} schemas in it: split the kind"
            raise _Enough

    def pattern(self, pattern: Any, field: str) -> Iterator[tuple[str, str]]:
        try:
            self._instructions -= Pattern(pattern).size
        except ValueError as error:
            yield field, f"is no regular expression that can be served: {error}"
            self._wrong_patterns -= 1
            if not self._wrong_patterns:
                raise _Enough from None
        if self._instructions < 0:
            yield field, "is too large, together with the patterns before it: write repetitions as maxLength"
            raise _Enough


def broken_rules(schema: Any, field: str) -> list[Cause]:
    """Why a schema cannot be served; nothing: it can."""
    found: list[Cause] = []
    try:
        for where, told in islice(_broken(schema, field, 0, _Room(), within=False), CAUSES_MAX):
            found.append(Cause(where, told, REQUIRED if told == "is required" else "FieldValueInvalid"))
    except _Enough:
        return found
    if not found and schema.get("type") != "object":
        found.append(Cause(f"{field}.type", "must be object at the root"))
    if found:
        return found
    node = compile_schema(schema, structural=False)
    return list(islice(_broken_defaults(schema, node, field, Budget()), CAUSES_MAX))


def schema_at(schema: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    """The schema of a field; None: the schema says nothing about it."""
    for step in path:
        inner = (schema.get("properties") or {}).get(step)
        if not isinstance(inner, Mapping):
            return None
        schema = inner
    return schema


def _broken(schema: Any, field: str, depth: int, room: _Room, *, within: bool) -> Iterator[tuple[str, str]]:
    yield from room.schema(field)
    if not isinstance(schema, Mapping):
        yield field, "must be a schema, a map"
        return
    if depth > DEPTH_MAX:
        yield field, f"is nested deeper than {DEPTH_MAX} levels"
        return
    for name in schema:
        if name in _REFUSED:
            yield f"{field}.{name}", _REFUSED[name]
        elif name not in _KNOWN:
            yield f"{field}.{named(name)}", "is not a field of a schema"
        elif within and name in _NOT_WITHIN:
            yield f"{field}.{name}", "must not be said within allOf, anyOf, oneOf or not"
    yield from _broken_structure(schema, field, within)
    yield from _broken_values(schema, field)
    if (pattern := schema.get("pattern")) is not None:
        yield from room.pattern(pattern, f"{field}.pattern")
    for where, inner, alternative in _inner(schema, field):
        yield from _broken(inner, where, depth + 1, room, within=within or alternative)


def _inner(schema: Mapping[str, Any], field: str) -> Iterator[tuple[str, Any, bool]]:
    """The schemas in a schema, and whether each is an alternative."""
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name, inner in properties.items():
            yield f"{field}.properties[{named(name)}]", inner, False
    if "items" in schema:
        yield f"{field}.items", schema["items"], False
    if "additionalProperties" in schema and schema["additionalProperties"] is not True:
        yield f"{field}.additionalProperties", schema["additionalProperties"], False
    for name in _JUNCTORS:
        if isinstance(schema.get(name), list):
            for number, inner in enumerate(schema[name]):
                yield f"{field}.{name}[{number}]", inner, True
    if "not" in schema:
        yield f"{field}.not", schema["not"], True


def _broken_structure(schema: Mapping[str, Any], field: str, within: bool) -> Iterator[tuple[str, str]]:
    kind = schema.get("type")
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if not within and kind is None and not free:
        yield f"{field}.type", "is required"
    elif kind is not None and kind not in TYPES:
        yield f"{field}.type", f"must be one of {', '.join(TYPES)}, not {shown(kind)}"
    elif kind is not None and schema.get("x-kubernetes-int-or-string"):
        yield f"{field}.type", "must be left out beside x-kubernetes-int-or-string"
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{field}.additionalProperties", "must not be said beside properties"
    for name in ("properties", "additionalProperties"):
        if name in schema and not within and kind != "object":
            yield f"{field}.{name}", "is for the type object only"
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping) or not all(isinstance(name, str) for name in properties):
        yield f"{field}.properties", "must be a map of schemas"
    if kind == "array" and "items" not in schema:
        yield f"{field}.items", "is required"
    for name in _JUNCTORS:
        if name in schema and not isinstance(schema[name], list):
            yield f"{field}.{name}", "must be a list of schemas"
    yield from _broken_lists(schema, field)


def _broken_lists(schema: Mapping[str, Any], field: str) -> Iterator[tuple[str, str]]:
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in (None, "atomic", "set", "map"):
        yield f"{field}.x-kubernetes-list-type", f"must be atomic, set or map, not {shown(list_type)}"
    if schema.get("x-kubernetes-map-type") not in (None, "granular", "atomic"):
        yield f"{field}.x-kubernetes-map-type", "must be granular or atomic"
    keys = schema.get("x-kubernetes-list-map-keys")
    if list_type != "map":
        if keys is not None:
            yield f"{field}.x-kubernetes-list-map-keys", "is for the list type map only"
        return
    items = schema.get("items")
    properties = items.get("properties") if isinstance(items, Mapping) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        yield f"{field}.x-kubernetes-list-map-keys", "is required"
    elif not isinstance(properties, Mapping) or not all(isinstance(properties.get(key), Mapping) for key in keys):
        yield f"{field}.x-kubernetes-list-map-keys", "must be fields of the items"
    elif len(dict.fromkeys(keys)) < len(keys):
        yield f"{field}.x-kubernetes-list-map-keys", "must not have one twice"


def _broken_values(schema: Mapping[str, Any], field: str) -> Iterator[tuple[str, str]]:
    for name in _COUNTS:
        value = schema.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            yield f"{field}.{name}", f"must be a whole number, not negative, not {shown(value)}"
    for name in _NUMBERS:
        value = schema.get(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            yield f"{field}.{name}", f"must be a number, not {shown(value)}"
        elif name == "multipleOf" and value is not None and value <= 0:
            yield f"{field}.{name}", f"must be more than 0, not {shown(value)}"
    required = schema.get("required")
    if required is not None and not (isinstance(required, list) and all(isinstance(each, str) for each in required)):
        yield f"{field}.required", "must be a list of field names"
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        yield f"{field}.enum", "must be a list of values"
    if schema.get("uniqueItems"):
        yield f"{field}.uniqueItems", "is not allowed: use x-kubernetes-list-type: set"
    if not isinstance(schema.get("format", ""), str):
        yield f"{field}.format", "must be a string"


def _broken_defaults(schema: Mapping[str, Any], node: Node, field: str, budget: Budget) -> Iterator[Cause]:
    """Defaults that the schema itself would refuse."""
    if "default" in schema:
        for cause in node.check(schema["default"], budget=budget):
            yield Cause(f"{field}.default{cause.field and '.' + cause.field}", cause.message)
    for name, inner in (schema.get("properties") or {}).items():
        yield from _broken_defaults(inner, node.properties[name], f"{field}.properties[{named(name)}]", budget)
    if node.items is not None:
        yield from _broken_defaults(schema["items"], node.items, f"{field}.items", budget)
    if node.additional is not None:
        where = f"{field}.additionalProperties"
        yield from _broken_defaults(schema["additionalProperties"], node.additional, where, budget)
