"""Both backends behind one fixture, and a committer that a test drives by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from ursa.storage import Change, Committer, InlineCommitter, LmdbStore, MemoryStore, Record, Store
from ursa.storage.committer import Done, Work


class ManualCommitter:
    """Runs what was submitted when the test says so; `close` runs the rest, as every committer must."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Work, Done]] = deque()

    def submit(self, work: Work, done: Done) -> None:
        self.waiting.append((work, done))

    def run_one(self) -> None:
        work, done = self.waiting.popleft()
        try:
            work()
        except Exception as error:  # noqa: BLE001
            done(error)
        else:
            done(None)

    def close(self) -> None:
        while self.waiting:
            self.run_one()


OpenStore = Callable[..., Store]


@pytest.fixture(params=["memory", "lmdb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """`open_store(committer=..., bytes_max=..., on_fatal=...)`: a new store of the backend under test."""
    opened: list[Store] = []

    def open_one(committer: Committer | None = None, **options: object) -> Store:
        committer = committer or InlineCommitter()
        store: Store
        if request.param == "memory":
            store = MemoryStore(committer, incarnation="of-the-test", **options)
        else:
            path = tmp_path / f"store-{len(opened)}"
            store = LmdbStore.open(path, committer, incarnation_random=Random(1), **options)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


@pytest.fixture
def manual_committer() -> ManualCommitter:
    return ManualCommitter()


@pytest.fixture
def write() -> Callable[..., list[Record]]:
    """`write(store, a=b"1", b=None)`: puts, and for None deletions, committed at once."""

    def write_all(store: Store, **values: bytes | None) -> list[Record]:
        records = store.stage([Change(key, value or b"", deleted=value is None) for key, value in values.items()])
        store.commit(lambda _: None)
        return records

    return write_all


@pytest.fixture
def sweep() -> Callable[[Store], None]:
    def sweep_all(store: Store) -> None:
        while store.sweep_step():
            pass

    return sweep_all
