"""Disks that are full, or can only be read: a clear line, nothing acknowledged is lost, with room it goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from ursa.proto.errors import StoreError
from ursa.storage import Change, InlineCommitter, LmdbStore, lmdb_store
from ursa.storage.directory import LMDB_LOCK_FILE
from ursa.storage.snapshot import restore
from ursa.storage.verify import verify

DISK_BYTES = 4 << 20


def mount(path: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, path], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk of its own for this test: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root on Linux can make a disk for this test")
    path = tmp_path / "disk"
    path.mkdir()
    mount(path, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def open_store(path: Path, on_fatal: Callable[[BaseException], None] | None = None) -> LmdbStore:
    options = {} if on_fatal is None else {"on_fatal": on_fatal}
    return LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1), **options)


def fill(disk: Path, leave_bytes: int) -> Path:
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    ballast.write_bytes(bytes(max(0, free - leave_bytes)))
    return ballast


def test_a_full_disk_is_fatal_and_everything_acknowledged_is_there_once_there_is_room(disk):
    fatal: list[BaseException] = []
    acknowledged = []
    store = open_store(disk / "store", fatal.append)
    ballast = fill(disk, 1 << 20)
    while not fatal:
        store.stage([Change(f"key-{store.staged_head % 50}", bytes(20_000))])
        store.commit(acknowledged.extend)
    assert len(acknowledged) > 10
    assert re.search(r"the disk has only \d+ bytes left", str(fatal[0]))
    assert "look after the disk" in str(fatal[0])
    assert "\n" not in str(fatal[0])
    with pytest.raises(StoreError, match="bytes left"):
        store.stage([Change("a", b"")])
    assert list(store.log(0)) == acknowledged  # It still reads.
    store.close()
    store = open_store(disk / "store")  # Opening needs no room.
    assert list(store.log(0)) == acknowledged
    store.close()
    ballast.unlink()
    store = open_store(disk / "store")
    store.stage([Change("a", b"1")])
    store.commit(acknowledged.extend)
    assert store.head == len(acknowledged)
    store.close()
    assert verify(disk / "store").problem is None


def test_copies_that_find_no_room_leave_nothing_and_the_store_goes_on(disk, tmp_path):
    store = open_store(disk / "store")
    store.stage([Change(f"key-{number}", bytes(10_000)) for number in range(100)])
    store.commit(lambda _: None)
    store.snapshot(tmp_path / "whole", lambda _: None)
    fill(disk, 512 << 10)
    names = sorted(os.listdir(disk / "store"))
    for copy in (lambda done: store.snapshot(disk / "copy", done), store.defragment):
        outcomes: list[BaseException | None] = []
        copy(outcomes.append)
        assert isinstance(outcomes[0], StoreError)
        assert re.search(r"the disk has only \d+ bytes left", str(outcomes[0]))
        assert sorted(os.listdir(disk / "store")) == names
        store.stage([Change("a", b"1")])
        store.commit(lambda _: None)
    assert sorted(os.listdir(disk)) == ["ballast", "store"]
    with pytest.raises(StoreError, match=r"restored: .*the disk has only \d+ bytes left"):
        restore(tmp_path / "whole", disk / "restored", Random(2))
    (disk / "ballast").unlink()
    restore(tmp_path / "whole", disk / "restored", Random(2))
    assert verify(disk / "restored").keys == 100
    store.close()


@pytest.mark.parametrize("left_bytes", [0, 4096, 8192, 12288, 16384, 20480])
def test_a_disk_without_a_single_page_is_told_not_died_of(disk, left_bytes):
    """LMDB maps its table of readers: without a page for it the process gets SIGBUS."""
    store = open_store(disk / "store")
    store.stage([Change(f"key-{number}", bytes(10_000)) for number in range(50)])
    store.commit(lambda _: None)
    ballast = fill(disk, left_bytes)
    outcomes: list[BaseException | None] = []
    store.defragment(outcomes.append)
    assert re.search(r"the disk has only \d+ bytes left", str(outcomes[0]))
    store.close()
    (disk / "store" / LMDB_LOCK_FILE).unlink()
    ballast.write_bytes(bytes(ballast.stat().st_size))  # What the file had is free; the rest goes, too.
    fill_more = disk / "more"
    fill_more.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
    with pytest.raises(StoreError, match="bytes left"):
        open_store(disk / "store")
    fill_more.unlink()
    ballast.unlink()
    store = open_store(disk / "store")
    assert store.head == 50
    store.close()


def test_a_checkpoint_that_finds_no_room_is_done_without(disk, caplog):
    with mock.patch.object(lmdb_store, "CHECKPOINT_CHANGES_AT_CLOSE", 1):
        store = open_store(disk / "store")
        store.stage([Change(f"{'k' * 500}-{number}", b"") for number in range(1000)])
        store.commit(lambda _: None)
        ballast = fill(disk, 0)
        store.close()
        assert "could not be written" in caplog.text
        store = open_store(disk / "store")
        assert store.head == 1000
        ballast.unlink()
        store.close()
    report = verify(disk / "store")
    assert (report.problem, report.checkpoint) == (None, "good")


def test_a_disk_that_can_only_be_read(disk):
    store = open_store(disk / "store")
    store.stage([Change("a", b"1")])
    store.commit(lambda _: None)
    store.close()
    mount(disk, "-o", "remount,ro")
    with pytest.raises(StoreError, match=f"{disk}/store: no permission: let this user read and write"):
        open_store(disk / "store")
    assert (verify(disk / "store").problem, verify(disk / "store").head) == (None, 1)
    looked_at = LmdbStore.open_read_only(disk / "store")
    assert looked_at.get("a").value == b"1"
    looked_at.close()
    with pytest.raises(StoreError, match="no permission"):
        open_store(disk / "new")
    mount(disk, "-o", "remount,rw")
    store = open_store(disk / "store")
    assert store.get("a").value == b"1"
    store.close()
