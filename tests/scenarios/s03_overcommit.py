"""Several schedulers, each of which takes the whole pool of nodes for its own: what they claim must be counted once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.partitions.admission.ledger import Ledger
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario

# Two schedulers, and half a dozen pods that want the same two small nodes.
CROWDED = Swarm(
    Topology(2, 1, 2),
    seconds=20.0,
    operations_a_second=(0.5, 1.5),
    workload=("crowd",),
    faults=("cut", "delay", "crash"),
    node_cpu=("500m", "1"),
)


@contextmanager
def the_ledger_admits_without_looking() -> Iterator[None]:
    """As where each scheduler's own view is all there is: what it does not show is room."""
    with mock.patch.object(Ledger, "_check_room"):
        yield


SCENARIOS = (
    Scenario(
        "S3",
        "several schedulers over-commit a node",
        "arktos#1012, kubernetes/kubernetes#72043, #76772, #106884, #115325",
        "No claim is admitted that a node has no room for, at any revision.",
        CROWDED,
        "the ledger of a resource partition admits placements without looking at what is free",
        the_ledger_admits_without_looking,
        ("No claim over-commits",),
        1,
    ),
)
