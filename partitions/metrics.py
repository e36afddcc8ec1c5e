"""What an apiserver counts, under the names Kubernetes' own apiserver uses."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..proto.buckets import SECONDS_BUCKETS
from .requests.request import Phase


class ApiMetrics:
    """One apiserver's metrics, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        durations = Histogram(
            "apiserver_request_duration_seconds",
            "From the arrival of a request to its durable answer",
            ("verb", "resource"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        totals = Counter(
            "apiserver_request_total", "Requests answered", ("verb", "resource", "code"), registry=registry
        )
        phases = Histogram(
            "apiserver_request_phase_seconds",
            "Where the time of requests went; a batch of writes is one request",
            ("verb", "phase"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._phases = lru_cache(maxsize=64)(
            lambda verb: tuple(phases.labels(verb, phase.name.lower()).observe for phase in Phase)
        )
        self._duration = lru_cache(maxsize=1024)(durations.labels)
        self._total = lru_cache(maxsize=1024)(totals.labels)
        self.watch_events = Counter("apiserver_watch_events_total", "Events queued for watches", registry=registry)
        checks = Counter(
            "apiserver_watch_cache_consistency_checks_total",
            "Comparisons of the watch cache with the store, by outcome: success, failure, error",
            ("store", "status"),
            registry=registry,
        )
        self._consistency = checks.labels
        self.commits = Counter("ursa_store_commits_total", "Commits of the store", registry=registry)
        self.committed = Counter("ursa_store_committed_changes_total", "Changes committed", registry=registry)

    def count_requests(self, counts: Count[tuple[str, str, int]], seconds: float) -> None:
        for (verb, resource, code), number in counts.items():
            self._total(verb, resource, str(code)).inc(number)
            observe = self._duration(verb, resource).observe
            for _ in range(number):
                observe(seconds)

    def count_phases(self, verb: str, split: Sequence[float]) -> None:
        for observe, seconds in zip(self._phases(verb), split, strict=True):
            observe(seconds)

    def count_consistency_check(self, store: str, status: str) -> None:
        self._consistency(store, status).inc()

    def add_gauges(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Gauges that are read when they are scraped."""
        self._registry.register(_Gauges(read))


class _Gauges(Collector):
    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


def gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)
