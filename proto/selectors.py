"""Label and field selectors, with the grammar and the meaning of Kubernetes.

A parsed selector is a tuple of requirements, all of which must hold. Field selectors know `=`, `==` and `!=`; label
selectors also `in`, `notin`, `key` and `!key`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import BadRequest


@dataclass(frozen=True)
class Requirement:
    """One condition on one key. `operator` is one of In, NotIn, Exists, DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, value: str | None) -> bool:
        """`value` is what the object has under the key, None if it has not."""
        if self.operator == "In":
            return value is not None and value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        return (value is not None) == (self.operator == "Exists")


Selector = tuple[Requirement, ...]
EVERYTHING: Selector = ()

_SET_FORM = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL_FORM = re.compile(r"([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)")
_KEY_FORM = re.compile(r"(!?)\s*([^\s=!]+)")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


def selects(selector: Selector, get: Callable[[str], str | None]) -> bool:
    """Whether an object with these keys (a label mapping's `get`, or a function from field to value) is selected."""
    return all(requirement.matches(get(requirement.key)) for requirement in selector)


@lru_cache(maxsize=4096)
def parse_label_selector(text: str) -> Selector:
    """`app=web,tier in (front, back),!canary`.

    Raises:
        BadRequest: it does not parse.
    """
    return tuple(_label_requirement(part.strip(), text) for part in _parts(text))


@lru_cache(maxsize=65536)
def parse_field_selector(text: str) -> Selector:
    """`spec.nodeName=n1,status.phase!=Running`.

    Raises:
        BadRequest: it does not parse.
    """
    requirements = []
    for part in _parts(text):
        match = _EQUAL_FORM.fullmatch(part.strip())
        if match is None:
            raise BadRequest(
                f"field selector {text!r}: {part.strip()!r} is not of the form field=value or field!=value"
            )
        requirements.append(Requirement(match[1], "NotIn" if match[2] == "!=" else "In", (match[3],)))
    return tuple(requirements)


def _parts(text: str) -> list[str]:
    return _COMMA_OUTSIDE_PARENTHESES.split(text) if text.strip() else []


def _label_requirement(part: str, text: str) -> Requirement:
    if match := _SET_FORM.fullmatch(part):
        values = tuple(value.strip() for value in match[3].split(","))
        return Requirement(match[1], "In" if match[2] == "in" else "NotIn", values)
    if match := _EQUAL_FORM.fullmatch(part):
        return Requirement(match[1], "NotIn" if match[2] == "!=" else "In", (match[3],))
    if match := _KEY_FORM.fullmatch(part):
        return Requirement(match[2], "DoesNotExist" if match[1] else "Exists")
    raise BadRequest(
        f"label selector {text!r}: {part!r} is not of a known form: k=v, k!=v, k in (a,b), k notin (a,b), k, !k"
    )


def label_selector_of(structured: Mapping[str, Any] | None) -> Selector:
    """The `matchLabels` and `matchExpressions` of a spec. None and an empty selector select everything."""
    structured = structured or {}
    requirements = [Requirement(key, "In", (value,)) for key, value in (structured.get("matchLabels") or {}).items()]
    for expression in structured.get("matchExpressions") or ():
        requirements.append(
            Requirement(expression["key"], expression["operator"], tuple(expression.get("values") or ()))
        )
    return tuple(requirements)
