"""What is particular to a kind when an object of it is written."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import Cause
from ...proto.kinds import Kind
from ...proto.objects import encode
from ...proto.propagation import BACKGROUND
from .contents import check_contents, decoded
from .twins import Twins
from .validation import Causes


class Strategy:
    """The default: any spec that is a map. Kinds override what they need.

    Specs are defaulted and checked once for each different spec, not for each object: the pods of a ReplicaSet share
    theirs, byte for byte.
    """

    # Of kinds that are created by the hundred, and none of whose rules asks for the name.
    twins: Twins | None = None
    # What becomes of the dependents where a delete does not say. Empty: it has none, and no policy is heeded.
    default_propagation = BACKGROUND
    # It ends by its grace: what is being deleted is left alone by later deletes that do not shorten it.
    graceful = False

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

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

    def check_delete(self, message: pb.Object) -> None:
        """Raises ApiError: it cannot be deleted, or not now."""

    def initial_status(self, message: pb.Object) -> bytes:
        """The status of a new object; what its creator sent as status is not taken."""
        return b""

    def prepare_create(self, message: pb.Object) -> None:
        """Last changes to a new object before it is checked."""

    def know_uid(self, message: pb.Object) -> None:
        """A new object has been checked, and now it has its uid."""

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
        if len(causes.found) == known and not any(cause.field == "spec" for cause in found):
            self.check_object(message, causes)  # Which may read the spec, where there is one.

    @cached_property
    def _admitted(self) -> Callable[[bytes], tuple[bytes, tuple[Cause, ...]]]:
        """Made when the first object comes: most apiservers never see most kinds."""
        return lru_cache(maxsize=2048)(self._admit_spec)

    def _admit_spec(self, data: bytes) -> tuple[bytes, tuple[Cause, ...]]:
        causes = Causes()
        spec = decoded(data, "spec", causes)
        if not causes.found:
            self.check_spec(spec, causes)
        if not causes.found:
            self.default_spec(spec)
            data = encode(spec) if spec else b""
        return data, tuple(causes.found)
