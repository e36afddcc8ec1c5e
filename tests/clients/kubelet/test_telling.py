"""A partition that was set back is told what runs on a node, and then the node is marked; others hear nothing."""

from __future__ import annotations

import pytest
import trio
from ursa.clients.kubelet import telling
from ursa.clients.operations import bind_operation, raise_for_error
from ursa.clients.placements import PLACEMENTS
from ursa.proto.objects import Object
from ursa.proto.restores import TOLD_ANNOTATION
from ursa.storage import MemoryStore

from .cluster import Cluster, node_key, pod, pod_key, seconds_pass, until
from .test_hollow_nodes import all_ready, run

HOME = "rp-1"


def set_back(cluster: Cluster, incarnation: str, partition: str = HOME, revision: int | None = None) -> MemoryStore:
    """What a partition holds now, or held at that revision, as another history."""
    before = cluster.stores[partition]
    store = MemoryStore(incarnation=incarnation)
    store._records = {each: record for each, record in before._records.items() if revision is None or each <= revision}
    store._restore(store._records.values(), before.compacted)
    return store


async def mark(cluster: Cluster, node: str = "node-0") -> str:
    found = await cluster.observer.resource_clients[HOME].get("nodes", node_key(node))
    return found.message.metadata.annotations.get(TOLD_ANNOTATION, "")


async def placements(cluster: Cluster) -> dict[str, Object]:
    return {each.name: each for each in (await cluster.observer.resource_clients[HOME].list(PLACEMENTS)).items}


def test_a_partition_that_was_never_set_back_is_told_nothing() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(nodes=2)
        await until(all_ready(hollow))
        await cluster.create("tp-1", pod("a"))
        await cluster.restart(HOME)
        await seconds_pass(30)
        assert await mark(cluster) == ""
        assert await placements(cluster) == {}

    run(main)


def test_all_that_holds_room_on_a_node_is_told_and_then_the_node_is_marked() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(nodes=2)
        await until(all_ready(hollow))
        one = await cluster.create("tp-1", pod("a"), pod("b", cpu="200m"))
        other = await cluster.create("tp-2", pod("a"))
        await seconds_pass(5)
        await cluster.restart(HOME, set_back(cluster, "second"))
        await seconds_pass(30)
        assert [await mark(cluster, name) for name in ("node-0", "node-1")] == ["second", "second"]
        found = await placements(cluster)
        assert sorted(found) == sorted([*one, *other])
        told = {uid: (each.spec["tenantPartition"], each.spec["requests"]["cpu"]) for uid, each in found.items()}
        assert told == {one[0]: ("tp-1", 100), one[1]: ("tp-1", 200), other[0]: ("tp-2", 100)}
        assert all(each.spec["bound"] for each in found.values())

    run(main)


def test_what_is_told_says_which_devices_each_pod_holds() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(gpus=4)
        await until(all_ready(hollow))
        [share] = await cluster.create("tp-1", pod("share", gpu_milli=600), devices=[2])
        [whole] = await cluster.create("tp-2", pod("whole", gpu_milli=2000), devices=[0, 3])
        [unknown] = await cluster.create("tp-1", pod("unknown", gpu_milli=100))
        await seconds_pass(5)
        await cluster.restart(HOME, set_back(cluster, "second"))
        await seconds_pass(30)
        told = {uid: each.spec.get("devices") for uid, each in (await placements(cluster)).items()}
        assert told == {share: [2], whole: [0, 3], unknown: None}

    run(main)


def test_a_pod_that_was_bound_anew_after_its_partition_was_set_back_holds_what_it_says_now() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(gpus=4)
        await until(all_ready(hollow))
        [uid] = await cluster.create("tp-1", pod("share", gpu_milli=600), devices=[2])
        await seconds_pass(5)
        created, *_ = [record for record in cluster.stores["tp-1"]._records.values() if "/pods/" in record.key]
        again = bind_operation(pod_key("share"), uid=uid, resource_partition=HOME, node="node-0", devices=[1])
        cluster.transports["tp-1"].cut()
        await cluster.restart("tp-1", set_back(cluster, "tp-1-second", "tp-1", created.revision))
        cluster.transports["tp-1"].cut()
        raise_for_error((await cluster.observer.tenant_clients["tp-1"].mutate([again]))[0])
        cluster.transports["tp-1"].heal(cluster.servers["tp-1"])
        await seconds_pass(30)
        await cluster.restart(HOME, set_back(cluster, "second"))
        await seconds_pass(30)
        assert {uid: each.spec.get("devices") for uid, each in (await placements(cluster)).items()} == {uid: [1]}

    run(main)


def test_of_the_partitions_own_pods_nothing_is_told() -> None:
    """They were set back together with their placements: one that is gone needs none, though it may still run."""

    async def main(cluster: Cluster) -> None:
        hollow = cluster.host()
        await until(all_ready(hollow))
        home = cluster.observer.resource_clients[HOME]
        kept = await home.create(pod("kept", nodeName="node-0"))
        [told] = await cluster.create("tp-1", pod("a"))
        before = set_back(cluster, "second")
        await home.create(pod("lost", nodeName="node-0"))
        await seconds_pass(5)
        await cluster.restart(HOME, before)
        await seconds_pass(30)
        assert await mark(cluster) == "second"
        assert sorted(await placements(cluster)) == sorted([kept.uid, told])

    run(main)


def test_nothing_is_said_before_every_tenant_partition_was_seen() -> None:
    async def main(cluster: Cluster) -> None:
        await seconds_pass()
        cluster.transports["tp-2"].cut()
        await cluster.restart(HOME, set_back(cluster, "second"))
        cluster.host()
        await seconds_pass(60)
        assert await mark(cluster) == ""
        cluster.transports["tp-2"].heal(cluster.servers["tp-2"])
        await seconds_pass(10)
        assert await mark(cluster) == "second"

    run(main)


def test_a_node_that_was_deleted_since_is_told_of_again() -> None:
    async def main(cluster: Cluster) -> None:
        await seconds_pass()
        await cluster.restart(HOME, set_back(cluster, "second"))
        cluster.host()
        await seconds_pass(10)
        assert await mark(cluster) == "second"
        await cluster.observer.resource_clients[HOME].delete("nodes", node_key("node-0"))
        await seconds_pass(10)
        assert await mark(cluster) == "second"

    run(main)


async def switched_off_while_it_is_told_of(cluster: Cluster, name: str) -> None:
    """One of two nodes, with two pods on node-0, while the first batch about node-0 is on its way."""
    hollow = cluster.host(nodes=2)
    await until(all_ready(hollow))
    await cluster.create("tp-1", pod("a"), pod("b"))
    await seconds_pass(5)
    await cluster.restart(HOME, set_back(cluster, "second"))
    cluster.transports[HOME].latency_seconds = (0.5, 0.5)
    with trio.fail_after(10):
        while not await placements(cluster):
            await seconds_pass(0.05)
    hollow.remove_nodes([name])
    await seconds_pass(30)


def test_a_node_that_is_switched_off_while_another_is_told_of_is_left_out() -> None:
    async def main(cluster: Cluster) -> None:
        await switched_off_while_it_is_told_of(cluster, "node-1")
        assert [await mark(cluster, name) for name in ("node-0", "node-1")] == ["second", ""]

    run(main)


def test_a_node_that_is_switched_off_before_all_is_told_of_it_is_not_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "BATCH_OPERATIONS_MAX", 1)

    async def main(cluster: Cluster) -> None:
        await switched_off_while_it_is_told_of(cluster, "node-0")
        assert len(await placements(cluster)) == 1
        assert await mark(cluster) == ""

    run(main)
