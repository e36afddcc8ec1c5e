"""Histories to judge: made by concurrent clients of a real store that crashes, and spoilt ones made of those."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random

from ursa.storage import Change, MemoryStore, Record, StageConflict, Store
from ursa.storage.committer import Done, Work
from ursa.tools.checking.histories import Batch, Demand, Entry, Grant, Operation, Read, Revocation, Write

History = list[Operation]
Log = list[Entry]


class CrashCommitter:
    """Runs a commit when told to, and forgets it when the process dies."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Work, Done]] = []

    def submit(self, work: Work, done: Done) -> None:
        self.waiting.append((work, done))

    def run(self, *, reported: bool = True) -> None:
        while self.waiting:
            work, done = self.waiting.pop(0)
            work()
            if reported:
                done(None)

    def close(self) -> None:
        self.waiting.clear()


Reopen = Callable[[Store | None, CrashCommitter], Store]


class SurvivingStore(MemoryStore):
    """A memory store whose records, and the floor they were written with, survive a crash."""

    floor_written = 0

    def _write(self, batch: Sequence[Record], floor: int | None) -> None:
        super()._write(batch, floor)
        self.floor_written = self.floor_written if floor is None else floor

    def _erase(self, revisions: Sequence[int], floor: int) -> int:
        self.floor_written = floor
        return super()._erase(revisions, floor)


def reopen_memory(before: Store | None, committer: CrashCommitter) -> Store:
    store = SurvivingStore(committer, incarnation="of-the-history")
    if before is not None:
        assert isinstance(before, SurvivingStore)
        store._records, store.floor_written = dict(before._records), before.floor_written
        store._restore(store._records.values(), store.floor_written)
    return store


def log_of(store: Store) -> Log:
    return [Entry(record.revision, record.key, record.value, record.deleted) for record in store.log(0)]


@dataclass
class Pending:
    """An operation on its way: asked, perhaps applied, not answered. `answer` may leave from `durable` on."""

    operation: Operation
    answer: Operation | None = None
    durable: int = 0


class Recorder:
    """Clients that each do one thing at a time, a store, and chance. Requests and answers both take their time."""

    # Of a step. The lower, the slower is the disk, and the more is on its way.
    commit_probability = 0.3

    def __init__(self, random: Random, reopen: Reopen, *, clients: int, keys: int) -> None:
        self._random = random
        self._reopen = reopen
        self._keys = [f"/{number % 2}/{number}" for number in range(keys)]
        self._committer = CrashCommitter()
        self._pending: dict[str, Pending | None] = {f"client-{number}": None for number in range(clients)}
        self._now = 0.0
        self._count = 0
        self.crashes = 0
        self.store = reopen(None, self._committer)
        self.history: History = []

    def run(self, operations: int, *, crash_probability: float = 0.0) -> tuple[History, Log]:
        """Until so many were asked and all that can be were answered."""
        while self._count < operations:
            if self._random.random() < crash_probability:
                self._crash()
            self._step(ask=True)
        while any(self._pending.values()):
            self._step(ask=False)
        return self.history, self.final_log()

    def final_log(self) -> Log:
        return log_of(self.store)

    def _step(self, *, ask: bool) -> None:
        self._now += 1
        if self._random.random() < self.commit_probability:
            self._commit()
        client = self._random.choice(list(self._pending))
        pending = self._pending[client]
        if pending is None:
            if ask:
                self._count += 1
                self._pending[client] = Pending(self._ask(client))
        elif pending.answer is None:
            self._apply(client, pending)
        elif (answer := self._answer(client, pending)) is not None:
            self.history.append(replace(answer, ret=self._now))
            self._pending[client] = None

    def _commit(self) -> None:
        """A commit begins, or ends."""
        if not self._committer.waiting:
            self.store.commit(lambda _: None)
        else:
            self._committer.run()

    def _answer(self, client: str, pending: Pending) -> Operation | None:
        return pending.answer if pending.durable <= self.store.head else None

    def _ask(self, client: str) -> Operation:
        random, key = self._random, self._random.choice(self._keys)
        if random.random() < 0.4:
            prefix = random.random() < 0.5
            exact = prefix and random.random() < 0.3
            return Read(client, self._now, inf, key[:2] if prefix else key, (), prefix, exact=exact)
        kind = random.random()
        known = self.store.get(key)
        guess = known.revision if known and random.random() < 0.8 else 0
        value = b"value-%d" % self._count
        return Write(client, self._now, inf, key, value, deleted=kind < 0.25, expected=guess if kind < 0.7 else None)

    def _apply(self, client: str, pending: Pending) -> None:
        operation = pending.operation
        if isinstance(operation, Read):
            pending.answer = self._read(operation)
            return
        change = Change(operation.key, operation.value, operation.deleted, operation.expected)
        try:
            [record] = self.store.stage([change])
        except StageConflict as conflict:
            # A refusal waits as well: what it rests on may still be lost.
            pending.answer = replace(operation, found=conflict.found)
        else:
            pending.answer = replace(operation, revision=record.revision)
        pending.durable = self.store.staged_head

    def _read(self, read: Read) -> Read:
        head = self.store.head
        revision = self._random.randint(0, head) if read.exact else head
        if read.prefix:
            records = list(self.store.range(read.key, revision=revision))
        else:
            found = self.store.get(read.key)
            records = [found] if found else []
        result = tuple(Entry(record.revision, record.key, record.value) for record in records)
        named = read.prefix or self._random.random() < 0.5
        return replace(read, result=result, revision=revision if named else None)

    def _crash(self) -> None:
        """Everything in flight is lost, or only the news of it; nobody who waits will ever know."""
        self.crashes += 1
        if self._random.random() < 0.6:
            self._committer.run(reported=self._random.random() < 0.5)
        before, self._committer = self.store, CrashCommitter()
        self.store = self._reopen(before, self._committer)
        for client, pending in self._pending.items():
            if pending is not None and isinstance(pending.operation, Write | Batch | Grant | Revocation):
                self.history.append(pending.operation)
            self._pending[client] = None


