"""What may be tuned of a scheduler, and the bounds of its queues with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...proto.quantities import CPU, MEMORY
from .framework.interface import Plugin

DEFAULT_SCHEDULER = "default-scheduler"


@dataclass(frozen=True)
class ScoringStrategy:
    """Which node that fits is best, as in Kubernetes' NodeResourcesFit: LeastAllocated spreads, MostAllocated packs.

    `resources` are weights by resource; one other than cpu and memory counts for the pods that request it.

    Raises:
        ValueError: a type that there is not, or weights that cannot be.
    """

    type: Literal["LeastAllocated", "MostAllocated"] = "LeastAllocated"
    resources: tuple[tuple[str, int], ...] = ((CPU, 1), (MEMORY, 1))

    def __post_init__(self) -> None:
        if self.type not in ("LeastAllocated", "MostAllocated"):
            raise ValueError(f"a scoring strategy is LeastAllocated or MostAllocated, not {self.type!r}")
        if not self.resources or any(not 1 <= weight <= 100 for _, weight in self.resources):
            raise ValueError(f"a scoring strategy needs resources with weights from 1 to 100, not {self.resources!r}")

    def args(self) -> dict[str, Any]:
        """The same as arguments of NodeResourcesFit."""
        resources = [{"name": name, "weight": weight} for name, weight in self.resources]
        return {"scoringStrategy": {"type": self.type, "resources": resources}}


@dataclass(frozen=True)
class SchedulerOptions:
    """`scheduler_name`: its own, and the `spec.schedulerName` of the pods it takes, unless there are `profiles`."""

    scheduler_name: str = DEFAULT_SCHEDULER
    # How nodes are chosen where there are no profiles: Kubernetes' plugins, and this.
    scoring_strategy: ScoringStrategy = ScoringStrategy()
    # As the `profiles` of a KubeSchedulerConfiguration.
    profiles: tuple[Mapping[str, Any], ...] = ()
    # Plugins of one's own, which profiles may name.
    plugins: tuple[type[Plugin], ...] = ()
    # Write a FailedScheduling event for a pod that fits nowhere.
    events: bool = True
    # Pods looked at before other tasks of the process get their turn: about ten milliseconds of work.
    batch_pods: int = 256
    # Claims sent to one resource partition and not answered yet: two full batches, one on its way and one growing. More
    # would only be decided on an older view.
    claims_outstanding_max: int = 512
    # Shapes of pods (distinct constraints, namespaces, labels) whose columns are kept: 256 at 50,000 nodes are 220 MB.
    template_columns_max: int = 256
    # Claims of one pod that may be refused in a row before it backs off: its view is stale more than unluckily.
    conflicts_max: int = 5
    # Kubernetes' own backoff of a pod that could not be scheduled, and the rhythm in which a claim or a binding whose
    # outcome is unknown is repeated.
    backoff_seconds_min: float = 1.0
    backoff_seconds_max: float = 10.0

    def backoff_seconds(self, failures: int) -> float:
        """The wait after so many failures in a row (1 or more); doubles with each."""
        return min(self.backoff_seconds_min * 2.0 ** min(failures - 1, 16), self.backoff_seconds_max)
