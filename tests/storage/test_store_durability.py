"""What was acknowledged is on the disk: under kill -9, under a disk that fails, in the order of the system calls."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from ursa.proto.errors import StoreError
from ursa.storage import Change, InlineCommitter, LmdbStore

# `make soak`: at least 100,000 acknowledged writes over at least 200 crashes.
ROUNDS = 200 if "URSA_SOAK" in os.environ else 3
ACKNOWLEDGED_PER_ROUND = 1000

# Commits in a loop, compacts now and then, and prints every record once it is acknowledged: "revision key deleted".
WRITER = """
import queue, sys
from random import Random
from ursa.storage import Change, LmdbStore, ThreadCommitter

loop = queue.SimpleQueue()
store = LmdbStore.open(sys.argv[1], ThreadCommitter(loop.put), incarnation_random=Random(1))
random = Random(int(sys.argv[2]))
keys = [f"key-{number}" for number in range(40)]
living = {record.key for record in store.range("")}

def stage():
    for key in random.choices(keys, k=random.randint(1, 20)):
        deleted = key in living and random.random() < 0.3
        (living.discard if deleted else living.add)(key)
        store.stage([Change(key, lambda revision: b"%d." % revision * random.randint(1, 900), deleted)])

def acknowledge(batch):
    print("\\n".join(f"{r.revision} {r.key} {int(r.deleted)}" for r in batch), flush=True)
    if store.head - store.compacted > 150:
        store.compact(random.randint(store.compacted + 1, store.head))
    store.sweep_step()
    store.commit(acknowledge)
    stage()

stage()
store.commit(acknowledge)
stage()
while True:
    loop.get()()
"""


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path):
    acknowledged: dict[int, tuple[str, bool]] = {}
    incarnations = set()
    for seed in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path, str(seed)], stdout=subprocess.PIPE, text=True
        )
        with writer:
            enough = len(acknowledged) + ACKNOWLEDGED_PER_ROUND
            for line in writer.stdout:
                if not line.endswith("\n"):
                    break  # Cut off by the kill.
                revision, key, deleted = line.split()
                acknowledged[int(revision)] = (key, deleted == "1")
                if len(acknowledged) == enough:
                    writer.kill()  # The rest of what it managed to print is acknowledged, too.
        assert writer.returncode == -signal.SIGKILL

        store = LmdbStore.open(tmp_path, InlineCommitter(), incarnation_random=Random(2))
        incarnations.add(store.incarnation)
        assert store.head >= max(acknowledged)
        # What was written and not acknowledged is there or not, but nothing in between is missing.
        for record in store.log(store.compacted):
            acknowledged.setdefault(record.revision, (record.key, record.deleted))
            assert acknowledged[record.revision] == (record.key, record.deleted)
        assert sorted(acknowledged) == list(range(1, store.head + 1))
        for revision in (store.compacted, store.head):
            state = {key: at for at, (key, _) in sorted(acknowledged.items()) if at <= revision}
            living = {key: at for key, at in state.items() if not acknowledged[at][1]}
            found = list(store.range("", revision=revision))
            assert {record.key: record.revision for record in found} == living
            assert all(record.value.startswith(b"%d." % record.revision) for record in found)
        assert store.compacted > 0
        store.close()
    assert len(incarnations) == 1


# --- synced before acknowledged. kill -9 cannot show it: what a killed process wrote stays in the page cache. ---


def test_both_syncs_of_a_commit_are_on(tmp_path):
    store = LmdbStore.open(tmp_path, InlineCommitter(), incarnation_random=Random(1))
    flags = store._environment.flags()
    store.close()
    assert flags["sync"]
    assert flags["metasync"]
    assert not flags["writemap"]


# Makes every sync of this process fail from the second commit on, then says how the commit ended.
SYNC_FAILS = """
import ctypes, errno, platform, struct, sys
from random import Random
from ursa.storage import Change, InlineCommitter, LmdbStore

store = LmdbStore.open(
    sys.argv[1], InlineCommitter(), incarnation_random=Random(1), on_fatal=lambda error: print("fatal:", error)
)
store.stage([Change("a", b"1")])
store.commit(lambda batch: print("acknowledged", batch[0].revision))

