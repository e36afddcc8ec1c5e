"""A change of a log, as the judges have it."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ..recording.records import Logged

OBJECTS_PREFIX = "/registry/"


class Change(NamedTuple):
    """A record of a log. `data` is the object, of a deletion its last state."""

    revision: int
    key: str
    deleted: bool
    create_revision: int
    previous_revision: int
    crc: int
    uid: str
    request_id: bytes
    going: bool  # The object is deleted, or is to be.
    data: bytes
    time: float

    @property
    def message(self) -> pb.Object:
        """Read anew each time: a long history would not fit otherwise."""
        return pb.Object.FromString(self.data)


def change_of(logged: Logged) -> Change:
    data = logged.data
    uid, request_id, going = "", b"", logged.deleted
    if logged.key.startswith(OBJECTS_PREFIX):
        metadata = pb.Object.FromString(data).metadata
        uid, request_id, going = metadata.uid, metadata.request_id, going or bool(metadata.deletion_ms)
    return Change(
        logged.revision,
        logged.key,
        logged.deleted,
        logged.create_revision,
        logged.previous_revision,
        zlib.crc32(data),
        uid,
        request_id,
        going,
        data,
        logged.time,
    )


def resource_of(key: str) -> str:
    """`/registry/pods/t/n/name` -> `pods`."""
    return key.split("/", 3)[2]
