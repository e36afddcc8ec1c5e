"""Schemas of custom kinds: which are served, and what they do to values."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.schemas import broken_rules, compile_schema


def visited(schema: dict[str, Any], value: Any) -> tuple[Any, list[str]]:
    """The value as it is stored, and the fields of its broken rules."""
    assert not broken_rules({"type": "object", "properties": {"it": schema}}, "schema")
    value = deepcopy(value)
    broken = compile_schema(schema).check(value, (None, "it"))
    return value, [cause.field for cause in broken]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string"}, "x", 1),
        ({"type": "integer"}, 1, True),
        ({"type": "integer"}, 1, 1.5),
        ({"type": "number"}, 1.5, "1.5"),
        ({"type": "boolean"}, False, 0),
        ({"type": "string", "nullable": True}, None, 1),
        ({"type": "string"}, "x", None),
        ({"x-kubernetes-int-or-string": True}, "50%", 0.5),
        ({"type": "string", "enum": ["a", "b"]}, "a", "c"),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, 2, 1),
        ({"type": "integer", "maximum": 9}, 9, 10),
        ({"type": "integer", "multipleOf": 3}, 9, 10),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "ab", "abcd"),
        ({"type": "string", "pattern": "^a+$"}, "aa", "ab"),
        ({"type": "string", "pattern": None}, "aa", 1),
        ({"type": "string", "format": "date-time"}, "2026-11-23T08:00:00Z", "yesterday"),
        ({"type": "string", "format": "duration"}, "1h30m", "soon"),
        ({"type": "string", "format": "byte"}, "aGk=", "a"),
        ({"type": "string", "format": "ipv4"}, "10.0.0.1", "10.0.0.256"),
        ({"type": "string", "format": "never-heard-of"}, "x", 1),
        ({"type": "integer", "format": "int32"}, 2**31 - 1, 2**31),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a"], ["a", "b"]),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, ["a", "b"], ["a", "a"]),
        ({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1}, {"a": "b"}, {"a": 1}),
        ({"type": "string", "anyOf": [{"minLength": 5}, {"enum": ["a"]}]}, "a", "b"),
        ({"type": "integer", "oneOf": [{"minimum": 5}, {"maximum": 6}]}, 9, 5),
        ({"type": "integer", "allOf": [{"minimum": 5}, {"maximum": 6}]}, 5, 7),
        ({"type": "integer", "not": {"enum": [3]}}, 4, 3),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": "x"}, {}),
    ],
)
def test_a_rule_lets_the_good_through_and_names_the_bad(schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert visited(schema, good) == (good, [])
    assert visited(schema, bad)[1]


def test_defaults_complete_one_another_and_nulls_are_replaced() -> None:
    inner = {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 7}}}
    schema = {"type": "object", "properties": {"inner": inner, "list": {"type": "array", "items": inner}}}
    assert visited(schema, {}) == ({"inner": {"n": 7}}, [])
    assert visited(schema, {"inner": {"n": None}, "list": [{}]}) == ({"inner": {"n": 7}, "list": [{"n": 7}]}, [])


def test_an_alternative_neither_prunes_nor_defaults() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"minLength": 2}}}],
    }
    assert visited(schema, {"b": "xx", "c": 1}) == ({"b": "xx"}, [])
    assert visited(schema, {"b": "x"})[1] == ["it"]


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ("text", "s"),
        ({"type": "string"}, "s.type"),
        ({"type": "object", "properties": {"a": {}}}, "s.properties[a].type"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "s.properties[a].items"),
        ({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}, "s.additionalProperties"),
        ({"type": "object", "additionalProperties": False}, "s.additionalProperties"),
        ({"type": "object", "$ref": "#/x"}, "s.$ref"),
        ({"type": "object", "whatever": 1}, "s.whatever"),
        ({"type": "object", "anyOf": [{"type": "object"}]}, "s.anyOf[0].type"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "s.properties[a].pattern"),
        ({"type": "object", "properties": {"a": {"type": "string", "default": 1}}}, "s.properties[a].default"),
        ({"type": "object", "minProperties": -1}, "s.minProperties"),
        ({"type": "object", "required": "a"}, "s.required"),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["a", "a"],
            },
            "s.x-kubernetes-list-map-keys",
        ),
    ],
)
def test_a_schema_that_cannot_be_served_is_refused_at_its_field(schema: Any, field: str) -> None:
    assert field in [cause.field for cause in broken_rules(schema, "s")]


_NAMES = st.sampled_from(("a", "b", "type", "items"))
_LEAVES = st.sampled_from(
    (
        {"type": "string", "default": "x"},
        {"type": "integer", "minimum": 0},
        {"type": "boolean", "nullable": True},
        {"x-kubernetes-int-or-string": True},
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
)
SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(_NAMES, inner, max_size=3).map(lambda fields: {"type": "object", "properties": fields}),
        inner.map(lambda items: {"type": "array", "items": items}),
        inner.map(lambda values: {"type": "object", "additionalProperties": values}),
    ),
    max_leaves=8,
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text("ab", max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(schema=SCHEMAS, value=VALUES)
def test_what_was_admitted_is_admitted_again_and_stays_as_it_is(schema: dict[str, Any], value: Any) -> None:
    once, broken = visited(schema, value)
    twice, broken_again = visited(schema, once)
    assert twice == once
    assert broken_again == broken


@settings(max_examples=300, deadline=None)
@given(schema=VALUES)
def test_no_schema_is_too_strange_to_be_refused(schema: Any) -> None:
    if not broken_rules(schema, "s"):
        compile_schema(schema)
