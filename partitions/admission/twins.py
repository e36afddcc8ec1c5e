"""New objects that are alike but for their names: the pods of one ReplicaSet, of one Job.

A controller creates them by the hundred. What is so of one of them whatever its name is so of all: that it keeps the
rules of its kind, its defaulted spec, its labels, the fields by which it is selected. So only the first is looked at;
the others are known by their bytes without the name.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...proto import ursa_pb2 as pb

# Templates in use at one time. What a likeness weighs is a pod without its name, and larger ones are not worth it.
TWINS_MAX = 512
LIKENESS_BYTES_MAX = 8192


class Twin:
    """`spec` is defaulted. `labels` and `fields` are there once the first of them has been written."""

    __slots__ = ("fields", "labels", "spec")

    def __init__(self, spec: bytes) -> None:
        self.spec = spec
        self.labels: Mapping[str, str] | None = None
        self.fields: tuple[str, ...] = ()


class Twins:
    """Of one kind, those seen lately."""

    def __init__(self) -> None:
        self._known: dict[bytes, Twin] = {}

    def clear(self) -> None:
        self._known.clear()

    def find(self, likeness: bytes) -> Twin | None:
        return self._known.get(likeness)

    def add(self, likeness: bytes, spec: bytes) -> Twin | None:
        """One that has been looked at, and breaks no rule."""
        if len(likeness) > LIKENESS_BYTES_MAX:
            return None
        if len(self._known) >= TWINS_MAX:
            del self._known[next(iter(self._known))]
        twin = self._known[likeness] = Twin(spec)
        return twin


def likeness_of(message: pb.Object) -> bytes:
    """All that was sent of an object but its name."""
    metadata = message.metadata
    name = metadata.name
    metadata.name = ""
    likeness = message.SerializeToString(deterministic=True)
    metadata.name = name
    return likeness
