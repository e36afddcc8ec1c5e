"""Controllers that decide on their first, half-synced view: what it does not show yet is taken for gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import trio
from ursa.clients.controllers.garbage_collector import GarbageCollector
from ursa.clients.controllers.garbage_collector_core import Fate
from ursa.clients.controllers.options import TenantControllerOptions
from ursa.clients.controllers.owners import Item
from ursa.clients.controllers.pod_gc import PodGcController
from ursa.clients.controllers.pod_gc_core import PodGcCore
from ursa.clients.controllers.pods import NodeName
from ursa.clients.informer import Informer
from ursa.clients.spanning import SpanningInformer
from ursa.tools.simulation import Fault, Plan, Swarm, Topology, draw_plan, simulate

from .registry import Scenario

SWARM = Swarm(
    Topology(1, 2, 4),
    seconds=50.0,
    operations_a_second=(0.5, 1.0),
    faults_a_minute=(2.0, 6.0),
    workload=("workloads",),
    faults=("cut", "delay"),
)
# The controllers of the tenant partition start again in the middle, and see a resource partition late.
RESTARTED, LATE_SECONDS = 15.0, 25.0
MANAGER = "controller-manager-tp-1"


def restarts(seed: int) -> Plan:
    plan = draw_plan(seed, SWARM)
    late = Fault(RESTARTED - 1.0, "silence", MANAGER, "rp-1", LATE_SECONDS)
    again = Fault(RESTARTED, "crash", MANAGER, "", 1.0)
    return plan.with_(faults=tuple(sorted((*plan.faults, late, again), key=lambda fault: fault.at)))


class LateOwners:
    """Informers of owners begin a moment after the others, as where each kind is watched by itself."""

    def broken(self, seed: int) -> Sequence[str]:
        real = Informer.run

        async def run(self: Informer) -> None:
            if self.resource == "replicasets.apps":
                await trio.sleep(1.0)
            await real(self)

        with mock.patch.object(Informer, "run", run):
            return simulate(restarts(seed)).promises


@contextmanager
def views_count_as_complete() -> Iterator[None]:
    """Nobody waits for the first view to be whole."""

    async def at_once(self: Informer) -> None:
        del self

    with mock.patch.object(Informer, "wait_synced", at_once):
        yield


@contextmanager
def owners_not_seen_are_gone() -> Iterator[None]:
    """The garbage collector begins at once, and believes its view: as Kubernetes' did."""

    async def fates(self: GarbageCollector, owners: Sequence[Item]) -> dict[Item, Fate]:
        del self
        return dict.fromkeys(owners, Fate.GONE)

    with views_count_as_complete(), mock.patch.object(GarbageCollector, "_fates", fates):
        yield


@contextmanager
def nodes_not_seen_are_gone() -> Iterator[None]:
    """Pods go with their nodes, and nodes that no view shows are none: as an autoscaler saw it."""

    async def is_gone(self: PodGcController, node: NodeName) -> bool:
        del self, node
        return True

    def all_are_fresh(self: SpanningInformer, staleness_seconds_max: float) -> dict[str, Informer]:
        del staleness_seconds_max
        return dict(self)

    real = PodGcCore.__init__

    def without_quarantine(self: PodGcCore, options: TenantControllerOptions) -> None:
        real(self, replace(options, node_quarantine_seconds=0.0))

    with (
        mock.patch.object(PodGcCore, "__init__", without_quarantine),
        mock.patch.object(PodGcController, "_is_gone", is_gone),
        mock.patch.object(SpanningInformer, "fresh", all_are_fresh),
    ):
        yield


SCENARIOS = (
    Scenario(
        "S13a",
        "the garbage collector deletes what has owners that it has not seen yet",
        "kubernetes/kubernetes#88097, #65200",
        "That an owner is gone is concluded from no view: it is asked about.",
        LateOwners(),
        "the garbage collector waits for no view, and takes an owner that it does not see for gone",
        owners_not_seen_are_gone,
        ("Nothing that lives is deleted",),
        1,
    ),
    Scenario(
        "S13b",
        "the pods of nodes that are not seen yet are deleted",
        "kubernetes/autoscaler#446",
        "Absence is concluded only from a complete and fresh view, and confirmed by the partition concerned.",
        restarts,
        "pod garbage collection believes any view of nodes at once, complete and fresh or not, and asks nobody",
        nodes_not_seen_are_gone,
        ("Nothing that lives is deleted",),
        1,
    ),
)
