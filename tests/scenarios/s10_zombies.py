"""A kubelet that is cut off runs on what others have given up, and run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from unittest import mock

from ursa.clients.actor import Actor
from ursa.clients.client import ClientSet
from ursa.clients.controllers import TenantControllerManager
from ursa.clients.controllers.options import TenantControllerOptions
from ursa.clients.controllers.pod_gc_core import PodGcCore, Steps
from ursa.clients.kubelet.core import Kubelet
from ursa.clients.kubelet.options import HollowNodesOptions
from ursa.clients.node_fence import CLOCK_RATE_MAX
from ursa.proto.objects import Object
from ursa.tools import makers
from ursa.tools.simulation import Fault, Operation, Plan, Swarm, Topology, draw_plan, world

from .registry import Scenario

SWARM = Swarm(
    Topology(1, 2, 2),
    seconds=230.0,
    operations_a_second=(0.2, 0.4),
    faults_a_minute=(0.5, 1.0),
    workload=("pods",),
    faults=("cut", "delay"),
)


def cut_off(seed: int) -> Plan:
    """The kubelet of a node hears of nobody, and whoever provides the machine takes it for dead."""
    drawn = draw_plan(seed, SWARM)
    at = round(Random(f"{seed}/cut off").uniform(20.0, 35.0), 3)
    alone = Fault(at, "silence", "hollow-nodes-rp-1", "*", 175.0)
    given_up = Fault(at + 1.0, "deregister", "node-0001")
    return drawn.with_(faults=tuple(sorted((*drawn.faults, alone, given_up), key=lambda fault: fault.at)))


def bound_too_late(seed: int) -> Plan:
    """It has pods bound to it before anybody else knows, and their names live on."""
    plan = cut_off(seed)
    silent_at = next(fault.at for fault in plan.faults if fault.kind == "silence")
    spec = {"tenant": "tenant-1", "name": "db", "replicas": 6, "image": "app:1", "parallel": True}
    operations = [*plan.operations, Operation(silent_at + 0.2, "user-1", "stateful", spec)]
    return plan.with_(operations=tuple(sorted(operations, key=lambda operation: operation.at)))


@contextmanager
def fenced_after(seconds: float) -> Iterator[None]:
    """Sooner than it is, or a run would be too long."""

    def controllers(home: str) -> makers.Make:
        def make(clients: ClientSet, actor: Actor) -> TenantControllerManager:
            options = TenantControllerOptions(node_fence_seconds=seconds * CLOCK_RATE_MAX)
            return TenantControllerManager(clients, home, actor, options)

        return make

    with (
        mock.patch.object(makers, "tenant_controllers", controllers),
        mock.patch.object(world, "HollowNodesOptions", partial(HollowNodesOptions, fence_seconds=seconds)),
    ):
        yield


# Just above the duration of a node's Lease; and long after the garbage collector first hears that a node is gone.
SOON, LATE = partial(fenced_after, 45.0), partial(fenced_after, 100.0)


@contextmanager
def a_kubelet_that_hears_of_nobody_goes_on() -> Iterator[None]:
    """What others do with its pods meanwhile is not its business."""

    def fence(self: Kubelet, partition: str, seconds: float) -> int:
        del self, partition, seconds
        return 0

    with mock.patch.object(Kubelet, "fence", fence):
        yield


@contextmanager
def a_kubelet_takes_on_what_it_missed() -> Iterator[None]:
    """The first thing it is told by a link that is back is as good as any other."""

    def resumed(self: Kubelet, partition: str) -> None:
        del self, partition

    with mock.patch.object(Kubelet, "resumed", resumed):
        yield


@contextmanager
def lost_pods_are_deleted_at_once() -> Iterator[None]:
    """Their node is gone, so they are gone."""

    def next_steps(self: PodGcCore, lost: Iterable[Object], now: float) -> Steps:
        del self, now
        return Steps([], list(lost))

    with mock.patch.object(PodGcCore, "next_steps", next_steps):
        yield


SCENARIOS = (
    Scenario(
        "S10",
        "a kubelet that is cut off runs on what others run again",
        "kubernetes/kubernetes#61832, #35145, #35235, #59848",
        "No second instance before the first is proved stopped, or fenced by a term.",
        cut_off,
        "a kubelet that hears of no partition lets its pods run for ever",
        a_kubelet_that_hears_of_nobody_goes_on,
        ("One instance",),
        3,
        SOON,
    ),
    Scenario(
        "S10b",
        "pods of a node that is gone are deleted for good at once",
        "kubernetes/kubernetes#35145, #35235",
        "No second instance before the first is proved stopped, or fenced by a term.",
        cut_off,
        "pod garbage collection deletes the pods of a node that is gone without waiting for their kubelet",
        lost_pods_are_deleted_at_once,
        ("One instance",),
        3,
        LATE,
    ),
    Scenario(
        "S10c",
        "a kubelet whose link is back starts what was deleted meanwhile",
        "Ursa itself: three of 2,000 seeds of S10",
        "No second instance before the first is proved stopped, or fenced by a term.",
        bound_too_late,
        "a kubelet takes on the pods of a resumed watch before it has been told of all it missed",
        a_kubelet_takes_on_what_it_missed,
        ("One instance",),
        3,
        SOON,
    ),
)
