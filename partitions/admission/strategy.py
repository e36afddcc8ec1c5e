"""What is particular to a kind when an object of it is written."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import Cause
from ...proto.kinds import Kind
from ...proto.objects import encode
from .contents import check_contents, decoded
from .validation import Causes


class Strategy:
    """The default: any spec that is a map. Kinds override what they need.

    Specs are defaulted and checked once for each different spec, not for each object: the pods of a ReplicaSet share
    theirs, byte for byte.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._admitted = lru_cache(maxsize=2048)(self._admit_spec)

    # ------------------------------------------------------------------------------------------ for kinds to say

    def default_spec(self, spec: dict[str, Any]) -> None:
        """Fill in what was left out, in place."""

    def check_spec(self, spec: Any, causes: Causes) -> None:
        """Name every broken rule."""

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        """Rules about more than the spec."""

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        """Rules about new objects only."""

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        """Rules about what may change."""

    def initial_status(self, message: pb.Object) -> bytes:
        """The status of a new object; what its creator sent as status is not taken."""
        return b""

    def prepare_create(self, message: pb.Object) -> None:
        """Last changes to a new object before it is checked."""

    def deletion_grace_seconds(self, message: pb.Object, asked: int | None) -> int:
        """How long a delete waits for someone to confirm it. 0: it does not."""
        return 0

    # --------------------------------------------------------------------------------------------- for the writer

    def admit(self, message: pb.Object, causes: Causes) -> None:
        """Default and check an object that is created, or whose contents change."""
        if message.spec:
            message.spec, found = self._admitted(message.spec)
        else:
            message.spec, found = self._admitted(encode({}))
        causes.found.extend(found)
        known = len(causes.found)
        check_contents(message, causes)
        if len(causes.found) == known:
            self.check_object(message, causes)

    def _admit_spec(self, data: bytes) -> tuple[bytes, tuple[Cause, ...]]:
        causes = Causes()
        spec = decoded(data, "spec", causes)
        if not causes.found:
            self.check_spec(spec, causes)
        if not causes.found:
            self.default_spec(spec)
            data = encode(spec) if spec else b""
        return data, tuple(causes.found)
