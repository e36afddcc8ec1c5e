"""Selectors parse and match as Kubernetes' do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.proto.errors import BadRequest
from ursa.proto.selectors import label_selector_of, parse_field_selector, parse_label_selector, selects


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
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selects(parse_label_selector(text), labels.get) is matches


@pytest.mark.parametrize("text", ["a b", "=x", "a in b", "a in (b", "a,,b", "a=b=c"])
def test_a_label_selector_that_does_not_parse_says_which_forms_there_are(text: str) -> None:
    with pytest.raises(BadRequest, match="is not of a known form"):
        parse_label_selector(text)


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
