"""Who leads by a lease may have lost it without knowing: what he has sent by then must not count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest import mock

from ursa.clients import leader_election_core
from ursa.clients.leader_election_core import Term
from ursa.partitions.writes.fences import Fences
from ursa.proto.objects import Object, ObjectKey
from ursa.tools.components import replica_names
from ursa.tools.simulation import Fault, Plan, Swarm, Topology, draw_plan
from ursa.tools.simulation.drawing import AWAKE_SECONDS

from .registry import Scenario

SWARM = Swarm(
    Topology(1, 1, 2, replicas=2),
    seconds=60.0,
    operations_a_second=(0.5, 1.0),
    workload=("workloads",),
    faults=(),
)
ELECTED = ("controller-manager-tp-1", "scheduler-tp-1")
# Longer than the lease lasts, and than the standby looks.
SLEEP_SECONDS = (19.5, 25.0)
INVARIANT = "Writes carry a fencing term, and what was decided on in an older one is refused."


def asleep_at_work(seed: int) -> Plan:
    """Links are slow, so that something is on its way at most times; and soon after there is work, somebody sleeps."""
    drawn = draw_plan(seed, SWARM)
    random = Random(f"{seed}/sleeps")
    awake_since = {replica: 0.0 for name in ELECTED for replica in replica_names(name, 2)}
    faults = []
    for operation in drawn.operations:
        name = random.choice(list(awake_since))
        at = round(operation.at + random.uniform(0.0, 1.5), 3)
        if awake_since[name] <= at < SWARM.seconds - SLEEP_SECONDS[1]:
            faults.append(Fault(at, "sleep", name, "", round(random.uniform(*SLEEP_SECONDS), 3)))
            awake_since[name] = at + SLEEP_SECONDS[1] + AWAKE_SECONDS
    faults.sort(key=lambda fault: fault.at)
    return drawn.with_(knobs=drawn.knobs.with_(latency_seconds=(0.05, 0.3)), faults=tuple(faults))


@contextmanager
def fences_are_ignored() -> Iterator[None]:
    """A partition carries out what it is asked for, whoever leads."""
    with mock.patch.object(Fences, "check", return_value=None):
        yield


@contextmanager
def a_lease_is_taken_without_a_new_term() -> Iterator[None]:
    """Who takes a lease leaves its number as it was."""
    real = leader_election_core.lease_for

    def kept(key: ObjectKey, before: Object | None, term: Term, duration_seconds: int, now_ms: int) -> Object:
        number = term.number if before is None else before.spec.get("leaseTransitions", 1)
        return real(key, before, term._replace(number=number), duration_seconds, now_ms)

    with mock.patch.object(leader_election_core, "lease_for", kept):
        yield


SCENARIOS = (
    Scenario(
        "S19",
        "a leader sleeps past its lease, and what it had on its way arrives",
        "kubernetes/kubernetes#89466, #125761; client-go's leaderelection, which does not fence; Jepsen, etcd's locks",
        INVARIANT,
        asleep_at_work,
        "a partition does not look at the fences of writes",
        fences_are_ignored,
        ("Deposed leaders write nothing",),
        2,
    ),
    Scenario(
        "S19b",
        "a lease changes hands without a new term",
        "client-go's leaderelection: who takes back a lease goes on in its old term",
        INVARIANT,
        asleep_at_work,
        "who takes a lease leaves its term as it was",
        a_lease_is_taken_without_a_new_term,
        ("Terms rise", "Deposed leaders write nothing"),
        1,
    ),
)
