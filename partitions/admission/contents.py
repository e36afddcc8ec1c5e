"""Whether the parts of an object are what the wire says they are: msgpack maps, nested within bounds.

They are looked at before an object is staged: what is stored is read again by selectors, patches and every client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest
from ...proto.objects import decode, decode_recent
from ..patching.values import DEPTH_MAX, check_depth
from .validation import Causes

# A `rest` may not pretend to be one of these.
_NOT_REST = ("apiVersion", "kind", "metadata", "spec", "status")
# Bytes that may start a map or a list: fewer of them than DEPTH_MAX cannot nest deeper. Bytes that may start a value of
# an extension type: without them there is none. So nearly everything is known to be sound without a walk through it.
_OPENING = bytes((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))
_EXTENSION = bytes((0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)))


def decoded(data: bytes, field: str, causes: Causes, *, shared: bool = False) -> Any:
    """The map in `data`; an empty one, and a cause, where there is none. `shared`: never change it."""
    size = len(data)
    try:
        if size - len(data.translate(None, _OPENING)) >= DEPTH_MAX or size != len(data.translate(None, _EXTENSION)):
            value = msgpack.unpackb(data, ext_hook=_no_extension)
            check_depth(value)
        else:
            value = decode_recent(data) if shared else decode(data)
    except (ValueError, msgpack.UnpackException, BadRequest) as error:
        causes.add(field, f"is no msgpack map: {error or type(error).__name__}")
        return {}
    if not isinstance(value, Mapping):
        causes.add(field, f"must be a map, not {type(value).__name__}")
        return {}
    return value


def check_contents(message: pb.Object, causes: Causes) -> None:
    """All but the spec, which the kind's strategy checks."""
    if message.status:
        decoded(message.status, "status", causes, shared=True)
    if message.rest:
        for field in decoded(message.rest, "rest", causes, shared=True):
            if not isinstance(field, str) or field in _NOT_REST:
                causes.add(str(field), "is not one of the other fields of an object")


def check_decodes(message: pb.Object, name: str) -> None:
    """For what is to be read as a whole. Raises Invalid: a part of it is no map."""
    causes = Causes()
    decoded(message.spec, "spec", causes)
    check_contents(message, causes)
    causes.raise_if_any(message.kind, name)


def _no_extension(code: int, _: bytes) -> Any:
    raise ValueError(f"it has a value of the extension type {code}")
