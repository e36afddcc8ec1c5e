"""Selectors parse and match as Kubernetes' do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.proto.errors import BadRequest
from ursa.proto.selectors import (
    REQUIREMENTS_MAX,
    Selector,
    label_selector_of,
    parse_field_selector,
    parse_label_selector,
    selects,
)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app==web", {"app": "db"}, False),
        ("app!=web", {}, True),
        ("app in (web, db),tier", {"app": "db", "tier": ""}, True),
        ("app in (web,db)", {}, False),
        ("app notin (web)", {}, True),
        ("!canary", {"canary": "no"}, False),
        ("example.com/app=web", {"example.com/app": "web"}, True),
        ("app=", {"app": ""}, True),
        ("app in ()", {"app": ""}, True),
        ("gpus>3", {"gpus": "4"}, True),
        ("gpus > 3,gpus<10", {"gpus": "10"}, False),
        ("gpus<-1", {"gpus": "-2"}, True),
        ("gpus>3", {"gpus": "many"}, False),
        ("gpus<3", {}, False),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selects(parse_label_selector(text), labels.get) is matches


@pytest.mark.parametrize("text", ["a b", "=x", "a in b", "a in (b", "a,,b", "a,", ",a", "a=b=c", "a in (b),", "!a=b"])
def test_a_label_selector_that_does_not_parse_says_which_forms_there_are(text: str) -> None:
    with pytest.raises(BadRequest, match="is not of a known form"):
        parse_label_selector(text)


@pytest.mark.parametrize(
    "text",
    [
        "a/b/c",
        "-a=b",
        "é=1",
        "a=b/c",
        "a=-b",
        f"a={'v' * 64}",
        f"{'k' * 64}=a",
        "a in (b c)",
        "a>b",
        "a>",
        "(a)",
        "a>1>2",
    ],
)
def test_a_selector_that_no_label_can_meet_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_label_selector(text)


@pytest.mark.parametrize(
    "text", ["a," * 8000, "(" * 16_000, "a in (" + "b," * 8000, "(a" * 8000, "a" + " " * 16_000 + "x"]
)
@pytest.mark.parametrize("parse", [parse_label_selector, parse_field_selector])
def test_a_long_selector_is_looked_at_in_milliseconds(parse: Callable[[str], Selector], text: str) -> None:
    seconds = []
    for _ in range(3):  # The collector may look through all the other tests' leavings meanwhile.
        began = time.thread_time()
        with pytest.raises(BadRequest) as refused:
            parse(text)
        seconds.append(time.thread_time() - began)
    assert min(seconds) < 0.1, "a square of its length"
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("parse", [parse_label_selector, parse_field_selector])
def test_a_selector_of_any_length_is_refused_shortly(parse: Callable[[str], Selector]) -> None:
    with pytest.raises(BadRequest, match="at most 16384 are allowed") as refused:
        parse("a=b," * 1_000_000)
    assert len(refused.value.message) < 500


def test_a_selector_of_many_names_still_selects() -> None:
    selector = parse_label_selector(f"app in ({','.join(f'a{number}' for number in range(1500))})")
    assert selects(selector, {"app": "a1499"}.get)


def test_a_value_is_found_among_thousands_without_a_look_at_each() -> None:
    """For a list of a hundred thousand objects that is a second, and 7 s one by one."""
    values = ",".join(f"{number:x}" for number in range(3500))
    chosen, others = parse_label_selector(f"a in ({values})"), parse_label_selector(f"a notin ({values})")
    started = time.process_time()
    for _ in range(20_000):
        assert not selects(chosen, {"a": "zz"}.get)
        assert selects(others, {"a": "zz"}.get)
    assert time.process_time() - started < 0.7
    odd = label_selector_of({"matchExpressions": [{"key": "a", "operator": "In", "values": [[1], {}, 7, "x"] * 5}]})
    assert selects(odd, {"a": "x"}.get)
    assert not selects(odd, {"a": "7"}.get)


@pytest.mark.parametrize("parse", [parse_label_selector, parse_field_selector])
def test_a_selector_has_a_bounded_number_of_requirements(parse: Callable[[str], Selector]) -> None:
    assert len(parse(",".join(["a=b"] * REQUIREMENTS_MAX))) == REQUIREMENTS_MAX
    with pytest.raises(BadRequest, match="at most 256 are allowed"):
        parse(",".join(["a=b"] * (REQUIREMENTS_MAX + 1)))


def test_field_selectors_know_equality_alone() -> None:
    selector = parse_field_selector("spec.nodeName=,status.phase!=Failed")
    assert selects(selector, {"spec.nodeName": "", "status.phase": "Running"}.get)
    assert not selects(selector, {"spec.nodeName": "n1", "status.phase": "Running"}.get)
    with pytest.raises(BadRequest, match="field=value"):
        parse_field_selector("spec.nodeName in (a)")


names = st.text("abc", min_size=1, max_size=2)


@given(st.dictionaries(names, names, max_size=3), st.dictionaries(names, names, max_size=3))
def test_the_structured_form_means_what_the_text_means(wanted: dict[str, str], labels: dict[str, str]) -> None:
    text = ",".join(f"{key}={value}" for key, value in wanted.items())
    structured = label_selector_of({"matchLabels": wanted})
    assert selects(parse_label_selector(text), labels.get) == selects(structured, labels.get)
