"""Who hears of neither his own partition nor a pod's stops the pod; who hears of either lets it run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from ursa.clients.kubelet.options import HollowNodesOptions
from ursa.clients.kubelet.pod import State
from ursa.clients.node_fence import CLOCK_RATE_MAX, FENCE_SECONDS
from ursa.proto import ursa_pb2 as pb

from .cluster import Cluster, pod, seconds_pass, until
from .core_bench import Bench, pod_message
from .test_hollow_nodes import all_ready, run

HOME = "rp-1"
# Around the fence: what was heard last, and when it is looked, may be some seconds off.
BEFORE, AFTER = FENCE_SECONDS - 30, 45


def with_pods(story: Callable[[Cluster], Awaitable[None]]) -> None:
    """One node with a pod of each tenant partition."""

    async def main(cluster: Cluster) -> None:
        hollow = cluster.host()
        await until(all_ready(hollow))
        await cluster.create("tp-1", pod("a"))
        await cluster.create("tp-2", pod("b"))
        await seconds_pass(5)
        assert hollow._kubelets["node-0"].instances == 2
        cluster.running = lambda: hollow._kubelets["node-0"].instances  # type: ignore[attr-defined]
        await story(cluster)

    run(main)


def running(cluster: Cluster) -> int:
    return int(cluster.running())  # type: ignore[attr-defined]


def test_a_node_that_hears_of_nobody_stops_its_pods_and_says_so_when_it_can() -> None:
    async def story(cluster: Cluster) -> None:
        for link in cluster.transports.values():
            link.cut()
        await seconds_pass(BEFORE)
        assert running(cluster) == 2
        await seconds_pass(AFTER)
        assert running(cluster) == 0
        for name, link in cluster.transports.items():
            link.heal(cluster.servers[name])
        await seconds_pass(10)
        [failed] = (await cluster.pods("tp-1")).values()
        assert (failed.status["phase"], failed.status["reason"]) == ("Failed", "NodeIsolated")

    with_pods(story)


def test_pods_run_on_while_their_own_partition_is_heard_of() -> None:
    async def story(cluster: Cluster) -> None:
        for name in (HOME, "tp-2"):
            cluster.transports[name].cut()
        await seconds_pass(FENCE_SECONDS + AFTER)
        assert running(cluster) == 1
        assert (await cluster.phases("tp-1")) == {"a": "Running"}

    with_pods(story)


def test_pods_run_on_while_the_lease_of_their_node_is_renewed() -> None:
    async def story(cluster: Cluster) -> None:
        for name in ("tp-1", "tp-2"):
            cluster.transports[name].cut()
        await seconds_pass(3 * FENCE_SECONDS)
        assert running(cluster) == 2

    with_pods(story)


def test_a_renewal_without_an_answer_is_none() -> None:
    async def story(cluster: Cluster) -> None:
        for link in cluster.transports.values():
            link.silence(requests=False, replies=True)
        await seconds_pass(FENCE_SECONDS + AFTER)
        assert running(cluster) == 0

    with_pods(story)


# ------------------------------------------------------------------------------------------------------- the core


def test_a_pod_that_can_be_nowhere_else_is_left_running() -> None:
    bench = Bench()
    daemon = pod_message("d", uid="d")
    daemon.metadata.owner_references.append(pb.OwnerReference(kind="DaemonSet", name="ds", uid="ds", controller=True))
    for message in (daemon, pod_message("a", uid="a")):
        bench.changed("tp-1", message)
    assert bench.kubelet.fence("tp-1", 200.0) == 1
    states = {uid: state for (_, uid), state in bench.states().items()}
    assert states == {"d": State.RUNNING, "a": State.FINISHED}


def test_room_is_free_once_a_pod_was_stopped_and_one_that_was_being_stopped_is_let_go() -> None:
    bench = Bench(HollowNodesOptions(stop_delay_seconds=30.0))
    bench.changed("tp-1", pod_message("a", uid="a"))
    going = pod_message("b", uid="b")
    bench.changed("tp-1", going)
    going.metadata.deletion_ms, going.metadata.deletion_grace_seconds = 1, 30
    bench.changed("tp-1", going)
    assert bench.kubelet.instances == 2
    assert bench.kubelet.fence("tp-1", 200.0) == 2
    assert (bench.kubelet.instances, set(bench.kubelet.room.used.values())) == (0, {0})
    assert {uid: status is None for uid, status in bench.taken("tp-1")} == {"a": False, "b": True}


def test_the_other_partitions_pods_are_not_stopped() -> None:
    bench = Bench()
    for partition in ("tp-1", "tp-2"):
        bench.changed(partition, pod_message("a", uid=f"a-{partition}"))
    assert bench.kubelet.fence("tp-1", 200.0) == 1
    assert bench.states()["tp-2", "a-tp-2"] is State.RUNNING


def test_the_fence_is_behind_the_lease_and_well_before_others_act() -> None:
    with pytest.raises(ValueError, match="fence_seconds must be above lease_duration_seconds"):
        HollowNodesOptions(fence_seconds=40.0)
    assert FENCE_SECONDS * CLOCK_RATE_MAX < 40 + 300
