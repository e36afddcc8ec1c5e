"""The simulated disk itself: what it may leave of what was not synced, and that it leaves what was; the trace of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from . import disk_trace
from .disk import PAGE_BYTES, SECTOR_BYTES, Directory, Disk, Draw, File
from .disk_trace import Event, Replay, parse

NOTHING, EVERYTHING = 0.0, 1.0


def left(disk: Disk, share: float | None = None, seed: int = 0) -> dict[str, bytes | None]:
    return disk.crash(Draw(Random(seed), share))


def all_left(disk: Disk, count: int = 300) -> list[dict[str, bytes | None]]:
    """What many crashes may leave, each outcome once."""
    outcomes = [left(disk, seed=seed) for seed in range(count)]
    return [outcome for number, outcome in enumerate(outcomes) if outcome not in outcomes[:number]]


def a_synced_file(disk: Disk, path: str, content: bytes) -> File:
    file = disk.create(path)
    file.write(0, content)
    file.sync(file.mark())
    folder = disk.find(path.rpartition("/")[0])
    assert isinstance(folder, Directory)
    disk.sync_names(folder)
    return file


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_was_synced_is_there_whatever_else_is_lost():
    disk = Disk()
    a_synced_file(disk, "a", b"content")
    assert all_left(disk) == [{"a": b"content"}]


def test_pages_reach_the_disk_one_without_another():
    disk = Disk()
    file = a_synced_file(disk, "a", b"1" * 2 * PAGE_BYTES)
    file.write(0, b"2" * 2 * PAGE_BYTES)
    pages = [(content[0:1], content[PAGE_BYTES:][:1]) for image in all_left(disk) for content in [image["a"]]]
    for outcome in ((b"1", b"1"), (b"1", b"2"), (b"2", b"1"), (b"2", b"2")):
        assert outcome in pages


def test_a_page_is_torn_between_sectors_and_only_there():
    disk = Disk()
    file = a_synced_file(disk, "a", b"1" * PAGE_BYTES)
    file.write(0, b"2" * PAGE_BYTES)
    sectors = [
        [image["a"][start : start + SECTOR_BYTES] for start in range(0, PAGE_BYTES, SECTOR_BYTES)]
        for image in all_left(disk)
    ]
    assert any(b"1" * SECTOR_BYTES in page and b"2" * SECTOR_BYTES in page for page in sectors)
    assert all(sector in (b"1" * SECTOR_BYTES, b"2" * SECTOR_BYTES) for page in sectors for sector in page)


def test_any_version_of_a_page_may_be_the_last_to_have_reached_the_disk():
    disk = Disk()
    file = a_synced_file(disk, "a", b"1")
    file.write(0, b"2")
    file.write(0, b"3")
    assert sorted(image["a"] for image in all_left(disk)) == [b"1", b"2", b"3"]


def test_a_file_may_have_its_size_without_its_data_and_the_other_way_round():
    disk = Disk()
    file = a_synced_file(disk, "a", b"")
    file.write(0, b"1" * PAGE_BYTES)
    outcomes = [image["a"] for image in all_left(disk)]
    assert b"" in outcomes
    assert bytes(PAGE_BYTES) in outcomes
    assert b"1" * PAGE_BYTES in outcomes
    assert any(content.strip(b"\0" + b"1") for content in outcomes), "what lay there before may be found"


def test_a_sync_covers_what_was_written_before_it_began():
    disk = Disk()
    file = a_synced_file(disk, "a", b"1")
    file.write(0, b"2")
    mark = file.mark()
    file.write(0, b"3")
    file.sync(mark)
    assert sorted(image["a"] for image in all_left(disk)) == [b"2", b"3"]


def test_writing_through_a_synchronous_descriptor_leaves_other_pages_open():
    disk = Disk()
    file = a_synced_file(disk, "a", b"1" * 2 * PAGE_BYTES)
    file.write(PAGE_BYTES, b"2")
    file.write(0, b"2")
    file.sync(file.mark_written(0, 1))
    outcomes = [(image["a"][:1], image["a"][PAGE_BYTES : PAGE_BYTES + 1]) for image in all_left(disk)]
    assert sorted(outcomes) == [(b"2", b"1"), (b"2", b"2")]


def test_what_was_cut_off_is_zero_when_the_file_grows_again():
    disk = Disk()
    file = a_synced_file(disk, "a", b"1" * 10)
    file.resize(5)
    file.resize(10)
    assert file.content() == b"1" * 5 + bytes(5)
    assert left(disk, EVERYTHING)["a"] == file.content()
    assert left(disk, NOTHING)["a"] == b"1" * 10


WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3 * PAGE_BYTES), st.integers(1, 2 * PAGE_BYTES)),
        st.tuples(st.just("resize"), st.integers(0, 4 * PAGE_BYTES), st.just(0)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@given(WRITES, st.integers(0, 1000))
def test_a_crash_that_loses_nothing_leaves_what_was_read_and_one_that_loses_all_what_was_synced(writes, seed):
    disk = Disk()
    file = a_synced_file(disk, "a", b"")
    content, synced, versions = b"", b"", [b""]
    for number, (what, place, length) in enumerate(writes):
        if what == "sync":
            file.sync(file.mark())
            synced, versions = content, [content]
        elif what == "resize":
            file.resize(place)
            content = content[:place].ljust(place, b"\0")
        else:
            data = bytes([number + 1]) * length
            file.write(place, data)
            content = content[:place].ljust(place, b"\0") + data + content[place + length :]
        versions.append(content)
        assert file.content() == content
    assert left(disk, EVERYTHING)["a"] == content
    assert left(disk, NOTHING)["a"] == synced
    found = left(disk, seed=seed)["a"]
    assert len(found) in [len(version) for version in versions]
    # What did not change since it was synced is as it was.
    for start in range(0, min(map(len, (*versions, found))), PAGE_BYTES):
        end = min(start + PAGE_BYTES, *map(len, versions))
        if all(version[start:end] == synced[start:end] for version in versions):
            assert found[start:end] == synced[start:end]


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_name_is_durable_when_its_directory_is_synced_and_not_when_the_file_is():
    disk = Disk()
    disk.make_directory("folder")
    disk.sync_names(disk.find(""))
    file = disk.create("folder/a")
    file.write(0, b"1")
    file.sync(file.mark())
    assert left(disk, NOTHING) == {"folder": None}
    disk.sync_names(disk.find("folder"))
    assert left(disk, NOTHING) == {"folder": None, "folder/a": b"1"}


def test_syncing_a_directory_does_not_keep_its_own_name():
    disk = Disk()
    disk.make_directory("folder")
    a_synced_file(disk, "folder/a", b"1")
    assert left(disk, NOTHING) == {}
    disk.sync_names(disk.find(""))
    assert left(disk, NOTHING) == {"folder": None, "folder/a": b"1"}


def test_a_rename_happens_whole_or_not_at_all():
    disk = Disk()
    a_synced_file(disk, "old", b"1")
    a_synced_file(disk, "new", b"2")
    disk.rename("old", "new")
    outcomes = all_left(disk)
    assert len(outcomes) == 2
    assert {"new": b"1"} in outcomes
    assert {"old": b"1", "new": b"2"} in outcomes
    disk.sync_names(disk.find(""))
    assert all_left(disk) == [{"new": b"1"}]


def test_changes_of_different_names_are_independent_and_those_of_one_keep_their_order():
    disk = Disk()
    a_synced_file(disk, "a", b"1")
    disk.create("b")
    disk.remove("a")
    outcomes = [sorted(image) for image in all_left(disk)]
    for outcome in ([], ["a"], ["b"], ["a", "b"]):
        assert outcome in outcomes
    disk.create("a")  # There again, empty, only once the old one is gone.
    assert {image.get("a") for image in all_left(disk)} == {b"1", b"", None}
    assert sorted(left(disk, EVERYTHING)) == ["a", "b"]


def test_a_name_is_not_given_again_before_it_was_moved_away():
    disk = Disk()
    a_synced_file(disk, "a", b"1")
    disk.rename("a", "b")
    disk.create("a")
    for image in (outcomes := all_left(disk)):
        assert b"1" in image.values()
    assert len(outcomes) == 3


def test_syncing_one_end_of_a_move_makes_what_led_to_it_durable():
    disk = Disk()
    for folder in ("from", "to"):
        disk.make_directory(folder)
    disk.sync_names(disk.find(""))
    file = disk.create("from/a")
    disk.rename("from/a", "to/a")
    file.write(0, b"1")
    file.sync(file.mark())
    assert left(disk, NOTHING) == {"from": None, "to": None}
    disk.sync_names(disk.find("to"))
    assert all_left(disk) == [{"from": None, "to": None, "to/a": b"1"}]


# --- the trace -------------------------------------------------------------------------------------------------------


def replay(text: str, tmp_path: Path) -> tuple[Disk, list[list[str]]]:
    """Of a trace in which what is quoted is not yet in hexadecimal."""
    parts = text.split('"')
    parts[1::2] = ["".join(f"\\x{byte:02x}" for byte in part.encode()) for part in parts[1::2]]
    (tmp_path / "trace").write_text('"'.join(parts))
    marks: list[list[str]] = []
    replaying = Replay(Path("/disk"), marks.append)
    for event in parse(tmp_path / "trace"):
        replaying.apply(event)
    return replaying.disk, marks


def test_calls_are_told_apart_by_their_threads(tmp_path):
    trace = """\
