"""A partition that was set back is told what runs on a node, and then the node is marked; others hear nothing."""

from __future__ import annotations

from ursa.clients.placements import PLACEMENTS
from ursa.proto.objects import Object
from ursa.proto.restores import TOLD_ANNOTATION
from ursa.storage import MemoryStore

from .cluster import Cluster, node_key, pod, seconds_pass, until
from .test_hollow_nodes import all_ready, run

HOME = "rp-1"


def set_back(cluster: Cluster, incarnation: str) -> MemoryStore:
    """What the home partition holds now, as another history."""
    store = MemoryStore(incarnation=incarnation)
    store._records = dict(cluster.stores[HOME]._records)
    store._restore(store._records.values(), cluster.stores[HOME].compacted)
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
