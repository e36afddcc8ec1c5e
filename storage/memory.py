"""The store in memory: for simulation, the in-process cluster, and tests. The same contract, gone with the process."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from ..proto.errors import StoreError
from .committer import Committer, Done, InlineCommitter
from .log_store import BYTES_MAX, LogStore, raise_error
from .records import Description, encode, record_bytes
from .snapshot import Entries, SnapshotCopy, open_unnamed
from .steps import run_steps
from .store import Record

# The map of a snapshot's file: address space, as in LmdbStore.
MAP_BYTES = 1 << 40


class MemoryStore(LogStore):
    """A Store that keeps its records in a dictionary.

    Args:
        committer: a committer that takes its (virtual) time makes this a slow disk.
        incarnation: chosen by the caller, from the randomness of its actor; stores that must be told apart need
            different ones.
        bytes_max: the quota, in bytes of records.
        on_fatal: see LogStore.
    """

    backend = "memory"

    def __init__(
        self,
        committer: Committer | None = None,
        *,
        incarnation: str,
        bytes_max: int = BYTES_MAX,
        on_fatal: Callable[[BaseException], None] = raise_error,
    ) -> None:
        super().__init__(
            committer or InlineCommitter(), incarnation=incarnation, bytes_max=bytes_max, on_fatal=on_fatal
        )
        self._records: dict[int, Record] = {}

    def snapshot(self, path: str | os.PathLike[str], done: Done) -> None:
        """As of a store in a directory; restoring it makes one."""
        self._check_copying()
        copy = SnapshotCopy(Path(path).absolute(), self._head, Description(self._floor, self.incarnation), MAP_BYTES)
        revisions: list[int] = []

        @contextmanager
        def entries_behind(position: int) -> Iterator[Entries]:
            places = range(bisect_right(revisions, position), len(revisions))
            yield (encode(self._records[revisions[place]]) for place in places)

        def step() -> bool:
            if self._closed:
                raise StoreError("the store was closed before the snapshot was whole")
            if not revisions:
                revisions.extend(self._records)  # They were written in their order; none goes before the end.
            return copy.step(entries_behind)

        def copied(error: BaseException | None) -> None:
            self._copying = False
            if error is not None:
                copy.discard()
            done(error)

        self._copying = True
        run_steps(self._committer, step, copied)

    def open_snapshot(self, opened: Callable[[BinaryIO | BaseException], None]) -> None:
        self._check_copying()
        folder = TemporaryDirectory(prefix="ursa-")

        def cleaned(outcome: BinaryIO | BaseException) -> None:
            folder.cleanup()
            opened(outcome)

        open_unnamed(self.snapshot, Path(folder.name) / "snapshot", cleaned)

    def defragment(self, done: Done) -> None:
        self._check_copying()
        done(None)

    def _write(self, batch: Sequence[Record], floor: int | None) -> None:
        self._records.update((record.revision, record) for record in batch)

    def _erase(self, revisions: Sequence[int], floor: int) -> int:
        erased = [self._records.pop(revision) for revision in revisions]
        return sum(record_bytes(record.key, record.value) for record in erased)

    def _read(self, revisions: Sequence[int]) -> list[Record]:
        return [self._records[revision] for revision in revisions]

    def _release(self) -> None:
        self._records.clear()
