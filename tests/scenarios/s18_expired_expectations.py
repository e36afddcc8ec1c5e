"""Expectations that expire while the informer lags: the same pods are created again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import trio
from ursa.clients.controllers.replicaset_core import ReplicaSetCore
from ursa.proto.objects import ObjectKey
from ursa.tools.simulation import Swarm, Topology

from .registry import Scenario

# Kubernetes' are five minutes; here everything else is faster, too.
EXPIRE_SECONDS = 4.0


@contextmanager
def expectations_expire() -> Iterator[None]:
    """What was asked for and has not been seen for a while is forgotten."""
    real = ReplicaSetCore.resync

    def resync(self: ReplicaSetCore, view_revision: int, incarnation: str) -> None:
        now = trio.current_time()
        since: dict[ObjectKey, float] = self.__dict__.setdefault("since", {})
        for members in self._members.values():
            for key in list(members.expected):
                if now - since.setdefault(key, now) >= EXPIRE_SECONDS:
                    del members.expected[key]
                    members.unresolved.pop(key, None)
            if members.replicaset is not None and members.wants_more_writes:
                self._due[members.replicaset.key] = None
        real(self, view_revision, incarnation)

    with mock.patch.object(ReplicaSetCore, "resync", resync):
        yield


SCENARIOS = (
    Scenario(
        "S18",
        "expectations expire while the informer lags, and there are too many pods",
        "kubernetes/kubernetes#129795, #57191, cluster-api#13649, kuberay#715",
        "By an act of its controller a ReplicaSet has no more active pods than it asks for.",
        Swarm(
            Topology(1, 1, 2),
            seconds=60.0,
            operations_a_second=(0.3, 0.8),
            faults_a_minute=(4.0, 8.0),
            workload=("workloads",),
            faults=("silence-replies", "delay", "slow-disk"),
        ),
        "the ReplicaSet controller forgets creates that its informer has not shown for four seconds",
        expectations_expire,
        ("Replicas",),
        21,
    ),
)