def spoilt(random: Random, history: History, log: Log) -> tuple[History, Log]:
    """The same with one thing changed; it may still be a possible one."""
    history, log = list(history), list(log)
    if log and random.random() < 0.25:
        _spoil_log(random, log)
    else:
        place = random.randrange(len(history))
        operation = history[place]
        history[place] = random.choice(list(_variants(random, operation)))
    return history, log


def _spoil_log(random: Random, log: Log) -> None:
    place = random.randrange(len(log))
    kind = random.randrange(4)
    if kind == 0:
        del log[place:]
    elif kind == 1:
        del log[place]
    elif kind == 2 and place:
        log[place - 1], log[place] = (
            log[place]._replace(revision=log[place - 1].revision),
            log[place - 1]._replace(revision=log[place].revision),
        )
    else:
        log.append(log[place]._replace(revision=len(log) + 1))


def _variants(random: Random, operation: Operation) -> Iterator[Operation]:
    shift = random.choice((-6.0, -3.0, 3.0, 6.0))
    yield replace(operation, call=operation.call + shift, ret=max(operation.ret, operation.call) + shift)
    yield replace(operation, call=operation.call - abs(shift))
    if operation.ret < inf:
        yield replace(operation, ret=operation.ret + abs(shift))
    off = random.choice((-1, 1))
    if isinstance(operation, Read):
        if operation.revision is not None:
            yield replace(operation, revision=max(0, operation.revision + off))
            if not operation.prefix:
                yield replace(operation, revision=None)
        yield replace(operation, result=operation.result[:-1])
        if operation.result:
            last = operation.result[-1]
            yield replace(operation, result=(*operation.result[:-1], last._replace(revision=last.revision + off)))
    elif isinstance(operation, Batch):
        yield from _variants_of_batch(random, operation, off)
    elif operation.revision:
        yield replace(operation, revision=operation.revision + 1)
        yield replace(operation, revision=0, ret=inf)
        yield replace(operation, revision=0, found=random.randint(0, 3))
        yield replace(operation, expected=random.randint(0, 3))
    elif operation.found is not None:
        yield replace(operation, found=max(0, operation.found + off))
        yield replace(operation, found=None, ret=inf)
    else:
        yield replace(operation, ret=operation.call + 3, revision=random.randint(1, 4))


def _variants_of_batch(random: Random, batch: Batch, off: int) -> Iterator[Operation]:
    first, *more = batch.parts
    if more:
        yield replace(batch, parts=tuple(more))
        yield replace(batch, parts=(*more, first))
    yield replace(batch, parts=(first._replace(expected=random.randint(0, 3)), *more))
    yield replace(batch, demands=(Demand(first.key, *random.choice(((0, None), (None, 1), (1, None), (None, None)))),))
    if batch.revision:
        yield replace(batch, revision=batch.revision + 1)
        yield replace(batch, revision=0, ret=inf)
        yield replace(batch, revision=0, found_key=first.key, found=random.randint(0, 3))
    elif batch.found is not None:
        yield replace(batch, found=max(0, batch.found + off))
        yield replace(batch, found_life=not batch.found_life)
        yield replace(batch, found=None, ret=inf)
    else:
        yield replace(batch, ret=batch.call + 3, revision=random.randint(1, 4))
