"""The durable store: one append-only LMDB tree, `revision -> record` (records.py), and the key index in memory.

A commit is one write transaction: begin, put in order at the end of the tree, sync, return. LMDB syncs the data, then
writes the page that makes it valid, itself synchronously; so what `done` reports has reached the disk. Measured: 79,000
puts a second at 64 a commit, where layouts with an index on disk reach a third of it or less.

That page has no checksum. What a commit changes in it lies in one sector of 512 bytes, and sectors are assumed to be
written whole, or else from front to back: then a torn one is not believed, and the commit before it is found. Pages
torn between sectors, in any order, do no harm (tests/storage/test_store_simulated_disk.py).

The price is paid at opening: the whole log is read, checked and indexed, about 5 s per million records. So the index is
written to a file of its own now and then (checkpoint.py), and opening reads that and the log behind it. The checksum of
a record that was not read at opening is checked when it is read, as it always is.

LMDB cannot even delete once its map is full, so the map is far larger than the quota (it costs address space only).
Read transactions are short and never outlive a call: an open one would keep every page freed behind it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from random import Random
from typing import BinaryIO

import lmdb

from ..proto.errors import StoreCorrupt, StoreError
from . import checkpoint, directory
from .committer import Committer, Done, InlineCommitter
from .failpoints import failpoint
from .index import KeyIndex
from .log_store import BYTES_MAX, READ_BYTES, LogStore, raise_error
from .records import (
    DESCRIPTION_KEY,
    Description,
    decode,
    decode_at,
    decode_description,
    encode,
    encode_description,
    encode_key,
    record_bytes,
)
from .snapshot import (
    DEFRAGMENT_DIRECTORY,
    OUTGOING_FILE,
    PARTIAL_SUFFIX,
    RESTORE_DIRECTORY,
    DefragmentCopy,
    Replaced,
    SnapshotCopy,
    entries_behind,
    open_unnamed,
)
from .steps import run_steps
from .store import Record
from .verify import open_read_only

log = logging.getLogger(__name__)

# A checkpoint is due when so many changes would have to be read from the log at opening, 0.4 s, or an eighth of what
# the index holds if that is more: then writing it costs less than a microsecond a change.
CHECKPOINT_CHANGES = 100_000
CHECKPOINT_SHARE = 8
# At closing there is nothing to disturb, and it costs a few milliseconds; reading this many costs no more.
CHECKPOINT_CHANGES_AT_CLOSE = 5_000
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
        # What the log says of itself; the committer's own.
        self._description = description
        self._draft: checkpoint.Draft | None = None
        self._draft_not_below = 0
        self._broken = False
        if not self._resume():
            self._index, self._keys, self._bytes = KeyIndex(), 0, 0
            self._restore(self._records_behind(0), description.compacted)

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
            if not (path / directory.DATA_FILE).exists():
                _create(path, incarnation_random)
            environment = _open_environment(path, map_bytes)
            releasing.callback(environment.close)
            directory.check_length(path, environment)
            environment.reader_check()  # Slots of readers that were killed.
            description = _describe(path, environment, incarnation_random)
            checkpoint.remove_others(path, description.checkpoint)
            for left in (DEFRAGMENT_DIRECTORY, RESTORE_DIRECTORY):  # By a crash.
                shutil.rmtree(path / left, ignore_errors=True)
            for name in (OUTGOING_FILE, OUTGOING_FILE + PARTIAL_SUFFIX):
                (path / name).unlink(missing_ok=True)
            store = cls(path, environment, committer, description, bytes_max=bytes_max, on_fatal=on_fatal)
            store._releasing = releasing.pop_all()
            return store

    @classmethod
    def open_read_only(cls, path: str | os.PathLike[str]) -> LmdbStore:
        """Open the store in a directory to look at it. Nothing there is changed, so the directory may be read-only.

        Raises:
            StoreInUse: another process has it open.
            StoreIncompatible, StoreCorrupt, StoreError: as `open`.
        """
        path = Path(path).absolute()
        with directory.errors_of(path), ExitStack() as releasing:
            releasing.enter_context(directory.locked_for_reading(path))
            environment = open_read_only(path)
            releasing.callback(environment.close)
            with environment.begin() as transaction:
                description = decode_description(transaction.get(DESCRIPTION_KEY))
            store = cls(path, environment, InlineCommitter(), description, bytes_max=BYTES_MAX, on_fatal=raise_error)
            store._failure = StoreError(f"{path}: the store is open for reading only")
            store._broken = True  # No checkpoint at its end.
            store._releasing = releasing.pop_all()
            return store

    # --- opening -----------------------------------------------------------------------------------------------------

    def _resume(self) -> bool:
        """Take the index from its checkpoint and the log behind it; False if there is none that fits."""
        name = self._description.checkpoint
        image = None if name is None else checkpoint.read(self._path, name, self.incarnation)
        if image is None:
            return False
        self._floor = self._durable_floor = self._description.compacted
        self._index, self._keys, self._bytes = image.key_index, image.keys, image.bytes
        self._head = image.after
        changes = image.changes
        try:
            for record in self._records_behind(image.after):
                changes += self._take_up(record, image.revision)
        except StoreCorrupt:
            return False  # Reading the whole log will tell what is wrong.
        self._staged_head = self._head
        return self._head >= image.revision and changes == self._environment.stat()["entries"] - 1

    def _take_up(self, record: Record, captured: int) -> bool:
        """Add a change behind the checkpoint to the index; False if it is there already."""
        self._head += 1
        if record.revision != self._head:
            raise StoreCorrupt(f"revision {self._head} is missing from the log")
        if record.revision > captured:
            self._bytes += record_bytes(record.key, record.value)
        if self._index.last(record.key) >= record.revision:
            return False
        previous, _ = self._index.newest(record.key)
        if previous != record.previous_revision:
            raise StoreCorrupt(f"revision {record.revision} does not follow {previous}")
        self._index.append(record.key, record.revision, record.deleted, record.create_revision)
        self._keys += (not record.deleted) - bool(previous)
        return True

    def _records_behind(self, after: int) -> Iterator[Record]:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            # Revision 0 is the store's own record.
            if cursor.set_range(encode_key(after + 1)):
                for key, data in cursor:
                    yield decode(key, data)

    # --- the backend -------------------------------------------------------------------------------------------------

    def _write(self, batch: Sequence[Record], floor: int | None) -> None:
        failpoint("commit-before")
        with self._environment.begin(write=True) as transaction:
            with transaction.cursor() as cursor:
                # Out of order it would be left out; a tree that is not the log any more must not go on.
                consumed, added = cursor.putmulti(map(encode, batch), append=True)
                if not consumed == added == len(batch):
                    raise StoreCorrupt(f"the log on disk already reaches beyond revision {batch[0].revision}")
            if floor is not None:
                self._describe(transaction, self._description._replace(compacted=floor))
            failpoint("commit-after-put")
        failpoint("commit-after")

    def _erase(self, revisions: Sequence[int], floor: int) -> int:
        failpoint("sweep-before")
        freed = 0
        with self._environment.begin(write=True) as transaction:
            description = self._description._replace(compacted=floor)
            # A checkpoint knows changes that are about to go.
            self._describe(transaction, description._replace(checkpoint=None) if revisions else description)
            for revision in revisions:
                data = transaction.pop(encode_key(revision))
                if data is None:
                    raise StoreCorrupt(f"revision {revision} is missing from the log")
                freed += len(DESCRIPTION_KEY) + len(data)
            failpoint("sweep-after-erase")
        failpoint("sweep-after")
        return freed

    def _describe(self, transaction: lmdb.Transaction, description: Description) -> None:
        """A transaction that fails after this ends the store, and what it believes of itself with it."""
        transaction.put(DESCRIPTION_KEY, encode_description(description))
        self._description = description

    def _read(self, revisions: Sequence[int]) -> list[Record]:
        records: list[Record] = []
        size = 0
        with directory.errors_of(self._path), self._environment.begin() as transaction:
            get = transaction.get
            for revision in revisions:
                key = encode_key(revision)
                data = get(key)
                if data is None:
                    raise StoreCorrupt(f"revision {revision} is missing from the log: restore a copy")
                records.append(decode_at(revision, key, data))
                size += len(data)
                if size > READ_BYTES:
                    break
        return records

    def _bytes_on_disk(self) -> int:
        return (self._path / directory.DATA_FILE).stat().st_size

    def abandon(self) -> None:
        """Leave it as a crash would: nothing more is written, not even what was staged. For simulations."""
        self._broken = True
        self.close()

    def _release(self) -> None:
        try:
            if not self._broken:
                self._checkpoint_at_close()
        finally:
            self._environment.close()
            self._releasing.close()

    def _fail(self, what: str, error: BaseException) -> None:
        self._broken = True
        room_left = directory.room_left(self._path, error)
        if room_left:
            full = StoreError(f"{error}{room_left}")
            full.__cause__ = error
            error = full
        super()._fail(what, error)

    # --- copies ------------------------------------------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike[str], done: Done) -> None:
        """Write a copy of the store as it is at `head` into a new file, while reading and writing go on.

        `done(None)` is called on the loop when the whole file is on the disk, `done(error)` with a StoreError when it
        will not be; then nothing of it is left, and the store goes on. Sweeps wait meanwhile. See snapshot.restore.

        Raises:
            CopyUnderWay: there is one at a time.
            StoreError: the file exists.
        """
        self._check_copying()
        description = Description(self._floor, self.incarnation)
        copy = SnapshotCopy(Path(path).absolute(), self._head, description, self._environment.info()["map_size"])

        def step() -> bool:
            if self._closed:
                raise StoreError("the store was closed before the snapshot was whole")
            return copy.step(lambda position: entries_behind(self._environment, position))

        def copied(error: BaseException | None) -> None:
            self._copying = False
            if error is not None:
                copy.discard()
            done(error)

        self._copying = True
        run_steps(self._committer, step, copied)

    def open_snapshot(self, opened: Callable[[BinaryIO | BaseException], None]) -> None:
        self._check_copying()
        path = self._path / OUTGOING_FILE
        with directory.errors_of(self._path):
            path.unlink(missing_ok=True)
        open_unnamed(self.snapshot, path, opened)

    def defragment(self, done: Done) -> None:
        """Give the room that the store's file no longer needs back to the disk, while reading and writing go on.

        The file is copied, and the copy takes its place between two commits. Needs room for both. `done` as in
        `snapshot`; a failure once the copy has begun to take the place is that of a commit (`on_fatal`).

        Raises:
            CopyUnderWay: there is one at a time.
        """
        self._check_copying()
        old = self._environment
        copy = DefragmentCopy(self._path, old.info()["map_size"], _open_environment)

        def step() -> bool:
            if self._closed:
                raise StoreError("the store was closed before the defragmentation was done")
            with directory.errors_of(self._path):
                new = copy.step(old, self._description)
            if new is not None:
                self._environment = new  # It holds what the old one does: the loop may read from either.
            return new is None

        def copied(error: BaseException | None) -> None:
            if error is None:
                assert copy.replaced is not None
                copy.replaced.environment = old
                run_steps(self._committer, partial(self._release_some, copy.replaced), released)
                return
            self._copying = False
            if copy.swapping:
                self._fail("replacing the data file", error)
                return
            copy.discard()
            done(error)

        def released(error: BaseException | None) -> None:
            self._copying = False
            done(error)

        self._copying = True
        run_steps(self._committer, step, copied)

    def _release_some(self, replaced: Replaced) -> bool:
        if self._closed:
            replaced.close()  # At the end there is nobody to wait.
            return False
        with directory.errors_of(self._path):
            return replaced.step()

    # --- the checkpoint ----------------------------------------------------------------------------------------------

    def sweep_step(self) -> bool:
        if super().sweep_step():
            self._draft = None  # Changes leave the index.
            return True
        return not self._copying and self._checkpoint_step()

    def _checkpoint_step(self) -> bool:
        """Bring a checkpoint that is due one bounded step forward; True while another step would bring it further."""
        draft = self._draft
        if draft is None:
            if not self._checkpoint_due(CHECKPOINT_CHANGES):
                return False
            self._draft = checkpoint.Draft(self._index, self._head)
            return True
        if not draft.captured:
            if draft.capture():
                draft.finish(self._staged_head, self._bytes, self.incarnation)
        elif not draft.writing and draft.revision <= self._head:
            draft.writing = True
            self._write_draft(draft)
        return not draft.writing and (not draft.captured or draft.revision <= self._head)

    def _checkpoint_due(self, changes: int) -> bool:
        name = self._description.checkpoint
        entries = self._environment.stat()["entries"]
        behind = entries if name is None else self._head - name.revision
        return behind >= max(changes, entries // CHECKPOINT_SHARE) and self._head >= self._draft_not_below

    def _write_draft(self, draft: checkpoint.Draft) -> None:
        def step() -> bool:
            return not self._closed and draft is self._draft and not draft.write(self._path)

        def written(error: BaseException | None) -> None:
            if isinstance(error, OSError):
                # The log has all that is in it: without it opening takes longer, and no more than that.
                log.warning("%s: the checkpoint of the index could not be written: %s", self._path, error)
                self._draft_not_below = self._head + CHECKPOINT_CHANGES
            elif error is not None:
                self._fail("writing the checkpoint", error)
            if error is None and draft is self._draft and not self._closed:
                self._committer.submit(lambda: self._name(draft), named)
                return
            draft.discard()
            if draft is self._draft:
                self._draft = None

        def named(error: BaseException | None) -> None:
            if draft is self._draft:
                self._draft = None
            if error is not None:
                self._fail("naming the checkpoint", error)

        run_steps(self._committer, step, written)

    def _name(self, draft: checkpoint.Draft) -> None:
        """On the committer: from here on the checkpoint may be believed."""
        draft.publish()
        with self._environment.begin(write=True) as transaction:
            self._describe(transaction, self._description._replace(checkpoint=draft.name))
            failpoint("checkpoint-after-put")
        failpoint("checkpoint-after-name")
        checkpoint.remove_others(self._path, self._description.checkpoint)

    def _checkpoint_at_close(self) -> None:
        # In the middle of a sweep the index has lost what the log still has.
        sweeping = self._sweep is not None or self._erasing
        if sweeping or self._staged_head != self._head or not self._checkpoint_due(CHECKPOINT_CHANGES_AT_CLOSE):
            return
        draft = checkpoint.Draft(self._index, self._head)
        try:
            while not draft.capture():
                pass
            draft.finish(self._head, self._bytes, self.incarnation)
            while not draft.write(self._path):
                pass
            self._name(draft)
        except (OSError, lmdb.Error) as error:
            draft.discard()
            log.warning("%s: the checkpoint of the index could not be written: %s", self._path, error)


def _open_environment(path: Path, map_bytes: int) -> lmdb.Environment:
    directory.reserve_lock_pages(path)
    return lmdb.open(
        os.fspath(path),
        map_size=map_bytes,
        mode=directory.DIRECTORY_MODE,
        create=False,
        max_readers=READERS_MAX,
        max_spare_txns=1,
    )


def _create(path: Path, incarnation_random: Random) -> None:
    """Make the file of a new store, which comes to its name when it is whole.

    LMDB does not sync the first pages of a file before its first commit: a crash could leave one that is no database.
    """
    making = path / directory.NEW_DATA_FILE
    making.unlink(missing_ok=True)
    with (
        closing(lmdb.open(os.fspath(making), subdir=False, lock=False, mode=0o600)) as environment,
        environment.begin(write=True) as transaction,
    ):
        _put_new_description(transaction, incarnation_random)
    making.rename(path / directory.DATA_FILE)
    directory.sync_directory(path)


def _describe(path: Path, environment: lmdb.Environment, incarnation_random: Random) -> Description:
    """What the store says of itself; an environment without any entry becomes a new store."""
    with environment.begin() as transaction:
        if transaction.stat()["entries"]:
            return decode_description(transaction.get(DESCRIPTION_KEY))
    with environment.begin(write=True) as transaction:
        description = _put_new_description(transaction, incarnation_random)
    directory.sync_directory(path)
    return description


def _put_new_description(transaction: lmdb.Transaction, incarnation_random: Random) -> Description:
    description = Description(compacted=0, incarnation=f"{incarnation_random.getrandbits(128):032x}")
    transaction.put(DESCRIPTION_KEY, encode_description(description))
    return description
