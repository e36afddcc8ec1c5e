"""One workload, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ...clients.scheduler.options import SchedulerOptions
from ...proto.long_lived import expect_long_lives
from ...proto.objects import Object
from .alone import Alone
from .workloads import Workload, filling

PARTS: Final = 10
# Seen in one burst: a batch of the scheduler.
BURST_PODS: Final = 256


@dataclass(frozen=True)
class Measured:
    """`part_us`: CPU a pod of each tenth of the pods, in their order. `unbound`: measured pods that got no node."""

    workload: str
    nodes: int
    pods: int
    unbound: int
    evicted: int
    cpu_seconds: float
    part_us: tuple[float, ...]

    @property
    def pods_per_second(self) -> float:
        """Of one core."""
        return (self.pods - self.unbound) / self.cpu_seconds

    @property
    def growth(self) -> float:
        """The last tenth over the first."""
        return self.part_us[-1] / self.part_us[0]


def measure(workload: Workload, options: SchedulerOptions | None = None, seed: int = 1) -> Measured:
    """Run it."""
    alone = Alone(options, seed)
    alone.add_nodes(workload.nodes, workload.zones)
    for pods in (*workload.before, *workload.stuck):
        _run(alone, workload, list(alone.make(pods)))
    expect_long_lives()
    measured = list(alone.make(workload.measured))
    began, part_us = alone.cpu_seconds, []
    for number in range(PARTS):
        part = _part(measured, number)
        if part:
            at = alone.cpu_seconds
            _run(alone, workload, part, churn=workload.churn)
            part_us.append(_us_a_pod(alone, at, part))
    return Measured(
        workload=workload.name,
        nodes=workload.nodes,
        pods=len(measured),
        unbound=sum(pod.uid not in alone.bound for pod in measured),
        evicted=alone.evicted,
        cpu_seconds=alone.cpu_seconds - began,
        part_us=tuple(part_us),
    )


@dataclass(frozen=True)
class Filled:
    """Whether a pod costs more as the cluster fills. `part_us`: CPU a pod of each tenth of the pods that fit, in their
    order; `beside_us`: of a first tenth, into an empty cluster, measured beside the last."""

    nodes: int
    pods: int
    part_us: tuple[float, ...]
    beside_us: float

    @property
    def growth(self) -> float:
        """The last tenth over the first."""
        return self.part_us[-1] / self.beside_us


def measure_filling(nodes: int, seed: int = 1) -> Filled:
    """Fill one cluster to nine tenths; then its last tenth and the first of another take turns, burst by burst.

    What a shared machine gives changes within seconds, by more than what is looked for: two tenths that are
    seconds apart say more about the machine than about the scheduler.
    """
    workload = filling(nodes)
    full, empty = Alone(seed=seed), Alone(seed=seed)
    for alone in (full, empty):
        alone.add_nodes(nodes)
    expect_long_lives()
    pods = list(full.make(workload.measured))
    part_us = []
    for number in range(PARTS - 1):
        part, at = _part(pods, number), full.cpu_seconds
        _run(full, workload, part)
        part_us.append(_us_a_pod(full, at, part))
    last, first = _part(pods, PARTS - 1), list(islice(empty.make(workload.measured), len(pods) // PARTS))
    last_at, first_at = full.cpu_seconds, empty.cpu_seconds
    turns = [(full, last), (empty, first)]
    for start in range(0, len(last), BURST_PODS):
        for alone, part in turns:
            _offer(alone, part[start : start + BURST_PODS])
        turns.reverse()
    for alone in (full, empty):
        alone.settle()
    part_us.append(_us_a_pod(full, last_at, last))
    return Filled(nodes, len(full.bound), tuple(part_us), _us_a_pod(empty, first_at, first))


def _part(pods: Sequence[Object], number: int) -> Sequence[Object]:
    return pods[len(pods) * number // PARTS : len(pods) * (number + 1) // PARTS]


def _us_a_pod(alone: Alone, at: float, pods: Sequence[Object]) -> float:
    """Of its CPU since `at`."""
    return 1e6 * (alone.cpu_seconds - at) / len(pods)


def _offer(alone: Alone, burst: Sequence[Object]) -> None:
    alone.offer(burst)
    alone.step()


def _run(alone: Alone, workload: Workload, pods: Sequence[Object], churn: int = 0) -> None:
    """A burst after the other; where nodes churn, those that came with one burst go with the next."""
    passing: list[tuple[str, str]] = []
    for start in range(0, len(pods), BURST_PODS):
        burst = pods[start : start + BURST_PODS]
        for node in passing:
            alone.remove_node(*node)
        passing = [alone.add_node(workload.zones) for _ in range(len(burst) // churn if churn else 0)]
        _offer(alone, burst)
    alone.settle()
    for node in passing:
        alone.remove_node(*node)
