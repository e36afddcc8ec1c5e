"""Two schedulers with groups of which there is room for one: none holds half of it for long, and all run in turn."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler import SchedulerOptions
from ursa.clients.scheduler.plugins.coscheduling import MIN_LABEL, NAME_LABEL
from ursa.proto.objects import Object, ObjectKey

from ..worlds import run
from .objects import pod
from .test_scheduler_end_to_end import RESOURCE_PARTITIONS, Region

# From when there is room for a group until it runs: the longest backoff, and some attempts.
SECONDS_MAX = 30.0


class Gang(NamedTuple):
    partition: str
    scheduler: str
    name: str
    size: int


class Gangs:
    """Of the pods of a region, one cpu each."""

    def __init__(self, region: Region, gangs: list[Gang]) -> None:
        self._region = region
        self.left = gangs

    async def create_all(self) -> None:
        """At one instant."""
        async with trio.open_nursery() as nursery:
            for gang in self.left:
                nursery.start_soon(self._create, gang)

    async def _create(self, gang: Gang) -> None:
        made = []
        for number in range(gang.size):
            member = pod(f"{gang.name}-{number}", {"cpu": "1"}, schedulerName=gang.scheduler)
            member.message.metadata.uid = ""
            member.message.metadata.labels.update({NAME_LABEL: gang.name, MIN_LABEL: str(gang.size)})
            made.append(member)
        await self._region.write(self._region.clients.tenant_clients[gang.partition], made)

    async def _running(self, gang: Gang) -> list[Object]:
        found = await self._region.clients.tenant_clients[gang.partition].list("pods")
        return [each for each in found.items if each.labels[NAME_LABEL] == gang.name and each.spec.get("nodeName")]

    async def run_one(self) -> None:
        """Wait for one that runs, whole, and end it."""
        with trio.fail_after(SECONDS_MAX):
            while True:
                for gang in self.left:
                    running = await self._running(gang)
                    if len(running) == gang.size:
                        self.left.remove(gang)
                        await self._end(gang.partition, running)
                        return
                await trio.sleep(0.05)

    async def _end(self, partition: str, pods: list[Object]) -> None:
        clients = self._region.clients
        for each in pods:
            await clients.tenant_clients[partition].delete("pods", each.key, grace_seconds=0)
            held_by = clients.resource_clients[each.spec["resourcePartition"]]
            await held_by.delete("placements.ursa.dev", ObjectKey("", "", each.uid))


def options(name: str) -> SchedulerOptions:
    profile = {"schedulerName": name, "plugins": {"multiPoint": {"enabled": [{"name": "Coscheduling"}]}}}
    return SchedulerOptions(scheduler_name=name, profiles=(profile,))


@pytest.mark.parametrize(
    "schedulers",
    [
        pytest.param([("tp-1", "default-scheduler"), ("tp-2", "default-scheduler")], id="of two tenant partitions"),
        pytest.param([("tp-1", "one"), ("tp-1", "two")], id="of one, by their names"),
    ],
)
@settings(max_examples=12, deadline=None)
@given(nodes=st.integers(1, 3), gangs=st.lists(st.integers(0, 2), min_size=2, max_size=5), seed=st.integers(0, 2**16))
def test_groups_of_two_schedulers_run_one_after_the_other(
    schedulers: list[tuple[str, str]], nodes: int, gangs: list[int], seed: int
) -> None:
    room = nodes * len(RESOURCE_PARTITIONS)

    async def main() -> None:
        # Links that take exactly as long, so that nothing but the schedulers themselves breaks the tie.
        async with Region(seed=str(seed), latency_seconds=(0.001, 0.001)).open() as region:
            await region.create_nodes(nodes, cpu="1")
            for partition, name in schedulers:
                await region.start_scheduler(partition, f"scheduler-{partition}-{name}", options(name))
            await trio.sleep(2)
            made = [
                Gang(*schedulers[number % 2], f"gang-{number}", max(room - fewer, room // 2 + 1))
                for number, fewer in enumerate(gangs)
            ]
            waiting = Gangs(region, made)
            await waiting.create_all()
            while waiting.left:
                await waiting.run_one()
            assert not await region.claims()

    run(main)
