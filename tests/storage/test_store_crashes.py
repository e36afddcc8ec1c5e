"""A process that dies at any of the named places, and what is found afterwards: nothing acknowledged is lost.

What was written and not synced is still in the page cache then: that the syncs are in the right place is shown in
test_store_durability. This shows that every order in which files and transactions come about can be cut off anywhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from ursa.proto.errors import StoreError, StoreIncompatible
from ursa.storage import InlineCommitter, LmdbStore, failpoints
from ursa.storage.snapshot import REVISIONS_FORWARD, restore
from ursa.storage.verify import verify

STORAGE = Path(failpoints.__file__).parent
DIED = 42
# At which time of coming by a process dies there, one after the other in the same directory.
HITS = (1, 4)

# Writes, compacts, takes checkpoints and snapshots, restores and defragments until it dies at argv[2], the argv[3]th
# time it comes by. Prints every record once it is acknowledged, and which snapshot it restores where.
WRITER = """
import os, sys
from pathlib import Path
from random import Random
from ursa.storage import Change, InlineCommitter, LmdbStore, checkpoint, failpoints, lmdb_store, snapshot, sweep

base, name, hits = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
lmdb_store.CHECKPOINT_CHANGES, checkpoint.CAPTURE_KEYS, checkpoint.WRITE_BYTES = 12, 5, 300
snapshot.COPY_RECORDS, sweep.SWEEP_RECORDS = 7, 5
left = hits

def die():
    global left
    left -= 1
    if not left:
        os._exit(42)

def say(text):
    os.write(1, f"{text}\\n".encode())

def failed(error):
    if error is not None:
        raise error

random = Random(hits)
store = LmdbStore.open(base / "store", InlineCommitter(), incarnation_random=Random(1))
failpoints.enable(name, die)
for cycle in range(200):
    for _ in range(6):
        for number in random.choices(range(12), k=random.randint(1, 4)):
            key = f"key-{number}"
            deleted = bool(store._index.newest(key)[0]) and random.random() < 0.3
            store.stage([Change(key, lambda revision: b"%d." % revision * random.randint(1, 900), deleted)])
        store.commit(lambda batch: [say(f"{r.revision} {r.key} {int(r.deleted)}") for r in batch])
        store.sweep_step()
    store.compact(random.randint(store.compacted, store.head))
    while store.sweep_step():
        pass
    if cycle % 2:
        store.defragment(failed)
        continue
    copy, target = base / f"copy-{hits}-{cycle}", base / f"restored-{hits}-{cycle}"
    say(f"restoring {copy} {target}")
    store.snapshot(copy, failed)
    snapshot.restore(copy, target, Random(cycle))
sys.exit("it never came by")
"""


@pytest.mark.parametrize("name", failpoints.NAMES)
def test_nothing_acknowledged_is_lost_to_a_crash_at(name, tmp_path):
    acknowledged: dict[int, tuple[str, bool]] = {}
    for hits in HITS:
        writer = subprocess.run(
            [sys.executable, "-c", WRITER, tmp_path, name, str(hits)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert writer.returncode == DIED, writer.stderr
        restoring = None
        for line in writer.stdout.splitlines():
            first, key, last = line.split()
            if first == "restoring":
                restoring = Path(key), Path(last)
            else:
                acknowledged[int(first)] = (key, last == "1")
        check_store(tmp_path / "store", acknowledged)
        if restoring is not None:
            check_restored(*restoring)


def check_store(path: Path, acknowledged: dict[int, tuple[str, bool]]) -> None:
    assert verify(path).problem is None
    store = LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(2))
    assert store.head >= max(acknowledged, default=0)
    # What was written and not acknowledged is there or not, but nothing in between is missing.
    for record in store.log(store.compacted):
        acknowledged.setdefault(record.revision, (record.key, record.deleted))
        assert acknowledged[record.revision] == (record.key, record.deleted)
    assert sorted(acknowledged) == list(range(1, store.head + 1))
    for revision in (store.compacted, store.head):
        newest = {key: at for at, (key, _) in sorted(acknowledged.items()) if at <= revision}
        living = {key: at for key, at in newest.items() if not acknowledged[at][1]}
        found = list(store.range("", revision=revision))
        assert {record.key: record.revision for record in found} == living
        assert all(record.value.startswith(b"%d." % record.revision) for record in found)
    store.close()
    assert not [entry.name for entry in path.iterdir() if entry.suffix == ".new" or entry.is_dir()]


def check_restored(copy: Path, target: Path) -> None:
    """A snapshot has its name or not, a restored store is whole or refused; and both can be begun again."""
    if not copy.exists():
        assert not target.exists()
        return
    report = verify(copy)
    assert report.problem is None
    if not (target / "data.mdb").exists():
        if (target / "restore").exists():
            with pytest.raises(StoreIncompatible):
                LmdbStore.open(target, InlineCommitter(), incarnation_random=Random(2))
        restore(copy, target, Random(3))
    restored = LmdbStore.open(target, InlineCommitter(), incarnation_random=Random(2))
    assert restored.head == report.head + REVISIONS_FORWARD
    assert restored.status().keys == report.keys
    restored.close()
    with pytest.raises(StoreError, match="not empty"):
        restore(copy, target, Random(3))


def test_every_named_place_exists_and_every_place_has_a_name():
    places = [
        name
        for path in sorted(STORAGE.glob("*.py"))
        if path.name != "failpoints.py"
        for name in re.findall(r'^ +failpoint\("(.+?)"', path.read_text(), re.MULTILINE)
    ]
    assert sorted(places) == sorted(failpoints.NAMES)


def test_a_place_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no failpoint nowhere"):
        failpoints.enable("nowhere", lambda: None)


def test_a_place_does_what_it_was_told_until_it_is_told_no_more():
    came_by: list[int] = []
    failpoints.enable("commit-before", lambda: came_by.append(1))
    failpoints.failpoint("commit-before")
    failpoints.failpoint("commit-after")
    failpoints.disable_all()
    failpoints.failpoint("commit-before")
    assert came_by == [1]
