"""What an apiserver counts, under the names Kubernetes' own apiserver uses.

Plain numbers on the loop, made into metrics when somebody looks: a request that changes one object observes six
durations, and a metrics library's own take longer than its checks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..proto.buckets import SECONDS_BUCKETS
from .requests.request import Phase

_NAMES = (*map(str, SECONDS_BUCKETS), "+Inf")


class Distribution:
    """A histogram of seconds that costs little."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(_NAMES)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        # Of a phase that a request has not had: no time at all.
        self.counts[bisect_left(SECONDS_BUCKETS, seconds) if seconds else 0] += times
        self.sum += seconds * times

    @property
    def buckets(self) -> list[tuple[str, float]]:
        return list(zip(_NAMES, map(float, accumulate(self.counts)), strict=True))


class ApiMetrics:
    """One apiserver's metrics, in a registry of its own. A scrape may come from another thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._totals: dict[tuple[str, str, int], int] = {}  # Operations, by verb, resource, code.
        self._durations: dict[tuple[str, str], Distribution] = {}  # By verb, resource.
        self._phases: dict[str, tuple[Distribution, ...]] = {}  # By verb of the request, in the order of Phase.
        self._checks: dict[tuple[str, str], int] = {}  # By store, status.
        self.watch_events = 0
        self.commits = 0
        self.committed = 0
        self.add_gauges(self._collect)

    def count_requests(self, counts: Mapping[tuple[str, str, int], int], seconds: float) -> None:
        totals, durations = self._totals, self._durations
        for what, number in counts.items():
            totals[what] = totals.get(what, 0) + number
            duration = durations.get(what[:2])
            if duration is None:
                duration = durations[what[:2]] = Distribution()
            duration.observe(seconds, number)

    def count_phases(self, verb: str, split: Sequence[float]) -> None:
        phases = self._phases.get(verb)
        if phases is None:
            phases = self._phases[verb] = tuple(Distribution() for _ in Phase)
        for phase, seconds in zip(phases, split, strict=True):
            phase.observe(seconds)

    def count_consistency_check(self, store: str, status: str) -> None:
        self._checks[store, status] = self._checks.get((store, status), 0) + 1

    def add_gauges(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Metrics that are read when they are scraped."""
        self._registry.register(_Read(read))

    def _collect(self) -> Iterable[Metric]:
        totals = CounterMetricFamily("apiserver_request", "Requests answered", labels=("verb", "resource", "code"))
        for (verb, resource, code), number in list(self._totals.items()):
            totals.add_metric((verb, resource, str(code)), number)
        durations = HistogramMetricFamily(
            "apiserver_request_duration_seconds",
            "From the arrival of a request to its durable answer",
            labels=("verb", "resource"),
        )
        for what, duration in list(self._durations.items()):
            durations.add_metric(what, duration.buckets, duration.sum)
        phases = HistogramMetricFamily(
            "apiserver_request_phase_seconds",
            "Where the time of requests went; a batch of writes is one request",
            labels=("verb", "phase"),
        )
        for verb, split in list(self._phases.items()):
            for phase, spent in zip(Phase, split, strict=True):
                phases.add_metric((verb, phase.name.lower()), spent.buckets, spent.sum)
        checks = CounterMetricFamily(
            "apiserver_watch_cache_consistency_checks",
            "Comparisons of the watch cache with the store, by outcome: success, failure, error",
            labels=("store", "status"),
        )
        for of, number in list(self._checks.items()):
            checks.add_metric(of, number)
        yield from (totals, durations, phases, checks)
        yield counter("apiserver_watch_events", "Events queued for watches", self.watch_events)
        yield counter("ursa_store_commits", "Commits of the store", self.commits)
        yield counter("ursa_store_committed_changes", "Changes committed", self.committed)


class _Read(Collector):
    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


def gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def counter(name: str, help_text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, help_text, value=value)
