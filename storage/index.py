"""The key index: for each key the revisions that changed it, all in memory, shared by every backend.

The log on disk is ordered by revision and knows nothing of keys. This index answers what the log can't: which change of
a key is its newest, which one held at an old revision, which keys lie under a prefix, which changes no one can ask for
any more. It knows staged changes as well as committed ones; a reader bounds its question by the committed head.

A change is kept as one number, `revision * 2 + deleted`, so that changes sort by revision. A key that was created and
never touched again, the most common kind, is that number alone; any other is an array: the revision at which its
newest life began, then its changes in order.

    put a (1), put b (2), put a (3), delete a (4), put a (5)
        a -> [5, 2, 6, 9, 10]       its life began at 5; changed at 1 and 3, deleted at 4, created again at 5
        b -> 4                      created at 2
    a at revision 3 -> 3,  at 4 -> nothing (deleted),  at 5 -> 5
    compact at 4: nobody can ask below 4 any more, and at 4 there is no a. Changes 1, 3 and the deletion 4 are garbage:
        a -> 10

Memory: 70 bytes for a key changed once, 135 to 175 for one changed a few times, beside the key's own text (about 110).

Keys are sorted lazily. Most partitions write far more often than they list from the store, so a new key is only noted,
and merged into the sorted list when the next range is asked for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

# Up to this many new keys are inserted one by one (a memory move each); more are sorted in together (a pass over all).
INSERT_KEYS_MAX = 32


class KeyIndex:
    """Which revisions changed which key. A call costs a dictionary look-up, and a bisection for an old revision."""

    __slots__ = ("_entries", "_sorted", "_sorted_has_dropped", "_unsorted")

    def __init__(self) -> None:
        self._entries: dict[str, int | array[int]] = {}
        self._sorted: list[str] = []
        self._unsorted: list[str] = []
        # Some keys of `_sorted` may be gone, or be in `_unsorted` too because they came back.
        self._sorted_has_dropped = False

    def keys(self) -> list[str]:
        """Every key that has a change, living or not, in no particular order."""
        return list(self._entries)

    def entries(self, keys: Sequence[str]) -> list[tuple[str, int | array[int]]]:
        """The entries of these keys as they are kept: to be read at once, and not to be changed."""
        entries = self._entries
        return [(key, entries[key]) for key in keys]

    def load(self, keys: list[str], entries: Sequence[int | array[int]]) -> None:
        """Fill an empty index with what `entries` gave."""
        assert not self._entries
        self._entries = dict(zip(keys, entries, strict=True))
        self._unsorted = keys

    def last(self, key: str) -> int:
        """The revision of the key's last change, be it a deletion; 0 if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return 0
        return (entry if isinstance(entry, int) else entry[-1]) >> 1

    def append(self, key: str, revision: int, deleted: bool, create_revision: int) -> None:
        """Note a change, newer than all before it."""
        change = revision * 2 + deleted
        entry = self._entries.get(key)
        if entry is None:
            only_created = create_revision == revision and not deleted
            self._entries[key] = change if only_created else array("q", (create_revision, change))
            self._unsorted.append(key)
        elif isinstance(entry, int):
            self._entries[key] = array("q", (create_revision, entry, change))
        else:
            entry[0] = create_revision
            entry.append(change)

    def change(self, key: str, revision: int, deleted: bool, expected: int | None) -> tuple[int, int] | None:
        """`newest`, a precondition, and `append`, with one look-up.

        `expected`: the revision of the newest change, 0 if the key must not exist, None if that does not matter.
        Returns the revision of the change before and the one at which the key's life began; None, and nothing was
        noted, if the precondition does not hold, or for a deletion of what does not exist.
        """
        entry = self._entries.get(key)
        if entry is None:
            if deleted or expected:
                return None
            self._entries[key] = revision * 2
            self._unsorted.append(key)
            return 0, revision
        if isinstance(entry, int):
            previous = entry >> 1
            if expected is not None and expected != previous:
                return None
            self._entries[key] = array("q", (previous, entry, revision * 2 + deleted))
            return previous, previous
        last = entry[-1]
        if last & 1:
            if deleted or expected:
                return None
            entry[0] = revision
            entry.append(revision * 2)
            return 0, revision
        previous = last >> 1
        if expected is not None and expected != previous:
            return None
        entry.append(revision * 2 + deleted)
        return previous, entry[0]

    def newest(self, key: str) -> tuple[int, int]:
        """The revision of the key's newest change, and the one at which its life began; 0, 0 if it does not exist."""
        entry = self._entries.get(key)
        if entry is None:
            return 0, 0
        if isinstance(entry, int):
            return entry >> 1, entry >> 1
        change = entry[-1]
        return (0, 0) if change & 1 else (change >> 1, entry[0])

    def at(self, key: str, revision: int) -> int:
        """The revision of the change that holds for the key at a revision; 0 if it does not exist there."""
        entry = self._entries.get(key)
        if entry is None:
            return 0
        bound = revision * 2 + 1
        if isinstance(entry, int):
            return entry >> 1 if entry <= bound else 0
        change = entry[-1]
        if change > bound:
            position = bisect_right(entry, bound, 1) - 1
            if position == 0:
                return 0
            change = entry[position]
        return 0 if change & 1 else change >> 1

    def scan(self, prefix: str, revision: int, start: str, limit: int) -> list[tuple[str, int]]:
        """Up to `limit` keys under a prefix, from `start` on, in order, each with its change at a revision."""
        self._sort()
        keys = self._sorted
        found: list[tuple[str, int]] = []
        for position in range(bisect_left(keys, max(prefix, start)), len(keys)):
            key = keys[position]
            if not key.startswith(prefix):
                break
            holds = self.at(key, revision)
            if holds:
                found.append((key, holds))
                if len(found) == limit:
                    break
        return found

    def drop_garbage(self, keys: Sequence[str], floor: int) -> list[int]:
        """Forget what only revisions below the floor need of these keys, and tell the revisions so forgotten."""
        garbage: list[int] = []
        for key in keys:
            entry = self._entries.get(key)
            if not isinstance(entry, array):
                continue  # Created at some revision and living ever since: never garbage.
            # The changes up to the floor are [1:end]. The last of them holds at the floor, unless it is a deletion.
            end = bisect_right(entry, floor * 2 + 1, 1)
            kept_from = end - 1 if end > 1 and not entry[end - 1] & 1 else end
            if kept_from > 1:
                garbage.extend(change >> 1 for change in entry[1:kept_from])
                self._keep(key, entry, kept_from)
        return garbage

    def _keep(self, key: str, entry: array[int], kept_from: int) -> None:
        if kept_from == len(entry):
            del self._entries[key]
            self._sorted_has_dropped = True
        elif kept_from == len(entry) - 1 and entry[-1] == entry[0] * 2:
            self._entries[key] = entry[-1]
        else:
            del entry[1:kept_from]

    def _sort(self) -> None:
        if self._sorted_has_dropped:
            together = sorted(self._sorted + self._unsorted)
            self._sorted = [key for key in dict.fromkeys(together) if key in self._entries]
            self._sorted_has_dropped = False
        elif len(self._unsorted) <= INSERT_KEYS_MAX:
            for key in self._unsorted:
                insort(self._sorted, key)
        else:
            # Timsort merges two runs in one pass.
            self._unsorted.sort()
            self._sorted += self._unsorted
            self._sorted.sort()
        self._unsorted = []
