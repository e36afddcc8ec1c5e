"""Read a whole store, or a snapshot of one, and check everything that can be checked.

Of the log: each checksum; above the floor no revision is missing; each change names the one before it of its key and
the beginning of its life, a deletion deletes what existed. Below the floor lies what nobody could do without: a key's
first change there may follow one that was erased. Of leases: that each attachment has its
lease and its key. Of the checkpoint of the index: that opening by it and opening by the
whole log give the same.

The store is not changed, and the memory needed is that of the index.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import lmdb

from ..proto.errors import StoreCorrupt, StoreIncompatible
from . import checkpoint, directory
from .index import KeyIndex
from .leases import LEASE_PREFIX, lease_key, parse_key
from .records import DESCRIPTION_KEY, Description, decode, decode_description, encode_key, record_bytes
from .store import Record


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a store holds, as far as it could be read, and the first thing that is wrong with it (None: nothing).

    `checkpoint`: "none", "good", or "unusable", which costs time at opening and nothing else.
    """

    path: str
    incarnation: str
    head: int
    compacted: int
    keys: int
    records: int
    bytes: int
    checkpoint: str
    problem: str | None


class LogChecker:
    """Takes the records of a log in their order and raises StoreCorrupt at the first that does not fit."""

    def __init__(self, floor: int) -> None:
        self.head = self.floor = floor
        self.index = KeyIndex()
        self.keys = self.records = self.bytes = 0

    def add(self, record: Record) -> None:
        revision, key, value, deleted, created, previous = record
        seen = self.index.last(key) > 0
        before, life = self.index.newest(key)
        if revision > self.floor:
            self.head += 1
            if revision != self.head:
                raise StoreCorrupt(f"revision {self.head} is missing from the log, the next there is {revision}")
        if seen or revision > self.floor:
            if previous != before:
                raise StoreCorrupt(f"revision {revision} ({key}) says it follows {previous}, but the log has {before}")
            if created != (life or revision):
                raise StoreCorrupt(f"revision {revision} ({key}) says its life began at {created}, not {life}")
        elif (
            not previous <= revision - 1
            or (created == revision) != (previous == 0)
            or created > max(previous, revision)
        ):
            raise StoreCorrupt(f"revision {revision} ({key}) cannot follow {previous} in a life begun at {created}")
        if deleted and not previous:
            raise StoreCorrupt(f"revision {revision} ({key}) deletes what did not exist")
        self.index.append(key, revision, deleted, created)
        self.keys += (not deleted) - bool(before)
        self.records += 1
        self.bytes += record_bytes(key, value)


def verify(path: str | os.PathLike[str]) -> VerifyReport:
    """Check a store's directory, which nobody may have open, or a snapshot.

    Raises:
        StoreInUse: somebody has it open.
        StoreIncompatible: no store lies there, or one of another version.
        StoreError: it cannot be read.
    """
    path = Path(path).absolute()
    with directory.errors_of(path), ExitStack() as releasing:
        if not (path / directory.DATA_FILE if path.is_dir() else path).exists():
            raise StoreIncompatible("there is no store here")
        if path.is_dir():
            releasing.enter_context(directory.locked_for_reading(path))
        environment = open_read_only(path)
        releasing.callback(environment.close)
        with environment.begin() as transaction:
            return _verify(path, environment, transaction)


def open_read_only(path: Path) -> lmdb.Environment:
    """The data of a directory, or of a snapshot; nobody else may write to it.

    Raises StoreCorrupt if its end is missing.
    """
    environment = lmdb.open(os.fspath(path), subdir=path.is_dir(), readonly=True, lock=False, create=False)
    try:
        directory.check_length(path, environment)
    except BaseException:
        environment.close()
        raise
    return environment


def _verify(path: Path, environment: lmdb.Environment, transaction: lmdb.Transaction[bytes]) -> VerifyReport:
    description, problem = Description(0, ""), None
    checker = LogChecker(0)
    state = "none"
    try:
        description = decode_description(transaction.get(DESCRIPTION_KEY))
        checker = LogChecker(description.compacted)
        _check_log(transaction, checker, environment.stat()["entries"])
        _check_leases(checker.index)
        if description.checkpoint is not None:
            state = _check_checkpoint(path, transaction, description, checker)
    except StoreCorrupt as error:
        problem = str(error)
    return VerifyReport(
        path=os.fspath(path),
        incarnation=description.incarnation,
        head=checker.head,
        compacted=description.compacted,
        keys=checker.keys,
        records=checker.records,
        bytes=checker.bytes,
        checkpoint=state,
        problem=problem,
    )


def check_log(environment: lmdb.Environment, transaction: lmdb.Transaction[bytes], floor: int) -> LogChecker:
    """Raises StoreCorrupt at the first record that is wrong."""
    checker = LogChecker(floor)
    _check_log(transaction, checker, environment.stat()["entries"])
    return checker


def _check_log(transaction: lmdb.Transaction[bytes], checker: LogChecker, entries: int) -> None:
    try:
        with transaction.cursor() as cursor:
            if cursor.set_range(encode_key(1)):
                for key, data in cursor:
                    checker.add(decode(key, data))
        if entries - 1 != checker.records:
            raise StoreCorrupt(f"the log counts {entries - 1} records, {checker.records} are there")
    except lmdb.Error as error:
        raise StoreCorrupt(f"the log cannot be read behind revision {checker.head}: {error}") from error


def _check_leases(index: KeyIndex) -> None:
    keys = index.keys()
    for key in keys:
        if key.startswith(LEASE_PREFIX) and index.newest(key)[0]:
            lease, attached = parse_key(key)
            if attached is None:
                continue
            for needed in (lease_key(lease), attached):
                if not index.newest(needed)[0]:
                    raise StoreCorrupt(
                        f"revision {index.last(key)} attaches {attached} to lease {lease}, "
                        f"but at revision {index.last(needed)} {needed!r} does not exist"
                    )


def _check_checkpoint(
    path: Path, transaction: lmdb.Transaction[bytes], description: Description, checker: LogChecker
) -> str:
    assert description.checkpoint is not None
    image = checkpoint.read(path, description.checkpoint, description.incarnation)
    if image is None:
        return "unusable"
    index = image.key_index
    size = image.bytes
    with transaction.cursor() as cursor:
        if cursor.set_range(encode_key(image.after + 1)):
            for key, data in cursor:
                record = decode(key, data)
                if index.last(record.key) < record.revision:
                    index.append(record.key, record.revision, record.deleted, record.create_revision)
                if record.revision > image.revision:
                    size += record_bytes(record.key, record.value)
    ours, theirs = (dict(one.entries(one.keys())) for one in (checker.index, index))
    if ours != theirs or size != checker.bytes:
        wrong = [key for key in (*ours, *theirs) if ours.get(key) != theirs.get(key)]
        about = f"{len(wrong)} keys, the first is {wrong[0]}" if wrong else "the bytes"
        raise StoreCorrupt(
            f"the checkpoint at revision {description.checkpoint.revision} contradicts the log in {about}: "
            "remove the files index-*.checkpoint"
        )
    return "good"
