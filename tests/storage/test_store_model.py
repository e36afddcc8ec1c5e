"""Every backend against a model that is a plain list: staging, commits, compaction, sweeps, reopening, crashes.

The committer is driven by hand, so commits and sweep steps interleave with staging and reading; steps and slices are
made tiny. What a backend still keeps is compared with what it has to keep: nothing may leak, nothing may be missing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from random import Random
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ursa.proto.errors import Compacted, FutureRevision, StoreFull
from ursa.storage import (
    NOSPACE,
    Change,
    Guard,
    LmdbStore,
    MemoryStore,
    Record,
    StageConflict,
    Store,
    index,
    log_store,
    sweep,
)
from ursa.storage.records import record_bytes

from .conftest import ManualCommitter

KEYS = ["a", "a/1", "a/2", "b", "b/1", "ba"]
PREFIXES = ["", "a", "a/", "b", "c"]
# How an expected revision relates to the truth.
EXPECTATIONS = ["none", "none", "right", "right", "absent", "stale"]

changes = st.lists(
    st.tuples(st.sampled_from(KEYS), st.binary(max_size=3), st.booleans(), st.sampled_from(EXPECTATIONS)),
    min_size=1,
    max_size=6,
)
# A key, and how what is demanded of its revision and of its life relates to the truth ("none": nothing is).
guard_demands = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(EXPECTATIONS), st.sampled_from(EXPECTATIONS)), max_size=3
)
writes = st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), min_size=1, max_size=6)
# A revision, told as a distance from the head; -1 lies in the future.
distances = st.one_of(st.integers(0, 3), st.integers(-1, 30))


class StoreMachine(RuleBasedStateMachine):
    """`history[i]` is revision i + 1, staged ones at the end."""

    store: Store
    bytes_max = log_store.BYTES_MAX

    def __init__(self) -> None:
        super().__init__()
        self.alarmed = False
        self.patches = ExitStack()
        self.patches.enter_context(mock.patch.object(sweep, "SWEEP_KEYS", 2))
        self.patches.enter_context(mock.patch.object(sweep, "SWEEP_RECORDS", 3))
        self.patches.enter_context(mock.patch.object(log_store, "READ_RECORDS", 2))
        self.patches.enter_context(mock.patch.object(index, "INSERT_KEYS_MAX", 1))
        self.history: list[Record] = []
        self.head = self.floor = self.durable_floor_min = 0
        self.committing = False
        self.committer = ManualCommitter()

    def kept_revisions(self) -> list[int]:
        raise NotImplementedError

    def teardown(self) -> None:
        self.nothing_leaks()
        self.store.close()
        self.patches.close()

    # --- the model ---

    def state(self, revision: int) -> dict[str, Record]:
        newest = {record.key: record for record in self.history[:revision]}
        return {key: newest[key] for key in sorted(newest) if not newest[key].deleted}

    def answers(self, revision: int, ask: Callable[[], object]) -> bool:
        """Whether the store must answer at a revision; if not, that it refuses for the right reason."""
        if revision > self.head:
            with pytest.raises(FutureRevision):
                ask()
        elif revision < self.floor:
            with pytest.raises(Compacted):
                ask()
        else:
            ask()
        return self.floor <= revision <= self.head

    @staticmethod
    def demand(expectation: str, truth: int) -> int | None:
        return {"none": None, "right": truth, "absent": 0, "stale": truth + 1}[expectation]

    def guards(self, guarded: Sequence[tuple[str, str, str]]) -> tuple[list[Guard], bool]:
        """What to demand, and whether it contradicts the newest state."""
        state = self.state(len(self.history))
        demanded, conflict = [], False
        for key, of_revision, of_life in guarded:
            there = state.get(key)
            revision, life = (there.revision, there.create_revision) if there else (0, 0)
            guard = Guard(key, self.demand(of_revision, revision), self.demand(of_life, life))
            wrong = guard.revision not in (None, revision) or guard.create_revision not in (None, life)
            conflict = conflict or wrong or (guard[1:] == (None, None) and there is None)
            demanded.append(guard)
        return demanded, conflict

    def is_full(self) -> bool:
        # How much is swept already is the store's affair; that it counts right is seen when nothing is left to sweep.
        return self.store.status().bytes >= self.bytes_max

    # --- what may happen ---

    @rule(asked=changes, reserve=st.booleans(), guarded=guard_demands)
    def stage(
        self, asked: list[tuple[str, bytes, bool, str]], reserve: bool, guarded: list[tuple[str, str, str]]
    ) -> None:
        batch, expected = [], []
        demanded, conflict = self.guards(guarded)
        history = list(self.history)
        for key, value, deleted, expectation in asked:
            now = {record.key: record for record in history}.get(key)
            before = 0 if now is None or now.deleted else now.revision
            wanted = self.demand(expectation, before)
            conflict = conflict or wanted not in (None, before) or (deleted and not before)
            revision = len(history) + 1
            life = now.create_revision if now is not None and before else revision
            history.append(Record(revision, key, value, deleted, life, before))
            expected.append(history[-1])
            batch.append(Change(key, value, deleted, wanted, reserve))
        full = self.is_full() and not reserve and not all(change.deleted for change in batch)
        try:
            staged = self.store.stage(batch, demanded)
        except StageConflict:
            assert conflict
        except StoreFull:
            assert full
            self.alarmed = True
        else:
            assert not conflict
            assert not full
            assert staged == expected
            self.history = history
        assert self.store.staged_head == len(self.history)

    @precondition(lambda self: not self.committing)
    @rule()
    def commit(self) -> None:
        staged, floor = self.history[self.head :], self.floor
        self.committing = True

        def done(batch: object) -> None:
            assert batch == staged
            self.head += len(staged)
            self.durable_floor_min = floor
            self.committing = False

        self.store.commit(done)

    @precondition(lambda self: self.committer.waiting)
    @rule()
    def finish_one(self) -> None:
        self.committer.run_one()

    @precondition(lambda self: not self.committing)
    @rule(asked=writes)
    def write(self, asked: list[tuple[str, bool]]) -> None:
        """What a busy store does most: every precondition holds, nothing waits."""
        living = set(self.state(len(self.history)))
        batch = []
        for key, deleted in asked:
            batch.append((key, b"", deleted and key in living, "right"))
            (living.discard if batch[-1][2] else living.add)(key)
        self.stage(batch, reserve=True, guarded=[])
        assert self.history[-1].key == asked[-1][0]
        self.commit()
        while self.committer.waiting:
            self.committer.run_one()

    @rule(distance=distances)
    def compact(self, distance: int) -> None:
        revision = max(0, self.head - distance)
        if self.answers(revision, lambda: self.store.compact(revision)):
            self.floor = revision

    @rule(which=st.integers(0, 5), distance=st.sampled_from([-1, 0, 0, 0, 1]))
    def compact_at_a_deletion(self, which: int, distance: int) -> None:
        """Exactly there most of the time, sometimes one before or behind."""
        deletions = [record.revision for record in self.history[self.floor : self.head] if record.deleted]
        if deletions:
            self.compact(self.head - deletions[which % len(deletions)] - distance)

    @rule()
    def sweep_step(self) -> None:
        self.store.sweep_step()

    # --- what must hold ---

    @rule(key=st.sampled_from(KEYS), distance=distances)
    def get(self, key: str, distance: int) -> None:
        assert self.store.get(key) == self.state(self.head).get(key)
        revision = max(0, self.head - distance)
        if self.answers(revision, lambda: self.store.get(key, revision)):
            assert self.store.get(key, revision) == self.state(revision).get(key)

    @rule(
        prefix=st.sampled_from(PREFIXES),
        start=st.sampled_from(["", *KEYS, "aa", "z"]),
        limit=st.integers(0, 4),
        distance=distances,
    )
    def range(self, prefix: str, start: str, limit: int, distance: int) -> None:
        revision = max(0, self.head - distance)
        if self.answers(revision, lambda: self.store.range(prefix, revision=revision)):
            found = list(self.store.range(prefix, revision=revision, start=start, limit=limit))
            there = [r for key, r in self.state(revision).items() if key.startswith(prefix) and key >= start]
            assert found == there[: limit or None]

    @rule(distance=distances, limit=st.integers(0, 5))
    def log(self, distance: int, limit: int) -> None:
        after = max(0, self.head - distance)
        if self.answers(after, lambda: self.store.log(after)):
            assert list(self.store.log(after, limit=limit)) == self.history[after : self.head][: limit or None]

    @invariant()
    def all_that_can_be_read_is_true(self) -> None:
        assert list(self.store.range("")) == list(self.state(self.head).values())
        assert list(self.store.range("", revision=self.floor)) == list(self.state(self.floor).values())
        assert list(self.store.log(self.floor)) == self.history[self.floor : self.head]
        status = self.store.status()
        assert (status.head, status.compacted) == (self.head, self.floor)
        assert status.keys == len(self.state(self.head))
        self.alarmed = self.alarmed and self.is_full()
        assert status.alarms == ((NOSPACE,) if self.alarmed else ())

    @rule()
    def nothing_leaks(self) -> None:
        while self.store.sweep_step() or self.committer.waiting:
            if self.committer.waiting:
                self.committer.run_one()
        at_floor = [record for record in self.state(self.floor).values() if record.revision <= self.floor]
        needed = at_floor + self.history[self.floor : self.head]
        assert self.kept_revisions() == sorted(record.revision for record in needed)
        needed += self.history[self.head :]
        assert self.store.status().bytes == sum(record_bytes(record.key, record.value) for record in needed)
        list(self.store.range(""))  # Sorts.
        keys = sorted({record.key for record in needed})
        assert sorted(self.store._index.keys()) == self.store._index._sorted == keys
        assert self.entries() == {key: [r.revision for r in needed if r.key == key] for key in keys}

    def entries(self) -> dict[str, list[int]]:
        """The revisions in the index, the beginnings of lives left out."""
        found = {}
        for key, entry in self.store._index._entries.items():
            assert isinstance(entry, int) or len(entry) > 1
            found[key] = [entry >> 1] if isinstance(entry, int) else [change >> 1 for change in entry[1:]]
        return dict(sorted(found.items()))


class MemoryMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(self.committer, incarnation="of-the-test", bytes_max=self.bytes_max)

    def kept_revisions(self) -> list[int]:
        return sorted(self.store._records)


class FullMachine(MemoryMachine):
    """A dozen records fill it."""

    bytes_max = 400


class LmdbMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = tempfile.mkdtemp()
        self.random = Random(1)
        self.store = self.open()

    def open(self) -> LmdbStore:
        return LmdbStore.open(self.path, self.committer, incarnation_random=self.random)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.path)

    def kept_revisions(self) -> list[int]:
        with self.store._environment.begin() as transaction:
            return [int.from_bytes(key) for key in transaction.cursor().iternext(values=False)][1:]

    @rule(crash=st.booleans())
    def reopen(self, crash: bool) -> None:
        """After a crash what was handed to the committer and not yet written is lost like what was only staged."""
        if crash:
            self.committer.waiting.clear()
        incarnation = self.store.incarnation
        self.store.close()
        self.committing = False
        self.history = self.history[: self.head]
        self.store = self.open()
        assert self.store.incarnation == incarnation
        assert self.store.staged_head == self.head
        # A floor that had not reached the disk moves back: nothing was erased under it.
        assert self.durable_floor_min <= self.store.compacted <= self.floor
        self.floor = self.store.compacted


TestMemoryStoreAgainstTheModel = MemoryMachine.TestCase
TestMemoryStoreAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestFullStoreAgainstTheModel = FullMachine.TestCase
TestFullStoreAgainstTheModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLmdbStoreAgainstTheModel = LmdbMachine.TestCase
TestLmdbStoreAgainstTheModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