7 openat(AT_FDCWD, "/disk/a", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3
7 openat(AT_FDCWD, "/elsewhere/a", O_RDWR|O_CREAT, 0600) = 4
7 pwrite64(3, "one", 3, 0) = 3
7 fdatasync(3 <unfinished ...>
8 pwrite64(3, "two", 3, 0 <unfinished ...>
7 <... fdatasync resumed>)                 = 0
8 <... pwrite64 resumed>)                  = 3
8 write(4, "three", 5) = 5
8 write(1, "mark acknowledged 7", 19) = 19
"""
    disk, marks = replay(trace, tmp_path)
    assert marks == [["acknowledged", "7"]]
    disk.sync_names(disk.find(""))
    assert {image["a"] for image in all_left(disk)} == {b"one", b"two"}


def test_positions_vectors_and_synchronous_descriptors(tmp_path):
    trace = """\
7 openat(AT_FDCWD, "/disk/a", O_RDWR|O_CREAT, 0600) = 3
7 openat(AT_FDCWD, "/disk/a", O_WRONLY|O_DSYNC|O_CLOEXEC) = 4
7 lseek(3, 2, SEEK_SET) = 2
7 writev(3, [{iov_base="ab", iov_len=2}, {iov_base="c", iov_len=1}], 2) = 3
7 write(3, "d", 1) = 1
7 pwritev(3, [{iov_base="e", iov_len=1}, {iov_base="f", iov_len=1}], 2, 4096) = 2
7 pwrite64(4, "xy", 2, 0) = 2
7 ftruncate(3, 5000) = 0
7 fallocate(3, 0, 0, 6000) = 0
7 close(4) = 0
7 openat(AT_FDCWD, "/disk", O_RDONLY|O_DIRECTORY) = 4
7 fsync(4) = 0
"""
    disk, _ = replay(trace, tmp_path)
    content = b"xyabcd".ljust(4096, b"\0") + b"ef"
    assert left(disk, EVERYTHING) == {"a": content.ljust(6000, b"\0")}
    assert left(disk, NOTHING) == {"a": b"xyabcd".ljust(4096, b"\0") + bytes(2)}


def test_a_file_that_is_opened_to_be_written_anew_is_emptied_but_not_yet_on_the_disk(tmp_path):
    trace = """\
7 openat(AT_FDCWD, "/disk/a", O_RDWR|O_CREAT, 0600) = 3
7 write(3, "before", 6) = 6
7 fsync(3) = 0
7 openat(AT_FDCWD, "/disk", O_RDONLY|O_DIRECTORY) = 4
7 fsync(4) = 0
7 openat(AT_FDCWD, "/disk/a", O_WRONLY|O_TRUNC) = 5
7 write(5, "now", 3) = 3
"""
    disk, _ = replay(trace, tmp_path)
    assert left(disk, EVERYTHING) == {"a": b"now"}
    assert left(disk, NOTHING) == {"a": b"before"}


def test_names_given_by_an_open_directory_and_calls_that_failed(tmp_path):
    trace = """\
7 mkdir("/disk/folder", 0700) = 0
7 mkdir("/disk/folder", 0700) = -1 EEXIST (File exists)
7 openat(AT_FDCWD, "/disk/folder/a", O_RDWR|O_CREAT, 0600) = 3
7 openat(AT_FDCWD, "/disk/folder/b", O_RDWR|O_CREAT, 0600) = 4
7 openat(AT_FDCWD, "/disk/folder/none", O_RDONLY) = -1 ENOENT (No such file or directory)
7 rename("/disk/folder/b", "/disk/c") = 0
7 openat(AT_FDCWD, "/disk/folder", O_RDONLY|O_DIRECTORY) = 5
7 unlinkat(5, "a", 0) = 0
"""
    disk, _ = replay(trace, tmp_path)
    assert left(disk, EVERYTHING) == {"folder": None, "c": b""}


@pytest.mark.parametrize(
    "call",
    [
        'truncate("/disk/a", 3) = 0',
        "dup(3) = 4",
        "sync() = 0",
        "msync(0x7f00, 4096, MS_SYNC) = 0",
        'link("/disk/a", "/disk/b") = 0',
        "fsync(3) = -1 EIO (Input/output error)",
        'write(3, "abc", 3) = 2',
        'rename("/disk/a", "/elsewhere/a") = 0',
        'openat(AT_FDCWD, "/disk/b", O_WRONLY) = 5',
    ],
)
def test_what_cannot_be_simulated_is_refused(call, tmp_path):
    with pytest.raises(AssertionError, match=r"simulate|cannot do|edge of the folder|before it was traced"):
        replay(f'7 openat(AT_FDCWD, "/disk/a", O_RDWR|O_CREAT, 0600) = 3\n7 {call}\n', tmp_path)


WRITER = """
import os, shutil, sys
folder = sys.argv[1]
os.write(1, b"mark begun")
os.mkdir(folder + "/sub")
with open(folder + "/sub/a", "wb") as file:
    file.write(b"x" * 10000)
    file.flush()
    os.fsync(file.fileno())
os.rename(folder + "/sub/a", folder + "/b")
with open(folder + "/b", "r+b") as file:
    file.seek(5000)
    file.write(bytes(range(256)))
with open(folder + "/sub/c", "w") as file:
    file.write("unwanted")
shutil.rmtree(folder + "/sub")
"""


@pytest.mark.skipif(disk_trace.missing() is not None, reason=str(disk_trace.missing()))
def test_a_real_trace_replayed_gives_what_the_process_wrote(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    impossible = disk_trace.run([sys.executable, "-c", WRITER, str(folder)], tmp_path / "trace")
    if impossible:
        pytest.skip(impossible)
    marks: list[list[str]] = []
    replaying = Replay(folder, marks.append)
    events: list[Event] = [event for event in parse(tmp_path / "trace") if replaying.apply(event)]
    assert marks == [["begun"]]
    assert len(events) > 10
    assert left(replaying.disk, EVERYTHING) == {"b": (folder / "b").read_bytes()}
    assert left(replaying.disk, NOTHING) == {}


@pytest.mark.skipif(disk_trace.missing() is not None, reason=str(disk_trace.missing()))
def test_a_traced_command_that_fails_is_no_reason_to_skip(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        disk_trace.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "trace")
