"""Wire fields made by hand from ready-made bytes.

A protobuf message is the concatenation of its fields, so a list or a watch reply can be joined from pieces that were
encoded once. The numbers here are those of `ursa.proto`; a test compares every piece with what protobuf makes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from ..proto import ursa_pb2 as pb

ADDED = pb.WatchEvent.ADDED
MODIFIED = pb.WatchEvent.MODIFIED
DELETED = pb.WatchEvent.DELETED

# `WatchEvent.type`: zeros are left out.
_TYPES = {ADDED: b"", MODIFIED: b"\x08\x01", DELETED: b"\x08\x02"}
_VARINT_MORE = 0x80
# The tags of an Object's first fields: api_version, kind, metadata. Fields are encoded in the order of their numbers.
_METADATA_AND_BEFORE = (0x0A, 0x12, 0x1A)


def varint(value: int) -> bytes:
    """A number, 7 bits a byte, the lowest first."""
    if value < _VARINT_MORE:
        return bytes((value,))
    out = bytearray()
    while value >= _VARINT_MORE:
        out.append(value & 0x7F | _VARINT_MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


# Lengths and the ids of watches come again and again; revisions do not.
_number = lru_cache(maxsize=16_384)(varint)


def metadata_only(data: bytes) -> bytes:
    """An encoded Object without spec, status and rest: the beginning of its bytes."""
    at, end = 0, len(data)
    while at < end and data[at] in _METADATA_AND_BEFORE:
        length = shift = 0
        while (byte := data[at := at + 1]) >= _VARINT_MORE:
            length |= (byte & 0x7F) << shift
            shift += 7
        at += 1 + (length | byte << shift)
    return data[:at]


@lru_cache(maxsize=16_384)
def _item_head(length: int) -> bytes:
    return b"\x0a" + varint(length)


def list_item(data: bytes) -> bytes:
    """`ListReply.items`, also `GetReply.object`: field 1, bytes of an Object."""
    return _item_head(len(data)) + data


# At how many objects to look to find the end of a chunk.
_LOOK_AHEAD = 512


def list_chunks(
    objects: Sequence[bytes], trailer: bytes, bytes_max: int, *, without_contents: bool = False
) -> Iterator[bytes]:
    """`ListReply.items` of all objects, joined in chunks that end with the object that fills `bytes_max`; the last one
    ends with `trailer`.

    Nothing is done in Python for each object: 0.2 us instead of 0.5. `without_contents`: their metadata only.
    """
    at = 0
    while True:
        part = objects[at : at + _LOOK_AHEAD]
        if without_contents:
            part = list(map(metadata_only, part))
        lengths = list(map(len, part))
        count = bisect_left(list(accumulate(lengths)), bytes_max) + 1
        part, lengths = part[:count], lengths[:count]
        at += len(part)
        last = at == len(objects)
        pieces = [b""] * (2 * len(part))
        pieces[::2] = map(_item_head, lengths)
        pieces[1::2] = part
        if last:
            pieces.append(trailer)
        yield b"".join(pieces)
        if last:
            return


def watch_event(kind: pb.WatchEvent.Type, data: bytes, revision: int) -> bytes:
    """`WatchBatch.events`: field 2 of a batch, holding type (1), object (2), resource_version (3)."""
    head = _TYPES[kind]
    size = _number(len(data))
    tail = b"\x18" + varint(revision)
    length = len(head) + 1 + len(size) + len(data) + len(tail)
    return b"".join((b"\x12", _number(length), head, b"\x12", size, data, tail))


def watch_batch(
    watch_id: int, events: Sequence[bytes], initial_events_end: bool = False, error: bytes = b""
) -> list[bytes]:
    """`WatchReply.batches`, in pieces: field 2 of a reply, holding id (1), events (2), initial_events_end (3), error
    (4). Each of `events` is the join of any number of events."""
    head = b"\x08" + _number(watch_id)
    tail = b"\x18\x01" if initial_events_end else b""
    if error:
        tail += b"\x22" + varint(len(error)) + error
    length = len(head) + sum(map(len, events)) + len(tail)
    return [b"\x12" + _number(length) + head, *events, tail]


def watch_reply(batches: Sequence[bytes], resource_version: int, incarnation: str = "", store: str = "") -> bytes:
    """A WatchReply: resource_version (1), batches (2, in pieces), incarnation (3), store (4)."""
    pieces = [b"\x08" + varint(resource_version), *batches] if resource_version else list(batches)
    for tag, text in ((b"\x1a", incarnation), (b"\x22", store)):
        if text:
            data = text.encode()
            pieces += (tag, varint(len(data)), data)
    return b"".join(pieces)
