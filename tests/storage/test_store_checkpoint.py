"""A store opened from a checkpoint of its index is the store opened from its whole log, whatever happened before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from unittest import mock
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings
from ursa.proto.errors import StoreCorrupt
from ursa.storage import Change, InlineCommitter, LmdbStore, MemoryStore, checkpoint, index, lmdb_store
from ursa.storage.records import CheckpointName

from . import test_store_model as model
from .conftest import ManualCommitter


def open_store(path: Path) -> LmdbStore:
    return LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1))


def assert_as_replayed(store: LmdbStore) -> None:
    """The index and the counts are what reading the whole log gives."""
    replayed = MemoryStore(incarnation="replayed")
    replayed._restore(store._records_behind(0), store.compacted)
    assert store._index._entries == replayed._index._entries
    for count in ("_head", "_staged_head", "_keys", "_bytes", "_floor", "_durable_floor"):
        assert getattr(store, count) == getattr(replayed, count), count
    assert list(store.range("")) == [store.get(key) for key in sorted(replayed._index.keys()) if store.get(key)]


@pytest.fixture
def eager() -> Iterator[None]:
    """Checkpoints often and in tiny steps."""
    with eagerly():
        yield


def eagerly() -> ExitStack:
    patches = ExitStack()
    patches.enter_context(mock.patch.multiple(lmdb_store, CHECKPOINT_CHANGES=4, CHECKPOINT_SHARE=1000))
    patches.enter_context(mock.patch.object(lmdb_store, "CHECKPOINT_CHANGES_AT_CLOSE", 2))
    patches.enter_context(mock.patch.multiple(checkpoint, CAPTURE_KEYS=2, WRITE_BYTES=64))
    return patches


def make_store(path: Path, changes: int = 40) -> None:
    store = open_store(path)
    for number in range(changes):
        store.stage([Change(f"key-{number % 7}", b"value-%d;" % number)])
        store.commit(lambda _: None)
    store.stage([Change("key-1", b"", deleted=True)])
    store.commit(lambda _: None)
    store.close()


def checkpoints(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path) if name.startswith("index"))


class _Resumes:
    """Counts how the stores opened in the meantime came to their index."""

    def __init__(self) -> None:
        self.outcomes: list[bool] = []
        resume = LmdbStore._resume

        def noted(store: LmdbStore) -> bool:
            self.outcomes.append(resume(store))
            return self.outcomes[-1]

        self.patch = mock.patch.object(LmdbStore, "_resume", noted)


@pytest.fixture
def resumes() -> Iterator[list[bool]]:
    counted = _Resumes()
    with counted.patch:
        yield counted.outcomes


class CheckpointMachine(model.LmdbMachine):
    """The whole model, with a checkpoint taken all the time and every opening compared with a full replay."""

    def __init__(self) -> None:
        self.eager = eagerly()
        super().__init__()

    def open(self) -> LmdbStore:
        store = super().open()
        assert_as_replayed(store)
        return store

    def teardown(self) -> None:
        super().teardown()
        self.eager.close()


TestCheckpointsAgainstTheModel = CheckpointMachine.TestCase
TestCheckpointsAgainstTheModel.settings = settings(
    max_examples=50, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_closing_leaves_a_checkpoint_that_opening_uses(tmp_path, eager, resumes):
    make_store(tmp_path)
    assert checkpoints(tmp_path) == ["index-41.checkpoint"]
    with mock.patch.object(lmdb_store, "decode", side_effect=AssertionError("a record was read")):
        store = open_store(tmp_path)
    assert_as_replayed(store)
    assert (store.head, store.status().keys) == (41, 6)
    assert resumes == [False, True]
    store.close()


def test_a_small_store_is_closed_without_one(tmp_path):
    make_store(tmp_path)
    assert checkpoints(tmp_path) == []


@pytest.mark.parametrize("staged_meanwhile", [False, True])
def test_one_taken_while_keys_come_change_and_go_is_completed_from_the_log(tmp_path, eager, resumes, staged_meanwhile):
    committer = ManualCommitter()
    store = LmdbStore.open(tmp_path, committer, incarnation_random=Random(1))

    def write(*changes: Change) -> None:
        store.stage(changes)
        store.commit(lambda _: None)
        while committer.waiting:
            committer.run_one()

    write(*(Change(f"key-{number}", b"1") for number in range(9)))
    write(Change("key-3", b"", deleted=True))
    assert store.sweep_step()  # The capture begins: it will look at two keys a step.
    assert store.sweep_step()
    for number in range(9):
        changes = [Change(f"key-{number}", b"2"), Change(f"new-{number}", b"2")]
        if number % 2 and number != 3:
            changes.append(Change(f"key-{number}", b"", deleted=True))
        write(*changes)
        if staged_meanwhile:
            store.stage([Change("key-0", b"3"), Change("new-0", b"", deleted=True)])
            store.stage([Change("new-0", b"again")])
        while not store.sweep_step() and committer.waiting:
            committer.run_one()
    write()  # What is still staged.
    while store.sweep_step() or committer.waiting:
        while committer.waiting:
            committer.run_one()
    write(Change("after", b"4"))
    assert store._description.checkpoint is not None
    assert store._description.checkpoint.revision < store.head
    with mock.patch.object(lmdb_store, "CHECKPOINT_CHANGES_AT_CLOSE", 10**6):
        store.close()
    store = open_store(tmp_path)
    assert resumes == [False, True]
    assert_as_replayed(store)
    store.close()


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2]),
        lambda file: file.write_bytes(file.read_bytes() + b"\0"),
        lambda file: file.write_bytes(flip(file.read_bytes())),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["missing", "empty", "short", "torn", "long", "flipped", "directory"],
)
def test_a_damaged_one_is_not_used(tmp_path, eager, resumes, damage: Callable[[Path], object]):
    make_store(tmp_path)
    damage(tmp_path / "index-41.checkpoint")
    store = open_store(tmp_path)
    assert resumes == [False, False]
    assert_as_replayed(store)
    store.commit(lambda _: None)
    store.close()


def test_one_of_another_store_or_another_time_is_not_used(tmp_path, eager, resumes):
    make_store(tmp_path / "one")
    make_store(tmp_path / "older")
    store = open_store(tmp_path / "one")
    store.stage([Change("b", b"1"), Change("c", b"1")])
    store.commit(lambda _: None)
    store.close()
    newer = tmp_path / "one" / "index-43.checkpoint"
    # Of the same revision, from a history that went another way.
    store = open_store(tmp_path / "older")
    store.stage([Change("d", b"1"), Change("e", b"1")])
    store.commit(lambda _: None)
    store.close()
    shutil.copy(newer, tmp_path / "older" / newer.name)
    resumes.clear()
    store = open_store(tmp_path / "older")
    assert resumes == [False]
    assert [record.key for record in store.range("")][:2] == ["d", "e"]
    store.close()
    name = CheckpointName(43, int.from_bytes(newer.read_bytes()[-4:], "little"))
    assert checkpoint.read(newer.parent, name, "another incarnation") is None


def test_a_lost_record_is_named_although_the_checkpoint_knows_it(tmp_path, eager):
    make_store(tmp_path)
    store = open_store(tmp_path)
    with store._environment.begin(write=True) as transaction:
        transaction.delete((5).to_bytes(8))
    store.close()
    with pytest.raises(StoreCorrupt, match="revision 5 is missing from the log"):
        open_store(tmp_path)


def test_a_flipped_byte_that_opening_did_not_read_is_named_when_it_is_read(tmp_path, eager, resumes):
    make_store(tmp_path)
    data = tmp_path / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"value-38;", b"VALUE-38;"))
    store = open_store(tmp_path)
    assert resumes[-1]
    with pytest.raises(StoreCorrupt, match="revision 39 fails its checksum"):
        store.get("key-3")
    assert store.get("key-4").value == b"value-39;"
    store.close()


def test_a_sweep_withdraws_the_checkpoint_in_the_transaction_that_erases(tmp_path, eager, resumes):
    make_store(tmp_path)
    committer = ManualCommitter()
    store = LmdbStore.open(tmp_path, committer, incarnation_random=Random(1))
    store.compact(30)
    while not committer.waiting:
        store.sweep_step()
    assert store._description.checkpoint is not None
    committer.run_one()
    assert store._description.checkpoint is None
    # As after a crash: what `close` would write is not there.
    with mock.patch.object(lmdb_store, "CHECKPOINT_CHANGES_AT_CLOSE", 10**6):
        store.close()
    resumes.clear()
    store = open_store(tmp_path)
    assert resumes == [False]
    while store.sweep_step():
        pass
    assert store._description.checkpoint is not None  # Taken anew behind the sweep.
    store.close()
    store = open_store(tmp_path)
    assert resumes == [False, True]
    assert_as_replayed(store)
    store.close()


def test_a_checkpoint_that_cannot_be_written_costs_nothing_but_time(tmp_path, eager, resumes, caplog):
    store = open_store(tmp_path)
    with mock.patch.object(checkpoint.os, "fsync", side_effect=OSError(28, "No space left on device")):
        for number in range(20):
            store.stage([Change(f"key-{number}", b"1")])
            store.commit(lambda _: None)
            store.sweep_step()
        store.close()
    assert "No space left" in caplog.text
    assert checkpoints(tmp_path) == []
    store = open_store(tmp_path)
    assert store.head == 20
    store.close()


def test_one_that_could_not_be_written_is_not_tried_again_until_there_is_more_to_write(tmp_path, eager):
    store = open_store(tmp_path)
    store.stage([Change(f"key-{number}", b"1") for number in range(9)])
    store.commit(lambda _: None)
    with mock.patch.object(checkpoint.os, "fsync", side_effect=OSError(28, "No space left on device")) as fsync:
        for _ in range(30):
            store.sweep_step()
        assert fsync.call_count == 1
        store.stage([Change(f"more-{number}", b"1") for number in range(4)])
        store.commit(lambda _: None)
        for _ in range(30):
            store.sweep_step()
        assert fsync.call_count == 2
    store.close()


def test_one_of_lives_that_began_below_the_floor_is_used(tmp_path, eager, resumes):
    """Of such a key the index keeps one change, and the beginning of the life beside it."""
    store = open_store(tmp_path)
    for value in (b"1", b"2", b"3"):
        store.stage([Change(key, value) for key in ("a", "b", "c")])
        store.commit(lambda _: None)
    store.compact(store.head)
    while store.sweep_step():
        pass
    store.close()
    store = open_store(tmp_path)
    assert resumes == [False, True]
    assert_as_replayed(store)
    assert store.get("a").create_revision == 1
    store.close()


def test_the_format_is_the_one_that_is_described(tmp_path):
    """/a was created at 3 and changed at 5, /b created at 4; what the description in checkpoint.py makes of it."""
    key_index = index.KeyIndex()
    key_index.append("/a", 3, False, 3)
    key_index.append("/b", 4, False, 4)
    key_index.append("/a", 5, False, 3)
    draft = checkpoint.Draft(key_index, after=2)
    assert draft.capture()
    draft.finish(5, 105, "00ff")
    assert draft.write(tmp_path)
    draft.publish()
    body = bytes.fromhex(
        "75727361 696e6478"  # ursaindx
        "0100"  # Version 1.
        "0200000000000000 0500000000000000 6900000000000000"  # After 2, revision 5, 105 bytes of records.
        "0200000000000000 0400000000000000 0400000000000000"  # Two keys, four numbers, four bytes of text.
        "0400 30306666"  # 00ff
        "02000000 02000000"
        "03000000 01000000"
        "0300000000000000 0600000000000000 0a00000000000000 0800000000000000"  # 3; 2 x 3, 2 x 5; 2 x 4.
        "2f61 2f62"
    )
    assert (tmp_path / "index-5.checkpoint").read_bytes() == body + crc32(body).to_bytes(4, "little")
    image = checkpoint.read(tmp_path, draft.name, "00ff")
    assert image[1:] == (2, 5, 105, 2, 3)
    assert image.key_index._entries == key_index._entries


def test_only_the_newest_is_kept_and_what_a_crash_left_is_cleared_away(tmp_path, eager):
    make_store(tmp_path)
    (tmp_path / "index-40.checkpoint").write_bytes(b"old")
    (tmp_path / "index-77.checkpoint.new").write_bytes(b"unfinished")
    store = open_store(tmp_path)
    assert checkpoints(tmp_path) == ["index-41.checkpoint"]
    store.stage([Change("a", b"1"), Change("b", b"1")])
    store.commit(lambda _: None)
    store.close()
    assert checkpoints(tmp_path) == ["index-43.checkpoint"]


def test_one_that_knows_what_is_only_staged_is_not_named_before_that_is_committed(tmp_path, eager):
    store = open_store(tmp_path)
    store.stage([Change(f"key-{number}", b"1") for number in range(9)])
    store.commit(lambda _: None)
    store.stage([Change("staged", b"1")])
    for _ in range(20):
        store.sweep_step()
    assert store._description.checkpoint is None
    store.commit(lambda _: None)
    store.sweep_step()
    assert store._description.checkpoint.revision == 10
    store.close()


def test_closing_with_something_staged_writes_none(tmp_path, eager):
    store = open_store(tmp_path)
    store.stage([Change(f"key-{number}", b"1") for number in range(9)])
    store.commit(lambda _: None)
    store.stage([Change("staged", b"1")])
    store.close()
    assert checkpoints(tmp_path) == []
    store = open_store(tmp_path)
    assert store.get("staged") is None
    store.close()


def test_closing_in_the_middle_of_a_sweep_writes_none(tmp_path, eager):
    make_store(tmp_path)
    store = open_store(tmp_path)
    store.compact(30)
    with mock.patch("ursa.storage.sweep.SWEEP_RECORDS", 2):
        while store._description.checkpoint is not None:
            store.sweep_step()
    assert store.sweep_step()
    store.close()
    assert checkpoints(tmp_path) == ["index-41.checkpoint"]  # Withdrawn; the next opening clears it away.
    store = open_store(tmp_path)
    assert checkpoints(tmp_path) == []
    assert_as_replayed(store)
    store.close()
