"""Two tenant partitions have the same tenant, namespace and name, and their pods meet on a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.clients.kubelet.core import Kubelet
from ursa.clients.kubelet.pod import Pod
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import SYSTEM_TENANT
from ursa.proto.objects import ObjectKey
from ursa.tools.simulation import Plan, Swarm, Topology, draw_plan
from ursa.tools.simulation.workload import home_of

from .registry import Scenario

SWARM = Swarm(
    Topology(2, 1, 1),
    seconds=30.0,
    operations_a_second=(1.0, 2.0),
    workload=("pods",),
    faults=("cut", "delay"),
)
TWINS = SYSTEM_TENANT  # The only one that all partitions have.


def twins(seed: int) -> Plan:
    """All that is done is done for tenants of one name, each at its own partition; on one node."""
    drawn = draw_plan(seed, SWARM).with_(converge_seconds=60.0)
    operations = tuple(
        each._replace(arguments={**each.arguments, "tenant": TWINS, "partition": home_of(each.arguments)})
        for each in drawn.operations
    )
    return drawn.with_(operations=operations)


@contextmanager
def pods_are_kept_by_name() -> Iterator[None]:
    """A kubelet has one pod of a name, whoever has told of it: the next one takes the place of the first."""
    real = Kubelet._take_on

    def take_on(self: Kubelet, source: object, partition: str, message: pb.Object, now: float) -> None:
        metadata = message.metadata
        key = ObjectKey(metadata.tenant, metadata.namespace, metadata.name)
        for other in self._sources.values():
            if other is not source and key in other.names:
                self._forget(other.pods[other.names[key]])
        real(self, source, partition, message, now)  # type: ignore[arg-type]

    with mock.patch.object(Kubelet, "_take_on", take_on):
        yield


@contextmanager
def statuses_go_to_the_first_partition() -> Iterator[None]:
    """A kubelet has one client for what it tells of pods, and tells it by name: as Arktos' had."""
    want, operation = Kubelet.want, Pod.operation

    def wanted(self: Kubelet, pod: Pod) -> None:
        want(self, pod)
        writes = self._outbox.writes
        first = next(name for name in writes if name != self.home)
        writes[first][writes[pod.partition].pop(pod, pod) or pod] = None

    def by_name(self: Pod) -> pb.Operation | None:
        made = operation(self)
        if made is not None and made.HasField("update"):
            made.update.object.metadata.uid = ""
        elif made is not None:
            made.delete.preconditions.uid = ""
        return made

    with mock.patch.object(Kubelet, "want", wanted), mock.patch.object(Pod, "operation", by_name):
        yield


SCENARIOS = (
    Scenario(
        "S25",
        "pods of the same tenant, namespace and name from two partitions collide on a node",
        "arktos#1171, #516, #370; kcp-dev/kcp#3860, #3859",
        "All that a kubelet keeps is keyed by partition and uid.",
        twins,
        "a kubelet keeps pods by tenant, namespace and name, whichever partition they are of",
        pods_are_kept_by_name,
        ("Converges", "Converged"),
        1,
    ),
    Scenario(
        "S25b",
        "what a kubelet tells goes to the wrong partition",
        "arktos#818, #1049, #1200",
        "What is told of a pod goes to its own partition, and names its uid.",
        twins,
        "a kubelet writes statuses, and lets pods go, by name at the first of its tenant partitions",
        statuses_go_to_the_first_partition,
        ("Kubelets tell what is",),
        1,
    ),
)
