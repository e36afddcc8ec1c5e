"""What is asked of a store that goes on serving: digests in steps, and snapshots in files with or without a name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from ursa.proto.errors import Compacted, FutureRevision, StoreError, StoreInUse
from ursa.storage import Change, CopyUnderWay, InlineCommitter, LmdbStore, MemoryStore, Store, digest, snapshot
from ursa.storage.snapshot import REVISIONS_FORWARD, restore
from ursa.storage.verify import verify

from .conftest import ManualCommitter, OpenStore

Outcomes = list[BaseException | None]


def fill(store: Store, count: int = 30) -> None:
    """Several lives of a few keys, the newest one committed."""
    for number in range(count):
        key = f"key-{number % 7}"
        deleted = number % 5 == 4 and number > 7
        store.stage([Change(key, b"%d;" % number * 20, deleted=deleted and store.get(key) is not None)])
        store.commit(lambda _: None)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "STEP_RECORDS", 2)
    monkeypatch.setattr(snapshot, "COPY_RECORDS", 3)


# --- digests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [0, 1, 2, 3, 4, 7])
def test_a_digest_in_steps_is_the_digest(store, small_steps, keys):
    store.stage([Change(f"key-{number}", b"value") for number in range(keys)])
    store.commit(lambda _: None)
    steps = store.digest_steps()
    assert steps.revision == keys
    for _ in range(keys // 2):
        assert steps.step() is None
    assert steps.step() == store.digest()


def test_a_step_of_large_values_ends_early(store, monkeypatch):
    monkeypatch.setattr(digest, "STEP_BYTES", 1000)
    store.stage([Change(f"key-{number}", bytes(600)) for number in range(4)])
    store.commit(lambda _: None)
    steps = store.digest_steps()
    assert [steps.step(), steps.step(), steps.step()] == [None, None, store.digest()]


def test_a_digest_in_steps_is_of_one_revision_whatever_is_written_meanwhile(store, small_steps):
    fill(store)
    expected, at_20 = store.digest(), store.digest(20)
    for revision, whole in ((None, expected), (20, at_20)):
        steps = store.digest_steps(revision)
        found = None
        while found is None:
            fill(store, 1)
            store.stage([Change(f"new-{store.staged_head}", b"")])
            store.commit(lambda _: None)
            found = steps.step()
        assert found == whole


def test_a_digest_that_compaction_overtakes_says_so(store, small_steps, write):
    fill(store)
    steps = store.digest_steps(20)
    assert steps.step() is None
    store.compact(21)
    with pytest.raises(Compacted) as refused:
        next(step for step in iter(steps.step, "") if step is not None)
    assert (refused.value.revision, refused.value.floor) == (20, 21)
    with pytest.raises(Compacted):
        store.digest_steps(20)
    with pytest.raises(FutureRevision):
        store.digest_steps(31)
    assert store.digest_steps(21).revision == 21


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_a_snapshot_of_any_store_can_be_restored(store, tmp_path, small_steps, sweep):
    fill(store)
    store.grant(7, 60.0, 0.0)
    store.stage([Change("leased", b"", lease=7)])
    store.commit(lambda _: None)
    store.compact(10)
    sweep(store)
    expected, head = store.digest(), store.head
    outcomes: Outcomes = []
    store.snapshot(tmp_path / "copy", outcomes.append)
    assert outcomes == [None]
    with pytest.raises(StoreError, match=f"{tmp_path}/copy: exists already"):
        store.snapshot(tmp_path / "copy", outcomes.append)
    report = verify(tmp_path / "copy")
    assert (report.problem, report.head, report.compacted) == (None, head, 10)
    assert (report.incarnation, report.records) == (store.incarnation, report.records)
    assert restore(tmp_path / "copy", tmp_path / "restored", Random(2)) == head + REVISIONS_FORWARD
    restored = LmdbStore.open(tmp_path / "restored", InlineCommitter(), incarnation_random=Random(3))
    assert restored.digest() == expected
    assert restored.status().leases == 1
    restored.close()


def test_a_snapshot_of_an_empty_store(store, tmp_path):
    outcomes: Outcomes = []
    store.snapshot(tmp_path / "copy", outcomes.append)
    assert outcomes == [None]
    report = verify(tmp_path / "copy")
    assert (report.problem, report.head, report.keys) == (None, 0, 0)


def open_with(open_store: OpenStore, committer: ManualCommitter) -> Store:
    store = open_store(committer)
    while committer.waiting:
        committer.run_one()
    return store


def write_by_hand(store: Store, committer: ManualCommitter, count: int) -> None:
    for number in range(count):
        store.stage([Change(f"key-{number % 7}", b"%d;" % number * 20)])
        store.commit(lambda _: None)
        committer.run_one()


def test_a_snapshot_without_a_name_is_the_store_as_it_was_asked_for(
    open_store, manual_committer, tmp_path, small_steps, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = open_with(open_store, manual_committer)
    write_by_hand(store, manual_committer, 30)
    expected = store.digest()
    opened: list[object] = []
    store.open_snapshot(opened.append)
    for refused in (
        lambda: store.open_snapshot(opened.append),
        lambda: store.snapshot(tmp_path / "copy", opened.append),
        lambda: store.defragment(opened.append),
    ):
        with pytest.raises(CopyUnderWay, match="wait for its end"):
            refused()
    store.compact(store.head)
    while not opened:
        assert not store.sweep_step()  # It needs what the sweep would erase.
        manual_committer.run_one()
        store.stage([Change("key-1", b"later")])
        store.commit(lambda _: None)
        while not opened and len(manual_committer.waiting) > 1:
            manual_committer.run_one()
        while manual_committer.waiting and store.head < store.staged_head:
            manual_committer.run_one()
    [file] = opened
    (tmp_path / "received").write_bytes(file.read())
    file.close()
    assert not [path for path in tmp_path.rglob("*") if "outgoing" in path.name or path.name.startswith("ursa-")]
    report = verify(tmp_path / "received")
    assert (report.problem, report.head) == (None, 30)
    restore(tmp_path / "received", tmp_path / "restored", Random(2))
    restored = LmdbStore.open(tmp_path / "restored", InlineCommitter(), incarnation_random=Random(3))
    assert restored.digest() == expected
    restored.close()
    again: Outcomes = []
    store.snapshot(tmp_path / "copy", again.append)
    while not again:
        manual_committer.run_one()
    assert again == [None]


@pytest.mark.parametrize("how", ["named", "unnamed"])
def test_a_store_that_is_closed_during_a_snapshot_says_so_and_leaves_nothing(
    how, open_store, manual_committer, tmp_path, small_steps, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "here"))
    store = open_with(open_store, manual_committer)
    write_by_hand(store, manual_committer, 20)
    outcomes: list[object] = []
    if how == "named":
        store.snapshot(tmp_path / "here" / "copy", outcomes.append)
    else:
        store.open_snapshot(outcomes.append)
    manual_committer.run_one()
    store.close()
    [error] = outcomes
    assert isinstance(error, StoreError)
    assert "closed before the snapshot was whole" in str(error)
    assert os.listdir(tmp_path / "here") == []
    assert not list(tmp_path.rglob("outgoing*"))


def test_what_a_killed_process_left_of_a_snapshot_is_removed_at_opening(tmp_path):
    LmdbStore.open(tmp_path, InlineCommitter(), incarnation_random=Random(1)).close()
    for name in ("outgoing.snapshot", "outgoing.snapshot.partial"):
        (tmp_path / name).write_bytes(b"left")
    LmdbStore.open(tmp_path, InlineCommitter(), incarnation_random=Random(1)).close()
    assert not list(tmp_path.glob("outgoing*"))


# --- opened for reading only -----------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    store = LmdbStore.open(tmp_path / "store", InlineCommitter(), incarnation_random=Random(1))
    fill(store)
    store.close()
    return tmp_path / "store"


def content(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(directory.iterdir())}


def test_a_store_opened_for_reading_answers_and_changes_nothing(directory):
    store = LmdbStore.open(directory, InlineCommitter(), incarnation_random=Random(1))
    expected, status = store.digest(), store.status()
    with pytest.raises(StoreInUse, match=f"{directory}: in use by process {os.getpid()}"):
        LmdbStore.open_read_only(directory)
    store.close()
    with mock.patch("ursa.storage.lmdb_store.CHECKPOINT_CHANGES_AT_CLOSE", 1):
        before = content(directory)
        reader = LmdbStore.open_read_only(directory)
        assert (reader.digest(), reader.status()) == (expected, status)
        refusals: list[Callable[[], object]] = [
            lambda: reader.stage([Change("a", b"")]),
            lambda: reader.commit(lambda _: None),
            lambda: reader.compact(5),
            reader.sweep_step,
            lambda: reader.defragment(lambda _: None),
            lambda: LmdbStore.open(directory, InlineCommitter(), incarnation_random=Random(1)),
        ]
        for refused in refusals:
            with pytest.raises(StoreError, match=r"for reading only|in use"):
                refused()
        reader.close()
    assert content(directory) == before
    LmdbStore.open(directory, InlineCommitter(), incarnation_random=Random(1)).close()


def test_the_data_of_a_store_alone_can_be_looked_at(directory, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "data.mdb").write_bytes((directory / "data.mdb").read_bytes())
    reader = LmdbStore.open_read_only(tmp_path / "copy")
    assert reader.head == 30
    reader.close()
    assert os.listdir(tmp_path / "copy") == ["data.mdb"]
    for missing in (tmp_path / "missing", tmp_path):
        with pytest.raises(StoreError, match=str(missing)):
            LmdbStore.open_read_only(missing)
    assert not (tmp_path / "missing").exists()


def test_a_snapshot_in_memory_holds_what_a_slow_committer_was_still_writing(tmp_path, small_steps):
    """What is committed and not yet published is not in it; what is erased in front of it is not looked for."""
    committer = ManualCommitter()
    store = MemoryStore(committer, incarnation="one")
    write_by_hand(store, committer, 20)
    store.compact(15)
    while not committer.waiting:
        assert store.sweep_step()
    store.stage([Change("a", b"")])
    store.commit(lambda _: None)
    outcomes: Outcomes = []
    store.snapshot(tmp_path / "copy", outcomes.append)
    while not outcomes:
        committer.run_one()
    assert outcomes == [None]
    report = verify(tmp_path / "copy")
    assert (report.problem, report.head, report.compacted) == (None, 20, 15)
    store.close()
