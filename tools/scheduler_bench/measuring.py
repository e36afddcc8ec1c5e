"""One workload, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...clients.scheduler.options import SchedulerOptions
from ...proto.long_lived import expect_long_lives
from ...proto.objects import Object
from .alone import Alone
from .workloads import Workload

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
        part = measured[len(measured) * number // PARTS : len(measured) * (number + 1) // PARTS]
        if part:
            at = alone.cpu_seconds
            _run(alone, workload, part, churn=workload.churn)
            part_us.append(1e6 * (alone.cpu_seconds - at) / len(part))
    return Measured(
        workload=workload.name,
        nodes=workload.nodes,
        pods=len(measured),
        unbound=sum(pod.uid not in alone.bound for pod in measured),
        evicted=alone.evicted,
        cpu_seconds=alone.cpu_seconds - began,
        part_us=tuple(part_us),
    )


def _run(alone: Alone, workload: Workload, pods: Sequence[Object], churn: int = 0) -> None:
    """A burst after the other; where nodes churn, those that came with one burst go with the next."""
    passing: list[tuple[str, str]] = []
    for start in range(0, len(pods), BURST_PODS):
        burst = pods[start : start + BURST_PODS]
        for node in passing:
            alone.remove_node(*node)
        passing = [alone.add_node(workload.zones) for _ in range(len(burst) // churn if churn else 0)]
        alone.offer(burst)
        alone.step()
    alone.settle()
    for node in passing:
        alone.remove_node(*node)
