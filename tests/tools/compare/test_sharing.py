"""Two schedulers on shared nodes: what is counted is what happened."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from ursa.clients.kubelet import hollow_node
from ursa.partitions.admission.ledger import Ledger
from ursa.tools.compare.sharing import NODES_MAX, sampled, share
from ursa.tools.compare.workloads import Arrival, Workload

GPU = "ursa.dev/gpu-milli"
DEFAULTS: dict[str, Any] = {}


def gpu_nodes(count: int, *, gpus: int, pods: int, milli: int) -> Workload:
    """Pods, all of which ask for so many thousandths, and for a bit more than there is."""
    nodes = [hollow_node(f"n{number}", cpu="64", extended={GPU: 1000 * gpus}) for number in range(count)]
    container = {"name": "main", "image": "app", "resources": {"requests": {GPU: milli}}}
    return Workload("made-up", GPU, nodes, [Arrival({"containers": [container]}, milli)] * pods)


def test_a_seed_gives_one_run_in_which_each_pod_that_was_claimed_for_runs() -> None:
    workload = gpu_nodes(6, gpus=2, pods=30, milli=500)
    first, again, other = (share(workload, DEFAULTS, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.startup_seconds != other.startup_seconds
    for each in (first, other):
        assert (each.nodes, each.pods, each.overcommitted) == (6, 31, 0)
        assert len(each.startup_seconds) == each.claims - each.refused == 24, "all that there is room for"
        assert all(0.001 < seconds < 5.0 for seconds in each.startup_seconds)


def test_who_wants_the_same_node_is_refused_and_counted() -> None:
    """Each has its own share of many nodes, but one node is of both."""
    refused = [share(gpu_nodes(1, gpus=40, pods=52, milli=1000), DEFAULTS, seed).refused for seed in range(3)]
    assert sum(refused) > 0


@pytest.mark.parametrize("check", ["_check_room", "_check_devices"])
def test_a_ledger_that_takes_what_it_should_not_is_found_out(check: str) -> None:
    with mock.patch.object(Ledger, check):
        assert sum(share(gpu_nodes(1, gpus=40, pods=52, milli=1000), DEFAULTS, seed).overcommitted for seed in range(3))


def test_of_many_nodes_it_is_a_sample_drawn_from_the_seed() -> None:
    workload = gpu_nodes(NODES_MAX + 50, gpus=1, pods=1, milli=1000)
    names = [[node.name for node in sampled(workload, seed).nodes] for seed in (1, 1, 2)]
    assert len(dict.fromkeys(names[0])) == NODES_MAX
    assert names[0] == names[1] != names[2]
    assert sampled(workload, 1).kinds == workload.kinds
    small = gpu_nodes(NODES_MAX, gpus=1, pods=1, milli=1000)
    assert sampled(small, 1) is small
