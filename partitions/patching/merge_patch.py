"""JSON merge patch, RFC 7386.

target  {"a": 1, "b": {"c": [1, 2], "d": 3}}
patch   {"a": null, "b": {"c": [4]}}
result  {"b": {"c": [4], "d": 3}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """Maps are merged, None removes, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for field, value in patch.items():
        if value is None:
            result.pop(field, None)
        else:
            result[field] = merge_patch(result.get(field), value)
    return result
