"""An object as the apiserver keeps it: the bytes made at its write, and what selectors and rules ask of it.

The bytes are encoded once and then only passed on: to the store, into lists, into watch events. What the server must
know of an object without decoding it (labels, indexed fields, uid, deletion) stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ..proto import ursa_pb2 as pb
from ..proto.kinds import Kind
from ..proto.objects import decode_recent

# As long as a status that says little more than Pending.
SHARED_STATUS_BYTES = 64
NO_LABELS: Mapping[str, str] = {}


class Entry:
    """One object at one revision. Immutable."""

    __slots__ = ("data", "deleting", "fields", "key", "labels", "name", "namespace", "revision", "tenant", "uid")

    def __init__(
        self,
        key: str,
        message: pb.Object,
        data: bytes,
        revision: int,
        fields: tuple[str, ...],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """`labels`: those of the message, if they are known already."""
        metadata = message.metadata
        self.key = key
        self.data = data
        self.revision = revision
        self.tenant = metadata.tenant
        self.namespace = metadata.namespace
        self.name = metadata.name
        self.uid = metadata.uid
        self.labels = _labels_of(metadata) if labels is None else labels
        self.deleting = metadata.deletion_ms != 0
        self.fields = fields  # Values of the kind's field selectors, in the order of the table.

    def message(self) -> pb.Object:
        """A fresh copy that the caller may change."""
        return pb.Object.FromString(self.data)


def _labels_of(metadata: pb.ObjectMeta) -> Mapping[str, str]:
    labels = metadata.labels
    return {name: labels[name] for name in labels} if labels else NO_LABELS  # Twice as fast as dict().


class Change(NamedTuple):
    """One committed change. `old` and `new` are the object before and after; None: it did not exist.

    `final` is, for a deletion, the object's last state with the revision of its deletion.
    """

    revision: int
    kind: Kind
    old: Entry | None
    new: Entry | None
    final: Entry | None

    @property
    def size_bytes(self) -> int:
        kept = self.new or self.final
        assert kept is not None, "a change leaves an object, or the last state of one"
        return len(kept.data)


def text_of(value: Any) -> str:
    """A field's value as field selectors compare it; of a mapping or a list, whether there is anything in it."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return "true" if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class FieldReader:
    """Reads the fields of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._by_part = {
            part: tuple((index, path[1:]) for index, path in enumerate(kind.fields.values()) if path[0] == part)
            for part in ("spec", "status")
        }
        self._of_rest = tuple(
            (index, path) for index, path in enumerate(kind.fields.values()) if path[0] not in self._by_part
        )
        self._count = len(kind.fields)
        self._of_spec = lru_cache(maxsize=8192)(lambda data: self._read(self._by_part["spec"], data))
        self._of_status = lru_cache(maxsize=1024)(lambda data: self._read(self._by_part["status"], data))

    def fields(self, message: pb.Object) -> tuple[str, ...]:
        if not self._count:
            return ()
        values = [""] * self._count
        found: list[tuple[int, str]] = []
        # Specs are shared between objects, and so is the status of the new ones; other contents are nobody else's.
        if spec := message.spec:
            found += self._of_spec(spec)
        if status := message.status:
            read = self._of_status if len(status) <= SHARED_STATUS_BYTES else self._status
            found += read(status)
        if rest := message.rest:
            found += self._read(self._of_rest, rest)
        for index, value in found:
            values[index] = value
        return tuple(values)

    def _status(self, data: bytes) -> list[tuple[int, str]]:
        return self._read(self._by_part["status"], data)

    @staticmethod
    def _read(wanted: tuple[tuple[int, tuple[str, ...]], ...], data: bytes) -> list[tuple[int, str]]:
        if not wanted:
            return []
        contents = decode_recent(data)
        return [(index, text_of(_at(contents, path))) for index, path in wanted]


def _at(contents: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(contents, dict):
            return None
        contents = contents.get(step)
    return contents
