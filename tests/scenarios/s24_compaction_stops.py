"""Compaction goes on after a failure, and what it leaves behind can be opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from unittest import mock

from ursa.proto.errors import StoreCorrupt
from ursa.storage import LmdbStore, Record
from ursa.storage.committer import Done
from ursa.storage.log_store import LogStore
from ursa.tools.simulation import Fault, Operation, Plan, Topology

from .bare_stores import COMPACTION, Churn
from .registry import Scenario

ORIGIN = "k3s-io/kine#414, k3s-io/kine#489, k3s-io/kine#311, k3s-io/kine#238"


@contextmanager
def one_failure_is_the_last() -> Iterator[None]:
    """Sweeps wait for a copy under way, and one that has failed is under way for ever."""
    real = LmdbStore.snapshot

    def snapshot(self: LmdbStore, path: str | os.PathLike[str], done: Done) -> None:
        def copied(error: BaseException | None) -> None:
            self._copying = error is not None
            done(error)

        real(self, path, copied)

    with mock.patch.object(LmdbStore, "snapshot", snapshot), mock.patch.object(LmdbStore, "_check_copying"):
        yield


@contextmanager
def nothing_above_the_floor_is_no_store() -> Iterator[None]:
    """A store whose every record is older than its floor is taken for damaged."""
    real = LogStore._restore

    def restore(self: LogStore, records: Iterable[Record], floor: int) -> None:
        records = list(records)
        if floor and all(record.revision <= floor for record in records):
            raise StoreCorrupt(f"no record is above the compacted revision {floor}")
        real(self, records, floor)

    with mock.patch.object(LogStore, "_restore", restore):
        yield


@contextmanager
def the_newest_record_is_the_head() -> Iterator[None]:
    """A store that is opened counts on from its newest record, though newer ones may have been compacted."""
    real = LogStore._restore

    def restore(self: LogStore, records: Iterable[Record], floor: int) -> None:
        records = list(records)
        real(self, records, floor)
        self._head = self._staged_head = max((record.revision for record in records), default=floor)
        self._floor = self._durable_floor = min(floor, self._head)

    with mock.patch.object(LogStore, "_restore", restore):
        yield


def plan(seed: int) -> Plan:
    """Registers are written and some of them removed; when it has gone quiet the partition is compacted up to its head,
    has time to sweep, and dies. Then life goes on."""
    random = Random(f"{seed}/quiet")

    def act(at: float, user: str) -> Operation:
        name, value = f"register-{random.randint(1, 3)}", f"value-{at:.3f}"
        verb = random.choice(("put", "put", "remove", "read"))
        arguments = {"tenant": "tenant-1", "name": name, "value": value, "match": ""}
        return Operation(round(at, 3), user, verb, arguments)

    times = [random.uniform(0.0, 5.0) for _ in range(random.randint(4, 12))]
    times += [random.uniform(35.0, 38.0) for _ in range(random.randint(2, 8))]
    operations = tuple(act(at, random.choice(("user-1", "user-2"))) for at in sorted(times))
    faults = Fault(8.0, "compact", "tp-1"), Fault(random.uniform(25.0, 32.0), "crash", "tp-1", seconds=1.0)
    return Plan(seed, Topology(1, 1, 1), 40.0, converge_seconds=40.0, operations=operations, faults=faults)


SCENARIOS = (
    Scenario(
        "S24",
        "compaction stops for ever after one failure",
        ORIGIN,
        "What nobody can ask for any more is erased, whatever has failed before.",
        Churn(),
        "a copy that fails is taken to be under way for ever, and sweeps wait for it",
        one_failure_is_the_last,
        (COMPACTION,),
        3,
    ),
    Scenario(
        "S24b",
        "a store whose live keys are all older than its floor cannot be opened",
        ORIGIN,
        "Whatever compaction leaves behind can be opened.",
        plan,
        "a store that has no record above its floor is taken for damaged",
        nothing_above_the_floor_is_no_store,
        ("Runs",),
        1,
    ),
    Scenario(
        "S24c",
        "a restart behind a compaction gives revisions out again",
        ORIGIN,
        "Revisions never fall over a restart.",
        plan,
        "a store that is opened counts on from its newest record, not from its floor",
        the_newest_record_is_the_head,
        ("Log", "Monotonic", "Runs"),
        3,
    ),
)
