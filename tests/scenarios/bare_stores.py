"""Stages on which a store stands alone: nothing of what they are about needs an apiserver, and they cost little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ursa.proto.errors import StoreError
from ursa.storage import Change, InlineCommitter, LmdbStore, Store, failpoints
from ursa.tools.checking.linearizability import violations
from ursa.tools.simulation.disk import temporary_folder

from ..checkers.histories import CrashCommitter, Reopen, reopen_memory
from ..checkers.store_histories import StoreRecorder

# A store that ends by itself, or cannot be opened.
USABLE = "Usable"
# What can be asked for by nobody is still there.
COMPACTION = "Compaction"
# By what the judge of bare stores says; the first that fits.
_NAMES = (
    ("not done as one", "Atomic"),
    ("it had ended", "Leases"),
    ("lease", "Leases"),
    ("a watch", "Reliable"),
    ("the log has", "Log"),
)
_COMMIT_FAILPOINTS = tuple(name for name in failpoints.NAMES if name.startswith("commit-"))


class Died(BaseException):
    """The process is gone, in the middle of a commit."""


class DiesWhileCommitting(StoreRecorder):
    """A crash may come at any of a commit's failpoints."""

    def _crash(self) -> None:
        failpoints.enable(self._random.choice(_COMMIT_FAILPOINTS), _die)
        try:
            self._committer.run(reported=False)
        except Died:
            pass
        finally:
            failpoints.disable_all()
        super()._crash()


def _die() -> None:
    raise Died


@dataclass(frozen=True)
class Clients:
    """Concurrent clients of a store that crashes now and then; what they were told is judged."""

    operations: int = 300
    crash_probability: float = 0.01
    lmdb: bool = False

    def broken(self, seed: int) -> Sequence[str]:
        with temporary_folder() as folder:
            kind, reopen = (
                (DiesWhileCommitting, _reopen_lmdb(Path(folder))) if self.lmdb else (StoreRecorder, reopen_memory)
            )
            recorder = kind(Random(seed), reopen, clients=8, keys=4)
            try:
                history, log = recorder.run(self.operations, crash_probability=self.crash_probability)
            except StoreError:
                return [USABLE]
            finally:
                recorder.store.close()
        return list(dict.fromkeys(_named(line) for line in violations(history, log)))


def _named(line: str) -> str:
    return next((name for words, name in _NAMES if words in line), "Linearizable")


def _reopen_lmdb(folder: Path) -> Reopen:
    def reopen(before: Store | None, committer: CrashCommitter) -> Store:
        if isinstance(before, LmdbStore):
            before.abandon()
        return LmdbStore.open(folder / "store", committer, incarnation_random=Random(1), map_bytes=1 << 26)

    return reopen


@dataclass(frozen=True)
class Churn:
    """A few keys of a store that are written again and again, with compactions, copies that fail, and restarts.

    When all is over nothing must be left but what lives.
    """

    operations: int = 1500
    map_bytes: int = 1 << 19

    def broken(self, seed: int) -> Sequence[str]:
        random = Random(seed)
        with temporary_folder() as name:
            folder = Path(name)
            store = self._open(folder, random)
            try:
                for _ in range(self.operations):
                    store = self._step(store, folder, random)
                return _left_over(store)
            except StoreError:
                return [USABLE]
            finally:
                store.abandon()

    def _open(self, folder: Path, random: Random) -> LmdbStore:
        return LmdbStore.open(folder / "store", InlineCommitter(), incarnation_random=random, map_bytes=self.map_bytes)

    def _step(self, store: LmdbStore, folder: Path, random: Random) -> LmdbStore:
        chance = random.random()
        if chance < 0.9:
            key = f"/{random.randrange(12)}"
            deleted = store.get(key) is not None and random.random() < 0.2
            store.stage([Change(key, b"" if deleted else random.randbytes(100), deleted)])
            store.commit(lambda _: None)
        elif chance < 0.93:
            store.compact(random.randint(store.compacted, store.head))
        elif chance < 0.99:
            store.sweep_step()
        elif chance < 0.995:
            store.snapshot(folder / "no such folder" / "snapshot", lambda _: None)
        else:
            store.close()
            return self._open(folder, random)
        return store


def _left_over(store: LmdbStore) -> Sequence[str]:
    store.compact(store.head)
    while store.sweep_step():
        pass
    # One entry is the store's own.
    return [COMPACTION] if store._environment.stat()["entries"] - 1 > store.status().keys else []
