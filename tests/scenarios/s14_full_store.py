"""A store that is full refuses what would make room, and the heartbeats without which all nodes are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from ursa.storage import Change
from ursa.storage.log_store import LogStore
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario


@contextmanager
def a_full_store_refuses_everything() -> Iterator[None]:
    """Deletions and leases are refused like everything else."""
    real = LogStore._check_quota

    def check(self: LogStore, changes: Sequence[Change]) -> None:
        real(self, [change._replace(deleted=False, reserve=False) for change in changes])

    with mock.patch.object(LogStore, "_check_quota", check):
        yield


SCENARIOS = (
    Scenario(
        "S14",
        "a full store refuses deletions and heartbeats",
        "kubernetes/kubernetes#94029, kubernetes/kubernetes#45037, kubernetes/kops#4005",
        "A full store goes on with deletions, compaction and leases.",
        Swarm(Topology(1, 1, 2), seconds=30.0, workload=("registers",), faults=("full",)),
        "a full store refuses deletions and leases, too",
        a_full_store_refuses_everything,
        ("Full",),
        3,
    ),
)
