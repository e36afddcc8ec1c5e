"""A claim whose answer was lost may have happened: who forgets it after a while places the pod twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.clients.scheduler.actions import Claim
from ursa.clients.scheduler.claims import Claims
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario


@contextmanager
def claims_in_doubt_are_forgotten() -> Iterator[None]:
    """What has had no answer in time has not happened."""
    real = Claims.unanswered

    def unanswered(self: Claims, claim: Claim, now: float) -> None:
        claim.in_doubt = False
        real(self, claim, now)

    with mock.patch.object(Claims, "unanswered", unanswered):
        yield


SCENARIOS = (
    Scenario(
        "S11",
        "the outcome of a claim is unknown, and its assumption forgotten early",
        "kubernetes/kubernetes#106361, #106412, #136204, #38503",
        "An assumption ends only by observation.",
        Swarm(
            Topology(1, 2, 4),
            seconds=60.0,
            operations_a_second=(0.5, 1.5),
            faults_a_minute=(4.0, 8.0),
            workload=("jobs",),
            faults=("silence-replies", "crash", "cut"),
        ),
        "a claim that got no answer is taken for one that was never sent: its pod goes elsewhere at once",
        claims_in_doubt_are_forgotten,
        ("One claim at a time",),
        47,
    ),
)
