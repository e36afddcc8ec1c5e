"""What the patches share: the body as it arrives, equality as JSON has it, and a bound on nesting.

A manifest is an object in its Kubernetes form: maps, lists, strings, numbers, booleans and None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from ...proto.errors import BadRequest

# Every walk over a value is recursive. Nothing people write is deeper than thirty; this keeps far from Python's limit.
DEPTH_MAX = 100


def decode_body(data: bytes) -> Any:
    """The body of a patch, in fresh values.

    Raises:
        BadRequest: it is no msgpack, or nested too deeply.
    """
    try:
        body = msgpack.unpackb(data, ext_hook=_no_extension)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadRequest(f"the patch is no msgpack: {error or type(error).__name__}") from None
    check_depth(body)
    return body


def check_depth(value: Any, depth: int = 0) -> None:
    """Raises BadRequest: nested deeper than DEPTH_MAX, or a key that is no string."""
    if depth > DEPTH_MAX:
        raise BadRequest(f"values are nested more than {DEPTH_MAX} deep")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BadRequest(f"the key {key!r} is no string")
            check_depth(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_depth(item, depth + 1)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON values: 1 and 1.0 are, 1 and true are not, and maps have no order."""
    if one is other:
        return True
    if isinstance(one, Mapping):
        if not isinstance(other, Mapping) or len(one) != len(other):
            return False
        return all(key in other and same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        if not isinstance(other, list) or len(one) != len(other):
            return False
        return all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def token_of(value: Any) -> Any:
    """What stands for a value in a dict: equal for values that are the same."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Mapping):
        return ("map", tuple(sorted((key, token_of(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("list", tuple(map(token_of, value)))
    return value


def copied(value: Any) -> Any:
    """A deep copy."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def without_nulls(value: Any) -> Any:
    """A copy in which no map has a null."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _no_extension(code: int, _: bytes) -> Any:
    raise ValueError(f"it has a value of the extension type {code}")
