"""The scheduler alone places what its workloads say, on nodes that hold it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from ursa.clients.scheduler import SchedulerOptions
from ursa.clients.scheduler.binding_cycles import Binding
from ursa.clients.scheduler.framework.interface import AsyncPreBindPlugin
from ursa.clients.scheduler.pending import PendingPod
from ursa.proto.errors import InputError
from ursa.tools.cli.bench import bench
from ursa.tools.scheduler_bench import WORKLOADS, Alone, measure, measure_filling, workload_of
from ursa.tools.scheduler_bench.workloads import ZONES, filling

NODES = 20


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_places_all_its_pods(name: str) -> None:
    measured = measure(workload_of(name, NODES))
    assert measured.pods > 0
    assert measured.unbound == 0
    assert len(measured.part_us) == 10
    assert (measured.evicted > 0) == (name == "PreemptionBasic")


def test_a_cluster_can_be_filled_to_its_last_cpu_and_no_further() -> None:
    alone = Alone()
    alone.add_nodes(2)
    pods = list(alone.make(filling(2).measured))
    alone.offer([*pods, *alone.make(filling(1).measured)])
    alone.settle()
    assert len(alone.bound) == len(pods)
    free = alone.core.nodes.free[:, :2]
    assert (free[0] == 0).all(), "cpu"
    assert (free >= 0).all()


def test_a_cluster_is_filled_whole_and_measured_beside_an_empty_one() -> None:
    filled = measure_filling(2)
    assert filled.pods == filling(2).measured.count
    assert len(filled.part_us) == 10
    assert filled.growth == filled.part_us[-1] / filled.beside_us > 0


def test_pods_that_keep_apart_are_apart_and_pods_that_spread_are_spread() -> None:
    apart = _placed("PodAntiAffinity")
    assert len(dict.fromkeys(apart)) == len(apart), "two on one node"
    zones = [int(name.removeprefix("node-")) % len(ZONES) for name in _placed("TopologySpreading")]
    counts = [zones.count(zone) for zone in range(len(ZONES))]
    assert max(counts) - min(counts) <= 5


def _placed(name: str) -> list[str]:
    """The nodes of the measured pods."""
    workload = workload_of(name, NODES)
    alone = Alone()
    alone.add_nodes(workload.nodes, workload.zones)
    pods = list(alone.make(workload.measured))
    alone.offer(pods)
    alone.settle()
    return [alone.bound[pod.uid].spec["nodeName"] for pod in pods]


def test_a_workload_that_there_is_not_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"there is no workload 'Basic': choose one of SchedulingBasic, "):
        workload_of("Basic", 1)
    with pytest.raises(InputError, match="needs nodes, not 0"):
        workload_of("SchedulingBasic", 0)


class Asks(AsyncPreBindPlugin):
    name = "Asks"

    async def pre_bind(self, pod: PendingPod, binding: Binding) -> str:
        return ""


def test_a_plugin_that_would_ask_the_partitions_is_refused() -> None:
    profile = {"plugins": {"preBind": {"enabled": [{"name": "Asks"}]}}}
    options = SchedulerOptions(profiles=(profile,), plugins=(Asks,))
    with pytest.raises(InputError, match="profile default-scheduler has plugins that do I/O"):
        measure(workload_of("SchedulingBasic", NODES), options)


def test_the_command_says_what_it_measured() -> None:
    arguments = ["scheduler", "--workload", "SchedulingBasic", "--nodes", "10", "-o", "json"]
    result = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    [document] = json.loads(result.output)
    assert (document["workload"], document["nodes"]) == ("SchedulingBasic", 10)
    assert document["unbound"] == 0
    assert document["podsPerSecond"] > 0
