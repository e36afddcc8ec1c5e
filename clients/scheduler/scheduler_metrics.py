"""What a scheduler tells Prometheus, under Kubernetes' names."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from ..metrics import counter, gauge, histogram
from .decisions import Counts, Decisions
from .pod_queue import PodQueue

ATTEMPTS_BUCKETS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
# Picking one node takes 10 microseconds, of 100,000 and many templates a millisecond.
ALGORITHM_BUCKETS: Final = tuple(0.000_01 * 2**power for power in range(15))
# As in Kubernetes, more attempts than this share a label.
ATTEMPTS_LABEL_MAX: Final = 15


class SchedulerMetrics:
    """Several schedulers may share a registry: everything is added to, nothing is set."""

    def __init__(self, registry: CollectorRegistry, profile: str) -> None:
        sli = histogram(
            registry,
            "scheduler_pod_scheduling_sli_duration_seconds",
            "From seeing a pod unbound to having bound it.",
            ["attempts"],
        )
        labels = [str(attempts) for attempts in range(1, ATTEMPTS_LABEL_MAX + 1)]
        self._sli = [sli.labels(label) for label in (*labels, f"{ATTEMPTS_LABEL_MAX + 1}+")]
        self._attempts = histogram(
            registry,
            "scheduler_pod_scheduling_attempts",
            "Attempts it took to schedule a pod.",
            buckets=ATTEMPTS_BUCKETS,
        )
        self._algorithm = histogram(
            registry,
            "scheduler_scheduling_algorithm_duration_seconds",
            "Deciding on one pod; one observation a batch, of its mean.",
            buckets=ALGORITHM_BUCKETS,
        )
        pending = gauge(registry, "scheduler_pending_pods", "Pods waiting to be scheduled.", ["queue"])
        self._pending = {queue: pending.labels(queue) for queue in ("active", "backoff", "unschedulable", "gated")}
        self._pending_told = dict.fromkeys(self._pending, 0)
        tried = counter(
            registry, "scheduler_schedule_attempts_total", "Attempts to schedule a pod.", ["result", "profile"]
        )
        placements = counter(
            registry, "ursa_placements_total", "Claims answered by resource partitions, by result.", ["result"]
        )
        self._counters: dict[str, Counter] = {
            "scheduled": tried.labels("scheduled", profile),
            "unschedulable": tried.labels("unschedulable", profile),
            "errors": tried.labels("error", profile),
            "attempted": placements.labels("attempted"),
            "accepted": placements.labels("accepted"),
            "rejected": placements.labels("rejected"),
        }
        self._counted = dict.fromkeys(self._counters, 0)

    def step_taken(self, decisions: Decisions, seconds: float) -> None:
        """`seconds` is how long the step took."""
        if decisions.pods:
            self._algorithm.observe(seconds / decisions.pods)
        for scheduled in decisions.scheduled:
            self._sli[min(scheduled.attempts, ATTEMPTS_LABEL_MAX + 1) - 1].observe(scheduled.seconds)
            self._attempts.observe(scheduled.attempts)

    def count(self, counts: Counts, queue: PodQueue) -> None:
        for name, child in self._counters.items():
            value = getattr(counts, name)
            if value != self._counted[name]:
                child.inc(value - self._counted[name])
                self._counted[name] = value
        self._tell_pending(queue.active, queue.backing_off, queue.unschedulable, queue.gated)

    def close(self) -> None:
        """The scheduler has ended: nothing waits for it any more."""
        self._tell_pending(0, 0, 0, 0)

    def _tell_pending(self, *lengths: int) -> None:
        for (queue, child), length in zip(self._pending.items(), lengths, strict=True):
            if length != self._pending_told[queue]:
                child.inc(length - self._pending_told[queue])
                self._pending_told[queue] = length
