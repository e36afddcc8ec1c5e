"""No component waits at its start for all partitions: each works with those it has, and says which it misses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from ursa.clients.client import ClientSet, PartitionClient
from ursa.clients.contact import Seen
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.tools.bootstrap import register_partitions, tenant_object
from ursa.tools.clocks import running_clock
from ursa.tools.faults.rules import Fault
from ursa.tools.in_process import InProcess, InProcessOptions, open_in_process
from ursa.tools.nodes import NodeOptions, make_nodes
from ursa.tools.one_box import Topology
from ursa.tools.waiting import wait_for_pods

TOPOLOGY = Topology(2, 2)
NAMES = [*TOPOLOGY.tenant_names, *TOPOLOGY.resource_names]


def run(main: Callable[[], Awaitable[Any]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(10_000):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def components() -> list[str]:
    managers = [f"controller-manager-{name}" for name in NAMES]
    hosts = [f"hollow-nodes-{name}" for name in TOPOLOGY.resource_names]
    return [*(f"scheduler-{name}" for name in TOPOLOGY.tenant_names), *managers, *hosts]


@asynccontextmanager
async def started_without(away: str, *, refuse: bool) -> AsyncIterator[tuple[InProcess, ClientSet]]:
    """A cluster whose components have all been started while none of them could reach this partition."""
    async with open_in_process(InProcessOptions(TOPOLOGY), running_clock()) as parts:
        actor = parts.actor("user")
        async with parts.open_clients(actor, home=None) as clients:
            await register_partitions(clients, parts.tenant_addresses, parts.resource_addresses)
            for name, client in clients.tenant_clients.items():
                await client.create(tenant_object(f"tenant-{name}"))
            faults = [Fault("cut", name, away, refuse=refuse) for name in components()]
            await parts.faults.change(lambda _: faults)
            await parts.start_components(make_nodes(20, NodeOptions()))
            await trio.sleep(60)
            yield parts, clients


async def apply_pods(client: PartitionClient, prefix: str, count: int) -> None:
    spec = {"containers": [{"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "100m"}}}]}
    for number in range(count):
        metadata = {"name": f"{prefix}-{number}", "namespace": "default", "tenant": f"tenant-{client.partition}"}
        await client.create(Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))


async def homes(clients: Iterable[PartitionClient], count: int) -> list[str]:
    pods = await wait_for_pods(clients, count=count, phase="Running", timeout_seconds=60)
    return sorted({pod.spec["resourcePartition"] for pod in pods})


def missed(parts: InProcess) -> dict[str, list[Seen]]:
    """By component."""
    seen = {name: list(contacts.seen()) for name, contacts in parts.contacts.items()}
    return {name: found for name, each in seen.items() if (found := [one for one in each if one.missed])}


@pytest.mark.parametrize("refuse", [True, False])
@pytest.mark.parametrize("away", ["rp-2", "tp-2"])
def test_every_component_works_with_the_partitions_it_has_and_with_the_other_once_it_comes(
    away: str, refuse: bool
) -> None:
    async def main() -> None:
        async with started_without(away, refuse=refuse) as (parts, clients):
            there = [client for name, client in clients.tenant_clients.items() if name != away]
            for client in there:
                await apply_pods(client, "before", 12)
            expected = [name for name in TOPOLOGY.resource_names if name != away]
            assert await homes(there, 12 * len(there)) == expected

            # Whoever follows it says that it is missed: all but other tenants' scheduler, or other nodes' kubelets.
            say_so = missed(parts)
            strangers = {"tp-2": "scheduler-tp-1", "rp-2": "hollow-nodes-rp-1"}
            follow = [name for name in components() if name != strangers[away]]
            assert sorted(say_so) == sorted(follow)
            assert {each.partition for seen in say_so.values() for each in seen} == {away}
            works = {name: ready for name, ready in parts.conditions().items() if not name.endswith(away)}
            for name, conditions in works.items():
                failing = [condition for condition, holds in conditions.items() if not holds]
                assert all(away in condition for condition in failing), (name, failing)

            await parts.faults.change(lambda _: [])
            await parts.wait_ready(60)
            for client in clients.tenant_clients.values():
                await apply_pods(client, "after", 12)
            count = 12 * len(there) + 12 * len(clients.tenant_clients)
            assert await homes(clients.of_role(Role.TENANT).values(), count) == TOPOLOGY.resource_names
            assert missed(parts) == {}

    run(main)
