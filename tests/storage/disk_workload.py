"""What is traced for the simulated disk: a process that does everything a store can do to its files.

    python disk_workload.py FOLDER RECORDS SEED ROUNDS MUTANT

Puts in batches, deletes, leases, compaction and sweep, checkpoints, snapshots, a restored one, a defragmentation, a
second opening; on a writer thread, the snapshot and the defragmentation between commits. MUTANT: a bug to work with, or
"none". FOLDER may hold what a crash left. RECORDS: where to write, at the end, all records that were acknowledged. The
marks (disk_trace.py):

    opening, opened INCARNATION HEAD
    batch REVISION              a batch was staged up to here
    compacting REVISION         the floor is about to move there
    acknowledged HEAD FLOOR     both are durable
    snapshotting NAME HEAD, snapshotted NAME
    restoring NAME TARGET, restored TARGET HEAD
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import BinaryIO
from unittest import mock

from ursa.storage import Change, LmdbStore, Record, ThreadCommitter, checkpoint, directory, lmdb_store, snapshot, sweep

KEYS = 40
# In between is time for a checkpoint.
COMPACTION_ROUNDS = 7
MAP_BYTES = 1 << 30
# All of them much smaller than they are: so that everything happens, many times.
SMALL = (
    (lmdb_store, "CHECKPOINT_CHANGES", 20),
    (lmdb_store, "CHECKPOINT_CHANGES_AT_CLOSE", 5),
    (checkpoint, "CAPTURE_KEYS", 32),
    (checkpoint, "WRITE_BYTES", 2000),
    (snapshot, "COPY_RECORDS", 40),
    (snapshot, "RELEASE_BYTES", 100_000),
    (sweep, "SWEEP_RECORDS", 16),
)


class Workload:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.random = Random(seed)
        self.loop: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.records: list[Record] = []
        self.now = 0.0
        self.copying = False
        self.store = self.open()

    def open(self) -> LmdbStore:
        mark("opening")
        store = LmdbStore.open(
            self.folder / "store", ThreadCommitter(self.loop.put), incarnation_random=self.random, map_bytes=MAP_BYTES
        )
        mark("opened", store.incarnation, store.head)
        return store

    def run(self, rounds: int) -> None:
        for number in range(1, rounds + 1):
            self.commit()
            if number % COMPACTION_ROUNDS == 0 or self.random.random() < 0.05:
                self.compact()
            if number == rounds // 8:
                self.start_outgoing_snapshot()
            if number == rounds // 4:
                self.end_copying()
                self.start_snapshot()
            if number == rounds // 2:
                self.end_copying()
                self.close_and_open()
            if number == 3 * rounds // 4:
                self.start_defragmentation()
        self.end_copying()
        self.close_and_open()
        self.commit()
        self.store.close()

    def commit(self) -> None:
        """One commit, and what a server does around it."""
        for _ in range(self.random.randint(1, 4)):
            self.stage()
        self.now += self.random.random()
        if self.store.expire(self.now):
            mark("batch", self.store.staged_head)
        floor = self.store.compacted
        waiting = True

        def done(batch: list[Record]) -> None:
            nonlocal waiting
            waiting = False
            self.records += batch
            mark("acknowledged", self.store.head, floor)

        self.store.commit(done)
        self.stage()  # What arrives meanwhile is the next commit's.
        while waiting:
            self.loop.get()()
        for _ in range(4):
            self.store.sweep_step()

    def compact(self) -> None:
        """Most of what there is, and sweep it all: what a life leaves is the burden of the next."""
        floor = self.random.randint(max(self.store.compacted, self.store.head - 100), self.store.head)
        mark("compacting", floor)
        self.store.compact(floor)
        while self.store.sweep_step():
            if self.store._erasing:
                self.loop.get()()

    def stage(self) -> None:
        changes: dict[str, Change] = {}
        lease = self.lease()
        for number in self.random.choices(range(KEYS), k=self.random.randint(1, 6)):
            key = f"key-{number}"
            if self.store._index.newest(key)[0] and self.random.random() < 0.3:
                changes[key] = Change(key, b"", deleted=True)
                continue
            repeats = self.random.choice((1, 20, 100, 100, 3000))
            attached = lease if self.random.random() < 0.3 else 0
            changes[key] = Change(key, lambda revision, repeats=repeats: b"%d." % revision * repeats, lease=attached)
        self.store.stage(list(changes.values()))
        mark("batch", self.store.staged_head)

    def lease(self) -> int:
        leases = list((self.store._leases or self.store._load_leases())._leases)
        if len(leases) < 3:
            lease = self.store.grant(0, self.random.uniform(1, 6), self.now)
            mark("batch", self.store.staged_head)
            return lease
        return self.random.choice(leases)

    def end_copying(self) -> None:
        """Without commits: the longer a copy takes, the more of them there were."""
        while self.copying:
            self.loop.get()()

    def start_outgoing_snapshot(self) -> None:
        def opened(file: BinaryIO | BaseException) -> None:
            assert not isinstance(file, BaseException), file
            self.copying = False
            file.close()

        self.copying = True
        self.store.open_snapshot(opened)

    def start_snapshot(self) -> None:
        name, target = f"copy-{self.seed}", f"restored-{self.seed}"
        mark("snapshotting", name, self.store.head)

        def done(error: BaseException | None) -> None:
            assert error is None, error
            self.copying = False
            mark("snapshotted", name)
            mark("restoring", name, target)
            head = snapshot.restore(self.folder / name, self.folder / target, self.random)
            mark("restored", target, head)

        self.copying = True
        self.store.snapshot(self.folder / name, done)

    def start_defragmentation(self) -> None:
        def done(error: BaseException | None) -> None:
            assert error is None, error
            self.copying = False

        self.copying = True
        self.store.defragment(done)

    def close_and_open(self) -> None:
        self.store.commit(lambda batch: self.records.extend(batch))
        self.store.close()
        mark("acknowledged", self.store.head, self.store.compacted)
        self.store = self.open()


def mark(*words: object) -> None:
    os.write(1, ("mark " + " ".join(map(str, words))).encode())


# --- bugs that the images must show ---------------------------------------------------------------------------------


def opened_with(**options: object) -> Callable[[], None]:
    def install() -> None:
        real = lmdb_store.lmdb.open
        mock.patch.object(lmdb_store.lmdb, "open", lambda *args, **kwargs: real(*args, **kwargs, **options)).start()

    return install


def snapshot_unsynced() -> None:
    real = snapshot.lmdb.open

    def open_unsynced(*args: object, **options: object) -> object:
        return real(*args, **options, sync=bool(options.get("subdir", True)))

    mock.patch.object(snapshot.lmdb, "open", open_unsynced).start()


def names_unsynced() -> None:
    for module in (directory, checkpoint):
        mock.patch.object(module, "sync_directory").start()


def checkpoint_unsynced() -> None:
    mock.patch.object(checkpoint, "os", SimpleNamespace(fsync=int)).start()


def one_by_one() -> None:
    real = LmdbStore._write

    def write(self: LmdbStore, batch: list[Record], floor: int | None) -> None:
        for record in batch:
            real(self, [record], floor)

    mock.patch.object(LmdbStore, "_write", write).start()


def sweep_unnamed() -> None:
    """Erasing does not withdraw the checkpoint's name."""
    mock.patch.object(LmdbStore, "_describe", keep_name(LmdbStore._describe)).start()


def keep_name(real: Callable[..., None]) -> Callable[..., None]:
    def describe(self: LmdbStore, transaction: object, description: lmdb_store.Description) -> None:
        kept = description.checkpoint or self._description.checkpoint
        real(self, transaction, description._replace(checkpoint=kept))

    return describe


MUTANTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "nothing is synced": opened_with(sync=False),
    "the page that makes a commit valid is not synced": opened_with(metasync=False),
    "names are not synced": names_unsynced,
    "a snapshot is not synced": snapshot_unsynced,
    "a checkpoint is not synced": checkpoint_unsynced,
    "a batch is committed record by record": one_by_one,
    "erasing leaves the checkpoint its name": sweep_unnamed,
}


def main() -> None:
    folder, records, seed, rounds, mutant = sys.argv[1:]
    MUTANTS[mutant]()
    for module, name, small in SMALL:
        mock.patch.object(module, name, small).start()
    workload = Workload(Path(folder), int(seed))
    workload.run(int(rounds))
    Path(records).write_bytes(pickle.dumps([tuple(record) for record in workload.records]))


if __name__ == "__main__":
    main()
