"""The keys of a collection in order, without sorting all of them after each change.

Changes are only noted. Whoever reads next has them put in place: a few one by one, each found by bisection; many by one
sort, which is quick because what it sorts is one long run in order and a short tail.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

# Putting in a key moves half of the pointers behind it, a sort compares all keys: at 50,000 keys 10 us and 3 ms.
KEYS_PER_INSERT = 200
# Of what has changed no more is noted than this, or as much as there is: then all is sorted anew.
NOTED_MAX = 1024


class KeyOrder:
    """The keys of a mapping that its owner keeps."""

    __slots__ = ("_keys", "_noted", "_present")

    def __init__(self, present: Mapping[str, object]) -> None:
        self._present = present
        self._keys: list[str] | None = None
        self._noted: dict[str, None] = {}

    def changed(self, key: str) -> None:
        """It has come or gone."""
        noted = self._noted
        if self._keys is None:
            return
        noted[key] = None
        if len(noted) > NOTED_MAX and len(noted) > len(self._present):
            self._keys = None
            noted.clear()

    def keys(self) -> list[str]:
        """All keys, in order. Valid until the next change; not to be changed by the caller."""
        keys = self._keys
        if keys is None:
            keys = self._keys = sorted(self._present)
        elif self._noted:
            if len(self._noted) * KEYS_PER_INSERT < len(keys):
                for key in self._noted:
                    self._put_in_place(keys, key)
            else:
                keys = self._keys = self._merged(keys)
            self._noted.clear()
        return keys

    def between(self, first: str, end: str) -> list[str]:
        """The keys from `first` on that are below `end`; empty: all that follow."""
        keys = self.keys()
        low = bisect_left(keys, first) if first else 0
        high = bisect_left(keys, end, low) if end else len(keys)
        return keys if high - low == len(keys) else keys[low:high]

    def _put_in_place(self, keys: list[str], key: str) -> None:
        place = bisect_left(keys, key)
        there = place < len(keys) and keys[place] == key
        if key in self._present:
            if not there:
                keys.insert(place, key)
        elif there:
            del keys[place]

    def _merged(self, keys: list[str]) -> list[str]:
        present, noted = self._present, self._noted
        merged = [key for key in keys if key not in noted]
        merged += [key for key in noted if key in present]
        merged.sort()
        return merged
