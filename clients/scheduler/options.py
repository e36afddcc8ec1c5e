"""What may be tuned of a scheduler, and the bounds of its queues with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_SCHEDULER = "default-scheduler"


@dataclass(frozen=True)
class SchedulerOptions:
    """`scheduler_name`: the pods it takes are those whose `spec.schedulerName` is this."""

    scheduler_name: str = DEFAULT_SCHEDULER
    # Write a FailedScheduling event for a pod that fits nowhere.
    events: bool = True
    # Pods looked at before other tasks of the process get their turn: about ten milliseconds of work.
    batch_pods: int = 256
    # Claims sent to one resource partition and not answered yet: two full batches, one on its way and one growing. More
    # would only be decided on an older view.
    claims_outstanding_max: int = 512
    # Templates (distinct sets of scheduling constraints) whose score columns are kept: 256 at 50,000 nodes are 64 MB.
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
