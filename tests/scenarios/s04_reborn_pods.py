"""A bind that was meant for one pod arrives when another bears its name (ABA)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.partitions.writes import plans
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import Kind
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario


@contextmanager
def binds_go_by_the_name() -> Iterator[None]:
    """The partition takes whichever pod bears the name now for the one that is meant."""
    real = plans.plan_bind

    def plan_bind(kind: Kind, entry: plans.Entry, bind: pb.Bind) -> plans.Plan:
        any_uid = pb.Bind()
        any_uid.CopyFrom(bind)
        any_uid.preconditions.uid = entry.message().metadata.uid
        return real(kind, entry, any_uid)

    with mock.patch.object(plans, "plan_bind", plan_bind):
        yield


SCENARIOS = (
    Scenario(
        "S4",
        "a bind hits a reborn pod of the same name",
        "kubernetes/kubernetes#102761, #105261",
        "A bind is for a uid, not for a name: a pod is bound only where it holds a Placement itself.",
        Swarm(
            Topology(1, 1, 2),
            seconds=20.0,
            operations_a_second=(2.0, 4.0),
            workload=("reborn",),
            faults=("delay", "slow-disk"),
        ),
        "the partition carries out a bind on whichever pod bears the name when it comes",
        binds_go_by_the_name,
        ("Bound where placed",),
        1,
    ),
)
