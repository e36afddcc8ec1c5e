"""`cluster.faults` with everything in one process, on a mock clock."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
import ursa
from ursa.proto.objects import ObjectKey
from ursa.tools.recording import Recorder
from ursa.tools.recording.records import Happened

SMALL: dict[str, Any] = {"tenant_partitions": 1, "resource_partitions": 2, "nodes": 4, "processes": False}
REQUESTS = {"requests": {"cpu": "100m"}}


def run(main: Callable[[], Awaitable[Any]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(10_000):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def pod(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "app:1", "resources": REQUESTS}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def homes(cluster: ursa.Cluster, count: int) -> list[str]:
    return [each.spec["resourcePartition"] for each in await cluster.wait_for_pods(count)]


def test_a_scheduler_that_is_cut_off_from_a_partition_goes_on_with_the_others() -> None:
    async def main() -> None:
        recorder = Recorder()
        async with ursa.Cluster(**SMALL, recorder=recorder) as cluster:
            await cluster.faults.cut("scheduler-tp-1", "rp-1")
            await trio.sleep(60)
            for number in range(6):
                await cluster.apply(pod(f"a-{number}"))
            assert await homes(cluster, 6) == ["rp-2"] * 6
            assert [str(each) for each in cluster.faults.in_force] == ["scheduler-tp-1 rp-1: cut"]
            ended = await cluster.faults.heal("rp-1", "scheduler-tp-1")
            assert [each.source for each in ended] == ["scheduler-tp-1"]
            assert cluster.faults.in_force == []
            assert await cluster.faults.heal() == []
            await trio.sleep(10)
            for number in range(12):
                await cluster.apply(pod(f"b-{number}"))
            assert "rp-1" in await homes(cluster, 18)
        notes = [each.what for each in recorder.records if isinstance(each, Happened)]
        assert notes == ["fault: scheduler-tp-1 rp-1: cut", "fault healed: scheduler-tp-1 rp-1: cut"]

    run(main)


def test_pods_whose_claims_cannot_be_sent_go_elsewhere_within_seconds() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL) as cluster:
            await cluster.faults.cut("scheduler-tp-1", "rp-1", refuse=True)
            for number in range(12):
                await cluster.apply(pod(f"a-{number}"))
            pods = await cluster.wait_for_pods(12, timeout_seconds=8)
            assert {each.spec["resourcePartition"] for each in pods} == {"rp-2"}

    run(main)


@pytest.mark.parametrize("fault", ["freeze", "cut", "refuse", "answers"])
def test_a_disturbed_kubelet_starts_its_pods_once_the_link_is_healed(fault: str) -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL | {"resource_partitions": 1}) as cluster:
            ends = ("hollow-nodes-rp-1", "tp-1")
            if fault == "freeze":
                await cluster.faults.freeze(*ends)
            elif fault == "answers":
                await cluster.faults.cut(*ends[::-1], one_way=True)
            else:
                await cluster.faults.cut(*ends, refuse=fault == "refuse")
            await cluster.apply(pod("a"))
            with pytest.raises(ursa.UrsaError, match="after 50 s"):
                await cluster.wait_for_pods(1, timeout_seconds=50)
            await cluster.faults.heal()
            await cluster.wait_for_pods(1, timeout_seconds=10)

    run(main)


def test_streams_survive_a_freeze_and_not_a_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A stream with a hole in it is worth nothing, however short the cut was."""

    async def lost_by(cluster: ursa.Cluster, disturb: Callable[[str, str], Awaitable[None]]) -> list[str]:
        caplog.clear()
        await disturb("scheduler-tp-1", "rp-1")
        await trio.sleep(8)
        await cluster.faults.heal()
        await trio.sleep(1)
        return [each.getMessage() for each in caplog.records if "stream lost: rp-1" in each.getMessage()]

    async def main() -> None:
        with caplog.at_level(logging.INFO, "ursa.scheduler-tp-1"):
            async with ursa.Cluster(**SMALL) as cluster:
                assert await lost_by(cluster, cluster.faults.freeze) == []
                assert "Watch stream lost: rp-1: the link has been silent for too long" in await lost_by(
                    cluster, cluster.faults.cut
                )

    run(main)


def test_what_is_frozen_arrives_when_it_is_healed_and_a_delay_takes_its_time() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL | {"resource_partitions": 1}) as cluster:
            client = cluster.tenant_client("default")
            await cluster.apply(pod("a"))
            await cluster.wait_for_pods(1)
            began = trio.current_time()
            await cluster.faults.freeze("hollow-nodes-rp-1", "tp-1", one_way=True)
            await cluster.apply(pod("b"))
            await trio.sleep(5)
            await cluster.faults.heal()
            await cluster.wait_for_pods(2)
            assert 5 <= trio.current_time() - began < 5.5, "nothing had to be asked again"
            await cluster.faults.delay("scheduler-tp-1", "rp-1", 2.0)
            await cluster.apply(pod("c"))
            await cluster.wait_for_pods(3)
            began = trio.current_time()
            await cluster.apply(pod("d"))
            await cluster.wait_for_pods(4)
            assert 4 <= trio.current_time() - began < 5, "a claim goes there, and its answer back"
            assert (await client.get("pods", ObjectKey("default", "default", "c"))).name == "c"

    run(main)


def test_partitions_that_come_later_are_under_the_same_rules_and_may_go_again() -> None:
    async def main() -> None:
        async with ursa.Cluster(**SMALL | {"resource_partitions": 1, "nodes": 1}) as cluster:
            name = await cluster.add_partition("resource")
            await cluster.faults.cut("*", name)
            assert {each.source for each in cluster.faults.in_force} >= {"scheduler-tp-1", f"hollow-nodes-{name}"}
            await cluster.remove_partition(name, force=True)
            assert len(await cluster.faults.heal("scheduler-tp-1", name)) == 1
            with pytest.raises(ursa.InputError, match="there is no rp-7 in this cluster; there are scheduler-tp-1, "):
                await cluster.faults.heal("scheduler-tp-1", "rp-7")

    run(main)


def test_the_blocking_twin_has_them_too() -> None:
    with ursa.Cluster(**SMALL) as cluster:
        cluster.faults.cut("scheduler-tp-1", "rp-1", one_way=True)
        cluster.faults.delay("scheduler-tp-1", "rp-2", 0.01)
        cluster.faults.freeze("tp-1", "hollow-nodes-rp-2")
        assert [each.what for each in cluster.faults.in_force] == ["cut, one way", "delay by 0.01 s", "freeze"]
        with pytest.raises(ursa.InputError, match="nothing links tp-1 and rp-1"):
            cluster.faults.cut("tp-1", "rp-1")
        assert len(cluster.faults.heal("scheduler-tp-1")) == 2
        assert len(cluster.faults.heal()) == 1
