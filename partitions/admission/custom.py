"""Objects of custom kinds: pruned, defaulted and checked by the schema of their definition, when they are written.

Kubernetes defaults also when it reads; here what is stored is what is read, so a default that is new reaches an object
with its next write.
"""

from __future__ import annotations

from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.kinds import Kind
from ...proto.objects import encode
from ..schemas import compile_schema
from .contents import decoded
from .strategy import Strategy
from .validation import Causes

# Checked for every object, and not the schema's to say.
_ENVELOPE = ("apiVersion", "kind", "metadata")


class CustomStrategy(Strategy):
    """Of one definition, as it is now."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        assert kind.custom is not None
        schema = dict(kind.custom.schema)
        schema["properties"] = {
            name: each for name, each in (schema.get("properties") or {}).items() if name not in _ENVELOPE
        }
        schema["required"] = [name for name in schema.get("required") or () if name not in _ENVELOPE]
        self._root = compile_schema(schema)

    def prepare_create(self, message: pb.Object) -> None:
        """Where the status is a subresource, it is not its creator's to say."""
        if self.kind.has_status:
            message.status = b""

    def admit(self, message: pb.Object, causes: Causes) -> None:
        contents: dict[str, Any] = {}
        known = len(causes.found)
        rest = decoded(message.rest, "rest", causes)
        for field in rest:
            if not isinstance(field, str) or field in (*_ENVELOPE, "spec", "status"):
                causes.add(str(field), "is not one of the other fields of an object")
        if message.spec:
            contents["spec"] = decoded(message.spec, "spec", causes)
        if message.status:
            contents["status"] = decoded(message.status, "status", causes)
        if len(causes.found) > known:
            return
        contents.update(rest)
        broken = self._root.check(contents)
        causes.found.extend(broken)
        if not broken:
            _put(message, contents)

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        """With a new status."""
        self.admit(message, causes)


def _put(message: pb.Object, contents: dict[str, Any]) -> None:
    for part in ("spec", "status"):
        value = contents.pop(part, None)
        setattr(message, part, b"" if value is None else encode(value))
    message.rest = encode(contents) if contents else b""
