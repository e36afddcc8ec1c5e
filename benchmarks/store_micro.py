"""What the durable store costs: `python benchmarks/store_micro.py [directory]` (default: a temporary one).

Puts of 1 KiB, spread over 20,000 keys, fsync on, committed by the writer thread of an asyncio loop; then the same
committed inline, which is the CPU of staging and committing alone. Then reads, opening, and a compaction swept to its
end. A directory on a real disk gives real figures.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from ursa.storage import Change, Committer, InlineCommitter, LmdbStore, Record, Store, ThreadCommitter

KEYS = [f"/registry/pods/tenant-{number % 50}/default/web-6d4cf56db6-{number:06d}" for number in range(20_000)]
VALUE = os.urandom(1024)
# Changes a commit, and how many in all.
GROUPS = ((1, 2_000), (16, 16_000), (64, 64_000), (256, 128_000))


@contextmanager
def measured(what: str, operations: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:34} {operations / wall:10,.0f} /s   {cpu / operations * 1e6:8.2f} us CPU each")


def open_store(directory: Path, committer: Committer) -> LmdbStore:
    return LmdbStore.open(directory, committer, incarnation_random=Random(1))


def random_groups(group: int, operations: int) -> list[list[str]]:
    random = Random(1)
    return [random.choices(KEYS, k=group) for _ in range(operations // group)]


def fill(store: Store) -> None:
    store.stage([Change(key, VALUE) for key in KEYS])
    store.commit(lambda _: None)


async def put_by_thread(directory: Path) -> None:
    loop = asyncio.get_running_loop()
    store = open_store(directory, ThreadCommitter(loop.call_soon_threadsafe))

    async def commit() -> None:
        done: asyncio.Future[list[Record]] = loop.create_future()
        store.commit(done.set_result)
        await done

    for group, operations in GROUPS:
        groups = random_groups(group, operations)
        with measured(f"put, {group} a commit, thread", operations):
            for keys in groups:
                for key in keys:
                    store.stage([Change(key, VALUE)])
                await commit()
    store.close()


def put_inline(store: Store) -> None:
    for group, operations in GROUPS:
        groups = random_groups(group, operations)
        with measured(f"put, {group} a commit, inline", operations):
            for keys in groups:
                for key in keys:
                    store.stage([Change(key, VALUE)])
                store.commit(lambda _: None)


def stage_alone(store: Store, operations: int = 20_000) -> None:
    keys = Random(1).choices(KEYS, k=operations)
    with measured("stage one change", operations):
        for key in keys:
            store.stage([Change(key, VALUE)])
    with measured("commit them", operations):
        store.commit(lambda _: None)


def read(store: Store) -> None:
    for what, records in (("range", store.range("")), ("log", store.log(store.head - 20_000))):
        with measured(f"{what} of 20,000", 20_000):
            assert sum(1 for _ in records) == 20_000
    with measured("get", 20_000):
        for key in KEYS:
            store.get(key)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        directory = Path(name)
        store = open_store(directory, InlineCommitter())
        fill(store)
        store.close()
        asyncio.run(put_by_thread(directory))
        store = open_store(directory, InlineCommitter())
        put_inline(store)
        stage_alone(store)
        read(store)
        revisions = store.head
        store.close()
        with measured(f"open, {revisions:,} revisions", revisions):
            store = open_store(directory, InlineCommitter())
        store.compact(store.head)
        longest = 0.0
        with measured("sweep, a garbage revision", revisions - len(KEYS)):
            more = True
            while more:
                begun = time.perf_counter()
                more = store.sweep_step()
                longest = max(longest, time.perf_counter() - begun)
        print(f"{'longest step of the sweep':34} {longest * 1e3:10.1f} ms")
        store.close()


if __name__ == "__main__":
    main()
