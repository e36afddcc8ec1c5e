"""What was acknowledged is durable, and whole: nobody is told of it before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from ursa.partitions.writes.mutations import Answer
from ursa.storage import LmdbStore, Record
from ursa.tools.simulation import Swarm, Topology

from .bare_stores import Clients
from .registry import Scenario


@contextmanager
def writes_are_answered_at_once() -> Iterator[None]:
    """A write is acknowledged when it is staged."""
    with mock.patch.object(Answer, "durable", True):
        yield


@contextmanager
def commits_come_in_halves() -> Iterator[None]:
    """A commit is two transactions, and a crash may come between them."""
    real = LmdbStore._write

    def write(self: LmdbStore, batch: Sequence[Record], floor: int | None) -> None:
        half = len(batch) // 2
        if half:
            real(self, batch[:half], floor)
        real(self, batch[half:], floor)

    with mock.patch.object(LmdbStore, "_write", write):
        yield


SCENARIOS = (
    Scenario(
        "S22",
        "a write is acknowledged before it is durable",
        "etcd-io/etcd#14370, etcd-io/etcd#13766",
        "Every acknowledged write is in the log, whatever crashes when.",
        Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers",), faults=("crash-at", "crash", "slow-disk")),
        "a write is acknowledged as soon as it is staged",
        writes_are_answered_at_once,
        ("Durable", "Writes"),
        1,
    ),
    Scenario(
        "S22b",
        "a commit is cut in half",
        "etcd-io/etcd#13514, etcd-io/etcd#14685",
        "What was written together is there together, or not at all.",
        Clients(lmdb=True),
        "a commit is two transactions, and a crash may come between them",
        commits_come_in_halves,
        ("Atomic",),
        11,
    ),
)
