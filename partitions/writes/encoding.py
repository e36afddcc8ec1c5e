"""The bytes of an object that is written."""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.errors import Invalid
from ..admission.validation import OBJECT_BYTES_MAX
from ..requests.request import Stopwatch
from .plans import Write


class Encoder:
    """The one encoding of an object: stamped with the revision of this very write."""

    __slots__ = ("_metadata", "_stopwatch", "_write")

    def __init__(self, write: Write, metadata: pb.ObjectMeta, stopwatch: Stopwatch) -> None:
        self._write = write
        self._metadata = metadata  # The write's.
        self._stopwatch = stopwatch

    def __call__(self, revision: int) -> bytes:
        write, metadata, stopwatch = self._write, self._metadata, self._stopwatch
        began = stopwatch.clock()
        metadata.resource_version = revision
        data = write.message.SerializeToString(deterministic=True)
        stopwatch.seconds += stopwatch.clock() - began
        # What leads to a deletion makes an object larger, and must not fail for its size. The store has room for it.
        if len(data) > OBJECT_BYTES_MAX and not (write.deleted or metadata.deletion_ms):
            raise Invalid(f"the object has {len(data)} bytes, at most {OBJECT_BYTES_MAX} are allowed")
        return data
