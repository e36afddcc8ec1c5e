"""A write whose answer was lost is sent again: that must not make it another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.clients.mutations import COUNTER_BYTES, Mutations
from ursa.partitions.writes.outcomes import Outcomes
from ursa.proto.errors import UrsaError
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario

SWARM = Swarm(
    Topology(1, 1, 2),
    seconds=30.0,
    operations_a_second=(1.0, 4.0),
    workload=("overwrites", "registers"),
    faults=("silence-replies", "crash", "cut"),
)
ORIGIN = "Jepsen, jetcd 0.8.2 (2024)"
INVARIANT = "A write of which nobody knows whether it happened is not carried out twice."


@contextmanager
def another_id_each_time() -> Iterator[None]:
    """A client sends again what it had no answer to, as another request."""
    real = Mutations._lost

    def lost(self: Mutations, error: UrsaError) -> None:
        real(self, error)
        if self._unanswered is not None:
            for operation in self._unanswered.request.operations:
                self._operations += 1
                operation.request_id = self._writer + self._operations.to_bytes(COUNTER_BYTES, "big")

    with mock.patch.object(Mutations, "_lost", lost):
        yield


@contextmanager
def outcomes_are_forgotten() -> Iterator[None]:
    """A partition does not know a request again."""
    with mock.patch.object(Outcomes, "find", return_value=None):
        yield


SCENARIOS = (
    Scenario(
        "S20",
        "a client repeats a write as another request",
        ORIGIN,
        INVARIANT,
        SWARM,
        "what had no answer when the link was lost is sent again under another request id",
        another_id_each_time,
        ("Once",),
        42,
    ),
    Scenario(
        "S20b",
        "a partition carries out a repeated request again",
        ORIGIN,
        INVARIANT,
        SWARM,
        "a partition remembers no outcomes, and carries out what is sent again",
        outcomes_are_forgotten,
        ("Writes", "Once"),
        24,
    ),
)
