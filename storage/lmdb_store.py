"""The durable store: one append-only LMDB tree, `revision -> record` (records.py), and the key index in memory.

A commit is one write transaction: begin, put in order at the end of the tree, sync, return. LMDB syncs the data, then
writes the page that makes it valid, itself synchronously; so what `done` reports has reached the disk. Measured: 79,000
puts a second at 64 a commit, where layouts with an index on disk reach a third of it or less.

The price is paid at opening: the whole log is read, checked and indexed, about 5 s per million records.

LMDB cannot even delete once its map is full, so the map is far larger than the quota (it costs address space only).
Read transactions are short and never outlive a call: an open one would keep every page freed behind it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from random import Random

import lmdb

from ..proto.errors import StoreCorrupt
from . import directory
from .committer import Committer
from .log_store import BYTES_MAX, READ_BYTES, LogStore, raise_error
from .records import (
    DESCRIPTION_KEY,
    Description,
    decode,
    decode_description,
    encode,
    encode_description,
    encode_key,
)
from .store import Record

# Address space, not memory or disk: a terabyte takes 57 ms to open and never has to be resized.
MAP_BYTES = 1 << 40
# Ourselves, and a few tools that look at a running store.
READERS_MAX = 16


class LmdbStore(LogStore):
    """A Store in a directory of its own. Made by `LmdbStore.open`."""

    backend = "lmdb"

    def __init__(
        self,
        path: Path,
        environment: lmdb.Environment,
        committer: Committer,
        description: Description,
        *,
        bytes_max: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        super().__init__(committer, incarnation=description.incarnation, bytes_max=bytes_max, on_fatal=on_fatal)
        self._path = path
        self._environment = environment
        self._releasing = ExitStack()
        with environment.begin() as transaction, transaction.cursor() as cursor:
            # The first entry is the store's own record.
            self._restore((decode(key, data) for key, data in islice(cursor, 1, None)), description.compacted)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        committer: Committer,
        *,
        incarnation_random: Random,
        bytes_max: int = BYTES_MAX,
        map_bytes: int = MAP_BYTES,
        on_fatal: Callable[[BaseException], None] = raise_error,
    ) -> LmdbStore:
        """Open the store in a directory, or make one there if the directory is missing or empty.

        Args:
            committer: belongs to the store from here on, also if opening fails: it is closed with it.
            incarnation_random: where a new store draws its incarnation from.
            bytes_max: the quota, in bytes of records; the file is about 1.4 times as large.
            map_bytes: the size of LMDB's map, which the file can never outgrow.
            on_fatal: see LogStore.

        Raises:
            StoreInUse: another process has it open.
            StoreIncompatible: no store, or one of another format version.
            StoreCorrupt: a record fails its checksum, or one is missing.
            StoreError: no permission, no room.
        """
        path = Path(path).absolute()
        with directory.errors_of(path), ExitStack() as releasing:
            releasing.callback(committer.close)
            releasing.callback(os.close, directory.lock(path))
            environment = lmdb.open(
                os.fspath(path),
                map_size=map_bytes,
                mode=directory.DIRECTORY_MODE,
                create=False,
                max_readers=READERS_MAX,
                max_spare_txns=1,
            )
            releasing.callback(environment.close)
            directory.check_length(path, environment)
            environment.reader_check()  # Slots of readers that were killed.
            description = _describe(path, environment, incarnation_random)
            store = cls(path, environment, committer, description, bytes_max=bytes_max, on_fatal=on_fatal)
            store._releasing = releasing.pop_all()
            return store

    def _write(self, batch: Sequence[Record], floor: int | None) -> None:
        with self._environment.begin(write=True) as transaction:
            with transaction.cursor() as cursor:
                # Out of order it would be left out; a tree that is not the log any more must not go on.
                consumed, added = cursor.putmulti(map(encode, batch), append=True)
                if not consumed == added == len(batch):
                    raise StoreCorrupt(f"the log on disk already reaches beyond revision {batch[0].revision}")
            if floor is not None:
                self._describe(transaction, floor)

    def _erase(self, revisions: Sequence[int], floor: int) -> int:
        freed = 0
        with self._environment.begin(write=True) as transaction:
            self._describe(transaction, floor)
            for revision in revisions:
                data = transaction.pop(encode_key(revision))
                if data is None:
                    raise StoreCorrupt(f"revision {revision} is missing from the log")
                freed += len(DESCRIPTION_KEY) + len(data)
        return freed

    def _describe(self, transaction: lmdb.Transaction, floor: int) -> None:
        transaction.put(DESCRIPTION_KEY, encode_description(Description(floor, self.incarnation)))

    def _read(self, revisions: Sequence[int]) -> list[Record]:
        records: list[Record] = []
        size = 0
        with directory.errors_of(self._path), self._environment.begin() as transaction:
            for revision in revisions:
                key = encode_key(revision)
                data = transaction.get(key)
                if data is None:
                    raise StoreCorrupt(f"revision {revision} is missing from the log: restore a copy")
                records.append(decode(key, data))
                size += len(data)
                if size > READ_BYTES:
                    break
        return records

    def _bytes_on_disk(self) -> int:
        return (self._path / directory.DATA_FILE).stat().st_size

    def _release(self) -> None:
        self._releasing.close()


def _describe(path: Path, environment: lmdb.Environment, incarnation_random: Random) -> Description:
    """What the store says of itself; an environment without any entry becomes a new store."""
    with environment.begin() as transaction:
        if transaction.stat()["entries"]:
            return decode_description(transaction.get(DESCRIPTION_KEY))
    description = Description(compacted=0, incarnation=f"{incarnation_random.getrandbits(128):032x}")
    with environment.begin(write=True) as transaction:
        transaction.put(DESCRIPTION_KEY, encode_description(description))
    directory.sync_directory(path)
    return description
