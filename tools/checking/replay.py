"""The state of a store at every revision, from its log."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar


class Logged(Protocol):
    """A change of a key, as a log has it."""

    @property
    def revision(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def deleted(self) -> bool: ...


Entry = TypeVar("Entry", bound=Logged)


class Replay(Generic[Entry]):
    """Answers what held at a revision: a look-up costs a bisection.

    Args:
        log: all changes, in the order of their revisions. Some may be missing at the beginning, as long as the newest
            change of each key that lives there is not: then ask of no earlier revision.
    """

    def __init__(self, log: Sequence[Entry]) -> None:
        self.log = log
        # At an inner revision of a batch only a part of it has happened.
        self._end_of_batch: dict[int, int] = {}
        self._lives: dict[int, int] = {}
        self._changes: dict[str, list[int]] = {}
        self._entries: dict[str, list[Entry]] = {}
        self._deletions: dict[str, list[int]] = {}
        for entry in log:
            entries = self._entries.setdefault(entry.key, [])
            lives_on = entries and not entries[-1].deleted
            self._lives[entry.revision] = self._lives[entries[-1].revision] if lives_on else entry.revision
            entries.append(entry)
            self._changes.setdefault(entry.key, []).append(entry.revision)
            if entry.deleted:
                self._deletions.setdefault(entry.key, []).append(entry.revision)
        self._keys = sorted(self._changes)

    def join(self, first: int, last: int) -> None:
        """These revisions are one batch."""
        for revision in range(first, last):
            self._end_of_batch[revision] = last

    def is_inner(self, revision: int) -> bool:
        """Whether only a part of a batch has happened here."""
        return revision in self._end_of_batch

    def at(self, key: str, revision: int) -> Entry | None:
        changes = self._changes.get(key)
        if changes is None:
            return None
        position = bisect_right(changes, revision)
        entry = self._entries[key][position - 1] if position else None
        return None if entry is None or entry.deleted else entry

    def newest(self, key: str, revision: int) -> tuple[int, int]:
        """The revision of the key's newest change, and of the one with which its life began; 0, 0: it is not there."""
        entry = self.at(key, revision)
        return (entry.revision, self._lives[entry.revision]) if entry else (0, 0)

    def life(self, revision: int) -> int:
        """The revision with which the life of the key changed here began."""
        return self._lives[revision]

    def range(self, prefix: str, revision: int) -> Iterator[Entry]:
        for position in range(bisect_left(self._keys, prefix), len(self._keys)):
            key = self._keys[position]
            if not key.startswith(prefix):
                return
            if (entry := self.at(key, revision)) is not None:
                yield entry

    def first_with(self, key: str, holds: int, at_least: int) -> int | None:
        """The lowest revision from `at_least` on, no inner one, at which this change of the key holds (0: none)."""
        revision = max(at_least, holds)
        while True:
            revision = self._end_of_batch.get(revision, revision)
            entry = self.at(key, revision)
            if (entry.revision if entry else 0) == holds:
                return revision
            if holds:
                return None  # It was overwritten before.
            later = self._next(self._deletions.get(key, []), revision)
            if later is None:
                return None
            revision = later

    def first_life(self, key: str, begun: int, at_least: int) -> int | None:
        """The lowest revision from `at_least` on, no inner one, at which the key lives since `begun`."""
        revision = max(at_least, begun)
        revision = self._end_of_batch.get(revision, revision)
        return revision if self.newest(key, revision)[1] == begun else None

    def changes_of(self, key: str) -> Sequence[int]:
        return self._changes.get(key, [])

    @staticmethod
    def _next(revisions: Sequence[int], behind: int) -> int | None:
        position = bisect_right(revisions, behind)
        return revisions[position] if position < len(revisions) else None
