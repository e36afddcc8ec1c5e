"""Copies of a store made while it is written to: snapshots, what is restored from them, and defragmentation."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from ursa.proto.errors import Compacted, StoreCorrupt, StoreError, StoreIncompatible
from ursa.storage import Change, InlineCommitter, LmdbStore, ThreadCommitter, snapshot, sweep
from ursa.storage.snapshot import REVISIONS_FORWARD, restore
from ursa.storage.verify import verify

from . import test_store_checkpoint as checkpoints
from .conftest import ManualCommitter


def open_store(path: Path, committer: object = None) -> LmdbStore:
    return LmdbStore.open(path, committer or InlineCommitter(), incarnation_random=Random(1))


def write(store: LmdbStore, count: int = 10) -> None:
    """Puts on a few keys, now and then a deletion."""
    for _ in range(count):
        revision = store.staged_head + 1
        key = f"key-{revision % 7}"
        deleted = revision % 5 == 0 and bool(store._index.newest(key)[0])
        store.stage([Change(key, b"%d;" % revision * 50, deleted)])
    store.commit(lambda _: None)


@pytest.fixture
def small_steps() -> Iterator[None]:
    with mock.patch.multiple(snapshot, COPY_RECORDS=3):
        yield


def unexpected(error: BaseException | None) -> None:
    if error is not None:
        raise error


class CopyMachine(checkpoints.CheckpointMachine):
    """The whole model, while snapshots are taken and restored and the file is replaced, all in tiny steps."""

    def __init__(self) -> None:
        super().__init__()
        self.patches.enter_context(mock.patch.object(snapshot, "COPY_RECORDS", 2))
        self.copying = False
        self.copies = 0

    def copied(self, error: BaseException | None) -> None:
        assert error is None or "was closed before" in str(error)
        self.copying = False

    @precondition(lambda self: not self.copying)
    @rule()
    def defragment(self) -> None:
        self.copying = True
        self.store.defragment(self.copied)

    @precondition(lambda self: not self.copying)
    @rule(meanwhile=st.integers(0, 6))
    def snapshot(self, meanwhile: int) -> None:
        self.copies += 1
        path = Path(self.path) / f"snapshot-{self.copies}"
        expected, head = list(self.state(self.head).values()), self.head
        self.copying = True
        self.store.snapshot(path, self.copied)
        for _ in range(meanwhile):
            if self.committer.waiting and not self.committing:
                self.write([("a", False)])
        while self.copying:
            self.committer.run_one()
        report = verify(path)
        assert (report.problem, report.head) == (None, head)
        target = Path(self.path) / f"restored-{self.copies}"
        assert restore(path, target, Random(self.copies)) == head + REVISIONS_FORWARD
        assert verify(target).problem is None
        restored = open_store(target)
        assert list(restored.range("")) == expected
        restored.close()

    def open(self) -> LmdbStore:
        self.copying = False
        store = super().open()
        assert not (Path(self.path) / "defragment").exists()
        return store

    @rule()
    def nothing_leaks(self) -> None:
        while self.committer.waiting:
            self.committer.run_one()
        super().nothing_leaks()


TestCopiesAgainstTheModel = CopyMachine.TestCase
TestCopiesAgainstTheModel.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_snapshot_is_the_store_as_it_was_when_asked_for(tmp_path, small_steps):
    committer = ManualCommitter()
    store = open_store(tmp_path / "store", committer)
    write(store, 30)
    committer.run_one()
    expected, digest = list(store.log(0)), store.digest()
    outcomes: list[BaseException | None] = []
    store.snapshot(tmp_path / "copy", outcomes.append)
    rounds = 0
    while not outcomes:
        rounds += 1
        if not store._committing:
            write(store, 4)
            store.compact(store.head)
        assert not (tmp_path / "copy").exists()
        assert not store.sweep_step()
        committer.run_one()
    assert outcomes == [None]
    assert rounds > 10
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    store.close()
    report = verify(tmp_path / "copy")
    assert (report.problem, report.head, report.compacted, report.incarnation) == (None, 30, 0, store.incarnation)
    restore(tmp_path / "copy", tmp_path / "restored", Random(2))
    restored = open_store(tmp_path / "restored")
    assert restored.digest() == digest
    newest = {record.key: record for record in expected}
    assert list(restored.range("")) == [newest[key] for key in sorted(newest) if not newest[key].deleted]
    restored.close()


def test_a_restored_store_cannot_be_taken_for_the_old_one(tmp_path):
    store = open_store(tmp_path / "store")
    write(store, 20)
    store.snapshot(tmp_path / "copy", unexpected)
    incarnation = store.incarnation
    store.close()
    assert restore(tmp_path / "copy", tmp_path / "restored", Random(2)) == 20 + REVISIONS_FORWARD
    restored = open_store(tmp_path / "restored")
    assert restored.incarnation != incarnation
    assert restored.head == restored.compacted == 20 + REVISIONS_FORWARD
    for revision in (0, 19, 20, 21, restored.head - 1):
        with pytest.raises(Compacted):
            restored.log(revision)
        with pytest.raises(Compacted):
            restored.range("", revision=revision)
    record = next(restored.range(""))
    (after,) = restored.stage([Change(record.key, b"on it goes", expected_revision=record.revision)])
    assert (after.revision, after.create_revision) == (restored.head + 1, record.create_revision)
    restored.commit(lambda _: None)
    restored.close()
    assert verify(tmp_path / "restored").problem is None


def test_restoring_refuses_what_it_should(tmp_path):
    store = open_store(tmp_path / "store")
    write(store, 20)
    store.snapshot(tmp_path / "copy", unexpected)
    with pytest.raises(StoreError, match="exists already"):
        store.snapshot(tmp_path / "copy", unexpected)
    store.close()
    with pytest.raises(StoreError, match="not empty: give an empty or a new one"):
        restore(tmp_path / "copy", tmp_path / "store", Random(2))
    with pytest.raises(StoreError, match=f"{tmp_path}/missing: there is no snapshot"):
        restore(tmp_path / "missing", tmp_path / "restored", Random(2))
    (tmp_path / "text").write_text("something else" * 1000)
    with pytest.raises(StoreIncompatible, match=f"{tmp_path}/text: "):
        restore(tmp_path / "text", tmp_path / "restored", Random(2))
    data = (tmp_path / "copy").read_bytes()
    assert b"17;17;" in data
    (tmp_path / "copy").write_bytes(data.replace(b"17;17;", b"18;17;"))
    with pytest.raises(StoreCorrupt, match="copy: revision 17 fails its checksum"):
        restore(tmp_path / "copy", tmp_path / "restored", Random(2))
    assert not (tmp_path / "restored").exists()


def test_damage_is_found_not_copied_and_the_store_goes_on(tmp_path):
    store = open_store(tmp_path / "store")
    write(store, 20)
    data = tmp_path / "store" / "data.mdb"
    content = data.read_bytes()
    with data.open("r+b") as file:
        file.write(content.replace(b"17;17;", b"18;17;"))
    for copy in (lambda done: store.snapshot(tmp_path / "copy", done), store.defragment):
        outcomes: list[BaseException | None] = []
        copy(outcomes.append)
        assert isinstance(outcomes[0], StoreCorrupt)
        assert "revision 17 fails its checksum" in str(outcomes[0])
        write(store, 1)
    assert sorted(os.listdir(tmp_path)) == ["store"]
    assert sorted(os.listdir(tmp_path / "store")) == ["data.mdb", "lock.mdb", "store.lock"]
    store.close()


def test_defragmentation_gives_room_back_and_loses_nothing(tmp_path):
    store = open_store(tmp_path)
    for _ in range(30):
        store.stage([Change(f"key-{number}", bytes(10_000)) for number in range(20)])
        store.commit(lambda _: None)
    store.compact(store.head)
    while store.sweep_step():
        pass
    before, expected = store.status(), list(store.range(""))
    store.defragment(unexpected)
    after = store.status()
    assert after.bytes_on_disk < before.bytes_on_disk / 5
    assert list(store.range("")) == expected
    write(store, 10)
    assert store.head == before.head + 10
    with pytest.raises(StoreError, match="in use by process"):
        open_store(tmp_path)
    store.close()
    assert verify(tmp_path).problem is None
    store = open_store(tmp_path)
    assert store.head == before.head + 10
    store.close()


def test_the_replaced_file_is_given_back_in_bounded_steps(tmp_path, monkeypatch):
    """Commits come in between: freeing a file of gigabytes takes a disk seconds."""
    monkeypatch.setattr(snapshot, "RELEASE_BYTES", 1 << 17)
    committer = ManualCommitter()
    store = open_store(tmp_path, committer)
    store.stage([Change(f"key-{number}", bytes(10_000)) for number in range(100)])
    store.commit(lambda _: None)
    committer.run_one()
    size = store.status().bytes_on_disk
    outcomes: list[BaseException | None] = []
    store.defragment(outcomes.append)
    seen = [size]
    while not outcomes:
        committer.run_one()
        replaced = [
            os.stat(f"/proc/self/fd/{name}").st_size
            for name in os.listdir("/proc/self/fd")
            if (link := Path(f"/proc/self/fd/{name}")).is_symlink() and os.readlink(link).endswith("data.mdb (deleted)")
        ]
        seen += replaced[-1:]
    assert outcomes == [None]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] <= 1 << 17
    assert max(before - after for before, after in pairwise(seen)) == 1 << 17
    assert not replaced
    store.close()
    assert verify(tmp_path).problem is None


def test_a_copy_by_a_thread_that_is_broken_off_by_closing_says_so_and_leaves_nothing(tmp_path, small_steps):
    for number, start in enumerate((lambda s, done: s.snapshot(tmp_path / "copy", done), LmdbStore.defragment)):
        path = tmp_path / f"store-{number}"
        store = open_store(path, ThreadCommitter(lambda _: None))
        # So many that a copy is not over before the close, however the threads take turns.
        store.stage([Change(f"key-{each}", bytes(100)) for each in range(3000)])
        outcomes: list[BaseException | None] = []
        start(store, outcomes.append)
        store.close()
        assert "closed before" in str(outcomes[0])
        assert sorted(os.listdir(path)) == ["data.mdb", "lock.mdb", "store.lock"]
        assert not list(tmp_path.glob("copy*"))


def test_commits_and_reads_go_on_through_a_defragmentation_by_a_thread(tmp_path, small_steps):
    loop: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    store = open_store(tmp_path, ThreadCommitter(loop.put))
    outcomes: list[BaseException | None] = []
    acknowledged: list[int] = []

    def again(batch: object) -> None:
        acknowledged.extend(record.revision for record in batch)
        assert sum(1 for _ in store.log(0)) == store.head
        if not outcomes:
            store.stage([Change(f"key-{store.staged_head % 5}", bytes(100))])
            store.commit(again)

    write_first = [Change(f"key-{number}", bytes(100)) for number in range(100)]
    store.stage(write_first)
    store.commit(again)
    loop.get(timeout=10)()
    store.defragment(outcomes.append)
    with pytest.raises(StoreError, match="under way"):
        store.snapshot(tmp_path / "copy", unexpected)
    while not outcomes or store._committing:
        loop.get(timeout=10)()
    assert outcomes == [None]
    assert len(acknowledged) > 110
    store.close()
    assert verify(tmp_path).head == len(acknowledged)


def test_a_store_that_is_closed_during_a_copy_says_so_and_leaves_nothing(tmp_path, small_steps):
    for number, start in enumerate((lambda s, done: s.snapshot(tmp_path / "copy", done), LmdbStore.defragment)):
        committer = ManualCommitter()
        store = open_store(tmp_path / f"store-{number}", committer)
        write(store, 20)
        committer.run_one()
        outcomes: list[BaseException | None] = []
        start(store, outcomes.append)
        committer.run_one()
        store.close()
        assert "closed before" in str(outcomes[0])
        assert sorted(os.listdir(tmp_path / f"store-{number}")) == ["data.mdb", "lock.mdb", "store.lock"]
        assert not (tmp_path / "copy").exists()
        assert not (tmp_path / "copy.partial").exists()


def test_a_floor_that_moves_during_a_defragmentation_stays_where_it_is(tmp_path, small_steps):
    committer = ManualCommitter()
    store = open_store(tmp_path / "store", committer)
    write(store, 20)
    committer.run_one()
    outcomes: list[BaseException | None] = []
    store.defragment(outcomes.append)
    committer.run_one()
    store.compact(15)
    store.commit(lambda _: None)
    while not outcomes:
        committer.run_one()
    assert outcomes == [None]
    store.close()
    store = open_store(tmp_path / "store")
    assert store.compacted == 15
    store.close()


def test_a_sweep_waits_for_a_copy_and_goes_on_behind_it(tmp_path, small_steps):
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(sweep, "SWEEP_RECORDS", 2))
        committer = ManualCommitter()
        store = open_store(tmp_path / "store", committer)
        write(store, 40)
        committer.run_one()
        store.compact(35)
        for _ in range(3):
            store.sweep_step()
            if committer.waiting:
                committer.run_one()
        outcomes: list[BaseException | None] = []
        store.snapshot(tmp_path / "copy", outcomes.append)
        while not outcomes:
            committer.run_one()
        report = verify(tmp_path / "copy")
        assert (report.problem, report.head, report.compacted) == (None, 40, 35)
        while store.sweep_step() or committer.waiting:
            if committer.waiting:
                committer.run_one()
        store.close()
        assert verify(tmp_path / "store").records < report.records
