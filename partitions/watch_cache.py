"""The published state of a store: its objects, and the recent changes of them.

Reads are served from here. What is here is committed: a change enters in `publish`, in revision order, at the moment it
is acknowledged. Recent changes are kept in a window bounded in number and in bytes, so that a watch that lost its link
goes on where it stopped; one that comes from before the window must list again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from ..proto.kinds import Kind
from .entries import Entry
from .selections import CompiledSelection

# A lost link is usually back within seconds; 50,000 changes are ten seconds of a partition at its ceiling.
WINDOW_CHANGES_MAX = 50_000
WINDOW_BYTES_MAX = 128 * 1024 * 1024


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


class Collection:
    """The objects of one kind, by storage key, with the kind's indexes."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.entries: dict[str, Entry] = {}
        self._order: list[str] | None = []
        self._positions = {name: list(kind.fields).index(name) for name in kind.indexes}
        self._indexes: dict[str, dict[str, dict[str, Entry]]] = {name: {} for name in kind.indexes}

    def apply(self, change: Change) -> None:
        new, old = change.new, change.old
        if new is None:
            assert old is not None
            del self.entries[old.key]
            self._order = None
        else:
            if old is None:
                self._order = None
            self.entries[new.key] = new
        for name, position in self._positions.items():
            self._reindex(self._indexes[name], position, old, new)

    def load(self, entry: Entry) -> None:
        """Take in an object at the opening of the store."""
        self.entries[entry.key] = entry
        self._order = None
        for name, position in self._positions.items():
            self._reindex(self._indexes[name], position, None, entry)

    def select(self, selection: CompiledSelection) -> list[Entry]:
        """The selected objects, in key order."""
        matches = selection.matches
        if selection.indexed_by is None:
            if self._order is None:
                self._order = sorted(self.entries)
            entries = self.entries
            if matches.everything:
                return [entries[key] for key in self._order]
            return [entry for entry in map(entries.__getitem__, self._order) if matches(entry)]
        name, value = selection.indexed_by
        candidates = self._indexes[name].get(value, {})
        return sorted((entry for entry in candidates.values() if matches(entry)), key=lambda entry: entry.key)

    @staticmethod
    def _reindex(index: dict[str, dict[str, Entry]], position: int, old: Entry | None, new: Entry | None) -> None:
        if old is not None:
            value = old.fields[position]
            if new is None or new.fields[position] != value:
                bucket = index[value]
                del bucket[old.key]
                if not bucket:
                    del index[value]
        if new is not None:
            index.setdefault(new.fields[position], {})[new.key] = new


class WatchCache:
    """The collections of the kinds that one store keeps, and the window of its recent changes."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.collections = {kind.resource: Collection(kind) for kind in kinds}
        self.head = 0  # Everything up to this revision is published.
        self._window: deque[Change] = deque()
        self._window_bytes = 0
        self._floor = 0  # Changes behind this revision are in the window.

    def load(self, entries: Iterable[tuple[Kind, Entry]], head: int) -> None:
        """Fill an empty cache with what the store holds at `head`."""
        for kind, entry in entries:
            self.collections[kind.resource].load(entry)
        self.head = self._floor = head

    def load_window(self, changes: Iterable[Change], floor: int) -> None:
        """Give an opened cache the changes behind `floor`, so that clients of the last process can go on."""
        for change in changes:
            self._remember(change)
        self._floor = floor
        self._trim()

    def publish(self, change: Change) -> None:
        assert change.revision == self.head + 1, "revisions are published in order, without gaps"
        self.head = change.revision
        self.collections[change.kind.resource].apply(change)
        self._remember(change)
        self._trim()

    def pass_over(self, revision: int) -> None:
        """A revision at which no object changed."""
        assert revision == self.head + 1, "revisions are published in order, without gaps"
        self.head = revision

    def changes_behind(self, revision: int, kind: Kind) -> Iterator[Change] | None:
        """The changes of a kind behind a revision, in order; None if the window no longer reaches back so far."""
        if revision < self._floor:
            return None
        # At most one change a revision: what is further back than that is older.
        skipped = max(0, len(self._window) - (self.head - revision))
        newest = islice(self._window, skipped, None)
        return (change for change in newest if change.revision > revision and change.kind is kind)

    @property
    def floor(self) -> int:
        return self._floor

    def _remember(self, change: Change) -> None:
        self._window.append(change)
        self._window_bytes += change.size_bytes

    def _trim(self) -> None:
        while len(self._window) > WINDOW_CHANGES_MAX or self._window_bytes > WINDOW_BYTES_MAX:
            oldest = self._window.popleft()
            self._window_bytes -= oldest.size_bytes
            self._floor = oldest.revision
