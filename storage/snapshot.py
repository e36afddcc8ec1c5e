"""Copies of a log: snapshots, restoring them, and the copy that takes the place of a file grown too large.

All are made record by record, each checksum checked on the way, in bounded and synced steps: a copy costs a commit the
wait for one step, and damage is found rather than copied. LMDB's own copy would be faster, but is one long read
transaction, behind which the file of a busy store grows.

A snapshot is one file, the log up to the revision that was the head when it was asked for. It comes to its name only
when it is whole. Restoring makes a new store from the state at that revision:

    the snapshot         incarnation f2..., changes up to revision 7
    the store from it    incarnation 09..., what existed at 7, revisions as they were; head and floor are 1,000,007

for clients may have seen revision 8 and more of the old store. Its history is another one, so it says so, and no number
that anybody can know is given out a second time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import BinaryIO

import lmdb

from ..proto.errors import StoreCorrupt, StoreError
from . import directory
from .committer import Done
from .failpoints import failpoint
from .records import DESCRIPTION_KEY, Description, decode, decode_description, encode_description, encode_key
from .verify import check_log, open_read_only

# A step of a copy, which a commit waits behind: about two milliseconds, and a sync.
COPY_RECORDS = 512
COPY_BYTES = 1 << 20
# How far a restored store moves its revision forward: more than a partition can have written since the snapshot in the
# time a client keeps a revision. The new incarnation says the same; this holds where nobody compares incarnations.
REVISIONS_FORWARD = 1_000_000
# What the disk takes back of a replaced file in one step: ten milliseconds or so.
RELEASE_BYTES = 16 << 20
# Files that have not come to their names.
PARTIAL_SUFFIX = ".partial"
DEFRAGMENT_DIRECTORY = "defragment"
RESTORE_DIRECTORY = "restore"
# A snapshot on its way to somewhere else.
OUTGOING_FILE = "outgoing.snapshot"

# Key and value in the log of all records behind a revision, in order.
Entries = Iterator[tuple[bytes, bytes]]
Source = Callable[[int], AbstractContextManager[Entries]]


@contextmanager
def entries_behind(environment: lmdb.Environment, position: int) -> Iterator[Entries]:
    """The Source that a log in LMDB is."""
    with environment.begin() as reading, reading.cursor() as cursor:
        yield iter(cursor) if cursor.set_range(encode_key(position + 1)) else iter(())


class Copy:
    """A copy of the log in the making, in an environment of its own."""

    def __init__(self, environment: lmdb.Environment, description: Description) -> None:
        self.environment = environment
        self._position = 0
        with environment.begin(write=True) as transaction:
            transaction.put(DESCRIPTION_KEY, encode_description(description))

    def step(self, source: Source, last: int | None) -> bool:
        """Copy some more, up to revision `last` (None: all there is); True while there is more."""
        with source(self._position) as entries, self.environment.begin(write=True) as writing:
            size = 0
            for key, data in islice(entries, COPY_RECORDS):
                revision = decode(key, data).revision
                if last is not None and revision > last:
                    return False
                if not writing.put(key, data, append=True):
                    raise StoreCorrupt(f"revision {revision} could not be appended to the copy")
                self._position = revision
                size += len(data)
                if size > COPY_BYTES:
                    break
            more = next(entries, None) is not None
        failpoint("copy-after-step")
        return more


class SnapshotCopy:
    """The file of a snapshot in the making. `step` on the committer until it returns False, then it is there."""

    def __init__(self, path: Path, last: int, description: Description, map_bytes: int) -> None:
        if path.exists():
            raise StoreError(f"{path}: exists already: give the snapshot another name")
        self._path = path
        self._partial = path.with_name(path.name + PARTIAL_SUFFIX)
        self._last = last
        self._description = description
        self._map_bytes = map_bytes
        self._copy: Copy | None = None

    def step(self, source: Source) -> bool:
        with directory.errors_of(self._path):
            if self._copy is None:
                self._partial.unlink(missing_ok=True)
                environment = lmdb.open(
                    os.fspath(self._partial), subdir=False, lock=False, map_size=self._map_bytes, mode=0o600
                )
                self._copy = Copy(environment, self._description)
            if self._copy.step(source, self._last):
                return True
            self._copy.environment.close()
            failpoint("snapshot-before-rename")
            self._partial.rename(self._path)
            failpoint("snapshot-after-rename")
            directory.sync_directory(self._path.parent)
            return False

    def discard(self) -> None:
        if self._copy is not None:
            self._copy.environment.close()
            self._partial.unlink(missing_ok=True)


def open_unnamed(
    snapshot: Callable[[Path, Done], None], path: Path, opened: Callable[[BinaryIO | BaseException], None]
) -> None:
    """Make a snapshot at `path`, open it, and take its name away."""

    def copied(error: BaseException | None) -> None:
        outcome: BinaryIO | BaseException | None = error
        if outcome is None:
            try:
                with directory.errors_of(path):
                    outcome = path.open("r+b")
                    path.unlink()
            except StoreError as refused:
                outcome = refused
        opened(outcome)

    snapshot(path, copied)


class Replaced:
    """A store's file that has lost its name to a copy. `step` on the committer until it returns False, then it is gone.

    Freeing a file takes the disk half a second a gigabyte, in which whoever closed it last would wait.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._left = os.fstat(self._descriptor).st_size
        self.environment: lmdb.Environment | None = None

    def step(self) -> bool:
        if self.environment is not None:
            self.environment.close()
            self.environment = None
        elif self._left > RELEASE_BYTES:
            self._left -= RELEASE_BYTES
            os.ftruncate(self._descriptor, self._left)
        else:
            self.close()
            return False
        return True

    def close(self) -> None:
        if self.environment is not None:
            self.environment.close()
        os.close(self._descriptor)


