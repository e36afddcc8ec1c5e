"""The custom kinds of a partition, as its newest state defines them.

A definition is an object like any other. When it is staged its kind is there for the next operation, and for readers
when it is published, like everything else. Its names are accepted unless another definition of the group has them;
then it waits until that one is gone:

    create definition ──names free──> Established, served
                     └──names taken─> NamesAccepted=False ──the other one is gone──> Established, served
    delete definition ──> Terminating: nothing new of the kind ──its objects are deleted, in steps──> gone
"""

from __future__ import annotations

from typing import Any

from ..proto import ursa_pb2 as pb
from ..proto.custom_kinds import ESTABLISHED, NAMES_ACCEPTED, TERMINATING, is_established, kind_of_definition
from ..proto.errors import MethodNotSupported
from ..proto.kinds import Kind, KindTable, Role
from ..proto.objects import decode_shared, encode, format_time
from .admission import Strategy, strategies
from .admission.custom import CustomStrategy
from .entries import FieldReader

# Of the kinds that are served everywhere. What a reader keeps is what it has read in bytes: it may be anybody's.
_READERS = {kind.resource: FieldReader(kind) for kind in KindTable()}


class Definitions:
    """The kinds there are, with what is particular to each, by resource."""

    def __init__(self, role: Role, partition: str) -> None:
        self.kinds = KindTable()
        self.strategies: dict[str, Strategy] = strategies(role, partition)
        self.readers = dict(_READERS)
        # Resources whose definitions are being deleted, and definitions that wait for their names.
        self.terminating: dict[str, None] = {}
        self.waiting: dict[str, None] = {}
        self._roles = (role,)

    def observe(self, new: pb.Object | None, name: str) -> Kind | None:
        """A definition was written, or is gone: its kind, if it is served now. The name is the kind's resource."""
        served = new is not None and is_established(new)
        self.terminating.pop(name, None)
        self.waiting.pop(name, None)
        if new is not None and new.metadata.deletion_ms:
            self.terminating[name] = None
        elif new is not None and not served:
            self.waiting[name] = None
        if new is None or not served:
            self.kinds.discard(name)
            return None
        kind = kind_of_definition(new, self._roles)
        self.kinds.put(kind)
        self.strategies[name] = CustomStrategy(kind)
        self.readers[name] = FieldReader(kind)
        return kind

    def check_new(self, kind: Kind) -> None:
        """Raises MethodNotSupported: nothing more of this kind is created."""
        if kind.custom is not None and kind.resource in self.terminating:
            raise MethodNotSupported(f"{kind.resource} cannot be created: their definition is being deleted")

    def settle(self, message: pb.Object, now_ms: int) -> None:
        """Give a definition that is being written the status that it has by that."""
        kind = kind_of_definition(message, self._roles)
        taken = "" if is_established(message) and self._same_names(kind) else self._taken(kind)
        accepted = not taken
        conditions = [
            (NAMES_ACCEPTED, accepted, "NoConflicts" if accepted else "NamesConflict", taken or "no conflicts found"),
            (
                ESTABLISHED,
                accepted,
                "InitialNamesAccepted" if accepted else "NotAccepted",
                "the kind is served" if accepted else "not all names are accepted",
            ),
        ]
        if message.metadata.deletion_ms:
            conditions.append(
                (TERMINATING, True, "InstanceDeletionInProgress", f"all {kind.resource} are being deleted")
            )
        old = decode_shared(message.status)
        since = {each["type"]: each for each in old.get("conditions") or () if isinstance(each, dict)}
        names = decode_shared(message.spec)["names"]
        message.status = encode(
            {
                "conditions": [_condition(*each, since=since, now_ms=now_ms) for each in conditions],
                "acceptedNames": names if accepted else {"kind": "", "plural": ""},
                "storedVersions": [kind.version],
            }
        )

    def _same_names(self, kind: Kind) -> bool:
        served = self.kinds.get(kind.resource)
        return served is not None and _names(served) == _names(kind)

    def _taken(self, kind: Kind) -> str:
        """By whom a name of the kind is taken; empty: by nobody. Groups do not get in one another's way."""
        wanted = dict.fromkeys(_names(kind))
        for other in self.kinds:
            if other.group == kind.group and other.resource != kind.resource:
                for name in _names(other):
                    if name in wanted:
                        return f"{name!r} is a name of {other.resource} already"
        return ""


def _names(kind: Kind) -> tuple[str, ...]:
    return (kind.plural, kind.singular, kind.kind.lower(), *kind.short_names)


def _condition(
    kind: str, holds: bool, reason: str, message: str, *, since: dict[str, Any], now_ms: int
) -> dict[str, Any]:
    status = "True" if holds else "False"
    before = since.get(kind, {})
    unchanged = before.get("status") == status and before.get("lastTransitionTime")
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": before["lastTransitionTime"] if unchanged else format_time(now_ms),
    }
