"""What a selection should have seen of a history: its events in order, and what it selects at every revision.

Entering a selection is ADDED, leaving it DELETED, with the object's last state in it. An object that a watch is told of
as DELETED because it was deleted comes as it was last, with the revision of its deletion.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import BadRequest
from ...proto.kinds import BY_RESOURCE
from ...proto.objects import decode_shared
from ...proto.selectors import Selector, parse_field_selector, parse_label_selector, selects
from ..recording.records import ADDED, DELETED, MODIFIED, Event, Selection
from .changes import Change
from .recorded import History

# key -> (the object's revision, its checksum)
State = Mapping[str, tuple[int, int]]


class Followed:
    """The events of one selection. `after` and `to`: between these revisions it has them all."""

    def __init__(self, selection: Selection, after: int, to: int) -> None:
        self.selection = selection
        self.after, self.to = after, to
        self.revisions: list[int] = []
        self.events: list[Event] = []
        self._queries: list[tuple[int, Callable[[State], None]]] = []

    def behind(self, revision: int) -> int:
        """The place of the first event behind a revision."""
        return bisect_right(self.revisions, revision)

    def ask(self, revision: int, answer: Callable[[State], None]) -> None:
        """Have `answer` called with what it selects at this revision, which must be known. It must not keep it."""
        self._queries.append((revision, answer))

    def answer(self) -> None:
        """All that was asked, in one walk through the events."""
        state: dict[str, tuple[int, int]] = {}
        at = 0
        for revision, answer in sorted(self._queries, key=lambda query: query[0]):
            end = self.behind(revision)
            for kind, key, object_revision, _, crc in self.events[at:end]:
                if kind == DELETED:
                    state.pop(key, None)
                else:
                    state[key] = object_revision, crc
            at = end
            answer(state)
        self._queries.clear()

    def add(self, event: Event) -> None:
        self.revisions.append(event[3])
        self.events.append(event)


class _Compiled:
    """A selection that can be asked whether an object is in it."""

    def __init__(self, followed: Followed) -> None:
        selection = followed.selection
        self.followed = followed
        self._tenant, self._namespace = selection.tenant, selection.namespace
        self._labels: Selector = parse_label_selector(selection.label_selector)
        self._fields: Selector = parse_field_selector(selection.field_selector)
        self.looks_inside = bool(self._labels or self._fields)
        # Of one that wants a field to be just this, only objects that have it need be looked at.
        self.wants = next(
            ((each.key, each.values[0]) for each in self._fields if each.operator == "In" and "." in each.key), None
        )

    def selects(self, facts: _Facts) -> bool:
        if self._tenant not in ("", facts.tenant) or self._namespace not in ("", facts.namespace):
            return False
        return not self.looks_inside or (selects(self._fields, facts.field) and selects(self._labels, facts.labels.get))


class _Facts:
    """What selections ask of an object."""

    __slots__ = ("_fields", "_paths", "data", "labels", "name", "namespace", "tenant")

    def __init__(self, change: Change, paths: Mapping[str, tuple[str, ...]], *, inside: bool) -> None:
        _, _, _, self.tenant, self.namespace, self.name = change.key.split("/", 5)
        self.labels: Mapping[str, str] = {}
        self.data: pb.Object | None = None
        self._fields: dict[str, str] = {}
        self._paths = paths
        if inside:
            self.data = change.message
            self.labels = dict(self.data.metadata.labels)

    def field(self, name: str) -> str:
        if name == "metadata.name":
            return self.name
        if name == "metadata.namespace":
            return self.namespace
        value = self._fields.get(name)
        if value is None:
            value = self._fields[name] = self._read(self._paths.get(name, ()))
        return value

    def _read(self, path: tuple[str, ...]) -> str:
        message = self.data
        if message is None or not path:
            return ""
        part, steps = path[0], path[1:]
        if part not in ("spec", "status"):
            part, steps = "rest", path
        value: Any = decode_shared(getattr(message, part))
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)


class _Walk(NamedTuple):
    """The selections of one kind: those that look at all objects, and those that look for one value of a field."""

    plain: list[_Compiled]
    by_value: dict[tuple[str, str], list[_Compiled]]
    fields: list[str]

    def selecting(self, facts: _Facts) -> list[_Compiled]:
        found = [each for each in self.plain if each.selects(facts)]
        for name in self.fields:
            found += [each for each in self.by_value.get((name, facts.field(name)), ()) if each.selects(facts)]
        return found


def follow(history: History, selections: Iterable[Selection]) -> dict[Selection, Followed]:
    """The events of each selection; but not of those of which nothing is known, or whose fields are not."""
    by_resource: dict[str, dict[Selection, Followed]] = {}
    for selection in selections:
        after, to = history.known(selection.resource)
        if after <= to:
            found = by_resource.setdefault(selection.resource, {})
            if selection not in found:
                found[selection] = Followed(selection, after, to)
    return {
        selection: followed
        for resource, wanted in by_resource.items()
        for selection, followed in _followed(resource, history, wanted).items()
    }


def _followed(resource: str, history: History, wanted: dict[Selection, Followed]) -> dict[Selection, Followed]:
    kind = BY_RESOURCE.get(resource)
    paths = kind.fields if kind is not None else {}
    walk = _Walk([], {}, [])
    understood = {}
    for selection, followed in wanted.items():
        try:
            compiled = _Compiled(followed)
        except BadRequest:
            continue  # The partition has refused it.
        if compiled.wants is None:
            walk.plain.append(compiled)
        elif compiled.wants[0] in paths:
            walk.by_value.setdefault(compiled.wants, []).append(compiled)
        else:
            continue
        understood[selection] = followed
    walk.fields.extend(dict.fromkeys(name for name, _ in walk.by_value))
    _walk(history.by_resource.get(resource, ()), walk, paths)
    return understood


def _walk(changes: Sequence[Change], walk: _Walk, paths: Mapping[str, tuple[str, ...]]) -> None:
    inside = bool(walk.by_value) or any(compiled.looks_inside for compiled in walk.plain)
    # Of what lives: its newest revision, its checksum, and what selects it.
    newest: dict[str, tuple[int, int, list[_Compiled]]] = {}
    nothing: tuple[int, int, list[_Compiled]] = 0, 0, []
    for change in changes:
        key, revision, crc = change.key, change.revision, change.crc
        old_revision, old_crc, selecting_before = newest.pop(key, nothing)
        selecting = []
        if change.deleted:
            old_revision, old_crc = revision, crc  # It comes as it was last.
        else:
            selecting = walk.selecting(_Facts(change, paths, inside=inside))
            newest[key] = revision, crc, selecting
        for compiled in selecting:
            kind = MODIFIED if compiled in selecting_before else ADDED
            compiled.followed.add((kind, key, revision, revision, crc))
        for compiled in selecting_before:
            if compiled not in selecting:
                compiled.followed.add((DELETED, key, old_revision, revision, old_crc))
