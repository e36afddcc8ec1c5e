"""Broken rules, and where in a value they are."""

from __future__ import annotations

from itertools import islice
from typing import Any, Optional

from ...proto.errors import Cause
from .budget import Budget

# The way from the root: (("", "spec"), "replicas"), made into text only for what is broken.
Place = tuple[Optional["Place"], str | int]

# Enough to see what is wrong; a list of a hundred thousand wrong items is not answered with as many causes.
CAUSES_MAX = 100
_SHOWN_CHARACTERS = 80
_SHOWN_ITEMS, _SHOWN_LEVELS = 5, 3

INVALID = "FieldValueInvalid"
REQUIRED = "FieldValueRequired"
TYPE_INVALID = "FieldValueTypeInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
DUPLICATE = "FieldValueDuplicate"


class Findings:
    """Gathers them."""

    def __init__(self, budget: Budget) -> None:
        self.causes: list[Cause] = []
        self.budget = budget

    def add(self, place: Place | None, message: str, reason: str = INVALID) -> None:
        if len(self.causes) < CAUSES_MAX:
            self.causes.append(Cause(text_of(place), message, reason))


def text_of(place: Place | None) -> str:
    """`spec.containers[0].image`."""
    steps: list[str | int] = []
    while place is not None:
        place, step = place
        steps.append(step)
    text = ""
    for step in reversed(steps):
        if not isinstance(step, str):  # The number of an item; and msgpack has keys that are bytes.
            text += f"[{shown(step)}]"
        elif "." in step or "/" in step:
            text += f"[{named(step)}]"
        else:
            text += f".{named(step)}" if text else named(step)
    return text


def named(step: Any) -> str:
    """A field's name as part of a place: a long one would be in the place of all that is within it."""
    if not isinstance(step, str):
        return shown(step)
    return step if len(step) <= _SHOWN_CHARACTERS else f"{step[:_SHOWN_CHARACTERS]}..."


def shown(value: Any) -> str:
    """For a message. However large the value is, it takes no longer than a small one."""
    text = repr(_beginning(value, _SHOWN_LEVELS))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _beginning(value: Any, levels: int) -> Any:
    if isinstance(value, str | bytes):
        return value[: _SHOWN_CHARACTERS + 1]
    if isinstance(value, dict):
        items = islice(value.items(), _SHOWN_ITEMS) if levels else ()
        return {_beginning(key, 0): _beginning(item, levels - 1) for key, item in items}
    if isinstance(value, list):
        return [_beginning(item, levels - 1) for item in value[: _SHOWN_ITEMS if levels else 0]]
    return value
