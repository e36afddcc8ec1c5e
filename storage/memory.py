"""The store in memory: for simulation, the in-process cluster, and tests. The same contract, gone with the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..proto.errors import StoreError
from .committer import Committer, Done, InlineCommitter
from .log_store import BYTES_MAX, LogStore, raise_error
from .records import record_bytes
from .store import Record


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
        raise StoreError(f"{os.fspath(path)}: a store in memory has no snapshots: use one in a directory")

    def defragment(self, done: Done) -> None:
        self._check_usable()
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
