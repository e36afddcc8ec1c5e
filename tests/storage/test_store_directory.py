"""A data directory that cannot be used: one clear line that names it, and nothing in it is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import lmdb
import pytest
from ursa.proto.errors import StoreCorrupt, StoreError, StoreIncompatible, StoreInUse
from ursa.storage import Change, InlineCommitter, LmdbStore, ThreadCommitter

NOBODY = 65534


def open_store(path: Path, seed: int = 1) -> LmdbStore:
    return LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(seed))


def make_store(path: Path) -> None:
    """Revisions 1 to 5; 1 is compacted away."""
    store = open_store(path)
    for number in range(1, 6):
        store.stage([Change("a" if number < 3 else f"b{number}", b"value-%d" % number * 10)])
    store.commit(lambda _: None)
    store.compact(2)
    while store.sweep_step():
        pass
    store.close()


def tamper(path: Path, change: Callable[[lmdb.Transaction], object]) -> None:
    with lmdb.open(os.fspath(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        change(transaction)


def flip_a_byte_of(path: Path, text: bytes) -> None:
    """Everywhere: copy on write has left older copies of the page in the file."""
    data = path / "data.mdb"
    content = data.read_bytes()
    assert text in content
    with data.open("r+b") as file:  # In place: the file is mapped while the store is open.
        file.write(content.replace(text, bytes([text[0] ^ 0x20]) + text[1:]))


@contextmanager
def refused(path: Path, error: type[StoreError], *parts: str) -> Iterator[None]:
    """Opening fails with one line that names the directory, and leaves no descriptor, thread or lock behind."""
    descriptors = len(os.listdir("/proc/self/fd"))
    threads = threading.enumerate()
    with pytest.raises(error) as refusal:
        LmdbStore.open(path, ThreadCommitter(lambda _: None), incarnation_random=Random(1))
    assert type(refusal.value) is error
    text = str(refusal.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    for part in parts:
        assert part in text
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # what earlier tests left may close meanwhile
    assert [thread for thread in threading.enumerate() if thread not in threads] == []
    yield


def test_a_store_is_made_where_nothing_is_and_found_again(tmp_path):
    path = tmp_path / "new" / "store"
    store = open_store(path)
    store.stage([Change("a", b"1")])
    store.commit(lambda _: None)
    incarnation = store.incarnation
    store.close()
    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / "data.mdb").stat().st_mode & 0o777 == 0o600
    again = open_store(path, seed=2)
    assert (again.incarnation, again.head, again.get("a").value) == (incarnation, 1, b"1")
    again.close()
    other = open_store(tmp_path / "other", seed=2)
    assert other.incarnation != incarnation
    other.close()


def test_reopening_finds_the_keys_as_they_were(tmp_path):
    make_store(tmp_path)
    store = open_store(tmp_path)
    (record,) = store.stage([Change("a", b"3", expected_revision=2)])
    assert (record.create_revision, record.previous_revision) == (1, 2)
    store.close()


def test_a_store_in_use_here(tmp_path):
    store = open_store(tmp_path)
    with refused(tmp_path, StoreInUse, f"in use by process {os.getpid()}"):
        store.close()
    open_store(tmp_path).close()


HOLDER = """
import sys
from random import Random
from ursa.storage import InlineCommitter, LmdbStore
store = LmdbStore.open(sys.argv[1], InlineCommitter(), incarnation_random=Random(1))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_store_in_use_by_another_process_until_it_is_killed(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "open\n"
        with refused(tmp_path, StoreInUse, f"in use by process {holder.pid}"):
            holder.kill()
    open_store(tmp_path).close()


def test_another_format_version(tmp_path):
    make_store(tmp_path)
    tamper(tmp_path, lambda transaction: transaction.put(bytes(8), b"ursalog\0\x00\x07whatever version 7 says"))
    with refused(tmp_path, StoreIncompatible, "format version 7", "needs 1"):
        pass


def test_an_lmdb_environment_of_somebody_else(tmp_path):
    tamper(tmp_path, lambda transaction: transaction.put(b"their key", b"their value"))
    with refused(tmp_path, StoreIncompatible, "not the data of an Ursa store"):
        pass
    tamper(tmp_path, lambda transaction: transaction.get(b"their key") == b"their value" or pytest.fail("touched"))


def test_data_that_is_no_lmdb(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"junk" * 5000)
    with refused(tmp_path, StoreIncompatible, "not the data of an Ursa store"):
        assert (tmp_path / "data.mdb").read_bytes() == b"junk" * 5000


def test_a_directory_full_of_something_else_stays_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with refused(tmp_path, StoreIncompatible, "something else than a store"):
        assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_path_that_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with refused(path, StoreError, "cannot be used as a store", "File exists"):
        pass
    with refused(path / "below", StoreError, "cannot be used as a store", "Not a directory"):
        pass


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may do everything: then somebody else has to try."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_no_permission(tmp_path):
    for part in (tmp_path, *tmp_path.parents[:-1]):  # Nobody must get as far as the directory itself.
        if part.stat().st_uid == os.geteuid() and not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o011)
    path = tmp_path / "store"
    make_store(path)
    path.chmod(0o500)
    (path / "store.lock").unlink()
    with as_nobody(), refused(path, StoreError, "no permission", "let this user read and write"):
        pass
    with as_nobody(), refused(tmp_path / "missing" / "store", StoreError):
        pass


