"""The control plane sees nodes no more, and takes all of them for dead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from unittest import mock

import trio
from ursa.clients.actor import Actor
from ursa.clients.client import ClientSet
from ursa.clients.controllers import ResourceControllerManager
from ursa.clients.controllers.node_lifecycle import NodeLifecycleController
from ursa.clients.controllers.node_lifecycle_core import NodeLifecycleCore
from ursa.clients.controllers.options import ResourceControllerOptions
from ursa.clients.informer import Informer
from ursa.tools import makers
from ursa.tools.simulation import Fault, Plan, Swarm, Topology, draw_plan

from .registry import Scenario

SWARM = Swarm(
    Topology(1, 2, 6),
    seconds=110.0,
    operations_a_second=(0.2, 0.5),
    faults_a_minute=(1.0, 3.0),
    workload=("workloads",),
    faults=("cut", "delay"),
)
# Pods stay on unreachable nodes for so long, not for five minutes: a run would be too long.
TOLERATION = ResourceControllerOptions(toleration_seconds=5.0)


def lost(kind: str, target: str, other: str, seconds: float) -> Callable[[int], Plan]:
    """Plans in which, at some time, this goes wrong for so long."""

    def plan(seed: int) -> Plan:
        drawn = draw_plan(seed, SWARM)
        at = round(Random(f"{seed}/lost").uniform(10.0, 20.0), 3)
        fault = Fault(at, kind, target, other, seconds)
        return drawn.with_(faults=tuple(sorted((*drawn.faults, fault), key=lambda fault: fault.at)))

    return plan


@contextmanager
def pods_tolerate_little() -> Iterator[None]:
    def controllers(home: str) -> makers.Make:
        def make(clients: ClientSet, actor: Actor) -> ResourceControllerManager:
            return ResourceControllerManager(clients, home, actor, TOLERATION)

        return make

    with mock.patch.object(makers, "resource_controllers", controllers):
        yield


@contextmanager
def what_is_not_seen_is_dead() -> Iterator[None]:
    """Every view counts as fresh, and each node is judged by itself, at once and without a question."""

    def fresh(self: NodeLifecycleController, informer: Informer) -> bool:
        del self
        return informer.synced

    real = NodeLifecycleCore.tick

    def tick(self: NodeLifecycleCore, now: float, now_ms: int, fresh: bool) -> Sequence[object]:
        self._was_fresh = True
        self._ticked_at = now
        return real(self, now, now_ms, fresh)

    def let_all_evict(self: NodeLifecycleCore, now: float, elapsed: float) -> None:
        del now, elapsed
        for watched in self._known():
            watched.may_evict = watched.lost_at is not None

    async def unasked(self: NodeLifecycleController, node: str) -> bool:
        del self, node
        await trio.lowlevel.checkpoint()
        return True

    with (
        mock.patch.object(NodeLifecycleController, "_is_fresh", fresh),
        mock.patch.object(NodeLifecycleController, "_is_silent", unasked),
        mock.patch.object(NodeLifecycleCore, "tick", tick),
        mock.patch.object(NodeLifecycleCore, "_let_evict", let_all_evict),
    ):
        yield


SCENARIOS = (
    Scenario(
        "S9",
        "one dead watch is read as the death of all nodes",
        "kubernetes/kubernetes#121793, #28832, #111385",
        "Losing sight evicts nothing: only a node that is silent while others are not loses its pods.",
        lost("freeze", "controller-manager-rp-1", "rp-1", 70.0),
        "each node whose lease is not seen to change is dead by itself, and its pods are deleted without a question",
        what_is_not_seen_is_dead,
        ("Losing sight evicts nothing",),
        2,
        pods_tolerate_little,
    ),
    Scenario(
        "S9b",
        "a whole partition comes back, and its nodes are judged by what was seen before",
        "kubernetes/kubernetes#24200, #24597; kubernetes/enhancements#5263",
        "Who has been blind gives every node its whole grace period anew.",
        lost("silence", "rp-1", "", 75.0),
        "a view that is not fresh is judged as if it were, and again as soon as it moves",
        what_is_not_seen_is_dead,
        ("Losing sight evicts nothing",),
        25,
        pods_tolerate_little,
    ),
)
