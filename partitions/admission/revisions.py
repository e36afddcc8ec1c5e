"""ControllerRevisions: what a StatefulSet or a DaemonSet once was, kept so that it can be so again."""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.objects import decode_shared
from .strategy import Strategy
from .validation import Causes, check_count, mapping


class RevisionStrategy(Strategy):
    """Its number rises when it is taken up again; what it holds never changes."""

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        rest = decode_shared(message.rest) if message.rest else {}
        if rest.get("revision") is None:
            causes.require("revision")
        check_count(rest.get("revision"), "revision", causes)
        if rest.get("data") is None:
            causes.require("data")
        mapping(rest.get("data"), "data", causes)

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        if decode_shared(new.rest).get("data") != decode_shared(old.rest).get("data"):
            causes.add("data", "is immutable; create another revision")