class DefragmentCopy:
    """A compacted copy of a store's file, which takes its place with the last step."""

    def __init__(self, path: Path, map_bytes: int, open_environment: Callable[[Path, int], lmdb.Environment]) -> None:
        self._path = path
        self._directory = path / DEFRAGMENT_DIRECTORY
        self._map_bytes = map_bytes
        self._open_environment = open_environment
        self._copy: Copy | None = None
        # From here on there is no way back.
        self.swapping = False
        self.replaced: Replaced | None = None

    def step(self, source: lmdb.Environment, description: Description) -> lmdb.Environment | None:
        """Copy some more. Returns the new environment once it has taken the place of the old."""
        if self._copy is None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(directory.DIRECTORY_MODE)
            self._copy = Copy(self._open_environment(self._directory, self._map_bytes), description)
        if self._copy.step(partial(entries_behind, source), None):
            return None
        environment = self._copy.environment
        with environment.begin(write=True) as transaction:
            transaction.put(DESCRIPTION_KEY, encode_description(description))
        failpoint("defragment-before-swap")
        self.replaced = Replaced(self._path / directory.DATA_FILE)
        self.swapping = True
        (self._directory / directory.DATA_FILE).rename(self._path / directory.DATA_FILE)
        failpoint("defragment-after-data")
        (self._directory / directory.LMDB_LOCK_FILE).rename(self._path / directory.LMDB_LOCK_FILE)
        directory.sync_directory(self._path)
        self._directory.rmdir()
        failpoint("defragment-after-swap")
        return environment

    def discard(self) -> None:
        if self._copy is not None:
            self._copy.environment.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def restore(snapshot: str | os.PathLike[str], data_dir: str | os.PathLike[str], incarnation_random: Random) -> int:
    """Make a new store from a snapshot, in a directory that is missing or empty. Returns its revision.

    The snapshot is verified first. Until the last step the directory holds nothing that can be opened.

    Raises:
        StoreCorrupt: the snapshot is damaged.
        StoreIncompatible: it is no snapshot, or one of another version.
        StoreError: the directory holds something already; no permission, no room.
    """
    snapshot, path = Path(snapshot).absolute(), Path(data_dir).absolute()
    with ExitStack() as releasing:
        with directory.errors_of(snapshot):
            if not snapshot.is_file():
                raise StoreError("there is no snapshot here")
            source = releasing.enter_context(closing(open_read_only(snapshot)))
            reading = releasing.enter_context(source.begin())
            description = decode_description(reading.get(DESCRIPTION_KEY))
            checker = check_log(source, reading, description.compacted)
        keys = checker.index.keys()
        living = sorted(revision for revision, _ in map(checker.index.newest, keys) if revision)
        head = checker.head + REVISIONS_FORWARD
        restored = Description(head, f"{incarnation_random.getrandbits(128):032x}")
        with directory.errors_of(path):
            _make_empty(path)
            releasing.callback(os.close, directory.lock(path))
            _fill(path, restored, ((key, reading.get(key)) for key in map(encode_key, living)))
        return head


def _make_empty(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path / RESTORE_DIRECTORY, ignore_errors=True)  # A restoring that was cut off.
        if any(name != directory.LOCK_FILE for name in os.listdir(path)):
            raise StoreError("the directory is not empty: give an empty or a new one")


def _fill(path: Path, description: Description, entries: Iterable[tuple[bytes, bytes | None]]) -> None:
    making = path / RESTORE_DIRECTORY
    making.mkdir(directory.DIRECTORY_MODE)
    entries = iter(entries)
    # The size of the map is where the data may end up; the file has what it needs. Nobody else knows of it: no locks.
    environment = lmdb.open(os.fspath(making), map_size=1 << 40, mode=directory.DIRECTORY_MODE, lock=False)
    with closing(environment):
        while _fill_some(environment, entries):
            failpoint("restore-after-step")
        with environment.begin(write=True) as transaction:
            transaction.put(DESCRIPTION_KEY, encode_description(description))
    failpoint("restore-before-rename")
    (making / directory.DATA_FILE).rename(path / directory.DATA_FILE)
    failpoint("restore-after-rename")
    directory.sync_directory(path)
    shutil.rmtree(making)


def _fill_some(environment: lmdb.Environment, entries: Iterator[tuple[bytes, bytes | None]]) -> bool:
    some = list(islice(entries, COPY_RECORDS))
    with environment.begin(write=True) as transaction:
        for key, data in some:
            if data is None or not transaction.put(key, data, append=True):
                raise StoreCorrupt(f"revision {int.from_bytes(key)} could not be appended to the copy")
    return bool(some)
