"""What concurrent clients see of a store is linearizable, over crashes, lost answers and a writer thread of its own."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from random import Random

import pytest
from ursa.storage import Change, LmdbStore, StageConflict, Store, ThreadCommitter
from ursa.tools.checking.linearizability import Entry, Operation, Read, Write, violations

from ..checkers.histories import CrashCommitter, Recorder, log_of, reopen_memory

OPERATIONS = 1500


def reopen_lmdb(directory: Path):
    def reopen(before: Store | None, committer: CrashCommitter) -> Store:
        if before is not None:
            before.close()  # Its committer forgets what it had not done.
        return LmdbStore.open(directory, committer, incarnation_random=Random(1))

    return reopen


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("backend", ["memory", "lmdb"])
def test_histories_of_a_store_that_crashes_are_linearizable(backend, seed, tmp_path):
    reopen = reopen_memory if backend == "memory" else reopen_lmdb(tmp_path)
    recorder = Recorder(Random(seed), reopen, clients=12, keys=6)
    history, log = recorder.run(OPERATIONS, crash_probability=0.003)
    recorder.store.close()
    assert violations(history, log) == []
    # It was a history worth judging: crashes, answers of every kind, and unknown outcomes of both.
    assert recorder.crashes >= 5
    revisions = {entry.value: entry.revision for entry in log}
    writes = [operation for operation in history if isinstance(operation, Write)]
    unknown = [write for write in writes if write.ret == inf]
    assert {write.value in revisions for write in unknown} == {True, False}
    assert sum(1 for write in writes if write.revision) > OPERATIONS / 10
    assert sum(1 for write in writes if write.found is not None) > OPERATIONS / 20


# --- a checker that never says no proves nothing: each of these breaks one promise ---


class AnswersBeforeItIsDurable(Recorder):
    def _apply(self, client, pending):
        super()._apply(client, pending)
        if isinstance(pending.operation, Read) or pending.answer.found is None:
            pending.durable = 0


class RefusesForWhatMayBeLost(Recorder):
    def _apply(self, client, pending):
        super()._apply(client, pending)
        if isinstance(pending.operation, Write) and pending.answer.found is not None:
            pending.durable = 0


class ReadsAnOldState(Recorder):
    def _read(self, read):
        old = self._random.randint(max(0, self.store.head - 2), self.store.head)
        return super()._read(replace(read, exact=False)) if old == self.store.head else self._old(read, old)

    def _old(self, read, old):
        records = [
            record for record in self.store.range(read.key, revision=old) if read.prefix or record.key == read.key
        ]
        return replace(read, result=tuple(Entry(*record[:3]) for record in records), revision=old, exact=False)


class SaysItsOldStateWereNew(ReadsAnOldState):
    def _old(self, read, old):
        return replace(super()._old(read, old), revision=self.store.head)


class WritesTwice(Recorder):
    def _apply(self, client, pending):
        super()._apply(client, pending)
        write = pending.operation
        if isinstance(write, Write) and not write.deleted and self._random.random() < 0.1:
            self.store.stage([Change(write.key, write.value)])


class IgnoresPreconditions(Recorder):
    def _apply(self, client, pending):
        asked = pending.operation
        if isinstance(asked, Write) and not asked.deleted:
            pending.operation = replace(asked, expected=None)
        super()._apply(client, pending)
        if isinstance(asked, Write):
            pending.answer = replace(pending.answer, expected=asked.expected)


BROKEN = [
    AnswersBeforeItIsDurable,
    RefusesForWhatMayBeLost,
    ReadsAnOldState,
    SaysItsOldStateWereNew,
    WritesTwice,
    IgnoresPreconditions,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_store_that_breaks_a_promise_is_found_out(broken):
    for seed in range(3):
        recorder = broken(Random(seed), reopen_memory, clients=8, keys=3)
        assert violations(*recorder.run(400, crash_probability=0.01)), seed


# --- the writer thread ---


def test_histories_of_concurrent_tasks_over_the_writer_thread_are_linearizable(tmp_path):
    asyncio.run(asyncio.wait_for(over_the_writer_thread(tmp_path), timeout=30))


async def over_the_writer_thread(directory: Path) -> None:
    """16 clients, time by the clock; whoever writes waits for a commit that holds what it was told."""
    loop = asyncio.get_running_loop()
    store = LmdbStore.open(directory, ThreadCommitter(loop.call_soon_threadsafe), incarnation_random=Random(1))
    committed, stopping = asyncio.Event(), asyncio.Event()
    history: list[Operation] = []
    clock = time.perf_counter

    async def commit_forever() -> None:
        nonlocal committed
        while not stopping.is_set():
            done: asyncio.Future[object] = loop.create_future()
            store.commit(done.set_result)
            await done
            told, committed = committed, asyncio.Event()
            told.set()

    async def client(name: str, random: Random) -> None:
        for number in range(60):
            key = f"key-{random.randrange(4)}"
            if random.random() < 0.3:
                call = clock()
                result = tuple(Entry(*record[:3]) for record in store.range("key-"))
                history.append(Read(name, call, clock(), "key-", result, prefix=True, revision=store.head))
                await asyncio.sleep(0)
                continue
            known = store.get(key)
            expected = (known.revision if known else 0) if random.random() < 0.5 else None
            write = Write(name, clock(), inf, key, f"{name}/{number}".encode(), expected=expected)
            try:
                write = replace(
                    write, revision=store.stage([Change(key, write.value, expected_revision=expected)])[0][0]
                )
            except StageConflict as conflict:
                write = replace(write, found=conflict.found)
            durable = store.staged_head
            while store.head < durable:
                await committed.wait()
            history.append(replace(write, ret=clock()))

    committing = asyncio.create_task(commit_forever())
    await asyncio.gather(*(client(f"client-{number}", Random(number)) for number in range(16)))
    stopping.set()
    await committing
    log = log_of(store)
    store.close()
    assert len(history) == 16 * 60
    assert violations(history, log) == []
    assert any(isinstance(operation, Write) and operation.found is not None for operation in history)
