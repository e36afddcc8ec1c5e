"""Broken rules, and where in a value they are."""

from __future__ import annotations

from typing import Any, Optional

from ...proto.errors import Cause

# The way from the root: (("", "spec"), "replicas"), made into text only for what is broken.
Place = tuple[Optional["Place"], str | int]

# Enough to see what is wrong; a list of a hundred thousand wrong items is not answered with as many causes.
CAUSES_MAX = 100
_SHOWN_CHARACTERS = 80

INVALID = "FieldValueInvalid"
REQUIRED = "FieldValueRequired"
TYPE_INVALID = "FieldValueTypeInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
DUPLICATE = "FieldValueDuplicate"


class Findings:
    """Gathers them."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []

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
            text += f"[{step!r}]"
        elif "." in step or "/" in step:
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def shown(value: Any) -> str:
    """For a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