# A seccomp filter: load the number of the system call; if it is one of these return EIO, else allow it.
calls = {"x86_64": (74, 75, 26), "aarch64": (82, 83, 227)}[platform.machine()]  # fsync, fdatasync, msync
program = struct.pack("<HBBI", 0x20, 0, 0, 0)
for distance, call in enumerate(calls):
    program += struct.pack("<HBBI", 0x15, len(calls) - distance, 0, call)
program += struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000) + struct.pack("<HBBI", 0x06, 0, 0, 0x00050000 | errno.EIO)
code = ctypes.create_string_buffer(program, len(program))

class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

prctl = ctypes.CDLL(None).prctl
filter = Filter(len(program) // 8, ctypes.addressof(code))
if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(filter), 0, 0):
    print("no seccomp")
    sys.exit()
store.stage([Change("a", b"2")])
store.commit(lambda batch: print("acknowledged", batch[0].revision))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs seccomp")
def test_a_commit_whose_sync_fails_is_not_acknowledged(tmp_path):
    outcome = subprocess.run(
        [sys.executable, "-c", SYNC_FAILS, tmp_path], capture_output=True, text=True, check=True, timeout=30
    )
    first, second = outcome.stdout.splitlines()
    if second == "no seccomp":
        pytest.skip("this sandbox allows no seccomp filter")
    assert first == "acknowledged 1"
    assert second.startswith("fatal: writing the commit failed")
    assert "Input/output error" in second


COMMIT_ONCE = """
import os, sys
from random import Random
from ursa.storage import Change, InlineCommitter, LmdbStore

store = LmdbStore.open(sys.argv[1], InlineCommitter(), incarnation_random=Random(1))
os.write(1, b"staging")
store.stage([Change("a", b"1")])
store.commit(lambda batch: os.write(1, b"acknowledged"))
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_data_is_synced_before_the_page_that_makes_it_valid_and_that_before_the_acknowledgement(tmp_path):
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", trace, "-e", "trace=openat,write,pwrite64,writev,pwritev,fdatasync,fsync,msync"]
    command += [sys.executable, "-c", COMMIT_ONCE, tmp_path / "store"]
    if subprocess.run(command, capture_output=True, timeout=60).returncode != 0:
        pytest.skip("this sandbox allows no strace")
    opened = re.findall(r'openat\(.*data\.mdb", ([A-Z_|]+).* = (\d+)', trace.read_text())
    of_meta = [number for flags, number in opened if "SYNC" in flags]
    calls = re.search(r'"staging".*"acknowledged"', trace.read_text(), re.DOTALL).group().splitlines()[1:-1]
    steps = []
    for call in calls:
        name, descriptor = re.search(r"(\w+)\((\d+)", call).groups()
        steps.append("write-through" if descriptor in of_meta and "write" in name else name)
    assert "write-through" in steps
    data_written = max(place for place, name in enumerate(steps) if name in ("pwrite64", "writev", "pwritev"))
    synced, made_valid = steps.index("fdatasync"), steps.index("write-through")
    assert data_written < synced < made_valid


# --- a disk that is full ---------------------------------------------------------------------------------------------


def test_a_full_disk_is_fatal_keeps_what_was_acknowledged_and_is_said_in_one_line(tmp_path: Path):
    fatal: list[BaseException] = []
    acknowledged = []
    store = LmdbStore.open(
        tmp_path, InlineCommitter(), incarnation_random=Random(1), map_bytes=1 << 20, on_fatal=fatal.append
    )
    while not fatal:
        store.stage([Change(f"key-{store.staged_head}", bytes(50_000)), Change("last", b"%d" % store.staged_head)])
        store.commit(acknowledged.extend)
    assert len(acknowledged) > 10
    assert store.head == len(acknowledged) == store.staged_head - 2
    assert "MDB_MAP_FULL" in str(fatal[0])
    assert "\n" not in str(fatal[0])
    with pytest.raises(StoreError, match="writing the commit failed"):
        store.stage([Change("a", b"")])
    store.close()
    store = LmdbStore.open(tmp_path, InlineCommitter(), incarnation_random=Random(1))
    assert list(store.log(0)) == acknowledged
    store.close()
