"""Fields that a kind does not have: most often a typing mistake, which would otherwise do nothing, silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...proto.errors import BadRequest, Cause
from .shapes import Form, Shape

IGNORE, WARN, STRICT = "Ignore", "Warn", "Strict"


def check_validation(validation: str) -> None:
    """Raises BadRequest: there is no such way to treat unknown fields."""
    if validation not in ("", IGNORE, WARN, STRICT):
        raise BadRequest(f"field_validation must be {IGNORE}, {WARN} or {STRICT}, not {validation!r}")


def unknown_fields(value: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """`spec.containers[0].imagee`, in the order of the value."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            inner = f"{path}.{name}" if path else str(name)
            if shape.form is Form.STRUCT and name not in shape.fields:
                yield inner
            else:
                yield from unknown_fields(item, shape.of_field(name), inner)
    elif isinstance(value, list) and shape.items is not None:
        for number, item in enumerate(value):
            yield from unknown_fields(item, shape.items, f"{path}[{number}]")


def report_unknown(manifest: Any, before: Any, shape: Shape, validation: str) -> tuple[str, ...]:
    """Warnings of the unknown fields of a manifest, but for those that the object had `before`.

    Raises:
        BadRequest: there are some, and the validation is Strict; its causes name all of them.
    """
    if validation in ("", IGNORE):
        return ()
    known = dict.fromkeys(unknown_fields(before, shape)) if before is not None else {}
    found = [field for field in unknown_fields(manifest, shape) if field not in known]
    if found and validation == STRICT:
        listed = ", ".join(f'unknown field "{field}"' for field in found)
        raise BadRequest(f"strict decoding error: {listed}", causes=[Cause(field, "unknown field") for field in found])
    return tuple(f'unknown field "{field}"' for field in found)
