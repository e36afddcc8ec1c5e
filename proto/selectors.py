"""Label and field selectors, with the grammar and the meaning of Kubernetes.

A parsed selector is a tuple of requirements, all of which must hold. Field selectors know `=`, `==` and `!=`; label
selectors also `in`, `notin`, `key`, `!key`, and `>` and `<` for labels that are whole numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from .errors import BadRequest

# So many are compared one by one.
_FEW_VALUES = 8


@dataclass(frozen=True)
class Requirement:
    """One condition on one key. `operator` is one of In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, value: str | None) -> bool:
        """`value` is what the object has under the key, None if it has not."""
        if self.operator == "In":
            return value is not None and value in (self.values if len(self.values) <= _FEW_VALUES else self._lookup)
        if self.operator == "NotIn":
            return value is None or value not in (self.values if len(self.values) <= _FEW_VALUES else self._lookup)
        if self.operator in ("Gt", "Lt"):
            if value is None or _NUMBER.fullmatch(value) is None:
                return False
            return int(value) > int(self.values[0]) if self.operator == "Gt" else int(value) < int(self.values[0])
        return (value is not None) == (self.operator == "Exists")

    @cached_property
    def _lookup(self) -> Mapping[str, None]:
        """Of thousands of values; what is no text no label has."""
        return {value: None for value in self.values if isinstance(value, str)}


Selector = tuple[Requirement, ...]
EVERYTHING: Selector = ()

# More than a person writes, or a controller that names a hundred objects; and little enough to be looked at in a
# millisecond.
SELECTOR_CHARACTERS_MAX = 16_384
# Each takes its time of every object that is listed, and of every event. Values of `in` do not.
REQUIREMENTS_MAX = 256
# Longer ones are not remembered: those that come again and again, of controllers and kubelets, are short.
_REMEMBERED_CHARACTERS_MAX = 256
_SHOWN_CHARACTERS = 80

_COMPARISONS = {">": "Gt", "<": "Lt"}
_SET_FORM = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL_FORM = re.compile(r"([^\s=!<>]+)\s*(==|=|!=|<|>)\s*([^\s=!<>]*)")
_KEY_FORM = re.compile(r"(!?)\s*([^\s=!]+)")
_FIELD_FORM = re.compile(r"([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)")
_PARENTHESES_OR_COMMA = re.compile(r"\([^()]*\)|,")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_LABEL_KEY = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def selects(selector: Selector, get: Callable[[str], str | None]) -> bool:
    """Whether an object with these keys (a label mapping's `get`, or a function from field to value) is selected."""
    return not selector or all(requirement.matches(get(requirement.key)) for requirement in selector)


def parse_label_selector(text: str) -> Selector:
    """`app=web,tier in (front, back),!canary`.

    Raises:
        BadRequest: it does not parse.
    """
    return (_label_selector if len(text) <= _REMEMBERED_CHARACTERS_MAX else _label_selector.__wrapped__)(text)


def parse_field_selector(text: str) -> Selector:
    """`spec.nodeName=n1,status.phase!=Running`.

    Raises:
        BadRequest: it does not parse.
    """
    return (_field_selector if len(text) <= _REMEMBERED_CHARACTERS_MAX else _field_selector.__wrapped__)(text)


@lru_cache(maxsize=4096)
def _label_selector(text: str) -> Selector:
    return tuple(_label_requirement(part.strip(), text) for part in _parts(text))


@lru_cache(maxsize=65536)
def _field_selector(text: str) -> Selector:
    requirements = []
    for part in _parts(text):
        match = _FIELD_FORM.fullmatch(part.strip())
        if match is None:
            raise BadRequest(
                f"field selector {_shown(text)}: {_shown(part.strip())} is not of the form field=value or field!=value"
            )
        requirements.append(Requirement(match[1], "NotIn" if match[2] == "!=" else "In", (match[3],)))
    return tuple(requirements)


def _parts(text: str) -> list[str]:
    """What stands between the commas, but for those between parentheses."""
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise BadRequest(
            f"the selector {_shown(text)} has {len(text)} characters, at most {SELECTOR_CHARACTERS_MAX} are allowed: "
            "select by a label that all have"
        )
    if not text.strip():
        return []
    ends = [match.start() for match in _PARENTHESES_OR_COMMA.finditer(text) if match[0] == ","]
    if len(ends) >= REQUIREMENTS_MAX:
        raise BadRequest(
            f"the selector {_shown(text)} has {len(ends) + 1} requirements, at most {REQUIREMENTS_MAX} are allowed: "
            "write key in (a,b) or key notin (a,b) for many of one key"
        )
    return [text[start:end] for start, end in zip([0, *(end + 1 for end in ends)], [*ends, len(text)], strict=True)]


def _label_requirement(part: str, text: str) -> Requirement:
    requirement = _of_label_form(part)
    if requirement is None:
        raise BadRequest(
            f"label selector {_shown(text)}: {_shown(part)} is not of a known form: "
            "k=v, k!=v, k in (a,b), k notin (a,b), k, !k, k>1, k<1"
        )
    if _LABEL_KEY.fullmatch(requirement.key) is None:
        raise BadRequest(f"label selector {_shown(text)}: no label has the key {_shown(requirement.key)}")
    for value in requirement.values:
        if requirement.operator in _COMPARISONS.values():
            if _NUMBER.fullmatch(value) is None:
                raise BadRequest(f"label selector {_shown(text)}: {_shown(value)} is no whole number to compare with")
        elif _LABEL_VALUE.fullmatch(value) is None:
            raise BadRequest(f"label selector {_shown(text)}: no label has the value {_shown(value)}")
    return requirement


def _of_label_form(part: str) -> Requirement | None:
    if match := _SET_FORM.fullmatch(part):
        values = tuple(value.strip() for value in match[3].split(","))
        return Requirement(match[1], "In" if match[2] == "in" else "NotIn", values)
    if match := _EQUAL_FORM.fullmatch(part):
        operator = _COMPARISONS.get(match[2]) or ("NotIn" if match[2] == "!=" else "In")
        return Requirement(match[1], operator, (match[3],))
    if match := _KEY_FORM.fullmatch(part):
        return Requirement(match[2], "DoesNotExist" if match[1] else "Exists")
    return None


def _shown(text: str) -> str:
    """An error travels in the trailers of a call, which are short."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}..."


def label_selector_of(structured: Mapping[str, Any] | None) -> Selector:
    """The `matchLabels` and `matchExpressions` of a spec. None and an empty selector select everything."""
    structured = structured or {}
    requirements = [Requirement(key, "In", (value,)) for key, value in (structured.get("matchLabels") or {}).items()]
    for expression in structured.get("matchExpressions") or ():
        requirements.append(
            Requirement(expression["key"], expression["operator"], tuple(expression.get("values") or ()))
        )
    return tuple(requirements)
