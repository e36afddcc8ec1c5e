"""What a compaction leaves behind: found in bounded steps, handed out oldest first.

First every key is looked at, some at a time; each look gives a run of garbage revisions, and leaves the index without
them. Then the runs are merged, lazily, and given out in the order of the log.

That order is a matter of cost (neighbours in the log share pages, so a deletion dirties a tenth of what it would in the
order of keys) and of safety: the steps are separate transactions, and a crash between two of them must not have erased
the deletion of a key while older changes of it are still there, for those would then come back to life.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from heapq import merge
from itertools import islice

from .index import KeyIndex

# Keys looked at in one step: a millisecond of the loop, or two if most of them have garbage.
SWEEP_KEYS = 1024
# Records erased in one step: small steps cost twice the CPU a record, large ones hold up the commit behind them.
SWEEP_RECORDS = 512


class Sweep:
    """One pass over the index for what nobody can ask for at or above `floor`."""

    def __init__(self, index: KeyIndex, floor: int) -> None:
        self.floor = floor
        self._index = index
        self._keys: Iterator[str] = iter(index.keys())
        self._runs: list[array[int]] = []
        self._garbage: Iterator[int] | None = None

    def look(self) -> bool:
        """Look at some more keys. True once all were looked at; then `take`."""
        if self._garbage is None:
            keys = list(islice(self._keys, SWEEP_KEYS))
            self._runs.append(array("q", sorted(self._index.drop_garbage(keys, self.floor))))
            if len(keys) < SWEEP_KEYS:
                self._garbage = merge(*self._runs)
        return self._garbage is not None

    def take(self) -> list[int]:
        """The next revisions to erase, ascending; empty once there are no more."""
        assert self._garbage is not None, "look until it says so"
        return list(islice(self._garbage, SWEEP_RECORDS))
