"""Whole schedulers between apiservers, over links in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import ClientSet, PartitionClient, open_clients
from ursa.clients.operations import create_operation
from ursa.clients.scheduler import Scheduler, SchedulerOptions
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.decisions import Decisions
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions import ApiServer
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import MemoryStore

from ..worlds import WALL_OFFSET_SECONDS, run
from .objects import node, pod

TENANT_PARTITIONS = ("tp-1", "tp-2")
RESOURCE_PARTITIONS = ("rp-1", "rp-2")


class Region:
    """Two tenant and two resource partitions; schedulers come and go, and draw from `seed` and their names."""

    def __init__(self, *, seed: str = "", latency_seconds: tuple[float, float] = (0.001, 0.003)) -> None:
        self._seed, self._latency_seconds = seed, latency_seconds
        self.services: dict[str, ApiServer] = {}
        self.stores: dict[str, MemoryStore] = {}
        self.clients: ClientSet
        self.links: dict[tuple[str, str], MemoryTransport] = {}  # by component and partition
        self._nursery: trio.Nursery
        self._stops: dict[str, trio.CancelScope] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Region]:
        async with AsyncExitStack() as stack:
            for name in (*TENANT_PARTITIONS, *RESOURCE_PARTITIONS):
                role = Role.TENANT if name in TENANT_PARTITIONS else Role.RESOURCE
                self.stores[name] = MemoryStore(incarnation=name)
                partition = open_local_partition(
                    name, role, self.stores[name], Random(name), wall_offset_seconds=WALL_OFFSET_SECONDS
                )
                self.services[name] = await stack.enter_async_context(partition)
            self.clients = await stack.enter_async_context(self.open_clients(_actor("test")))
            self._nursery = await stack.enter_async_context(trio.open_nursery())
            for name in TENANT_PARTITIONS:
                tenant = Object.from_dict({"apiVersion": "ursa.dev/v1", "kind": "Tenant", "metadata": {"name": "acme"}})
                await self.clients.tenant_clients[name].create(tenant)
            yield self
            self._nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def open_clients(self, actor: Actor) -> AsyncIterator[ClientSet]:
        user = actor.name

        def links(names: Sequence[str]) -> dict[str, MemoryTransport]:
            for name in names:
                self.links[user, name] = MemoryTransport(
                    name,
                    self.services[name],
                    random=Random(user + name),
                    latency_seconds=self._latency_seconds,
                    user=user,
                )
            return {name: self.links[user, name] for name in names}

        async with open_clients(links(TENANT_PARTITIONS), links(RESOURCE_PARTITIONS), actor) as clients:
            yield clients

    async def start_scheduler(self, home: str, name: str = "", options: SchedulerOptions | None = None) -> Scheduler:
        scheduler: Scheduler = await self._nursery.start(
            self._run_scheduler, home, name or f"scheduler-{home}", options or SchedulerOptions()
        )
        return scheduler

    async def _run_scheduler(
        self,
        home: str,
        name: str,
        options: SchedulerOptions,
        task_status: trio.TaskStatus[Scheduler] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.CancelScope() as self._stops[name]:
            actor = _actor(name, self._seed)
            async with self.open_clients(actor) as clients:
                scheduler = Scheduler(clients, home, actor, options)
                task_status.started(scheduler)
                await scheduler.run()

    def kill(self, name: str) -> None:
        self._stops[name].cancel()

    async def create_nodes(self, count: int, cpu: str = "4") -> None:
        for partition in RESOURCE_PARTITIONS:
            made = [_without_uid(node(f"{partition}-n{number}", cpu=cpu)) for number in range(count)]
            await self.write(self.clients.resource_clients[partition], made)

    async def create_pods(self, partition: str, prefix: str, count: int, cpu: str = "1") -> None:
        made = [_without_uid(pod(f"{prefix}{number}", {"cpu": cpu})) for number in range(count)]
        await self.write(self.clients.tenant_clients[partition], made)

    async def write(self, client: PartitionClient, objects: Sequence[Object]) -> None:
        for result in await client.mutate([create_operation(obj) for obj in objects]):
            assert not result.HasField("error"), result

    async def nodes_of_pods(self, partition: str) -> dict[str, tuple[str, str]]:
        """The bound pods."""
        found = await self.clients.tenant_clients[partition].list("pods")
        return {
            each.uid: (each.spec["resourcePartition"], each.spec["nodeName"])
            for each in found.items
            if each.spec.get("nodeName")
        }

    async def claims(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for name, client in self.clients.resource_clients.items():
            for placement in (await client.list("placements.ursa.dev")).items:
                found.setdefault(placement.name, []).append((name, placement.spec["node"]))
        return found

    async def wait_bound(self, partition: str, count: int) -> None:
        async def enough() -> bool:
            return len(await self.nodes_of_pods(partition)) >= count

        await eventually(enough)


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 120.0) -> None:
    with trio.fail_after(seconds):
        while True:
            if await condition():
                return
            await trio.sleep(0.05)


def _actor(name: str, seed: str = "") -> Actor:
    return Actor(name, Clock(WALL_OFFSET_SECONDS), Random(seed + name))


def _without_uid(obj: Object) -> Object:
    obj.message.metadata.uid = ""
    return obj


def test_two_schedulers_fill_all_nodes_without_sharing_any_room() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(10)
            schedulers = [await region.start_scheduler(home) for home in TENANT_PARTITIONS]
            # 80 cpus; together they ask for all of them, and one of them for more than its half.
            await region.create_pods("tp-1", "a", 55)
            await region.create_pods("tp-2", "b", 25)
            await region.wait_bound("tp-1", 55)
            await region.wait_bound("tp-2", 25)
            bound = await region.nodes_of_pods("tp-1") | await region.nodes_of_pods("tp-2")
            assert await region.claims() == {uid: [where] for uid, where in bound.items()}
            for where in dict.fromkeys(bound.values()):
                assert list(bound.values()).count(where) <= 4
            assert [scheduler.counts.scheduled for scheduler in schedulers] == [55, 25]
            for scheduler in schedulers:
                counts = scheduler.counts
                assert counts.attempted == counts.accepted + counts.rejected
                assert all(scheduler.ready().values())

    run(main)


def test_a_burst_of_pods_is_written_in_few_messages() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(20, cpu="64")
            scheduler = await region.start_scheduler("tp-1")
            await trio.sleep(1)
            before = [region.stores[partition].head for partition in ("tp-1", *RESOURCE_PARTITIONS)]
            await region.create_pods("tp-1", "p", 256)
            await region.wait_bound("tp-1", 256)
            after = [region.stores[partition].head for partition in ("tp-1", *RESOURCE_PARTITIONS)]
            assert sum(after) - sum(before) == 3 * 256, "create, place, bind and nothing else"
            read = scheduler._actor.registry.get_sample_value
            for partition in ("tp-1", *RESOURCE_PARTITIONS):
                messages = read("ursa_client_batch_operations_count", {"host": partition})
                assert messages is not None
                assert messages <= 6

    run(main)


def test_pods_that_avoid_each_other_never_share_a_node_whoever_started_when() -> None:
    web = {"app": "web"}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": web}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}

    async def main() -> None:
        async with Region().open() as region:
            for partition, client in region.clients.resource_clients.items():
                names = [f"{partition}-n{number}" for number in range(3)]
                made = [node(name, labels={"kubernetes.io/hostname": name}) for name in names]
                await region.write(client, [_without_uid(each) for each in made])
            home = region.clients.tenant_clients["tp-1"]

            async def create(prefix: str, count: int, **spec: Any) -> None:
                made = [pod(f"{prefix}{number}", **spec).with_metadata(labels=web) for number in range(count)]
                await region.write(home, [_without_uid(each) for each in made])

            await region.start_scheduler("tp-1", "first")
            await create("apart-", 4, affinity=apart)
            await region.wait_bound("tp-1", 4)
            region.kill("first")
            scheduler = await region.start_scheduler("tp-1", "second")
            # They say nothing of others, but the four that are there say something of them.
            await create("plain-", 6)
            await region.wait_bound("tp-1", 10)
            bound = await home.list("pods")
            where = {each.name: each.spec["nodeName"] for each in bound.items}
            alone = [node for name, node in where.items() if name.startswith("apart")]
            others = [node for name, node in where.items() if name.startswith("plain")]
            assert len(dict.fromkeys(alone)) == 4
            assert not any(node in alone for node in others)
            assert scheduler._core.needs_bound_pods

    run(main)


def test_a_scheduler_of_plain_pods_does_not_follow_bound_pods() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(2)
            scheduler = await region.start_scheduler("tp-1")
            await region.create_pods("tp-1", "p", 5)
            await region.wait_bound("tp-1", 5)
            assert scheduler._bound is None

    run(main)


def test_a_pod_that_fits_nowhere_gets_an_event_and_a_node_when_there_is_one() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(1, cpu="1")
            await region.start_scheduler("tp-1")
            await region.create_pods("tp-1", "large", 1, cpu="3")
            tenant_client = region.clients.tenant_clients["tp-1"]

            async def explained() -> bool:
                return bool((await tenant_client.list("events")).items)

            await eventually(explained)
            [event] = (await tenant_client.list("events")).items
            assert event.rest["reason"] == "FailedScheduling"
            assert event.rest["involvedObject"]["name"] == "large0"
            assert event.rest["message"] == "0/2 nodes are available: 2 Insufficient cpu."
            assert event.rest["source"] == {"component": "default-scheduler"}
            await region.write(region.clients.resource_clients["rp-2"], [_without_uid(node("rp-2-big"))])
            await region.wait_bound("tp-1", 1)

    run(main)


def test_the_loss_of_a_resource_partition_stops_nobody() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(4, cpu="32")
            scheduler = await region.start_scheduler("tp-1")
            await region.create_pods("tp-1", "early", 40)
            await region.wait_bound("tp-1", 40)
            link = region.links["scheduler-tp-1", "rp-1"]
            link.cut()
            await region.create_pods("tp-1", "late", 60)
            # Pods that were on their way to the lost partition wait for news of it; all others are placed.
            await trio.sleep(60)
            bound = await region.nodes_of_pods("tp-1")
            late = [where for where in bound.values() if where[0] == "rp-2"]
            assert len(bound) >= 40 + 30
            assert len(late) > 40
            assert all(scheduler.ready().values()), "a lost partition is no reason to be taken out of service"
            link.heal()
            await region.wait_bound("tp-1", 100)
            bound = await region.nodes_of_pods("tp-1")
            assert await region.claims() == {uid: [where] for uid, where in bound.items()}

    run(main)


def test_the_loss_of_the_home_partition_only_delays() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(4, cpu="32")
            await region.start_scheduler("tp-1")
            await region.create_pods("tp-1", "p", 50)
            await trio.sleep(0.004)
            link = region.links["scheduler-tp-1", "tp-1"]
            link.cut()
            await trio.sleep(20)
            link.heal()
            await region.wait_bound("tp-1", 50)
            bound = await region.nodes_of_pods("tp-1")
            assert await region.claims() == {uid: [where] for uid, where in bound.items()}

    run(main)


def test_a_scheduler_killed_at_any_moment_is_replaced_without_a_trace() -> None:
    async def main() -> None:
        for milliseconds in (1, 4, 6, 8, 11, 15, 25):
            async with Region().open() as region:
                await region.create_nodes(4, cpu="32")
                await region.start_scheduler("tp-1", "first")
                await trio.sleep(1)
                await region.create_pods("tp-1", "p", 50)
                await trio.sleep(milliseconds / 1000)
                region.kill("first")
                await region.start_scheduler("tp-1", "second")
                await region.wait_bound("tp-1", 50)
                await trio.sleep(30)
                bound = await region.nodes_of_pods("tp-1")
                assert await region.claims() == {uid: [where] for uid, where in bound.items()}

    run(main)


def test_a_deleted_pod_leaves_no_claim_whenever_it_is_deleted() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(4, cpu="32")
            await region.start_scheduler("tp-1")
            tenant_client = region.clients.tenant_clients["tp-1"]
            for number in range(20):
                await region.create_pods("tp-1", f"p{number}-", 1)
                await trio.sleep(number / 1000)
                await tenant_client.delete("pods", ObjectKey("acme", "default", f"p{number}-0"), grace_seconds=0)
            await trio.sleep(10)
            bound = await region.nodes_of_pods("tp-1")
            assert not bound
            released = await region.claims()
            # A pod deleted after it was bound is for the resource partition's controller, of which there is none here.
            assert len(released) < 20

    run(main)


def test_metrics_tell_what_was_done() -> None:
    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(2, cpu="4")
            scheduler = await region.start_scheduler("tp-1", "s")
            await region.create_pods("tp-1", "p", 20)
            await region.wait_bound("tp-1", 16)
            await trio.sleep(5)
            registry = scheduler._actor.registry
            read = registry.get_sample_value
            assert read("ursa_placements_total", {"result": "accepted"}) == 16
            assert read("ursa_placements_total", {"result": "attempted"}) == 16
            assert read("scheduler_pending_pods", {"queue": "unschedulable"}) == 4
            assert read("scheduler_pending_pods", {"queue": "active"}) == 0
            labels = {"result": "scheduled", "profile": "default-scheduler"}
            assert read("scheduler_schedule_attempts_total", labels) == 16
            assert read("scheduler_pod_scheduling_attempts_count") == 16
            assert read("scheduler_pod_scheduling_sli_duration_seconds_count", {"attempts": "1"}) == 16
            assert (read("scheduler_scheduling_algorithm_duration_seconds_count") or 0) > 0
            region.kill("s")
            await trio.sleep(1)
            assert read("scheduler_pending_pods", {"queue": "unschedulable"}) == 0

    run(main)


def test_what_other_schedulers_do_wakes_only_one_that_has_pods_to_place(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    step = SchedulingCore.step

    def counted(core: SchedulingCore, now: float) -> Decisions:
        steps.append(core.home)
        return step(core, now)

    monkeypatch.setattr(SchedulingCore, "step", counted)

    async def main() -> None:
        async with Region().open() as region:
            await region.create_nodes(4, cpu="1")
            for home in ("tp-1", "tp-2"):
                await region.start_scheduler(home)
            await trio.sleep(10)
            steps.clear()
            await region.create_pods("tp-2", "first", 2)
            await trio.sleep(10)
            assert "tp-1" not in steps
            assert "tp-2" in steps
            await region.create_pods("tp-1", "too-large", 1, cpu="2")
            await trio.sleep(10)
            steps.clear()
            await region.create_pods("tp-2", "second", 2)
            await trio.sleep(10)
            assert "tp-1" in steps

    run(main)
