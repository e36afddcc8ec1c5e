"""Server-side apply, the part without managers: laying a configuration over an object, and taking fields away.

After Kubernetes' structured-merge-diff: maps and keyed lists are merged, sets are united, all else is replaced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from .field_sets import FieldSet, Path, is_granular_map, items_by_element, prefixes
from .shapes import Form, Shape


def merged(live: Any, config: Any, shape: Shape) -> Any:
    """`live` with all that `config` says. Items of lists come in the order of `config`, others keep their places."""
    if is_granular_map(live, shape) and is_granular_map(config, shape):
        result = dict(live)
        for name, value in config.items():
            result[name] = merged(live[name], value, shape.of_field(name)) if name in live else value
        return result
    old, new = items_by_element(live, shape), items_by_element(config, shape)
    if old is None or new is None:
        return config
    result_items = {
        element: merged(old[element], item, shape.of_items) if element in old and shape.form is Form.KEYED else item
        for element, item in new.items()
    }
    return [result_items.get(element, old.get(element)) for element in _order(old, new)]


def _order(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Both, in the order of `new`; what only `old` has stays behind what it stood behind."""
    left, right = deque(old), deque(new)
    shared = deque(element for element in new if element in old)
    order: list[str] = []
    while left or right:
        if left and left[0] not in new:
            order.append(left.popleft())
        elif left and (not shared or left[0] != shared[0]):
            left.popleft()  # It has been taken, or comes later in `new`.
        else:
            order.append(right.popleft())
            if shared and order[-1] == shared[0]:
                shared.popleft()
    return order


def pruned(value: Any, shape: Shape, given_up: FieldSet, owned: FieldSet) -> Any:
    """`value` without the fields that were `given_up` and that are not `owned`; what nobody owns goes with its holder.

    An item of a list, or a key of a map, stays if it is itself owned. A field of a struct stays if anything in it is.
    """
    return _pruned(value, shape, (), prefixes(given_up), owned, prefixes(owned))


def _pruned(value: Any, shape: Shape, path: Path, given_up: FieldSet, owned: FieldSet, holding: FieldSet) -> Any:
    if is_granular_map(value, shape):
        kept = {}
        for name, item in value.items():
            inner = (*path, f"f:{name}")
            if inner not in given_up:
                kept[name] = item
            elif inner in (holding if shape.declares(name) else owned):
                kept[name] = _pruned(item, shape.of_field(name), inner, given_up, owned, holding)
        return kept
    items = items_by_element(value, shape)
    if items is None:
        return value
    left = []
    for element, item in items.items():
        inner = (*path, element)
        if inner not in given_up:
            left.append(item)
        elif inner in owned:
            left.append(_pruned(item, shape.of_items, inner, given_up, owned, holding))
    return left
