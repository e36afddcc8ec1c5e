"""What flow control counts, under Kubernetes' names. Plain numbers, made into metrics when somebody looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ..metrics import Distribution

_PREFIX = "apiserver_flowcontrol_"
_LABELS = ("priority_level", "flow_schema")


class Tally:
    """The requests of one schema."""

    def __init__(self, schema: str, level: str) -> None:
        self.schema = schema
        self.labels = [level, schema]
        self.at_once = 0  # Dispatched without a wait.
        self.waiting = 0
        self.rejected: Counter[str] = Counter()  # By reason.
        self.waited = Distribution()  # Of those that were dispatched.
        self.waited_in_vain = Distribution()
        self.ran = Distribution()

    @property
    def dispatched(self) -> int:
        return self.at_once + sum(self.waited.counts)

    @property
    def running(self) -> int:
        return self.dispatched - sum(self.ran.counts)


def metrics(
    tallies: Sequence[Tally], in_use: Mapping[str, int], levels: Iterable[tuple[str, float]]
) -> Iterable[Metric]:
    """`in_use`: seats, by schema. `levels`: (name, seats)."""
    limits = GaugeMetricFamily(
        _PREFIX + "nominal_limit_seats", "Seats of a level; exempt has no limit", labels=_LABELS[:1]
    )
    for name, seats in levels:
        limits.add_metric([name], seats)
    yield limits
    waiting = GaugeMetricFamily(_PREFIX + "current_inqueue_requests", "Requests that wait", labels=_LABELS)
    running = GaugeMetricFamily(_PREFIX + "current_executing_requests", "Requests under way", labels=_LABELS)
    seats_in_use = GaugeMetricFamily(_PREFIX + "current_executing_seats", "Seats they hold", labels=_LABELS)
    for tally in tallies:
        waiting.add_metric(tally.labels, tally.waiting)
        running.add_metric(tally.labels, tally.running)
        seats_in_use.add_metric(tally.labels, in_use.get(tally.schema, 0))
    yield from (waiting, running, seats_in_use)
    dispatched = CounterMetricFamily(_PREFIX + "dispatched_requests", "Requests that had their turn", labels=_LABELS)
    rejected = CounterMetricFamily(
        _PREFIX + "rejected_requests", "Requests that had not, by reason", labels=(*_LABELS, "reason")
    )
    waited = HistogramMetricFamily(
        _PREFIX + "request_wait_duration_seconds", "How long requests waited", labels=(*_LABELS, "execute")
    )
    ran = HistogramMetricFamily(
        _PREFIX + "request_execution_seconds", "How long requests held their seats", labels=_LABELS
    )
    for tally in tallies:
        dispatched.add_metric(tally.labels, tally.dispatched)
        for reason, count in tally.rejected.items():
            rejected.add_metric([*tally.labels, reason], count)
        # Who did not wait waited for no time at all, and was not even looked up among the buckets.
        buckets = [(name, count + tally.at_once) for name, count in tally.waited.buckets]
        waited.add_metric([*tally.labels, "true"], buckets, tally.waited.sum)
        waited.add_metric([*tally.labels, "false"], tally.waited_in_vain.buckets, tally.waited_in_vain.sum)
        ran.add_metric(tally.labels, tally.ran.buckets, tally.ran.sum)
    yield from (dispatched, rejected, waited, ran)
