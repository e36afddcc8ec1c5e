"""A connection of which one end, or what lies between, knows nothing any more: nobody is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from unittest import mock

from ursa.clients import watches
from ursa.clients.transport.memory import MemoryTransport
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario


@contextmanager
def nobody_notices_silence() -> Iterator[None]:
    """There is no keepalive, and no stream is given up because it says nothing."""
    with mock.patch.object(MemoryTransport, "drop"), mock.patch.object(watches, "SILENCE_SECONDS_MAX", inf):
        yield


SCENARIOS = (
    Scenario(
        "S15",
        "a half-open connection is not noticed",
        "kubernetes/kubernetes#48638, #87615, #41916, #52176",
        "How far a client's view may be behind is bounded, on each of its links.",
        Swarm(
            Topology(1, 1, 2),
            seconds=90.0,
            operations_a_second=(0.2, 0.6),
            faults_a_minute=(2.0, 4.0),
            workload=("workloads",),
            faults=("half-open",),
        ),
        "clients without keepalive, that wait for ever for a stream which says nothing",
        nobody_notices_silence,
        ("Silence is noticed",),
        1,
    ),
)
