"""Schemas and objects that would keep the partition's loop for minutes are told so, and nobody waits.

The CPU time is measured, with a bound that a busy machine does not reach and the work would exceed manyfold.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ursa.partitions.schemas import broken_rules, compile_schema
from ursa.partitions.schemas.patterns import Pattern
from ursa.proto.errors import Cause

WORDS = "takes too long to check"


@contextmanager
def seconds_of_cpu(most: float) -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < most


def of(inner: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"it": inner}}


def checked(inner: dict[str, Any], value: Any) -> list[Cause]:
    schema = of(inner)
    assert broken_rules(schema, "schema") == []
    return compile_schema(schema).check({"it": value})


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "^([a-z]+)*$", "(.*)*x"])
def test_a_pattern_that_makes_others_go_back_forever_is_answered_at_once(pattern: str) -> None:
    with seconds_of_cpu(0.1):
        causes = checked({"type": "string", "pattern": pattern}, "a" * 40 + "!")
    assert [cause.field for cause in causes] == ["it"]
    assert "must match" in causes[0].message


def test_python_would_not_have_answered() -> None:
    """Each letter doubles it: what 40 take nobody waits for, and twenty show it."""
    started = time.process_time()
    assert re.search("(a+)+$", "a" * 20 + "!") is None
    assert time.process_time() - started > 0.01


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("b", "abc", "ac"),  # Anywhere, unless it says ^ and $.
        ("^b$", "b", "abc"),
        ("^a$", "a", "a\n"),  # Python's $ is before a last newline, too.
        (r"^\d+$", "12", "\u0663"),  # Go's classes are of ASCII,
        (r"^\w$", "a", "\u00e9"),
        (r"^\p{L}+$", "\u00e9\u4e2d", "1"),  # and those of Unicode have names.
        ("^.$", "\U0001f600", "\U0001f600\U0001f600"),  # Characters, not bytes.
        ("(?i)^ab$", "aB", "b"),
        (r"^[[:alpha:]]\z", "x", "1"),
    ],
)
def test_a_pattern_means_what_it_means_in_kubernetes(pattern: str, good: str, bad: str) -> None:
    assert Pattern(pattern).is_in(good.encode())
    assert not Pattern(pattern).is_in(bad.encode())


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)", "(?!a)", "(?<=a)b", "a{1001}", "(", 7, "a" * 10_001])
def test_a_pattern_that_cannot_be_served_is_refused_with_its_definition(pattern: Any) -> None:
    [cause] = broken_rules(of({"type": "string", "pattern": pattern}), "s")
    assert cause.field == "s.properties[it].pattern"
    assert "is no regular expression that can be served" in cause.message


def test_patterns_that_are_too_large_together_are_refused_in_bounded_time() -> None:
    large = {f"p{number}": {"type": "string", "pattern": r"\pL{1,40}"} for number in range(1000)}
    wrong = {f"p{number}": {"type": "string", "pattern": r"\pL{1,1000}"} for number in range(1000)}
    with seconds_of_cpu(5):
        [cause] = broken_rules({"type": "object", "properties": large}, "s")
        refused = broken_rules({"type": "object", "properties": wrong}, "s")
    assert "too large, together" in cause.message
    assert len(refused) == 10


def test_a_long_text_and_a_large_pattern_together_are_too_much_work() -> None:
    """The automaton of this one grows beyond all bounds, and without it each byte takes 1,800 steps."""
    with seconds_of_cpu(2):
        [cause] = checked({"type": "string", "pattern": "([ab]{1,900})c"}, "ab" * 500_000)
    assert (cause.field, WORDS in cause.message) == ("it", True)


def test_alternatives_of_many_items_are_too_much_work() -> None:
    alternatives = [{"minimum": number} for number in range(2000, 0, -1)]
    with seconds_of_cpu(10):
        [cause] = checked({"type": "array", "items": {"type": "integer", "anyOf": alternatives}}, [1] * 100_000)
    assert WORDS in cause.message


def test_defaults_that_multiply_are_too_much_work() -> None:
    inner: dict[str, Any] = {"type": "object"}
    for _ in range(12):
        items = {"type": "array", "items": inner, "default": [{}] * 10}
        inner = {"type": "object", "properties": {"x": items}}
    with seconds_of_cpu(10):
        [cause] = checked(inner, {})
    assert WORDS in cause.message


def test_a_long_default_in_many_items_is_too_much_work() -> None:
    items = {"type": "object", "properties": {"x": {"type": "string", "default": "x" * 100_000}}}
    with seconds_of_cpu(2):
        [cause] = checked({"type": "array", "items": items}, [{} for _ in range(100_000)])
    assert WORDS in cause.message


def test_many_fields_of_many_items_are_too_much_work() -> None:
    items = {"type": "object", "properties": {f"k{number}": {"type": "string"} for number in range(2000)}}
    with seconds_of_cpu(10):
        [cause] = checked({"type": "array", "items": items}, [{"k0": "x"} for _ in range(50_000)])
    assert WORDS in cause.message


def test_an_enum_is_looked_up_however_large_it_is() -> None:
    allowed = [*range(50_000), {"a": 1}, [2], "x", True]
    schema = {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True, "enum": allowed}}
    with seconds_of_cpu(2):
        assert checked(schema, [49_999] * 100_000) == []
        assert checked(schema, [{"a": 1}, [2], "x", True, 7]) == []
        causes = checked(schema, [-1, 1.0, False, {"a": 2}, [2, 2], None, "y"] * 100)
    assert len(causes) == 100
    assert all(len(cause.message) < 500 for cause in causes)


def test_what_is_wrong_is_shown_in_part() -> None:
    value = {"key" * 1000: [{"a": "x" * 10_000}] * 100_000}
    with seconds_of_cpu(1):
        causes = checked({"x-kubernetes-preserve-unknown-fields": True, "allOf": [{"enum": [1]}] * 2000}, value)
    assert all(len(cause.message) < 300 for cause in causes)


def test_the_largest_object_of_an_ordinary_kind_is_no_trouble() -> None:
    parts = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
            "weight": {"type": "integer", "minimum": 0, "default": 1},
        },
    }
    schema = {"type": "array", "items": parts, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    assert checked(schema, [{"name": f"a-part-of-it-{number}"} for number in range(50_000)]) == []
    assert checked({"type": "array", "items": {"type": "integer"}}, [1] * 1_500_000) == []


def test_a_schema_of_too_many_schemas_is_refused_at_once() -> None:
    wide: dict[str, Any] = {f"p{number}": {"type": "string"} for number in range(60_000)}
    with seconds_of_cpu(2):
        [cause] = broken_rules({"type": "object", "properties": wide}, "s")
    assert "split the kind" in cause.message


def test_defaults_within_defaults_are_checked_once_each() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(10_000)}}
    for _ in range(30):
        schema = {"type": "object", "default": {}, "properties": {"a": schema}}
    with seconds_of_cpu(3):
        assert broken_rules({"type": "object", "properties": {"it": schema}}, "s") == []


def test_a_long_name_is_not_in_the_place_of_all_that_is_within_it() -> None:
    inner = {"type": "object", "properties": {f"p{number}": {"what": 1} for number in range(5000)}}
    with seconds_of_cpu(1):
        causes = broken_rules({"type": "object", "properties": {"n" * 500_000: inner}}, "s")
    assert len(causes) == 100
    assert all(len(cause.field) < 200 for cause in causes)


def test_names_of_fields_are_text() -> None:
    [cause] = broken_rules({"type": "object", "properties": {1: {"type": "string"}}}, "s")
    assert cause.field == "s.properties"
