"""The directory of a store: made, checked and locked before anything in it is opened, with an error that names it.

The lock is a file of its own, so that the refusal can say which directory and which process. It is held by an open
descriptor: however the process ends, the lock goes with it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from ..proto.errors import StoreCorrupt, StoreError, StoreIncompatible, StoreInUse

DATA_FILE = "data.mdb"
# What it is called until it is whole.
NEW_DATA_FILE = f"{DATA_FILE}.new"
LOCK_FILE = "store.lock"
# What an interrupted creation may have left, and what a fresh file system has: with these alone a directory is empty.
# LMDB's table of readers.
LMDB_LOCK_FILE = "lock.mdb"
# At least as long as LMDB makes it for the readers that a store has.
_LMDB_LOCK_BYTES = 16 << 10
_EMPTY = (LOCK_FILE, LMDB_LOCK_FILE, DATA_FILE, NEW_DATA_FILE, "lost+found")
# LMDB creates its file by writing two pages at once, before anything is stored.
_DATA_BYTES_MIN = 2 * os.sysconf("SC_PAGESIZE")
# LMDB may leave pages unwritten that it took at the end of the file and gave up in the same transaction: at most those
# one sweep step touches. A file that lacks more was cut short, and reading there would kill the process.
_UNWRITTEN_BYTES_MAX = 8 << 20
# What a commit that found no room may have left free: less than the largest of batches.
_FULL_BYTES = 64 << 20
# Secrets lie in a store.
DIRECTORY_MODE = 0o700


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong at a directory into one line that names it."""
    try:
        yield
    except StoreError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise StoreIncompatible(f"{path}: this is not the data of an Ursa store: {error}") from error
    except (OSError, lmdb.Error) as error:
        code = error.errno if isinstance(error, OSError) else error.code
        if code in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "no permission: let this user read and write the directory, or give another one"
        else:
            advice = f"cannot be used as a store: {error}{room_left(path, error)}"
        raise StoreError(f"{path}: {advice}") from error


def room_left(path: Path, error: BaseException) -> str:
    """What to add to an error of writing when the disk is nearly full: LMDB calls that an input/output error."""
    code = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
    if code not in (errno.EIO, errno.ENOSPC):
        return ""
    while not path.exists():
        path = path.parent
    there = os.statvfs(path)
    free = there.f_bavail * there.f_frsize
    return f" (the disk has only {free} bytes left)" if free < _FULL_BYTES else ""


def lock(path: Path) -> int:
    """Make the directory if it is missing, check that it is one of ours, lock it. Returns the descriptor to close.

    Raises:
        StoreInUse: another process has it.
        StoreIncompatible: something else lies there; it is left untouched.
        OSError
    """
    _make(path)
    _check_contents(path)
    descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _flock(descriptor, fcntl.LOCK_EX)
    except StoreInUse:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def locked_for_reading(path: Path) -> Iterator[None]:
    """Keep writers away from a store, without changing anything in its directory.

    Raises:
        StoreInUse: another process has it open to write.
        OSError
    """
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield  # The data alone: somebody's copy, which no writer has had open.
        return
    try:
        _flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def reserve_lock_pages(path: Path) -> None:
    """Give LMDB's table of readers its room on the disk.

    LMDB maps the file and writes to it as to memory; where the disk then has no page for it the process gets SIGBUS.

    Raises OSError: the disk is full.
    """
    descriptor = os.open(path / LMDB_LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _LMDB_LOCK_BYTES)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, how: int) -> None:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise StoreInUse(f"in use by process {holder or 'unknown'}: stop it, or give another directory") from None


def _make(path: Path) -> None:
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    for place in missing:
        sync_directory(place.parent)


def _check_contents(path: Path) -> None:
    names = os.listdir(path)
    if DATA_FILE not in names and any(name not in _EMPTY for name in names):
        raise StoreIncompatible("the directory holds something else than a store: give an empty or a new one")
    if DATA_FILE in names and 0 < (path / DATA_FILE).stat().st_size < _DATA_BYTES_MIN:
        raise StoreIncompatible(f"{DATA_FILE} is cut short and can hold no data: remove it, then start again")


def check_length(path: Path, environment: lmdb.Environment) -> None:
    """Raises StoreCorrupt if the end of the data file is missing, as after a copy that was broken off."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    file = path / DATA_FILE if path.is_dir() else path
    there = file.stat().st_size
    if there + _UNWRITTEN_BYTES_MAX < needed:
        raise StoreCorrupt(f"{file.name} is cut short, {there} of {needed} bytes are there: restore a copy")


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: a file's own fsync does not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
