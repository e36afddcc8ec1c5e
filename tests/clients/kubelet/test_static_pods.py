"""Static pods and their mirrors, and the daemons of a resource partition: what runs on a node and is no tenant's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from trio.testing import MockClock
from ursa.clients.operations import create_operation, raise_for_error
from ursa.proto.errors import NotFound
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import MemoryStore

from .cluster import HOME, Cluster, node_key, pod, seconds_pass

MIRROR = ObjectKey("system", "kube-system", "proxy-node-0")
PLACEMENTS = "placements.ursa.dev"


def run(main: Callable[[Cluster], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(100_000):
            async with Cluster().open() as cluster:
                await main(cluster)

    trio.run(bounded, clock=MockClock(autojump_threshold=0))


def static(name: str = "proxy", cpu: str = "500m", **metadata: Any) -> Object:
    container = {"name": "main", "image": "proxy:1", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
    fields, spec = {"name": name, "namespace": "kube-system", **metadata}, {"containers": [container]}
    return Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": fields, "spec": spec})


class Instances:
    """What runs, and how often anything was started."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, str], None] = {}
        self.started: list[str] = []

    def __call__(
        self, node_partition: str, node: str, pod_partition: str, key: ObjectKey, uid: str, *, started: bool
    ) -> None:
        assert pod_partition == ("" if key.namespace == "kube-system" else HOME)
        if started:
            self.running[node, key.name] = None
            self.started.append(key.name)
        else:
            del self.running[node, key.name]


async def mirror(cluster: Cluster, key: ObjectKey = MIRROR) -> Object | None:
    try:
        return await cluster.resource_client.get("pods", key)
    except NotFound:
        return None


async def create_daemon(cluster: Cluster, name: str = "agent", **spec: Any) -> None:
    [result] = await cluster.resource_client.mutate([create_operation(pod(name, nodeName="node-0", **spec))])
    raise_for_error(result)


async def phases(cluster: Cluster) -> dict[str, str]:
    return {each.name: each.status["phase"] for each in (await cluster.resource_client.list("pods")).items}


# ------------------------------------------------------------------------------------------------------------- daemons


def test_daemons_run_while_all_tenant_partitions_are_away() -> None:
    async def main(cluster: Cluster) -> None:
        for name in ("tp-1", "tp-2"):
            cluster.transports[name].cut()
        cluster.host()
        await seconds_pass(5)
        await create_daemon(cluster)
        await seconds_pass(5)
        assert await phases(cluster) == {"agent": "Running"}
        await cluster.resource_client.delete("pods", ObjectKey("system", "default", "agent"))
        await seconds_pass(5)
        assert await phases(cluster) == {}
        assert (await cluster.resource_client.list(PLACEMENTS)).items == []

    run(main)


def test_a_daemon_goes_on_while_its_partition_is_away_and_is_adopted_by_the_next_kubelet() -> None:
    async def main(cluster: Cluster) -> None:
        seen = Instances()
        hollow = cluster.host(observer=seen)
        await seconds_pass(5)
        await create_daemon(cluster)
        await seconds_pass(5)
        before = await cluster.resource_client.get("pods", ObjectKey("system", "default", "agent"))
        await cluster.restart(HOME)
        await seconds_pass(20)
        assert seen.started == ["agent"]
        hollow.remove_nodes(["node-0"])
        cluster.host(name="second", observer=seen)
        await seconds_pass(5)
        after = await cluster.resource_client.get("pods", ObjectKey("system", "default", "agent"))
        assert after.status["podIP"] == before.status["podIP"]

    run(main)


# --------------------------------------------------------------------------------------------------------- static pods


def test_a_static_pod_runs_without_any_partition_and_is_shown_when_its_own_is_there() -> None:
    async def main(cluster: Cluster) -> None:
        for transport in cluster.transports.values():
            transport.cut()
        seen = Instances()
        cluster.host(2, static_pods=[static()], observer=seen)
        await seconds_pass(60)
        assert list(seen.running) == [("node-0", "proxy-node-0"), ("node-1", "proxy-node-1")]
        cluster.transports[HOME].heal()
        await seconds_pass(10)
        assert await phases(cluster) == {"proxy-node-0": "Running", "proxy-node-1": "Running"}
        shown = await mirror(cluster)
        assert shown is not None
        node = await cluster.resource_client.get("nodes", node_key("node-0"))
        [owner] = shown.owner_references
        assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Node", "node-0", node.uid, True)
        annotations = shown.annotations
        assert annotations["kubernetes.io/config.source"] == "file"
        assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
        assert seen.started == ["proxy-node-0", "proxy-node-1"]

    run(main)


