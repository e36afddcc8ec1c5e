"""A store is set back to an older copy, and what clients have seen of its lost future must not be taken for its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from unittest import mock

from ursa.partitions.admission.ledger import Ledger
from ursa.partitions.watches import watching
from ursa.proto import ursa_pb2 as pb
from ursa.storage import snapshot
from ursa.storage.records import DESCRIPTION_KEY, decode_description
from ursa.storage.verify import open_read_only
from ursa.tools.simulation import Fault, Plan, Swarm, Topology, draw_plan, faults

from .registry import Scenario

SWARM = Swarm(Topology(1, 1, 2), seconds=40.0, workload=("registers",), faults=("restore", "cut", "crash"))


class _AsBefore(Random):
    """Draws the incarnation that a snapshot has."""

    def __init__(self, path: Path) -> None:
        super().__init__(0)
        with closing(open_read_only(path)) as environment, environment.begin() as transaction:
            self._incarnation = decode_description(transaction.get(DESCRIPTION_KEY)).incarnation

    def getrandbits(self, k: int, /) -> int:
        return int(self._incarnation, 16)


@contextmanager
def the_same_history_goes_on() -> Iterator[None]:
    """A restored store keeps its incarnation, and goes on counting at its snapshot."""
    real = snapshot.restore

    def restore(path: str | os.PathLike[str], data_dir: str | os.PathLike[str], _: Random) -> int:
        return real(path, data_dir, _AsBefore(Path(path)))

    with mock.patch.object(snapshot, "REVISIONS_FORWARD", 0), mock.patch.object(faults, "restore", restore):
        yield


@contextmanager
def another_incarnation_is_watched() -> Iterator[None]:
    """A watch behind a revision of another incarnation goes on, as if it were of this one."""
    real = watching.Lane._check_start

    def check(self: watching.Lane, start: pb.WatchStart) -> None:
        start.incarnation = ""
        real(self, start)

    with mock.patch.object(watching.Lane, "_check_start", check):
        yield


@contextmanager
def restored_stores_count_on() -> Iterator[None]:
    """The incarnation alone must tell the histories apart."""
    with mock.patch.object(snapshot, "REVISIONS_FORWARD", 0):
        yield


CROWDED = Swarm(
    Topology(1, 1, 2),
    seconds=40.0,
    operations_a_second=(0.5, 1.5),
    workload=("crowd",),
    faults=("cut", "delay"),
    node_cpu=("1", "2"),
)


def rooms_are_lost(seed: int) -> Plan:
    """The resource partition is set back, once or twice, to before some of its placements."""
    drawn = draw_plan(seed, CROWDED)
    random = Random(f"{seed}/rooms")
    times = sorted(random.uniform(8.0, 34.0) for _ in range(random.choice((1, 2))))
    restores = [Fault(round(at, 3), "restore", "rp-1", "", 0.2, round(random.uniform(2.0, 7.0), 3)) for at in times]
    return drawn.with_(faults=tuple(sorted((*drawn.faults, *restores), key=lambda fault: fault.at)))


@contextmanager
def a_restored_ledger_admits_at_once() -> Iterator[None]:
    """What it does not know of is room."""
    with mock.patch.object(Ledger, "_check_told"):
        yield


SCENARIOS = (
    Scenario(
        "S5",
        "a restored store goes on as the same history",
        "kubernetes/kubernetes#107457, kubernetes/kubernetes#118501, etcd-io/etcd#16028",
        "No revision is given out twice; what clients know of a lost future is refused, and then all views equal the "
        "store.",
        SWARM,
        "a restored store keeps its incarnation and goes on counting at its snapshot",
        the_same_history_goes_on,
        ("Log", "Informer equals server"),
        5,
    ),
    Scenario(
        "S5b",
        "a watch of another incarnation goes on",
        "kubernetes/kubernetes#107457, etcd-io/etcd#14303",
        "A watch behind a revision of another incarnation is refused.",
        SWARM,
        "a watch behind a revision of another incarnation is taken as if it were of this one",
        another_incarnation_is_watched,
        ("Resumable",),
        5,
        restored_stores_count_on,
    ),
    Scenario(
        "S5c",
        "a restored partition gives away room in which pods run",
        "kubernetes/kubernetes#118501, and what a placement ledger adds to it",
        "A restored resource partition places nothing on a node until that node's kubelet has said what runs there.",
        rooms_are_lost,
        "the ledger of a restored partition admits claims at once, by the placements of its snapshot",
        a_restored_ledger_admits_at_once,
        ("Told before it places",),
        14,
    ),
)
