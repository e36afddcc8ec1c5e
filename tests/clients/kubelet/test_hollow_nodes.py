"""Hollow nodes against real partitions, over links in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from ursa.clients.kubelet import HollowNodes, HollowNodesOptions, hollow_node
from ursa.proto.errors import InputError, NotFound
from ursa.proto.kinds import Role
from ursa.proto.objects import ObjectKey, parse_time
from ursa.storage import MemoryStore

from .cluster import HOME, Cluster, actor, lease_key, node_key, pod, pod_key, seconds_pass, until


def run(main: Callable[[Cluster], Awaitable[Any]], *, latency_seconds: tuple[float, float] = (0.0, 0.0)) -> None:
    async def bounded() -> None:
        with trio.fail_after(10_000):
            async with Cluster(latency_seconds).open() as cluster:
                await main(cluster)

    trio.run(bounded, clock=MockClock(autojump_threshold=0))


def all_ready(hollow: HollowNodes) -> Callable[[], bool]:
    return lambda: all(hollow.ready().values())


def test_nodes_register_and_renew_their_leases() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(3)
        assert not any(hollow.ready().values())
        await until(all_ready(hollow))
        nodes = await cluster.resource_client.list("nodes")
        assert [node.name for node in nodes.items] == ["node-0", "node-1", "node-2"]
        [ready] = nodes.items[0].status["conditions"]
        assert (ready["type"], ready["status"]) == ("Ready", "True")
        assert ready["lastHeartbeatTime"]
        await seconds_pass(1)
        renewed = []
        for _ in range(4):
            lease = await cluster.resource_client.get("leases.coordination.k8s.io", lease_key("node-1"))
            assert lease.spec["leaseDurationSeconds"] == 40
            renewed.append(parse_time(lease.spec["renewTime"]))
            await seconds_pass(10)
        assert all(0 < later - earlier <= 10_000 for earlier, later in pairwise(renewed))

    run(main)


def test_leases_travel_in_few_large_batches() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(300)
        await until(all_ready(hollow))
        await seconds_pass(25)
        batches: list[int] = []
        mutate = cluster.clients.resource_clients[HOME].mutate

        async def counted(operations: Any) -> Any:
            batches.append(len(operations))
            return await mutate(operations)

        cluster.clients.resource_clients[HOME].mutate = counted  # type: ignore[method-assign]
        await seconds_pass(30)
        assert batches == [150] * 6

    run(main)


def test_pods_of_both_partitions_run_and_are_deleted_at_their_own() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.host()
        # The same tenant, namespace and name in both.
        await cluster.create("tp-1", pod("web"), pod("db"))
        await cluster.create("tp-2", pod("web"))
        await seconds_pass()
        assert await cluster.phases("tp-1") == {"web": "Running", "db": "Running"}
        assert await cluster.phases("tp-2") == {"web": "Running"}
        await cluster.observer.tenant_clients["tp-1"].delete("pods", pod_key("web"))
        await seconds_pass()
        assert await cluster.phases("tp-1") == {"db": "Running"}
        assert await cluster.phases("tp-2") == {"web": "Running"}

    run(main)


def test_a_running_pod_has_the_address_of_its_node() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host()
        await until(all_ready(hollow))
        await cluster.create("tp-1", pod("web"))
        await seconds_pass()
        node = await cluster.resource_client.get("nodes", node_key("node-0"))
        status = (await cluster.pods("tp-1"))["web"].status
        assert status["hostIP"] == node.status["addresses"][0]["address"]
        assert status["podIP"]

    run(main)


def test_delays_are_kept() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.host(options=HollowNodesOptions(start_delay_seconds=5.0, stop_delay_seconds=3.0))
        await cluster.create("tp-1", pod("web"))
        await seconds_pass(4.5)
        assert await cluster.phases("tp-1") == {"web": "Pending"}
        await seconds_pass(1)
        assert await cluster.phases("tp-1") == {"web": "Running"}
        await cluster.observer.tenant_clients["tp-1"].delete("pods", pod_key("web"))
        await seconds_pass(2.5)
        assert await cluster.phases("tp-1") == {"web": "Running"}
        await seconds_pass(1)
        assert await cluster.phases("tp-1") == {}

    run(main)


def test_a_job_runs_to_its_end() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.host()
        await cluster.create("tp-1", pod("job", restartPolicy="Never", annotations={"ursa.dev/run-seconds": "60"}))
        await seconds_pass(30)
        assert await cluster.phases("tp-1") == {"job": "Running"}
        await seconds_pass(31)
        assert await cluster.phases("tp-1") == {"job": "Succeeded"}

    run(main)


def test_pods_that_do_not_fit_together_are_refused_whatever_their_partition() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.host()
        await cluster.create("tp-1", pod("web", cpu="3"))
        await seconds_pass()
        await cluster.create("tp-2", pod("web", cpu="3"))
        await seconds_pass()
        assert await cluster.phases("tp-1") == {"web": "Running"}
        assert (await cluster.pods("tp-2"))["web"].status["reason"] == "OutOfcpu"

    run(main)


def test_a_partition_that_is_away_at_the_start_delays_its_own_pods_only() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.transports["tp-1"].cut()
        hollow = cluster.host()
        await cluster.create("tp-1", pod("web"))
        await cluster.create("tp-2", pod("web"))
        await seconds_pass(60)
        assert await cluster.phases("tp-2") == {"web": "Running"}
        assert await cluster.phases("tp-1") == {"web": "Pending"}
        assert hollow.ready() == {
            "nodes registered in rp-1": True,
            "pods of rp-1 seen": True,
            "pods of tp-1 seen": False,
            "pods of tp-2 seen": True,
        }
        cluster.transports["tp-1"].heal()
        await seconds_pass(10)
        assert await cluster.phases("tp-1") == {"web": "Running"}

    run(main)


def test_pods_run_while_the_resource_partition_is_away_and_nodes_register_when_it_is_back() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.transports[HOME].cut()
        hollow = cluster.host()
        await cluster.create("tp-1", pod("web"))
        await seconds_pass(120)
        assert await cluster.phases("tp-1") == {"web": "Running"}
        cluster.transports[HOME].heal()
        await until(all_ready(hollow))

    run(main)


def test_a_renewal_that_had_to_wait_for_the_link_tells_the_time_of_its_sending() -> None:
    async def main(cluster: Cluster) -> None:
        async def renewed_ms() -> int:
            lease = await cluster.resource_client.get("leases.coordination.k8s.io", lease_key("node-0"))
            return parse_time(lease.spec["renewTime"])

        hollow = cluster.host()
        await until(all_ready(hollow))
        await seconds_pass(1)
        cluster.transports[HOME].cut()
        before = await renewed_ms()
        await seconds_pass(28)
        cluster.transports[HOME].heal()
        with trio.fail_after(20):
            while (now := await renewed_ms()) == before:
                await seconds_pass(0.1)
        assert actor("").clock.now_ms() - now <= 10_200

    run(main)


def test_a_lost_link_is_resumed_without_losing_or_repeating_anything() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host()
        await cluster.create("tp-1", pod("stays"), pod("goes"))
        await seconds_pass()
        before = (await cluster.pods("tp-1"))["stays"].message
        cluster.transports["tp-1"].cut()
        await cluster.create("tp-1", pod("comes"))
        await cluster.observer.tenant_clients["tp-1"].delete("pods", pod_key("goes"), grace_seconds=0)
        await seconds_pass(30)
        cluster.transports["tp-1"].heal()
        await seconds_pass(10)
        assert await cluster.phases("tp-1") == {"stays": "Running", "comes": "Running"}
        assert (await cluster.pods("tp-1"))["stays"].message == before
        assert [pod.key.name for pod in hollow._kubelets["node-0"].pods()] == ["stays", "comes"]

    run(main)


def test_a_pod_that_was_bound_and_deleted_while_the_link_was_lost_never_runs() -> None:
    """One of its name may have been started elsewhere meanwhile."""
    told: list[str] = []

    def observer(
        node_partition: str, node: str, pod_partition: str, key: ObjectKey, uid: str, *, started: bool
    ) -> None:
        told.append(f"{key.name} {'starts' if started else 'stops'}")

    async def main(cluster: Cluster) -> None:
        hollow = HollowNodes(cluster.clients, HOME, actor("hollow"), [hollow_node("node-0")], observer=observer)
        cluster.nursery.start_soon(hollow.run)
        await until(all_ready(hollow))
        await cluster.create("tp-1", pod("before"))
        await seconds_pass()
        cluster.transports["tp-1"].cut()
        await cluster.create("tp-1", pod("missed"), pod("comes"))
        await cluster.observer.tenant_clients["tp-1"].delete("pods", pod_key("missed"), grace_seconds=0)
        cluster.transports["tp-1"].heal()
        await seconds_pass(10)
        assert told == ["before starts", "comes starts"]

    run(main)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_over_links_that_fail_again_and_again(seed: int) -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(2, HollowNodesOptions(start_delay_seconds=(0.0, 1.0), stop_delay_seconds=(0.0, 1.0)))
        random = Random(seed)
        for number in range(30):
            partition = random.choice(["tp-1", "tp-2"])
            await cluster.create(partition, pod(f"pod-{number}"), node=random.choice(["node-0", "node-1"]))
            there = list(await cluster.pods(partition))
            if number % 3 == 2:
                await cluster.observer.tenant_clients[partition].delete("pods", pod_key(random.choice(there)))
            cut = random.choice(["tp-1", "tp-2", HOME])
            await seconds_pass(random.uniform(0.0, 0.3))
            cluster.transports[cut].cut()
            await seconds_pass(random.uniform(0.0, 0.3))
            cluster.transports[cut].heal()
        await seconds_pass(60)
        assert all_ready(hollow)()
        running = 0
        for partition in ("tp-1", "tp-2"):
            pods = await cluster.pods(partition)
            running += len(pods)
            assert [pod.status["phase"] for pod in pods.values()] == ["Running"] * len(pods)
            assert not any(pod.deletion_ms for pod in pods.values())
        assert sum(kubelet.instances for kubelet in hollow._kubelets.values()) == running > 10

    run(main, latency_seconds=(0.01, 0.08))


def test_a_restarted_partition_goes_on_where_it_was() -> None:
    async def main(cluster: Cluster) -> None:
        cluster.host()
        await cluster.create("tp-1", pod("web"))
        await seconds_pass()
        before = (await cluster.pods("tp-1"))["web"].message
        await cluster.restart("tp-1")
        await cluster.create("tp-1", pod("db"))
        await seconds_pass(10)
        assert await cluster.phases("tp-1") == {"web": "Running", "db": "Running"}
        assert (await cluster.pods("tp-1"))["web"].message == before

    run(main)


def test_pods_that_another_incarnation_does_not_have_are_stopped() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host()
        await cluster.create("tp-1", pod("web"))
        await cluster.create("tp-2", pod("other"))
        await seconds_pass()
        await cluster.restart("tp-1", MemoryStore(incarnation="second"))
        await cluster.create("tp-1", pod("new"))
        await seconds_pass(10)
        assert sorted(pod.key.name for pod in hollow._kubelets["node-0"].pods()) == ["new", "other"]
        assert await cluster.phases("tp-1") == {"new": "Running"}
        assert await cluster.phases("tp-2") == {"other": "Running"}

    run(main)


def test_the_next_process_adopts_the_nodes_and_what_runs_on_them() -> None:
    async def main(cluster: Cluster) -> None:
        async with trio.open_nursery() as nursery:
            first = HollowNodes(cluster.clients, HOME, actor("first"), [hollow_node("node-0")])
            nursery.start_soon(first.run)
            await cluster.create("tp-1", pod("web"))
            await seconds_pass()
            nursery.cancel_scope.cancel()
        node = await cluster.resource_client.get("nodes", node_key("node-0"))
        tainted = node.with_spec({"taints": [{"key": "mine", "effect": "NoSchedule"}]})
        await cluster.resource_client.update(tainted)
        before = (await cluster.pods("tp-1"))["web"].message
        labelled = hollow_node("node-0", labels={"disk": "ssd"}, cpu="8")
        second = HollowNodes(cluster.clients, HOME, actor("second"), [labelled])
        cluster.nursery.start_soon(second.run)
        await until(all_ready(second))
        await seconds_pass()
        assert (await cluster.pods("tp-1"))["web"].message == before
        assert second._kubelets["node-0"].instances == 1
        node = await cluster.resource_client.get("nodes", node_key("node-0"))
        assert node.labels["disk"] == "ssd"
        assert node.status["allocatable"]["cpu"] == "8"
        assert node.spec["taints"] == [{"key": "mine", "effect": "NoSchedule"}]

    run(main)


def test_a_node_that_somebody_deletes_comes_back() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(2)
        await until(all_ready(hollow))
        uid = (await cluster.resource_client.get("nodes", node_key("node-0"))).uid
        for _ in range(3):
            await cluster.resource_client.delete("nodes", node_key("node-0"))
            await seconds_pass(0.2)
            assert not all_ready(hollow)()
            await until(all_ready(hollow))
        assert (await cluster.resource_client.get("nodes", node_key("node-0"))).uid != uid

    run(main)


def test_a_node_declared_not_ready_says_that_it_is_ready() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host()
        await until(all_ready(hollow))
        node = await cluster.resource_client.get("nodes", node_key("node-0"))
        [condition] = node.status["conditions"]
        unknown = {**node.status, "conditions": [{**condition, "status": "Unknown"}]}
        await cluster.resource_client.update_status(node.with_status(unknown))
        await seconds_pass(2)
        node = await cluster.resource_client.get("nodes", node_key("node-0"))
        assert node.status["conditions"][0]["status"] == "True"

    run(main)


def test_nodes_come_and_go_while_it_runs() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(1)
        await until(all_ready(hollow))
        hollow.add_nodes([hollow_node("late")])
        assert hollow.node_names == ["node-0", "late"]
        await until(all_ready(hollow))
        await cluster.create("tp-1", pod("web"), node="late")
        await seconds_pass()
        assert await cluster.phases("tp-1") == {"web": "Running"}
        hollow.remove_nodes(["late"])
        await cluster.observer.tenant_clients["tp-1"].delete("pods", pod_key("web"))
        lease = await cluster.resource_client.get("leases.coordination.k8s.io", lease_key("late"))
        await seconds_pass(30)
        # Nobody is there to stop the pod, nor to renew the lease; and nobody has deleted the node.
        assert await cluster.phases("tp-1") == {"web": "Running"}
        again = await cluster.resource_client.get("leases.coordination.k8s.io", lease_key("late"))
        assert again.message == lease.message
        await cluster.resource_client.delete("nodes", node_key("late"))
        await seconds_pass(30)
        with pytest.raises(NotFound):
            await cluster.resource_client.get("nodes", node_key("late"))

    run(main)


def test_what_a_removed_node_wanted_written_is_not_written_when_the_link_is_back() -> None:
    """Its next kubelet finds the pod Running and takes it for alive: the name must not be free before that one says."""

    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(2, HollowNodesOptions(stop_delay_seconds=(5.0, 5.0)))
        await cluster.create("tp-1", pod("stays"), pod("goes"))
        await cluster.create("tp-1", pod("others"), node="node-1")
        await seconds_pass()
        for name in ("goes", "others"):
            await cluster.observer.tenant_clients["tp-1"].delete("pods", pod_key(name))
        await seconds_pass()
        cluster.transports["tp-1"].cut()
        await seconds_pass(20)  # Both have stopped, and nobody can be told.
        hollow.remove_nodes(["node-0"])
        hollow.add_nodes([hollow_node("node-0")])
        await seconds_pass()
        cluster.transports["tp-1"].heal()
        await seconds_pass(5)
        assert await cluster.phases("tp-1") == {"stays": "Running", "goes": "Running"}
        await seconds_pass(6)
        assert await cluster.phases("tp-1") == {"stays": "Running"}

    run(main)


def test_names_must_be_known_and_unique() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(1)
        with pytest.raises(InputError, match="node-0"):
            hollow.add_nodes([hollow_node("new"), hollow_node("node-0")])
        with pytest.raises(InputError, match="node-9"):
            hollow.remove_nodes(["node-0", "node-9"])
        assert hollow.node_names == ["node-0"]
        with pytest.raises(NotFound, match="rp-7"):
            HollowNodes(cluster.clients, "rp-7", actor("lost"))

    run(main)


def test_metrics_are_sums_over_the_nodes() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host(2)
        await until(all_ready(hollow))
        await cluster.create("tp-1", pod("a"), pod("b", cpu="9"))
        await cluster.create("tp-2", pod("c"), node="node-1")
        await seconds_pass()
        registry = hollow._actor.registry
        value = registry.get_sample_value
        assert value("kubelet_running_pods", {"actor": "hollow"}) == 2
        assert value("kubelet_nodes_registered", {"actor": "hollow"}) == 2
        assert value("kubelet_pod_start_sli_duration_seconds_count") == 2
        assert value("kubelet_admission_rejections_total", {"reason": "OutOfcpu"}) == 1

    run(main)


def test_an_observer_is_told_which_instances_start_and_stop() -> None:
    told: list[tuple[str, str, str, str]] = []

    def observer(
        node_partition: str, node: str, pod_partition: str, key: ObjectKey, uid: str, *, started: bool
    ) -> None:
        assert node_partition == HOME
        assert uid
        told.append((node, pod_partition, key.name, "starts" if started else "stops"))

    async def main(cluster: Cluster) -> None:
        nodes = [hollow_node("node-0"), hollow_node("node-1")]
        hollow = HollowNodes(cluster.clients, HOME, actor("hollow"), nodes, observer=observer)
        cluster.nursery.start_soon(hollow.run)
        await until(all_ready(hollow))
        await cluster.create("tp-1", pod("web"), pod("db"))
        await cluster.create("tp-2", pod("web"), node="node-1")
        await seconds_pass()
        assert sorted(told) == [
            ("node-0", "tp-1", "db", "starts"),
            ("node-0", "tp-1", "web", "starts"),
            ("node-1", "tp-2", "web", "starts"),
        ]
        told.clear()
        await cluster.observer.tenant_clients["tp-1"].delete("pods", pod("web").key)
        await seconds_pass()
        assert told == [("node-0", "tp-1", "web", "stops")]
        told.clear()
        hollow.remove_nodes(["node-0", "node-1"])  # Switched off: what ran there runs no more.
        assert sorted(told) == [("node-0", "tp-1", "db", "stops"), ("node-1", "tp-2", "web", "stops")]

    run(main)


def test_pods_of_a_tenant_partition_that_was_removed_end_and_those_of_one_that_was_added_begin() -> None:
    async def main(cluster: Cluster) -> None:
        hollow = cluster.host()
        await cluster.create("tp-1", pod("stays"))
        await cluster.create("tp-2", pod("goes"))
        await seconds_pass()
        kubelet = hollow._kubelets["node-0"]
        cluster.transports["tp-2"].cut()
        await seconds_pass(60)
        assert sorted(each.key.name for each in kubelet.pods()) == ["goes", "stays"], "it has only gone silent"
        cluster.clients.remove("tp-2")
        await seconds_pass()
        assert [each.key.name for each in kubelet.pods()] == ["stays"]
        assert kubelet.instances == 1
        assert hollow.ready() == dict.fromkeys(
            ("nodes registered in rp-1", "pods of rp-1 seen", "pods of tp-1 seen"), True
        )
        cluster.clients.add(Role.TENANT, cluster._links("again", (0.0, 0.0))["tp-2"])
        await seconds_pass()
        assert sorted(each.key.name for each in kubelet.pods()) == ["goes", "stays"]
        assert await cluster.phases("tp-2") == {"goes": "Running"}

    run(main)


def test_pods_go_on_when_a_tenant_partition_is_elsewhere_now() -> None:
    async def main(cluster: Cluster) -> None:
        told: list[tuple[str, bool]] = []

        def observer(_rp: str, _node: str, _tp: str, key: ObjectKey, _uid: str, *, started: bool) -> None:
            told.append((key.name, started))

        hollow = HollowNodes(cluster.clients, HOME, actor("hollow"), [hollow_node("node-0")], observer=observer)
        cluster.nursery.start_soon(hollow.run)
        await cluster.create("tp-1", pod("web"))
        await seconds_pass()
        cluster.clients.move(cluster._links("again", (0.0, 0.0))["tp-1"])
        await seconds_pass()
        await cluster.create("tp-1", pod("new"))
        await seconds_pass()
        assert told == [("web", True), ("new", True)]

    run(main)
