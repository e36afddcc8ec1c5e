"""Crashes of the traced workload: images of its disk at chosen moments, and what must be found in each.

    python -c "from tests.storage.disk_images import main; main()" FOLDER SEED IMAGES PLACE

from the folder above `tests`. In PLACE the images are laid out, one by one. In FOLDER:

    disk       what the workload wrote to
    trace      how, disk_trace.py; records: what, disk_workload.py
    before     the crash it began with, if it did not begin with nothing
    next       one of the crashes, drawn, for another workload to begin with; `begin_with` carries it over

Prints a line before each image, and what was found in all of them at the end; or ends with the first in which something
is wrong, with 1. A process of its own, because LMDB reads by maps of memory: what is bad enough kills it.
"""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ursa.proto.errors import StoreError, StoreIncompatible
from ursa.storage import Change, InlineCommitter, LmdbStore, Record
from ursa.storage.digest import digest_of
from ursa.storage.leases import LEASE_PREFIX, parse_key
from ursa.storage.snapshot import REVISIONS_FORWARD
from ursa.storage.verify import VerifyReport, verify

from .disk import Draw, Image
from .disk_trace import Replay, parse
from .disk_workload import MAP_BYTES

DISK, TRACE, RECORDS, BEFORE, NEXT = "disk", "trace", "records", "before", "next"


@dataclass
class Known:
    """What the process knew, or had promised, when it died."""

    incarnation: str | None = None
    head: int = 0
    floor: int = 0
    floor_max: int = 0
    # To the revision they were taken at, and whether they were reported as done.
    snapshots: dict[str, int] = field(default_factory=dict)
    snapshots_done: list[str] = field(default_factory=list)
    restoring: dict[str, str] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    # Where a commit may end: acknowledgements before and after this moment.
    commits: list[int] = field(default_factory=lambda: [0])
    batches: list[int] = field(default_factory=list)

    def learn(self, words: list[str]) -> None:
        what, *rest = words
        if what == "opened":
            assert self.incarnation in (None, rest[0]), "the history became another one"
            self.incarnation, self.head = rest[0], max(self.head, int(rest[1]))
        elif what == "batch":
            self.batches.append(int(rest[0]))
        elif what == "compacting":
            self.floor_max = int(rest[0])
        elif what == "acknowledged":
            self.head, self.floor = int(rest[0]), max(self.floor, int(rest[1]))
            self.commits.append(self.head)
        elif what == "snapshotting":
            self.snapshots[rest[0]] = int(rest[1])
        elif what == "snapshotted":
            self.snapshots_done.append(rest[0])
        elif what == "restoring":
            self.restoring[rest[1]] = rest[0]
        elif what == "restored":
            self.restored[rest[0]] = int(rest[1])
        else:
            assert what == "opening", f"an unknown mark {what}"


class History:
    """All records that were ever written, and the states between them."""

    def __init__(self, records: list[Record], commits: list[int]) -> None:
        self.records = records
        self.commits = dict.fromkeys(commits)
        assert [record.revision for record in records] == list(range(1, len(records) + 1))

    def state(self, revision: int) -> list[Record]:
        newest = {record.key: record for record in self.records[:revision]}
        return [newest[key] for key in sorted(newest) if not newest[key].deleted]

    def up_to(self, revision: int) -> History:
        return History(self.records[:revision], [commit for commit in self.commits if commit <= revision])


@dataclass
class Crash:
    """What a crash left, and what was known before it."""

    image: Image
    known: Known
    history: History


