"""The worst that can happen to links, with real processes: a lost resource partition, a cut-off tenant partition, two
leaders. What the test itself asked and was told, and the partitions' logs, are judged afterwards.

`make test` runs short versions; `make soak` stays away for as long as it takes for every timer to have run out.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import ursa
from ursa.clients.client import PartitionClient
from ursa.proto.leases import LEASES
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import LmdbStore
from ursa.tools.checking.check import check
from ursa.tools.load.recorded import RecordedRun

pytestmark = pytest.mark.slow

SOAK = "URSA_SOAK" in os.environ
# Longer than leases, keepalives, the quarantine and the grace period of nodes.
AWAY_SECONDS = 75.0 if SOAK else 6.0
CONVERGED_SECONDS = 60.0
# A machine with much else to do.
SECONDS = 120.0
SETTLE_SECONDS = 6.0


@asynccontextmanager
async def judged(data_dir: Path, *sizes: int, **options: Any) -> AsyncIterator[ursa.Cluster]:
    """A cluster of so many partitions and nodes. Once it is over no promise may be broken."""
    run = RecordedRun(None)
    async with ursa.Cluster(*sizes, data_dir=data_dir, recorder=run.recorder, **options) as cluster:
        yield cluster
        assert cluster.faults.in_force == []
        await trio.sleep(SETTLE_SECONDS)
        partitions = [*cluster.tenant_addresses, *cluster.resource_addresses]
    run.read_logs(data_dir, partitions)
    run.recorder.finish(healed=True)
    assert [str(each) for each in check(run.recorder.records)] == []


async def run_set(cluster: ursa.Cluster, tenant: str, name: str, replicas: int) -> list[Object]:
    """Create a ReplicaSet, and wait until its pods run."""
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "50m"}}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "tenant": tenant, "namespace": "default"}
    await cluster.apply({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec})
    return await cluster.wait_for_pods(
        replicas, tenant=tenant, label_selector=f"app={name}", timeout_seconds=CONVERGED_SECONDS
    )


async def pods_of(client: PartitionClient) -> dict[str, tuple[str, ...]]:
    """What a pod must not change, by uid."""
    return {
        pod.uid: (pod.name, pod.spec["nodeName"], pod.status["phase"], pod.status["startTime"], str(pod.deletion_ms))
        for pod in (await client.list("pods")).items
    }


async def stays(client: PartitionClient, before: dict[str, tuple[str, ...]], seconds: float) -> None:
    """Look for so long whether these pods are there and as they were."""
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        assert (await pods_of(client)).items() >= before.items()
        await trio.sleep(1)


@contextmanager
def nobody_starts_again(cluster: ursa.Cluster, partition: str) -> Any:
    """kill -9, and its port is taken, so that its successors end at once."""
    address = cluster.processes[partition].address
    cluster.kill(partition)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
                break
            except OSError:  # The dead one's sockets are just being closed.
                continue
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # Of nobody else's, from now on.
        yield


def test_a_lost_resource_partition_costs_no_pod_and_the_others_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with judged(tmp_path, 1, 2, 8) as cluster:
            client = cluster.clients.tenant_clients["tp-1"]
            pods = await run_set(cluster, "default", "before", 16)
            assert {pod.spec["resourcePartition"] for pod in pods} == {"rp-1", "rp-2"}
            before = await pods_of(client)
            with nobody_starts_again(cluster, "rp-2"):
                began = trio.current_time()
                await stays(client, before, AWAY_SECONDS / 2)
                pods = await run_set(cluster, "default", "meanwhile", 8)
                assert {pod.spec["resourcePartition"] for pod in pods} == {"rp-1"}
                await stays(client, before, began + AWAY_SECONDS - trio.current_time())
            with trio.fail_after(CONVERGED_SECONDS):
                number = 0
                while not [pod for pod in pods if pod.spec["resourcePartition"] == "rp-2"]:
                    number += 1
                    pods = await run_set(cluster, "default", f"after-{number}", 4)
                await cluster._open_runtime.wait_ready(CONVERGED_SECONDS)
            assert (await pods_of(client)).items() >= before.items(), "nor when it is back"
            for resource_client in cluster.clients.resource_clients.values():
                for node in (await resource_client.list("nodes")).items:
                    assert not node.spec.get("taints"), node.spec

    trio.run(main)


def test_a_tenant_partition_that_is_cut_off_keeps_its_pods_and_touches_no_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with judged(tmp_path, 2, 1, 6) as cluster:
            for name in ("tp-1", "tp-2"):
                await cluster.create_tenant(f"tenant-{name}", name)
                await run_set(cluster, f"tenant-{name}", "before", 6)
            [rp_1] = cluster.clients.resource_clients.values()
            clients = list(cluster.clients.tenant_clients.values())
            before = [await pods_of(client) for client in clients]
            placements = {each.uid for each in (await rp_1.list("placements.ursa.dev")).items}
            assert len(placements) == 12
            await cluster.faults.cut("*", "tp-2")
            began = trio.current_time()
            await stays(clients[1], before[1], AWAY_SECONDS / 2)
            await run_set(cluster, "tenant-tp-1", "meanwhile", 6)
            await stays(clients[0], before[0], began + AWAY_SECONDS - trio.current_time())
            await stays(clients[1], before[1], 1)
            held = {each.uid for each in (await rp_1.list("placements.ursa.dev")).items}
            assert held >= placements, "the room of pods that nobody can see is still theirs"
            assert len(held) == 18
            await cluster.faults.heal()
            with trio.fail_after(CONVERGED_SECONDS):
                await run_set(cluster, "tenant-tp-2", "after", 6)
            for client, pods in zip(clients, before, strict=True):
                await stays(client, pods, 1)

    trio.run(main)


async def leader_of(client: PartitionClient, name: str) -> str:
    lease = await client.get(LEASES, ObjectKey("system", "kube-system", name))
    return str(lease.spec["holderIdentity"]).rpartition("_")[0]


async def until_another_leads(client: PartitionClient, name: str, former: str) -> str:
    with trio.fail_after(SECONDS):
        while (leader := await leader_of(client, name)) in ("", former):  # noqa: ASYNC110 - it is asked for
            await trio.sleep(0.1)
    return leader


async def scale(client: PartitionClient, name: str, replicas: int) -> None:
    await client.scale("replicasets.apps", ObjectKey("default", "default", name), replicas)


@pytest.mark.skipif(not SOAK, reason="a lease lasts fifteen seconds: make soak")
def test_what_a_frozen_leader_had_on_its_way_is_refused_once_another_leads(tmp_path: Path) -> None:
    async def main() -> None:
        async with judged(tmp_path, 1, 1, 4, controller_replicas=2) as cluster:
            client, manager = cluster.clients.tenant_clients["tp-1"], "controller-manager-tp-1"
            first = await leader_of(client, manager)
            # Its link is led around now, so that its stream of writes is in use when it freezes.
            await cluster.faults.delay(first, "tp-1", 0.001)
            await run_set(cluster, "default", "web", 2)
            # It goes on hearing, and decides; what it sends is held.
            await cluster.faults.freeze(first, "tp-1", one_way=True)
            await scale(client, "web", 5)
            second = await until_another_leads(client, manager, first)
            await cluster.wait_for_pods(5, timeout_seconds=SECONDS)
            refused_before = await errors_of(client, first)
            await cluster.faults.heal()
            with trio.fail_after(SECONDS):
                while await errors_of(client, first) == refused_before:  # noqa: ASYNC110 - it is asked for
                    await trio.sleep(0.1)
            assert await leader_of(client, manager) == second
            await scale(client, "web", 3)
            await cluster.wait_for_pods(3, timeout_seconds=SECONDS)

    trio.run(main)
    assert pods_ever_made(tmp_path / "tp-1") == 5, "the deposed one's creates were carried out as well"


@pytest.mark.skipif(not SOAK, reason="a lease lasts fifteen seconds: make soak")
@pytest.mark.parametrize("component", ["controller-manager-tp-1", "scheduler-tp-1"])
def test_a_leader_that_stood_still_past_its_lease_does_nothing_when_it_goes_on(tmp_path: Path, component: str) -> None:
    async def main() -> None:
        async with judged(tmp_path, 1, 1, 4, controller_replicas=2) as cluster:
            client = cluster.clients.tenant_clients["tp-1"]
            await run_set(cluster, "default", "web", 2)
            first = await leader_of(client, component)
            os.kill(cluster.processes[first].pid, signal.SIGSTOP)
            try:
                await scale(client, "web", 5)
                second = await until_another_leads(client, component, first)
                await cluster.wait_for_pods(5, timeout_seconds=SECONDS)
            finally:
                os.kill(cluster.processes[first].pid, signal.SIGCONT)
            before = await pods_of(client)
            await stays(client, before, 10)
            assert len(await pods_of(client)) == 5
            assert await leader_of(client, component) == second
            await scale(client, "web", 3)
            await cluster.wait_for_pods(3, timeout_seconds=SECONDS)
            assert cluster.processes[first].restarts == 0

    trio.run(main)
    assert pods_ever_made(tmp_path / "tp-1") == 5


async def errors_of(client: PartitionClient, user: str) -> int:
    """Operations on pods that the partition has refused to this component lately."""
    rows = (await client.requests()).rows
    return sum(row.errors for row in rows if row.user == user and row.resource == "pods")


def pods_ever_made(store: Path) -> int:
    with closing(LmdbStore.open_read_only(store)) as opened:
        keys = [record.key for record in opened.log(opened.compacted) if record.revision == record.create_revision]
    return len([key for key in keys if key.startswith("/registry/pods/")])
