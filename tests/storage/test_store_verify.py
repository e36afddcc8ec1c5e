"""`verify` passes every store that can come about, and names the first record of one that is damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import lmdb
import pytest
from hypothesis import HealthCheck, settings
from ursa.proto.errors import StoreCorrupt, StoreIncompatible, StoreInUse
from ursa.storage import Change, InlineCommitter, LmdbStore, Record, records
from ursa.storage.leases import lease_key
from ursa.storage.verify import LogChecker, verify

from . import test_store_checkpoint as checkpoints


class VerifyMachine(checkpoints.CheckpointMachine):
    """The whole model: whatever a store went through, crashes included, it is found whole."""

    def open(self) -> LmdbStore:
        if os.listdir(self.path):
            report = verify(self.path)
            assert report.problem is None
            assert report.checkpoint != "unusable"
            store = super().open()
            status = store.status()
            assert (report.head, report.compacted, report.keys) == (status.head, status.compacted, status.keys)
            assert (report.bytes, report.incarnation) == (status.bytes, status.incarnation)
            return store
        return super().open()


TestVerifyAgainstTheModel = VerifyMachine.TestCase
TestVerifyAgainstTheModel.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def open_store(path: Path) -> LmdbStore:
    return LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """1 a, 2 a, 3 b, 4 a deleted, 5 c, 6 b, 7 a; 1 is compacted away."""
    store = open_store(tmp_path / "store")
    for key, deleted in (("a", 0), ("a", 0), ("b", 0), ("a", 1), ("c", 0), ("b", 0), ("a", 0)):
        store.stage([Change(key, b"value-%d;" % (store.staged_head + 1), bool(deleted))])
    store.commit(lambda _: None)
    store.compact(2)
    while store.sweep_step():
        pass
    store.close()
    return tmp_path / "store"


def tamper(path: Path, change: Callable[[lmdb.Transaction], object]) -> None:
    with lmdb.open(os.fspath(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        change(transaction)


def put(record: Record) -> Callable[[lmdb.Transaction], object]:
    return lambda transaction: transaction.put(*records.encode(record))


def test_a_whole_store(path):
    report = verify(path)
    assert report.problem is None
    assert (report.head, report.compacted, report.keys, report.records) == (7, 2, 3, 6)
    assert report.checkpoint == "none"
    open_store(path).close()  # Nothing is left locked.


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.delete((5).to_bytes(8)), "revision 5 is missing from the log, the next there is 6"),
        (lambda t: t.delete((2).to_bytes(8)), r"revision 4 \(a\) says it follows 2, but the log has 0"),
        (lambda t: t.put(b"text", b""), "no revision"),
        (put(Record(5, "c", b"", False, 5, 3)), r"revision 5 \(c\) says it follows 3, but the log has 0"),
        (put(Record(6, "b", b"", False, 6, 3)), r"revision 6 \(b\) says its life began at 6, not 3"),
        (put(Record(5, "c", b"", True, 5, 0)), r"revision 5 \(c\) deletes what did not exist"),
        (put(Record(2, "a", b"", False, 2, 1)), r"revision 2 \(a\) cannot follow 1 in a life begun at 2"),
        (put(Record(2, "a", b"", False, 1, 2)), r"revision 2 \(a\) cannot follow 2"),
        (put(Record(9, "d", b"", False, 9, 0)), "revision 8 is missing"),
    ],
)
def test_what_contradicts_itself_is_named(path, change, problem):
    tamper(path, change)
    report = verify(path)
    assert report.problem is not None
    with pytest.raises(StoreCorrupt, match=problem):
        raise StoreCorrupt(report.problem)


@pytest.mark.parametrize("revision", range(2, 8))
def test_a_flipped_byte_is_named(path, revision):
    data = path / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"value-%d;" % revision, b"vAlue-%d;" % revision))
    report = verify(path)
    assert report.problem == f"revision {revision} fails its checksum: the data is damaged, restore a copy"
    assert report.records == revision - 2


def test_the_stores_own_record(path):
    incarnation = verify(path).incarnation.encode()
    data = path / "data.mdb"
    data.write_bytes(data.read_bytes().replace(incarnation, incarnation[::-1]))
    assert "revision 0" in verify(path).problem


def test_the_checkpoint_is_compared_with_the_log(tmp_path):
    with checkpoints.eagerly():
        checkpoints.make_store(tmp_path)
        assert verify(tmp_path).checkpoint == "good"
        (file,) = tmp_path.glob("index-*")
        good = file.read_bytes()
        file.write_bytes(good[:-1])
        report = verify(tmp_path)
        assert (report.checkpoint, report.problem) == ("unusable", None)
        # A checkpoint that is named and whole, and wrong: no crash makes one, a bug would.
        body = good[:-4].replace(b"key-1", b"key-9")
        checksum = records.crc32(body)
        file.write_bytes(body + checksum.to_bytes(4, "little"))
        store_description = records.Description(0, report.incarnation, records.CheckpointName(41, checksum))
        tamper(tmp_path, lambda t: t.put(bytes(8), records.encode_description(store_description)))
        report = verify(tmp_path)
        assert "contradicts the log in 2 keys, the first is key-1" in report.problem
        record_bytes = (41).to_bytes(8, "little") + report.bytes.to_bytes(8, "little")
        body = good[:-4].replace(record_bytes, (41).to_bytes(8, "little") + (report.bytes - 1).to_bytes(8, "little"))
        assert body != good[:-4]
        checksum = records.crc32(body)
        file.write_bytes(body + checksum.to_bytes(4, "little"))
        store_description = records.Description(0, report.incarnation, records.CheckpointName(41, checksum))
        tamper(tmp_path, lambda t: t.put(bytes(8), records.encode_description(store_description)))
        assert "contradicts the log in the bytes" in verify(tmp_path).problem


def test_the_log_is_as_long_as_it_says(path):
    """LMDB counts what it holds. The count stands at byte 120 of each of its two first pages."""
    data = bytearray((path / "data.mdb").read_bytes())
    for page in (0, os.sysconf("SC_PAGESIZE")):
        entries = int.from_bytes(data[page + 120 : page + 128], "little")
        data[page + 120 : page + 128] = (entries + 1).to_bytes(8, "little")
    (path / "data.mdb").write_bytes(data)
    assert "the log counts 7 records, 6 are there" in verify(path).problem


def test_what_is_no_store_or_is_in_use(tmp_path, path):
    with pytest.raises(StoreIncompatible, match="there is no store here"):
        verify(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    store = open_store(path)
    with pytest.raises(StoreInUse):
        verify(path)
    store.close()
    tamper(path, lambda t: t.put(bytes(8), b"ursalog\0\x00\x07whatever"))
    with pytest.raises(StoreIncompatible, match="format version 7"):
        verify(path)
    shutil.rmtree(path)
    path.mkdir()
    with pytest.raises(StoreIncompatible, match="there is no store here"):
        verify(path)
    assert os.listdir(path) == []


def test_below_the_floor_a_key_may_follow_what_was_erased():
    checker = LogChecker(10)
    checker.add(Record(5, "a", b"", False, 2, 3))
    checker.add(Record(7, "b", b"", True, 1, 4))
    checker.add(Record(11, "a", b"", True, 2, 5))
    assert (checker.head, checker.keys) == (11, 0)


def test_an_attachment_has_its_lease_and_its_key(tmp_path):
    store = open_store(tmp_path)
    store.grant(7, 30, 0.0)
    store.stage([Change("a", b"", lease=7)])
    store.commit(lambda _: None)
    store.close()
    assert verify(tmp_path).problem is None
    tamper(tmp_path, put(Record(4, "a", b"", True, 2, 2)))
    assert "attaches a to lease 7, but at revision 4 'a' does not exist" in verify(tmp_path).problem
    tamper(tmp_path, lambda t: t.delete((4).to_bytes(8)))
    tamper(tmp_path, put(Record(4, lease_key(7), b"", True, 1, 1)))
    assert "attaches a to lease 7" in verify(tmp_path).problem