class Workload:
    """A traced run: its events, its history."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = list(parse(folder / TRACE))
        before = folder / BEFORE
        self.before: Crash = (
            pickle.loads(before.read_bytes()) if before.exists() else Crash({}, Known(), History([], [0]))
        )
        records = [Record(*record) for record in pickle.loads((folder / RECORDS).read_bytes())]
        # Where something happens: before the first such event there is nothing, between two of them nothing changes.
        self.moments: list[int] = []
        # Those of them that a crash is most likely to hurt.
        self.syncs: list[int] = []
        replay, known = self.replay()
        for place, event in enumerate(self.events):
            if replay.apply(event):
                self.moments.append(place)
                if event.call.name not in ("write", "writev", "pwrite64", "ftruncate") or event.call.mark:
                    self.syncs.append(place)
        kept = self.before.history.up_to(records[0].revision - 1)
        assert all(end in known.batches for end in known.commits[len(self.before.known.commits) :])
        self.history = History(
            kept.records + records, [*kept.commits, *known.commits[len(self.before.known.commits) :]]
        )
        self.final = replay.disk

    def replay(self) -> tuple[Replay, Known]:
        known = deepcopy(self.before.known)
        replay = Replay(self.folder / DISK, known.learn)
        replay.disk.load(self.before.image)
        return replay, known

    def crashes(self, random: Random, count: int) -> Iterator[tuple[str, Crash]]:
        """Crashes at moments drawn, half of them around a sync or a change of names, in the order of time."""
        chosen = sorted(random.choice(random.choice((self.moments, self.syncs))) for _ in range(count))
        seeds = [random.getrandbits(32) for _ in range(count)]
        replay, known = self.replay()
        done = 0
        for place, event in enumerate(self.events):
            replay.apply(event)
            while done < count and chosen[done] == place:
                draw = Draw(Random(seeds[done]), (0.0, 1.0, None, None, None, None)[seeds[done] % 6])
                yield f"event {place} ({event})", Crash(replay.disk.crash(draw), deepcopy(known), self.history)
                done += 1


def begin_with(crash: Path, folder: Path) -> None:
    """Let the workload in a new folder begin with what a crash of another one left."""
    shutil.copy(crash, folder / BEFORE)
    lay_out(pickle.loads(crash.read_bytes()).image, folder / DISK)


def lay_out(image: Image, folder: Path) -> None:
    for path, content in image.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


# --- what must be found ----------------------------------------------------------------------------------------------


class Checker:
    def __init__(self, history: History) -> None:
        self._history = history
        # Snapshots do not change once they have their names: by content, what was found in them.
        self._verified: dict[bytes, VerifyReport] = {}
        # What the images had to do with: an image of nothing proves nothing.
        self.found: Counter[str] = Counter()

    def check(self, folder: Path, known: Known, random: Random) -> None:
        self._check_store(folder / "store", known, random)
        for name, revision in known.snapshots.items():
            self._check_snapshot(folder / name, revision, must_exist=name in known.snapshots_done)
        for target, name in known.restoring.items():
            self._check_restored(folder / target, known.snapshots[name], known.restored.get(target))

    def _check_store(self, path: Path, known: Known, random: Random) -> None:
        if known.incarnation is None:
            self.found["half made"] += 1  # Then opening makes it.
        else:
            report = verify(path)
            assert report.problem is None, report.problem
            # It is named when all of it is on the disk, and the name goes before the file does.
            assert report.checkpoint != "unusable", "the checkpoint that the log names is not there"
            self.found[f"checkpoint {report.checkpoint}"] += 1
            self.found["defragmenting"] += (path / "defragment").exists()
        store = open_store(path)
        try:
            self._check_head_and_floor(store, known)
            self._check_contents(store, random)
            self._check_leases(store)
            go_on(store)
        finally:
            store.close()
        report = verify(path)
        assert report.problem is None, report.problem
        left = [entry.name for entry in path.iterdir() if entry.suffix != ".checkpoint"]
        assert sorted(left) == ["data.mdb", "lock.mdb", "store.lock"]

    def _check_head_and_floor(self, store: LmdbStore, known: Known) -> None:
        assert known.incarnation in (None, store.incarnation), "another history"
        assert store.head >= known.head, f"{known.head} was acknowledged, {store.head} is there"
        self.found["not acknowledged, but there"] += store.head > known.head
        assert store.head in self._history.commits, f"{store.head} is in the middle of a commit"
        self.found["compacted"] += store.compacted > 0
        assert known.floor <= store.compacted <= known.floor_max, (known.floor, store.compacted, known.floor_max)

    def _check_contents(self, store: LmdbStore, random: Random) -> None:
        records = self._history.records
        assert list(store.log(store.compacted)) == records[store.compacted : store.head]
        between = random.randint(store.compacted, store.head)
        for revision in dict.fromkeys((store.compacted, between, store.head)):
            state = self._history.state(revision)
            assert list(store.range("", revision=revision)) == state, f"the state at {revision}"
            assert store.digest(revision) == digest_of(state)
        assert store.status().keys == len(state)

    def _check_leases(self, store: LmdbStore) -> None:
        keys = [record.key for record in self._history.state(store.head) if record.key.startswith(LEASE_PREFIX)]
        leases = [lease for lease, attached in map(parse_key, keys) if attached is None]
        self.found["with leases"] += bool(leases)
        assert store.status().leases == len(leases)
        for lease in leases:
            assert store.keep_alive(lease, 0.0) > 0

    def _check_snapshot(self, path: Path, revision: int, *, must_exist: bool) -> None:
        if not path.exists():
            assert not must_exist, f"the snapshot {path.name} is gone"
            self.found["snapshot not there"] += 1
            return
        self.found["snapshot there"] += 1
        content = path.read_bytes()
        report = self._verified.get(content) or verify(path)
        self._verified[content] = report
        assert (report.problem, report.head) == (None, revision), f"the snapshot {path.name}: {report}"

    def _check_restored(self, path: Path, snapshot_head: int, head: int | None) -> None:
        if not (path / "data.mdb").exists():
            assert head is None, f"the restored store {path.name} is gone"
            self.found["restored not there"] += 1
            if (path / "restore").exists():
                try:
                    open_store(path).close()
                except StoreIncompatible:
                    return
                raise AssertionError("half a restored store was opened")
            return
        self.found["restored there"] += 1
        content = (path / "data.mdb").read_bytes()
        report = self._verified.get(content) or verify(path)
        self._verified[content] = report
        assert (report.problem, report.head) == (None, snapshot_head + REVISIONS_FORWARD), f"restored: {report}"
        assert report.keys == len(self._history.state(snapshot_head))


def open_store(path: Path) -> LmdbStore:
    return LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(2), map_bytes=MAP_BYTES)


def go_on(store: LmdbStore) -> None:
    """What was found can be built upon."""
    for number in range(2):
        store.stage([Change(f"later-{number}-{size}", bytes(size)) for size in (10, 3000, 9000)])
        store.commit(lambda _: None)
    store.compact(store.head)
    while store.sweep_step():
        pass
    assert [record.key for record in store.range("later")] == sorted(
        f"later-{number}-{size}" for number in range(2) for size in (10, 3000, 9000)
    )


def main() -> None:
    folder, random, count, place = Path(sys.argv[1]), Random(int(sys.argv[2])), int(sys.argv[3]), Path(sys.argv[4])
    workload = Workload(folder)
    check_replay(workload)
    checker = Checker(workload.history)
    carried_over = random.randrange(count)
    try:
        for number, (what, crash) in enumerate(workload.crashes(random, count)):
            print(number, what, flush=True)
            if number == carried_over:
                (folder / NEXT).write_bytes(pickle.dumps(crash))
            image = place / str(number)
            image.mkdir()
            lay_out(crash.image, image)
            checker.check(image, crash.known, random)
            shutil.rmtree(image)
    except (AssertionError, StoreError):
        traceback.print_exc(file=sys.stdout)
        print({path: None if content is None else len(content) for path, content in crash.image.items()})
        sys.exit(1)
    print("found", json.dumps(checker.found))


def check_replay(workload: Workload) -> None:
    """A disk that lost nothing has what the workload's has in truth."""
    folder = workload.folder / DISK
    image = workload.final.crash(Draw(Random(0), 1.0))
    there = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    assert sorted(image) == sorted(there)
    for path, content in image.items():
        if content is not None and not path.endswith("lock.mdb"):  # Which nobody can know.
            assert there[path].read_bytes() == content, f"{path} is not what was traced"
