"""The published objects of one kind, and how lists find theirs: by key, by index, or in the range of a namespace."""

from __future__ import annotations

from ...proto.kinds import Kind
from ..entries import Change, Entry
from ..selections import CompiledSelection
from .key_order import KeyOrder


class Collection:
    """The objects of one kind, by storage key, with the kind's indexes."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.entries: dict[str, Entry] = {}
        self._order = KeyOrder(self.entries)
        # By the place of the indexed field among an entry's fields.
        self._indexes: dict[int, dict[str, dict[str, Entry]]] = {place: {} for place in kind.indexed_places}

    def apply(self, change: Change) -> None:
        new, old = change.new, change.old
        if new is None:
            assert old is not None
            del self.entries[old.key]
            self._order.changed(old.key)
        else:
            self.entries[new.key] = new
            if old is None:
                self._order.changed(new.key)
        for place, index in self._indexes.items():
            _reindex(index, place, old, new)

    def load(self, entry: Entry) -> None:
        """Take in an object at the opening of the store."""
        self.entries[entry.key] = entry
        self._order.changed(entry.key)
        for place, index in self._indexes.items():
            _reindex(index, place, None, entry)

    def select(self, selection: CompiledSelection, start: str = "") -> list[Entry]:
        """The selected objects from the key `start` on, in key order."""
        matches = selection.matches
        candidates = self.candidates(selection, start)
        return candidates if selection.everything else [entry for entry in candidates if matches(entry)]

    def candidates(self, selection: CompiledSelection, start: str = "") -> list[Entry]:
        """The objects among which the selected ones are: those that an index has, or the range of a namespace."""
        if selection.indexed:
            entries = self._indexes[selection.place].get(selection.value, {})
            return [entries[key] for key in sorted(entries) if key >= start]
        return list(map(self.entries.__getitem__, self._candidate_keys(selection, start)))

    def count(self, selection: CompiledSelection, start: str = "") -> int:
        """How many candidates there are."""
        if selection.indexed:
            return len(self._indexes[selection.place].get(selection.value, ()))
        return len(self._candidate_keys(selection, start))

    def between(self, first: str, end: str) -> list[Entry]:
        """The objects from the key `first` on that are below `end`, in key order."""
        entries = self.entries
        return [entries[key] for key in self._order.between(first, end)]

    def _candidate_keys(self, selection: CompiledSelection, start: str) -> list[str]:
        """The keys that the parts of the selection which stand in a key allow."""
        prefix = f"/registry/{self.kind.resource}/"
        if selection.tenant:
            prefix += f"{selection.tenant}/"
            if selection.namespace:
                prefix += f"{selection.namespace}/"
                if selection.name:
                    key = prefix + selection.name
                    return [key] if key in self.entries and key >= start else []
        # "0" is the character behind "/": the first that no key with the prefix begins with.
        return self._order.between(max(prefix, start), prefix[:-1] + "0")


def _reindex(index: dict[str, dict[str, Entry]], place: int, old: Entry | None, new: Entry | None) -> None:
    if old is not None:
        value = old.fields[place]
        if new is None or new.fields[place] != value:
            bucket = index[value]
            del bucket[old.key]
            if not bucket:
                del index[value]
    if new is not None:
        index.setdefault(new.fields[place], {})[new.key] = new
