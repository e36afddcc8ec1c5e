"""The store's backends as subjects: each verb is one of `Store`."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from ursa.proto.errors import StoreError
from ursa.proto.kinds import Role
from ursa.storage import Change, LmdbStore, MemoryStore, Record, Store

from ...partitions.contract.host import HandCommitter
from .subject import ADDED, DELETED, MODIFIED, Event, Item, Page, Put, Subject, Watching, Write

# A watch takes so few at a time that it is often in the middle of a batch.
TAKEN_AT_ONCE = 3


def item_of(record: Record) -> Item:
    return Item(record.key, record.value.decode(), record.revision, str(record.create_revision))


def event_of(record: Record) -> Event:
    kind = DELETED if record.deleted else MODIFIED if record.previous_revision else ADDED
    return Event(kind, *item_of(record))


class StoreSubject(Subject):
    def __init__(self, store: Store, committer: HandCommitter) -> None:
        self._store = store
        self._committer = committer
        self._committing = False
        self._committed = trio.Event()
        self._values: dict[str, str] = {}  # The newest, committed or not.

    async def write(self, *writes: Write) -> list[int]:
        values = dict(self._values)
        changes = [self._change(write, values) for write in writes]
        revisions = [record.revision for record in self._store.stage(changes)]
        self._values = values
        self._commit()
        while self._store.head < revisions[-1]:
            await self._committed.wait()
        return revisions

    @staticmethod
    def _change(write: Write, values: dict[str, str]) -> Change:
        if isinstance(write, Put):
            values[write.key] = write.value
            return Change(write.key, write.value.encode(), expected_revision=write.expected)
        last = values.pop(write.key, "")
        return Change(write.key, last.encode(), deleted=True, expected_revision=write.expected)

    def _commit(self) -> None:
        if not self._committing and self._store.staged_head > self._store.head:
            self._committing = True
            self._store.commit(self._done)

    def _done(self, _records: object) -> None:
        self._committing = False
        self._committed.set()
        self._committed = trio.Event()
        self._commit()

    async def get(self, key: str, revision: int | None = None) -> Item | None:
        record = self._store.get(key, revision)
        return None if record is None else item_of(record)

    async def range(
        self, prefix: str = "", *, revision: int | None = None, limit: int = 0, following: Any = None
    ) -> Page:
        revision, start = following or (revision, "")
        revision = self._store.head if revision is None else revision
        # One more says whether there is another page.
        records = list(self._store.range(prefix, revision=revision, start=start, limit=limit and limit + 1))
        rest = records[limit:] if limit else []
        items = [item_of(record) for record in records[: len(records) - len(rest)]]
        return Page(items, revision, (revision, rest[0].key) if rest else None)

    def watch(self, prefix: str, after: int) -> Watching:
        return _StoreWatching(self._store, prefix, after)

    async def compact(self, revision: int) -> None:
        self._store.compact(revision)
        while self._store.sweep_step():
            pass

    forget = compact  # It has no other memory.

    async def digest(self, revision: int | None = None) -> str:
        return self._store.digest(revision)

    def log(self) -> list[Record]:
        return list(self._store.log(self._store.compacted))

    def hold_commits(self) -> None:
        self._committer.held = True

    def release_commits(self) -> None:
        self._committer.held = False
        self._committer.finish()

    def staged_head(self) -> int:
        return self._store.staged_head

    async def turn(self) -> None:
        await trio.lowlevel.checkpoint()


class _StoreWatching(Watching):
    def __init__(self, store: Store, prefix: str, after: int) -> None:
        super().__init__(prefix, after)
        self._store = store
        self._deliveries: list[tuple[list[Event], int]] = []
        self._refusal: StoreError | None = None
        self._stopped = False
        try:
            self._watch = store.watch(prefix, after, lambda: None)
        except StoreError as error:
            self._refusal = error

    @property
    def deliveries(self) -> list[tuple[list[Event], int]]:
        return self._deliveries

    async def settle(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        while not self._stopped and self._watch.revision < self._store.head:
            events = [event_of(record) for record in self._watch.take(TAKEN_AT_ONCE)]
            self._deliveries.append((events, self._watch.revision))

    def stop(self) -> None:
        self._stopped = True
        if self._refusal is None:
            self._watch.close()


def _memory(committer: HandCommitter, _path: str) -> Store:
    return MemoryStore(committer, incarnation="of-the-test")


def _lmdb(committer: HandCommitter, path: str) -> Store:
    return LmdbStore.open(path, committer, incarnation_random=Random(1))


BACKENDS: dict[str, Callable[[HandCommitter, str], Store]] = {"memory-store": _memory, "lmdb-store": _lmdb}


@asynccontextmanager
async def open_store(name: str, _role: Role) -> AsyncIterator[StoreSubject]:
    with tempfile.TemporaryDirectory() as path:
        committer = HandCommitter()
        store = BACKENDS[name](committer, path)
        try:
            yield StoreSubject(store, committer)
        finally:
            store.close()