def test_one_tenant_partition_that_is_down_at_the_start_delays_only_its_own_pods() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.transports["tp-1"].cut()
        cluster.host(static_pods=[static()])
        for name in ("tp-1", "tp-2"):
            await cluster.create(name, pod("web"))
        await seconds_pass(5)
        await create_daemon(cluster)
        await seconds_pass(60)
        assert await cluster.phases("tp-2") == {"web": "Running"}
        assert await phases(cluster) == {"proxy-node-0": "Running", "agent": "Running"}
        assert await cluster.phases("tp-1") == {"web": "Pending"}
        cluster.transports["tp-1"].heal()
        await seconds_pass(10)
        assert await cluster.phases("tp-1") == {"web": "Running"}

    run(main)


def test_who_deletes_a_mirror_stops_nothing_and_it_is_made_again() -> None:
    async def main(cluster: Cluster) -> None:
        seen = Instances()
        cluster.host(static_pods=[static()], observer=seen)
        await seconds_pass(5)
        first = await mirror(cluster)
        for grace_seconds in (None, 0):
            await cluster.resource_client.delete("pods", MIRROR, grace_seconds=grace_seconds)
            await seconds_pass(5)
            again = await mirror(cluster)
            assert first is not None
            assert again is not None
            assert again.uid != first.uid
            assert (again.deletion_ms, again.status) == (0, first.status)
            first = again
        assert seen.started == ["proxy-node-0"]
        assert len((await cluster.resource_client.list(PLACEMENTS)).items) == 1

    run(main)


def test_what_others_write_to_a_mirror_is_put_right() -> None:
    async def main(cluster: Cluster) -> None:
        seen = Instances()
        cluster.host(static_pods=[static()], observer=seen)
        await seconds_pass(5)
        before = await mirror(cluster)
        assert before is not None
        await cluster.resource_client.update_status(before.with_status({"phase": "Failed"}))
        await seconds_pass(5)
        after = await mirror(cluster)
        assert after is not None
        assert after.status == before.status
        assert seen.running

    run(main)


def test_a_static_pod_takes_its_room_before_others_and_its_mirror_tells_schedulers() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.host(static_pods=[static(cpu="3")])
        await cluster.create("tp-1", pod("large", cpu="2"), pod("small", cpu="1"))
        await seconds_pass(5)
        shown = {each.name: each.status for each in (await cluster.pods("tp-1")).values()}
        assert (shown["large"]["phase"], shown["large"]["reason"]) == ("Failed", "OutOfcpu")
        assert shown["small"]["phase"] == "Running"
        [placement] = (await cluster.resource_client.list(PLACEMENTS)).items
        assert placement.spec["bound"] is True
        assert placement.spec["requests"] == {"cpu": 3000, "memory": 64 * 2**20, "pods": 1}

    run(main)


def test_another_manifest_replaces_the_mirror_and_one_that_is_gone_takes_it_away() -> None:
    async def main(cluster: Cluster) -> None:
        first = cluster.host(static_pods=[static(), static("other")])
        await seconds_pass(5)
        before = await mirror(cluster)
        assert before is not None
        first.remove_nodes(["node-0"])
        await seconds_pass(1)
        cluster.host(name="second", static_pods=[static(cpu="250m")])
        await seconds_pass(5)
        assert await phases(cluster) == {"proxy-node-0": "Running"}
        after = await mirror(cluster)
        assert after is not None
        assert after.uid != before.uid
        assert after.spec["containers"][0]["resources"]["requests"]["cpu"] == "250m"

    run(main)


def test_the_mirror_follows_a_node_that_is_registered_anew_and_a_partition_that_has_forgotten_all() -> None:
    async def main(cluster: Cluster) -> None:
        seen = Instances()
        cluster.host(static_pods=[static()], observer=seen)
        await seconds_pass(5)
        await cluster.resource_client.delete("nodes", node_key("node-0"))
        await seconds_pass(20)
        node, shown = await cluster.resource_client.get("nodes", node_key("node-0")), await mirror(cluster)
        assert shown is not None
        assert shown.owner_references[0].uid == node.uid
        await cluster.restart(HOME, MemoryStore(incarnation="another"))
        await seconds_pass(30)
        assert await phases(cluster) == {"proxy-node-0": "Running"}
        assert seen.started == ["proxy-node-0"]

    run(main)


def test_a_quiet_node_with_static_pods_writes_nothing_but_its_leases() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.host(static_pods=[static()])
        await seconds_pass(30)
        before = (await cluster.resource_client.list("pods")).items
        await seconds_pass(1000)
        assert [each.resource_version for each in (await cluster.resource_client.list("pods")).items] == [
            each.resource_version for each in before
        ]

    run(main)
