"""When a partition commits: at once, or when the pace allows it; and how long a lone writer is kept waiting."""

from __future__ import annotations

from collections.abc import Sequence

from ursa.partitions.pacing import COMMIT_BURST, COMMIT_BURST_MAX, COMMITS_PER_SECOND, FULL_BATCH_CHANGES, CommitDriver
from ursa.storage import Change, MemoryStore, Record

from .contract.host import HandClock

SECONDS_BETWEEN_COMMITS = 1 / COMMITS_PER_SECOND


class Partition:
    """A store, its driver, and the sizes of the commits they made."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.commits: list[int] = []
        self.answered = False
        self._store = MemoryStore(incarnation="first")
        self._driver = CommitDriver(self._store, self.clock, self._published)
        self._written = 0

    def _published(self, records: Sequence[Record]) -> None:
        self.commits.append(len(records))

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self._written += 1
            self._store.stage([Change(f"/registry/pods/{self._written}", b"x")])
        self._driver.poke()

    def write_and_wait(self) -> float:
        """Seconds until it was committed."""
        commits, began = len(self.commits), self.clock.now
        self.write()
        while len(self.commits) == commits:
            self.clock.advance(SECONDS_BETWEEN_COMMITS / 100)
        return self.clock.now - began


def together(partition: Partition, *, seconds: int) -> None:
    """A thousand writes a second, none of which waits for another."""
    for _ in range(1_000 * seconds):
        partition.write()
        partition.clock.advance(1 / 1000)


def test_a_quiet_partition_commits_at_once() -> None:
    partition = Partition()
    partition.write()
    assert partition.commits == [1]


def test_writes_that_go_on_and_on_are_gathered() -> None:
    partition = Partition()
    together(partition, seconds=10)
    assert len(partition.commits) <= 10 * COMMITS_PER_SECOND + COMMIT_BURST + 1
    assert sum(partition.commits[-100:]) >= 900


def test_a_full_batch_goes_at_once() -> None:
    partition = Partition()
    for _ in range(int(COMMIT_BURST)):
        partition.write()
    partition.write(FULL_BATCH_CHANGES - 1)
    assert len(partition.commits) == COMMIT_BURST
    partition.write()
    assert partition.commits[-1] == FULL_BATCH_CHANGES


def test_a_lone_writer_is_kept_waiting_ever_more_seldom() -> None:
    """It writes again only when it has been answered: no wait gathers anything."""
    partition = Partition()
    waits = [partition.write_and_wait() > SECONDS_BETWEEN_COMMITS / 2 for _ in range(20_000)]
    assert sum(waits[:100]) <= 4
    assert 10_000 / COMMIT_BURST_MAX - 1 <= sum(waits[-10_000:]) <= 10_000 / COMMIT_BURST_MAX + 1


def test_a_lone_writer_of_before_is_no_excuse_for_those_who_write_together() -> None:
    partition = Partition()
    for _ in range(2_000):
        partition.write_and_wait()
    together(partition, seconds=2)  # What it had saved up is spent.
    partition.clock.advance(100)
    del partition.commits[:]
    together(partition, seconds=1)
    assert len(partition.commits) <= COMMITS_PER_SECOND + COMMIT_BURST + 1


def test_full_batches_put_nobody_into_debt_for_long() -> None:
    partition = Partition()
    for _ in range(1_000):
        partition.write(FULL_BATCH_CHANGES)
    assert partition.write_and_wait() <= (COMMIT_BURST + 2) * SECONDS_BETWEEN_COMMITS
