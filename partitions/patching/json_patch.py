"""JSON patch, RFC 6902: a list of operations, carried out one after another, all or none.

    [{"op": "test", "path": "/spec/replicas", "value": 2}, {"op": "replace", "path": "/spec/replicas", "value": 3}]

A patch that makes no sense is a BadRequest. One that does not fit the object (a path that is not there, a test that
fails) is Invalid, with the operation as its cause, as Kubernetes has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...proto.errors import BadRequest, Cause, Invalid
from ...proto.objects import encode
from .values import check_depth, copied, same

# As Kubernetes: more than anyone writes, and some 20 ms of the loop.
OPERATIONS_MAX = 10_000
# A copy of a copy of a copy would otherwise fill the memory from a hundred bytes. No object may be larger than this.
COPIED_BYTES_MAX = 1_572_864
# Items that move up or down because others come before them or go: ten thousand insertions at the beginning of a list
# of a million take a millisecond each.
MOVED_ITEMS_MAX = 100_000_000

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
# What each operation needs besides its path.
_NEEDS = {"add": "value", "remove": "", "replace": "value", "move": "from", "copy": "from", "test": "value"}
_MISSING = object()


def json_patch(document: Any, operations: Any) -> Any:
    """The patched document; the one given may be changed on the way.

    Raises:
        BadRequest: this is no JSON patch, or too large a one. Invalid: it does not fit the document.
    """
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch is a list of operations")
    if len(operations) > OPERATIONS_MAX:
        raise BadRequest(f"a JSON patch has at most {OPERATIONS_MAX} operations, not {len(operations)}")
    patching = _Patching(document)
    for number, operation in enumerate(operations):
        patching.carry_out(number, operation)
    check_depth(patching.document)
    return patching.document


class _DoesNotFit(Exception):
    """Says why; `carry_out` adds which operation it was."""


class _Patching:
    def __init__(self, document: Any) -> None:
        self.document = document
        self._copied_bytes = 0
        self._moved_items = 0

    def carry_out(self, number: int, operation: Any) -> None:
        verb, path, argument = _parsed(number, operation)
        try:
            if verb == "add":
                self._add(path, argument)
            elif verb == "remove":
                self._remove(path)
            elif verb == "replace":
                self._replace(path, argument)
            elif verb == "move":
                self._move(argument, path)
            elif verb == "copy":
                self._add(path, self._copy(argument))
            elif not same(self._get(path), argument):
                raise _DoesNotFit("the value is another one")
        except _DoesNotFit as error:
            field = _text(path)
            message = f"operation {number}, {verb} {field!r}: {error}"
            raise Invalid(
                f"the patch does not fit the object: {message}", causes=[Cause(field or "/", message)]
            ) from None

    def _get(self, path: tuple[str, ...]) -> Any:
        value = self.document
        for step in path:
            value = _child(value, step)
        return value

    def _add(self, path: tuple[str, ...], value: Any) -> None:
        if not path:
            self.document = value
            return
        holder, last = self._get(path[:-1]), path[-1]
        if isinstance(holder, dict):
            holder[last] = value
        elif isinstance(holder, list):
            index = len(holder) if last == "-" else _index(last, len(holder) + 1)
            self._move_items(len(holder) - index)
            holder.insert(index, value)
        else:
            raise _DoesNotFit(f"{_text(path[:-1])!r} is neither a map nor a list")

    def _remove(self, path: tuple[str, ...]) -> Any:
        if not path:
            raise _DoesNotFit("the object itself cannot be removed")
        holder, last = self._get(path[:-1]), path[-1]
        value = _child(holder, last)
        if isinstance(holder, dict):
            del holder[last]
        else:
            self._move_items(len(holder) - int(last))
            del holder[int(last)]
        return value

    def _move_items(self, count: int) -> None:
        self._moved_items += count
        if self._moved_items > MOVED_ITEMS_MAX:
            raise _DoesNotFit("the patch inserts and removes too much within too long lists: replace the list")

    def _replace(self, path: tuple[str, ...], value: Any) -> None:
        if not path:
            self.document = value
            return
        holder, last = self._get(path[:-1]), path[-1]
        _child(holder, last)
        holder[last if isinstance(holder, dict) else int(last)] = value

    def _move(self, source: tuple[str, ...], path: tuple[str, ...]) -> None:
        if path[: len(source)] == source:
            self._get(source)
            if len(path) > len(source):
                raise _DoesNotFit(f"{_text(source)!r} cannot be moved into itself")
            return
        self._add(path, self._remove(source))

    def _copy(self, source: tuple[str, ...]) -> Any:
        value = self._get(source)
        self._copied_bytes += len(encode(value))
        if self._copied_bytes > COPIED_BYTES_MAX:
            raise _DoesNotFit(f"the patch copies more than {COPIED_BYTES_MAX} bytes")
        return copied(value)


def _parsed(number: int, operation: Any) -> tuple[str, tuple[str, ...], Any]:
    """The verb, the path, and the value or the path it comes from."""
    if not isinstance(operation, Mapping):
        raise BadRequest(f"operation {number} of the JSON patch is no map")
    verb = operation.get("op")
    if not isinstance(verb, str) or verb not in _NEEDS:
        raise BadRequest(f"operation {number}: op must be one of {', '.join(_NEEDS)}, not {verb!r}")
    need = _NEEDS[verb]
    argument = operation.get(need, _MISSING) if need else None
    if argument is _MISSING:
        raise BadRequest(f"operation {number}: {verb} needs {need!r}")
    path = _pointer(number, operation.get("path"))
    return verb, path, _pointer(number, argument) if need == "from" else argument


def _pointer(number: int, text: Any) -> tuple[str, ...]:
    """A JSON pointer, RFC 6901."""
    if not isinstance(text, str) or (text and text[0] != "/") or _BAD_ESCAPE.search(text):
        raise BadRequest(f"operation {number}: {text!r} is no JSON pointer: write /a/b, with ~1 for / and ~0 for ~")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def _text(path: tuple[str, ...]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def _child(holder: Any, step: str) -> Any:
    if isinstance(holder, dict):
        if step not in holder:
            raise _DoesNotFit(f"there is no {step!r}")
        return holder[step]
    if isinstance(holder, list):
        return holder[_index(step, len(holder))]
    raise _DoesNotFit(f"there is no {step!r} in what is neither a map nor a list")


def _index(step: str, count: int) -> int:
    if not _INDEX.fullmatch(step):
        raise _DoesNotFit(f"{step!r} is no index of a list")
    index = int(step)
    if index >= count:
        raise _DoesNotFit(f"the index {index} is beyond the end of the list")
    return index
