"""All that a store does, by clients that run into one another and over crashes, is the work of one store.

Batches with guards, ranges read slowly, reads of the past, watches, leases, compaction: nobody sees half a batch,
every watch sees the log, no lease ends too early or without its keys, nothing acknowledged is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from ursa.proto.errors import Compacted
from ursa.storage import Change, Guard, StageConflict, log_store, sweep, watch
from ursa.tools.checking.histories import (
    Batch,
    Delivery,
    Read,
    Renewal,
    TooOld,
    Write,
)
from ursa.tools.checking.linearizability import violations

from ..checkers.histories import reopen_memory
from ..checkers.store_histories import StoreRecorder, entry_of
from .test_linearizability import reopen_lmdb

SOAK = "URSA_SOAK" in os.environ
OPERATIONS = 3000 if SOAK else 1500
SEEDS = range(20 if SOAK else 3)


@pytest.fixture(autouse=True)
def small_steps() -> Iterator[None]:
    with (
        mock.patch.object(log_store, "READ_RECORDS", 2),
        mock.patch.object(watch, "LOOK_RECORDS", 6),
        mock.patch.multiple(sweep, SWEEP_KEYS=3, SWEEP_RECORDS=4),
    ):
        yield


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("backend", ["memory", "lmdb"])
def test_histories_of_everything_a_store_does_are_linearizable(backend, seed, tmp_path: Path):
    reopen = reopen_memory if backend == "memory" else reopen_lmdb(tmp_path)
    recorder = StoreRecorder(Random(seed), reopen, clients=12, keys=6)
    history, log = recorder.run(OPERATIONS, crash_probability=0.003)
    store = recorder.store
    # Nothing that is kept contradicts what was seen while it came about.
    assert list(map(entry_of, store.log(store.compacted))) == log[store.compacted : store.head]
    assert violations(history, log) == []
    # It was a history worth judging.
    assert recorder.crashes >= 5
    assert store.compacted > OPERATIONS / 10
    revisions = {entry.value: entry.revision for entry in log}
    batches = [operation for operation in history if isinstance(operation, Batch)]
    assert sum(1 for batch in batches if batch.revision and len(batch.parts) > 1) > OPERATIONS / 50
    assert sum(1 for batch in batches if batch.found is not None) > OPERATIONS / 50
    unknown = [write.value for write in history if isinstance(write, Write) and write.ret == inf]
    unknown += [batch.parts[0].value for batch in batches if batch.ret == inf]
    assert {value in revisions for value in unknown} == {True, False}
    ended = [entry for entry in log if entry.deleted and not entry.value]
    assert len([entry for entry in ended if not entry.key.startswith("\0")]) > 5
    assert any(isinstance(operation, Renewal) and operation.ends_at for operation in history)
    deliveries = [operation for operation in history if isinstance(operation, Delivery)]
    assert sum(len(given.entries) for given in deliveries) > OPERATIONS / 2
    assert any(given.caught_up for given in deliveries)
    assert any(isinstance(operation, TooOld) for operation in history)


# --- a judge that never says no proves nothing: each of these breaks one promise ---


class TearsBatches(StoreRecorder):
    """Stages the writes of a batch one by one, with a commit in between now and then."""

    def _stage_batch(self, batch):
        try:
            self.store.stage([], [Guard(*demand) for demand in batch.demands])
            for number, (key, value, deleted, _, _) in enumerate(batch.parts):
                if number and self._random.random() < 0.5:
                    self._commit()
                record = self.store.stage([Change(key, value, deleted)])[0]
        except StageConflict as conflict:
            return replace(batch, found_key=conflict.key, found=conflict.found, found_life=conflict.of_life)
        return replace(batch, revision=record.revision - len(batch.parts) + 1)


class IgnoresGuards(StoreRecorder):
    def _stage_batch(self, batch):
        return replace(super()._stage_batch(replace(batch, demands=())), demands=batch.demands)


class WatchSkips(StoreRecorder):
    def _take(self, watcher):
        given = super()._take(watcher)
        skip = isinstance(given, Delivery) and self._random.random() < 0.1
        return replace(given, entries=given.entries[1:]) if skip else given


class WatchRepeats(StoreRecorder):
    def _take(self, watcher):
        given = super()._take(watcher)
        if isinstance(given, Delivery) and given.entries and self._random.random() < 0.2:
            return replace(given, entries=(given.entries[0], *given.entries))
        return given


class WatchBookmarkRunsAhead(StoreRecorder):
    def _take(self, watcher):
        given = super()._take(watcher)
        return replace(given, bookmark=self.store.head) if isinstance(given, Delivery) else given


class WatchSaysItHasCaughtUp(StoreRecorder):
    def _take(self, watcher):
        given = super()._take(watcher)
        return replace(given, caught_up=True) if isinstance(given, Delivery) else given


class EndsLeasesTooEarly(StoreRecorder):
    def _expire(self):
        self.store.expire(self._now + 30)


class PromisesMoreThanItKeeps(StoreRecorder):
    def _renew(self, pending, renewal):
        super()._renew(pending, renewal)
        if pending.answer.ends_at:
            pending.answer = replace(pending.answer, ends_at=pending.answer.ends_at + 60)


class RenewsWhatHasEnded(StoreRecorder):
    def _renew(self, pending, renewal):
        super()._renew(pending, renewal)
        if pending.answer.ends_at is None:
            pending.answer = replace(pending.answer, ends_at=self._now)


class AttachesToAnotherLease(StoreRecorder):
    def _stage_write(self, write):
        others = self.living_leases[-1:] if write.lease else []
        answer = super()._stage_write(replace(write, lease=others[0] if others else write.lease))
        return replace(answer, lease=write.lease)


class LeavesKeysBehind(StoreRecorder):
    """A lease ends, its keys stay."""

    def _expire(self):
        leases = self.store._leases or self.store._load_leases()
        for lease in leases.ended(self._now):
            keys, own = leases.end_of([lease])
            detached = [Change(f"{own[0].key}/{change.key}", b"", deleted=True) for change in keys]
            self.store._stage((), [*detached, *own])


class RefusesAsCompactedWhatIsNot(StoreRecorder):
    def _read(self, read):
        if read.exact and self._random.random() < 0.1:
            raise Compacted(self.store.head, self.store.head + 1)
        return super()._read(read)


class SlowRangesMoveOn(StoreRecorder):
    """A range that is read slowly sees what happens meanwhile."""

    def _read_on(self, reading):
        super()._read_on(reading)
        if isinstance(reading.answer, Read):
            newest = tuple(map(entry_of, self.store.range(reading.answer.key)))
            reading.answer = replace(reading.answer, result=newest)


# And in what words it is found.
BROKEN = {
    TearsBatches: "not done as one",
    IgnoresGuards: "did not hold",
    WatchSkips: "a watch gave",
    WatchRepeats: "a watch gave",
    WatchBookmarkRunsAhead: "a watch gave",
    WatchSaysItHasCaughtUp: "a watch had caught up",
    EndsLeasesTooEarly: "it had ended",
    PromisesMoreThanItKeeps: "it had ended",
    RenewsWhatHasEnded: "true at no revision",
    AttachesToAnotherLease: "was written with lease",
    LeavesKeysBehind: "behind: Entry",
    RefusesAsCompactedWhatIsNot: "nobody had compacted",
    SlowRangesMoveOn: "it was told",
}


@pytest.mark.parametrize(("broken", "words"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_store_that_breaks_a_promise_is_found_out(broken, words):
    for seed in range(2):
        recorder = broken(Random(seed), reopen_memory, clients=8, keys=4)
        found = violations(*recorder.run(600, crash_probability=0.005))
        assert [line for line in found if words in line], (seed, found[:1])
