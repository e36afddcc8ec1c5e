"""A controller of tenants looks for the nodes of its pods, and takes what it cannot see for gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest import mock

from ursa.clients.controllers.pod_gc import PodGcController
from ursa.clients.controllers.pod_gc_core import PodGcCore
from ursa.clients.controllers.pods import NodeName, node_of
from ursa.clients.informer import Informer
from ursa.clients.spanning import SpanningInformer
from ursa.proto.errors import UrsaError
from ursa.tools.simulation import Fault, Plan, Swarm, Topology, draw_plan

from .registry import Scenario

MANAGER = "controller-manager-tp-1"
SWARM = Swarm(
    Topology(1, 2, 4),
    seconds=150.0,
    operations_a_second=(0.2, 0.5),
    faults_a_minute=(1.0, 3.0),
    workload=("workloads",),
    faults=("cut", "delay"),
)
# Longer than a view is fresh, a node in quarantine, and a question open, and than two rounds: 12, 40, 30 and 40 s.
AWAY_SECONDS = 125.0


def late(seed: int) -> Plan:
    """The controllers start again, and see one of the resource partitions late."""
    plan = draw_plan(seed, SWARM).with_(seconds=50.0)
    return _with(plan, Fault(14.0, "silence", MANAGER, "rp-1", 25.0), Fault(15.0, "crash", MANAGER, "", 1.0))


def away(seed: int) -> Plan:
    """A resource partition answers them no more; its kubelets and the tenants' users notice nothing."""
    return _with(draw_plan(seed, SWARM), Fault(10.0, "cut", MANAGER, "rp-2", AWAY_SECONDS))


def _with(plan: Plan, *faults: Fault) -> Plan:
    kept = [each for each in plan.faults if each.at < plan.seconds]
    operations = tuple(each for each in plan.operations if each.at < plan.seconds)
    return plan.with_(operations=operations, faults=tuple(sorted((*kept, *faults), key=lambda fault: fault.at)))


@contextmanager
def nodes_of_no_view_are_gone() -> Iterator[None]:
    """One list of all nodes that are seen, whoever shows them: as Arktos looked for nodes where it had none."""

    async def collect(self: PodGcController) -> None:
        seen = dict.fromkeys(key.name for informer in self._nodes.values() for key in informer.objects)
        lost = [pod for pod in self._pods.objects.values() if (node := node_of(pod)) and node.node not in seen]
        await self._delete("lost-node", lost)

    with mock.patch.object(PodGcController, "_collect_pods", collect):
        yield


@contextmanager
def errors_are_empty_answers() -> Iterator[None]:
    """A partition that does not answer has no nodes, and one that cannot be asked about a node has not got it."""
    real = PodGcCore.lost_with_their_node
    asked = PodGcController._is_gone
    partitions: dict[str, None] = {}

    def lost(self: PodGcCore, pods: Sequence[object], nodes: Mapping[str, object], now: float) -> object:
        return real(self, pods, {**{name: {} for name in partitions}, **nodes}, now)  # type: ignore[arg-type, dict-item]

    def fresh(self: SpanningInformer, staleness_seconds_max: float) -> dict[str, Informer]:
        if self.resource == "nodes":
            partitions.update(dict.fromkeys(self))
        return really_fresh(self, staleness_seconds_max)

    async def is_gone(self: PodGcController, node: NodeName) -> bool:
        try:
            return await asked(self, node)
        except UrsaError:
            return True

    really_fresh = SpanningInformer.fresh
    with (
        mock.patch.object(PodGcCore, "lost_with_their_node", lost),
        mock.patch.object(SpanningInformer, "fresh", fresh),
        mock.patch.object(PodGcController, "_is_gone", is_gone),
    ):
        yield


SCENARIOS = (
    Scenario(
        "S2",
        "a controller takes pods on nodes that it does not see yet for orphans",
        "arktos#1020, #1038, #1042, #1025, #1044",
        "Absence is concluded only from a complete and fresh view of the partition concerned; else nothing is deleted.",
        late,
        "pod garbage collection looks for nodes in one list of all it has seen so far, late partitions and all",
        nodes_of_no_view_are_gone,
        ("Nothing that lives is deleted",),
        1,
    ),
    Scenario(
        "S2b",
        "a resource partition that answers with errors is taken for one without nodes",
        "arktos#1020, #1038; kubernetes/autoscaler#446",
        "Absence is confirmed by the partition concerned: no answer is not an answer.",
        away,
        "a view that has got old counts as an empty one, and a question without an answer as answered",
        errors_are_empty_answers,
        ("Nothing that lives is deleted",),
        2,
    ),
)
