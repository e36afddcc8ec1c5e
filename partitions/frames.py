"""Wire fields made by hand from ready-made bytes.

A protobuf message is the concatenation of its fields, so a list or a watch reply can be joined from pieces that were
encoded once. The numbers here are those of `ursa.proto`; a test compares every piece with what protobuf makes.
"""

from __future__ import annotations

from ..proto import ursa_pb2 as pb

ADDED = pb.WatchEvent.ADDED
MODIFIED = pb.WatchEvent.MODIFIED
DELETED = pb.WatchEvent.DELETED


def varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def list_item(data: bytes) -> bytes:
    """`ListReply.items`, also `GetReply.object`: field 1, bytes of an Object."""
    return b"\x0a" + varint(len(data)) + data


def list_trailer(resource_version: int, continue_token: str = "", remaining: int = 0) -> bytes:
    return pb.ListReply(
        resource_version=resource_version, continue_token=continue_token, remaining=remaining
    ).SerializeToString()


def watch_event(kind: pb.WatchEvent.Type, data: bytes, revision: int) -> bytes:
    """`WatchBatch.events`: field 2 of a batch, holding type (1), object (2), resource_version (3)."""
    head = b"\x08" + bytes((kind,)) if kind else b""
    body = b"\x12" + varint(len(data))
    tail = b"\x18" + varint(revision)
    length = len(head) + len(body) + len(data) + len(tail)
    return b"".join((b"\x12", varint(length), head, body, data, tail))


def watch_batch(watch_id: int, events: list[bytes], initial_events_end: bool = False, error: bytes = b"") -> bytes:
    """`WatchReply.batches`: field 2 of a reply, holding id (1), events (2), initial_events_end (3), error (4)."""
    pieces = [b"\x08" + varint(watch_id), *events]
    if initial_events_end:
        pieces.append(b"\x18\x01")
    if error:
        pieces.append(b"\x22" + varint(len(error)) + error)
    body = b"".join(pieces)
    return b"\x12" + varint(len(body)) + body


def watch_reply(batches: list[bytes], resource_version: int, incarnation: str = "", store: str = "") -> bytes:
    """A WatchReply: resource_version (1), batches (2), incarnation (3), store (4)."""
    pieces = [b"\x08" + varint(resource_version)] if resource_version else []
    pieces += batches
    for tag, text in ((b"\x1a", incarnation), (b"\x22", store)):
        if text:
            data = text.encode()
            pieces += (tag, varint(len(data)), data)
    return b"".join(pieces)
