"""Nodes of one name, one after the other in a partition, or at once in two: a node is its partition, name and uid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from unittest import mock

from ursa.clients.feed import Feed, FeedKeeper
from ursa.clients.kubelet.core import Kubelet
from ursa.clients.kubelet.pod_spec import pod_spec
from ursa.partitions.admission.ledger import Ledger
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, decode
from ursa.tools.simulation import Fault, Plan, Swarm, Topology, draw_plan, world

from .registry import Scenario

SWARM = Swarm(
    Topology(1, 1, 2),
    seconds=60.0,
    operations_a_second=(2.0, 4.0),
    faults_a_minute=(1.0, 3.0),
    workload=("pods", "reborn"),
    faults=("delay",),
)
# What a scheduler hears of nodes, and what they hear of it, is late by up to this.
LATE_SECONDS = 5.0


def nodes_are_reborn(seed: int) -> Plan:
    """Again and again a machine is deregistered and comes back, while the scheduler hears of it late."""
    drawn = draw_plan(seed, SWARM)
    random = Random(f"{seed}/reborn")
    faults = list(drawn.faults)
    at = random.uniform(2.0, 6.0)
    while at + 12.0 < SWARM.seconds:
        node = random.choice(drawn.topology.node_names)
        faults.append(Fault(round(at, 3), "delay", "scheduler-tp-1", "rp-1", 10.0, LATE_SECONDS))
        faults.append(Fault(round(at + random.uniform(0.5, 4.0), 3), "node-off", node, "", 1.0, 0.3))
        at += random.uniform(8.0, 12.0)
    return drawn.with_(faults=tuple(sorted(faults, key=lambda fault: fault.at)))


@contextmanager
def the_ledger_goes_by_the_name() -> Iterator[None]:
    """A claim for a node is admitted on whichever node bears the name now."""
    real = Ledger.admit

    def admit(self: Ledger, placement: pb.Object) -> bool:
        spec = decode(placement.spec)
        uid, allocatable = self._allocatable.get(spec["node"], ("", {}))
        if not uid:
            return real(self, placement)
        with mock.patch.dict(self._allocatable, {spec["node"]: (spec["nodeUID"], allocatable)}):
            return real(self, placement)

    with mock.patch.object(Ledger, "admit", admit):
        yield


@contextmanager
def every_partition_has_the_same_names() -> Iterator[None]:
    """As where each is set up from the same list of machines' names."""

    def same(nodes: Sequence[Object], partitions: Sequence[str]) -> Mapping[str, Sequence[Object]]:
        return {partition: list(nodes) for partition in partitions}

    with mock.patch.object(world, "spread", same):
        yield


@contextmanager
def kubelets_go_by_the_name() -> Iterator[None]:
    """A kubelet takes the pods that are bound to its name, wherever the node of that name is."""
    real_init, real_take_on = Feed.__init__, Kubelet._take_on

    def feed(self: Feed, keeper: FeedKeeper, selection: pb.Selection) -> None:
        selection.field_selector = selection.field_selector.partition(",spec.resourcePartition=")[0]
        real_init(self, keeper, selection)

    def take_on(self: Kubelet, source: object, partition: str, message: pb.Object, now: float) -> None:
        home, self.home = self.home, pod_spec(message.spec).resource_partition
        real_take_on(self, source, partition, message, now)  # type: ignore[arg-type]
        self.home = home

    with mock.patch.object(Feed, "__init__", feed), mock.patch.object(Kubelet, "_take_on", take_on):
        yield


SCENARIOS = (
    Scenario(
        "S12",
        "a claim for a node is taken by another one that was born with its name",
        "kubernetes/kubernetes#63262, #93938, #94437, #56261, #51313, #141392",
        "The identity of a node is its partition, its name and its uid.",
        nodes_are_reborn,
        "the ledger of a resource partition does not look at the uid of the node that a claim names",
        the_ledger_goes_by_the_name,
        ("The node that was meant",),
        80,
    ),
    Scenario(
        "S12b",
        "two partitions have nodes of the same name, and both run a pod",
        "kubernetes/kubernetes#63262, #141392; here, with two resource partitions",
        "The identity of a node is its partition, its name and its uid.",
        Swarm(
            Topology(1, 2, 2),
            seconds=20.0,
            operations_a_second=(0.5, 1.5),
            workload=("pods",),
            faults=("cut", "delay"),
        ),
        "a kubelet takes all pods that are bound to its node's name, also those of another partition's node",
        kubelets_go_by_the_name,
        ("One instance",),
        1,
        every_partition_has_the_same_names,
    ),
)
