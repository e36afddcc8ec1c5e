"""Kubernetes' strategic merge patch: a merge patch that knows which lists are merged, and by which key.

    object  {"containers": [{"name": "app", "image": "app:1"}, {"name": "log", "image": "log:1"}]}
    patch   {"containers": [{"name": "app", "image": "app:2"}]}
    result  {"containers": [{"name": "app", "image": "app:2"}, {"name": "log", "image": "log:1"}]}

Directives travel inside the patch:

    $patch: replace | delete | merge     of a map, of an item of a list, or of a whole list (as an item of its own)
    $retainKeys: [a, b]                  of a map: all other fields go
    $setElementOrder/<list>: [...]       the order that the items which are named get
    $deleteFromPrimitiveList/<list>: []  values that go from a list of strings or numbers
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ...proto.errors import BadRequest
from .shapes import Form, Shape
from .values import check_depth, token_of

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"


def strategic_merge(original: Any, patch: Any, shape: Shape) -> Any:
    """The patched object; what was given is not changed.

    Raises:
        BadRequest: a directive that makes no sense, or an item of a merged list without its merge key.
    """
    if not isinstance(patch, Mapping):
        raise BadRequest("a strategic merge patch is a map")
    result = _merged_map(original, patch, shape, "")
    check_depth(result)
    return result


def _merged_map(original: Any, patch: Mapping[str, Any], shape: Shape, path: str) -> dict[str, Any]:
    original = original if isinstance(original, Mapping) else {}
    directive = patch.get(_DIRECTIVE)
    if directive == "delete":
        return {}
    if directive == "replace":
        return _new_map({key: value for key, value in patch.items() if key != _DIRECTIVE}, shape, path)
    if directive not in (None, "merge"):
        raise BadRequest(f"{_DIRECTIVE} at {path or '/'} must be replace, delete or merge, not {directive!r}")
    result = dict(original)
    if _RETAIN_KEYS in patch:
        result = _retained(result, patch, path)
    for field, value in patch.items():
        if field.startswith("$"):
            continue
        where = f"{path}/{field}"
        if value is None:
            result.pop(field, None)
        elif isinstance(value, Mapping):
            result[field] = _merged_map(result.get(field), value, shape.of_field(field), where)
        elif isinstance(value, list):
            result[field] = _merged_list(result.get(field), value, shape.of_field(field), patch, field, where)
        else:
            result[field] = value
    _carry_out_on_lists(result, patch, shape, path)
    return result


def _new_map(patch: Mapping[str, Any], shape: Shape, path: str) -> dict[str, Any]:
    """A map that is not merged with anything: without nulls and directives."""
    return _merged_map({}, patch, shape, path)


def _retained(result: dict[str, Any], patch: Mapping[str, Any], path: str) -> dict[str, Any]:
    kept = patch[_RETAIN_KEYS]
    if not isinstance(kept, list):
        raise BadRequest(f"{_RETAIN_KEYS} at {path or '/'} must be a list")
    for field, value in patch.items():
        if not field.startswith("$") and value is not None and field not in kept:
            raise BadRequest(f"{_RETAIN_KEYS} at {path or '/'} does not have {field!r}, which the patch sets")
    return {field: value for field, value in result.items() if field in kept}


def _carry_out_on_lists(result: dict[str, Any], patch: Mapping[str, Any], shape: Shape, path: str) -> None:
    """The directives that name a list which the patch itself need not set."""
    for directive, values in patch.items():
        if not directive.startswith("$") or directive in (_DIRECTIVE, _RETAIN_KEYS):
            continue
        name, _, field = directive.partition("/")
        if name + "/" not in (_ORDER, _DELETE_PRIMITIVES) or not field:
            raise BadRequest(f"{directive!r} at {path or '/'} is no directive of a strategic merge patch")
        if not isinstance(values, list):
            raise BadRequest(f"{directive!r} at {path or '/'} must be a list")
        if field in patch:
            continue  # Carried out with it.
        present = result.get(field)
        if not isinstance(present, list):
            continue
        if name + "/" == _DELETE_PRIMITIVES:
            result[field] = _without(present, values)
        else:
            key = shape.of_field(field).merge_key
            result[field] = _ordered(present, present, values, key, f"{path}/{field}")


# ------------------------------------------------------------------------------------------------------------ lists


def _merged_list(
    original: Any, patch: list[Any], shape: Shape, holder: Mapping[str, Any], field: str, path: str
) -> list[Any]:
    original = original if isinstance(original, list) else []
    if shape.merge_key:
        merged = _merged_items(original, patch, shape, path)
    elif shape.form is Form.SET:
        merged = _merged_primitives(original, patch, holder.get(_DELETE_PRIMITIVES + field), path)
    else:
        return [_new_map(item, shape.of_items, path) if isinstance(item, Mapping) else item for item in patch]
    order = holder.get(_ORDER + field)
    if order is None:
        return merged
    if not isinstance(order, list):
        raise BadRequest(f"{_ORDER}{field} must be a list")
    _check_order(patch, order, shape.merge_key, path)
    return _ordered(merged, original, order, shape.merge_key, path)


def _merged_items(original: list[Any], patch: list[Any], shape: Shape, path: str) -> list[Any]:
    key = shape.merge_key
    kept, changes = original, []
    gone: dict[Any, None] = {}
    for item in patch:
        if not isinstance(item, Mapping):
            raise BadRequest(f"{path}: the items must be maps with {key!r}, not {item!r}")
        if item.get(_DIRECTIVE) == "replace" and len(item) == 1:
            kept = []
        elif item.get(key) is None:
            raise BadRequest(f"{path}: an item does not have {key!r}, by which the list is merged")
        elif item.get(_DIRECTIVE) == "delete":
            gone[token_of(item[key])] = None
        else:
            changes.append(item)
    result: dict[Any, Any] = {}
    for number, item in enumerate(kept):
        token = _item_token(item, key)
        if token not in gone:
            # A second item of the same key stays where it is.
            result[("at", number) if token in result else token] = item
    for item in changes:
        token = token_of(item[key])
        result[token] = _merged_map(result.get(token, {}), item, shape.of_items, f"{path}[{item[key]}]")
    return list(result.values())


def _merged_primitives(original: list[Any], patch: list[Any], deleted: Any, path: str) -> list[Any]:
    if deleted is not None and not isinstance(deleted, list):
        raise BadRequest(f"{_DELETE_PRIMITIVES} at {path} must be a list")
    result = {token_of(value): value for value in _without(original, deleted or [])}
    for value in patch:
        if isinstance(value, Mapping | list):
            raise BadRequest(f"{path}: the items must be strings or numbers, not {value!r}")
        result.setdefault(token_of(value), value)
    return list(result.values())


def _without(values: list[Any], deleted: list[Any]) -> list[Any]:
    gone = dict.fromkeys(map(token_of, deleted))
    return [value for value in values if token_of(value) not in gone]


# ------------------------------------------------------------------------------------------------------------ order


def _check_order(patch: list[Any], order: list[Any], key: str, path: str) -> None:
    ranks = _ranks(order, key)
    for item in patch:
        gone = isinstance(item, Mapping) and item.get(_DIRECTIVE) is not None
        if not gone and _item_token(item, key) not in ranks:
            raise BadRequest(f"{path}: {_ORDER} must name every item that the patch sets")


def _ordered(items: list[Any], before: list[Any], order: list[Any], key: str, path: str) -> list[Any]:
    """The items that `order` names in that order; the others where they stood among them before."""
    if key and not all(isinstance(one, Mapping) and key in one for one in order):
        raise BadRequest(f"{path}: the items of {_ORDER} must be maps with {key!r}")
    wanted, stood = _ranks(order, key), _ranks(before, key)
    tokens = [(_item_token(item, key), item) for item in items]
    named = deque(sorted((pair for pair in tokens if pair[0] in wanted), key=lambda pair: wanted[pair[0]]))
    others = deque(pair for pair in tokens if pair[0] not in wanted)
    result: list[Any] = []
    while named and others:
        one, other = stood.get(named[0][0]), stood.get(others[0][0])
        first = named if one is not None and other is not None and one < other else others
        result.append(first.popleft()[1])
    return result + [item for _, item in (*named, *others)]


def _ranks(items: list[Any], key: str) -> dict[Any, int]:
    """Where each item is, by its token."""
    return {_item_token(item, key): number for number, item in reversed(list(enumerate(items)))}


def _item_token(item: Any, key: str) -> Any:
    return token_of(item.get(key) if key and isinstance(item, Mapping) else item)
