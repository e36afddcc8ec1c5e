"""Parts of a user's own run in a simulated cluster, beside its own or in their place."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from ursa.clients.actor import Actor
from ursa.clients.client import ClientSet
from ursa.clients.scheduler import Scheduler
from ursa.tools.simulation import Plan, Swarm, Topology, draw_plan, simulate
from ursa.tools.simulation.fixture import Simulated, simulated
from ursa.tools.simulation.strategies import plans

__all__ = ["simulated"]

SMALL = Swarm(Topology(1, 1, 2), seconds=20.0, faults=("crash", "cut"))
# Room for everything on all nodes together, and not on one.
CROWDED = Swarm(Topology(1, 1, 6), seconds=20.0, faults=(), workload=("workloads",), node_cpu=("500m",))


class Careless:
    """A scheduler that never asks anybody: it binds every pod to the first node that it knows of."""

    def __init__(self, clients: ClientSet, actor: Actor) -> None:
        self._clients = clients

    def ready(self) -> Mapping[str, bool]:
        return {}

    async def run(self) -> None:
        client = self._clients.tenant_clients["tp-1"]
        while True:
            await trio.sleep(0.5)
            for pod in (await client.list("pods", field_selector="spec.nodeName=")).items:
                await client.bind(pod.key, uid=pod.uid, resource_partition="rp-1", node="node-0001")


def test_a_scheduler_of_ones_own_takes_the_place_of_the_clusters(simulated: Simulated) -> None:
    made: list[str] = []

    def make(clients: ClientSet, actor: Actor) -> Scheduler:
        made.append(actor.name)
        return Scheduler(clients, "tp-1", actor)

    plan = draw_plan(1, Swarm(SMALL.topology, seconds=20.0, faults=(), workload=("workloads",)))
    outcome = simulated(plan=plan, components={"scheduler-tp-1": make})
    assert made == ["scheduler-tp-1#1"]
    assert outcome.operations > 100


def test_a_part_that_breaks_a_promise_is_told_of_in_words() -> None:
    outcome = simulate(draw_plan(1, CROWDED), components={"scheduler-tp-1": Careless})
    assert "Converges" in outcome.promises
    assert "tp-1/tenant-1/default/" in outcome.violations[0].text


def test_a_part_that_fails_by_itself_is_a_broken_promise() -> None:
    class Broken(Careless):
        async def run(self) -> None:
            await trio.sleep(3)
            raise ValueError("I cannot go on")

    outcome = simulate(draw_plan(1, Swarm(SMALL.topology, seconds=10.0, faults=())), components={"mine": Broken})
    assert outcome.promises == ["Runs"]
    assert "mine failed by itself" in outcome.violations[0].text
    assert "I cannot go on" in outcome.violations[0].text


def test_the_fixture_fails_with_the_report(simulated: Simulated) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"again: ursa simulate --plan .*plan\.json"):
        simulated(plan=draw_plan(1, CROWDED), components={"scheduler-tp-1": Careless})


@given(plans(SMALL))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_plans_are_drawn_and_run(plan: Plan) -> None:
    outcome = simulate(plan)
    assert outcome.passed, outcome.violations