@pytest.mark.parametrize("left", ["nothing", "lock", "empty-data", "empty-tree", "data-not-on-the-disk"])
def test_a_creation_that_was_cut_off_is_taken_up_again(tmp_path, left):
    if left != "nothing":
        (tmp_path / "store.lock").write_text("4711\n")
    if left == "empty-data":
        (tmp_path / "data.mdb").write_bytes(b"")
    if left == "data-not-on-the-disk":  # As test_store_simulated_disk found it.
        (tmp_path / "data.mdb.new").write_bytes(bytes(8192))
    if left == "empty-tree":
        lmdb.open(os.fspath(tmp_path), map_size=1 << 24).close()
    store = open_store(tmp_path)
    store.stage([Change("a", b"1")])
    store.commit(lambda _: None)
    store.close()
    store = open_store(tmp_path)
    assert store.head == 1
    store.close()


def test_a_creation_that_was_cut_off_inside_a_page_says_so(tmp_path):
    make_store(tmp_path)
    os.truncate(tmp_path / "data.mdb", 5000)
    with refused(tmp_path, StoreIncompatible, "data.mdb is cut short and can hold no data", "remove it"):
        pass


def test_a_copy_that_was_broken_off_is_refused(tmp_path):
    store = open_store(tmp_path)
    for number in range(20):
        store.stage([Change(f"key-{number}", bytes(1 << 20))])
    store.commit(lambda _: None)
    store.close()
    length = (tmp_path / "data.mdb").stat().st_size
    os.truncate(tmp_path / "data.mdb", length // 2)
    with refused(tmp_path, StoreCorrupt, f"data.mdb is cut short, {length // 2} of {length} bytes are there"):
        pass


@pytest.mark.parametrize("revision", [2, 4, 5])
def test_a_flipped_byte_is_named_at_opening(tmp_path, revision):
    make_store(tmp_path)
    flip_a_byte_of(tmp_path, b"value-%d" % revision * 10)
    with refused(tmp_path, StoreCorrupt, f"revision {revision} fails its checksum", "restore a copy"):
        pass


def test_a_byte_flipped_while_the_store_is_open_is_named_at_reading(tmp_path):
    make_store(tmp_path)
    store = open_store(tmp_path)
    flip_a_byte_of(tmp_path, b"value-4" * 10)
    for read in (lambda: store.get("b4"), lambda: list(store.range("")), lambda: list(store.log(2))):
        with pytest.raises(StoreCorrupt, match=f"{tmp_path}: revision 4 fails its checksum"):
            read()
    assert store.get("b5").value == b"value-5" * 10
    store.close()


def test_a_flipped_byte_in_the_stores_own_record_is_named(tmp_path):
    make_store(tmp_path)
    store = open_store(tmp_path)
    incarnation = store.incarnation.encode()
    store.close()
    flip_a_byte_of(tmp_path, incarnation)
    with refused(tmp_path, StoreCorrupt, "revision 0", "fails its checksum"):
        pass


@pytest.mark.parametrize(("lost", "named"), [(3, 3), (4, 4)])
def test_a_lost_revision_is_named(tmp_path, lost, named):
    make_store(tmp_path)
    tamper(tmp_path, lambda transaction: transaction.delete(lost.to_bytes(8)))
    with refused(tmp_path, StoreCorrupt, f"revision {named} is missing from the log"):
        pass


def test_a_lost_survivor_below_the_floor_is_found_by_the_change_that_follows_it(tmp_path):
    make_store(tmp_path)
    store = open_store(tmp_path)
    store.stage([Change("a", b"3")])
    store.commit(lambda _: None)
    store.close()
    tamper(tmp_path, lambda transaction: transaction.delete((2).to_bytes(8)))
    with refused(tmp_path, StoreCorrupt, "revision 6 follows 2 of its key, but the log has 0 there"):
        pass


def test_opening_and_closing_leaves_nothing_behind(tmp_path):
    def open_and_close() -> None:
        store = LmdbStore.open(tmp_path, ThreadCommitter(lambda _: None), incarnation_random=Random(1))
        store.stage([Change("a", b"1")])
        store.commit(lambda _: None)
        store.close()

    open_and_close()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.enumerate()
    for _ in range(20):
        open_and_close()
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # what earlier tests left may close meanwhile
    assert [thread for thread in threading.enumerate() if thread not in threads] == []
    store = open_store(tmp_path)
    assert store.head == 21
    store.close()
