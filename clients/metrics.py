"""Metrics in an actor's registry, made once and shared.

The components of one process share a registry, and several of a kind run in it (two schedulers, a thousand kubelets):
who asks for a metric that is there already gets it. Keep the children that `.labels()` returns: looking one up costs
more than counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..proto.buckets import SECONDS_BUCKETS

# Powers of two up to the 256 operations of a full batch.
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)
_made: WeakKeyDictionary[CollectorRegistry, dict[str, Counter | Gauge | Histogram]] = WeakKeyDictionary()


def counter(registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A counter; by convention its name ends in `_total`."""
    found = _found(registry, name, Counter)
    return (
        found if found is not None else _kept(registry, name, Counter(name, documentation, labels, registry=registry))
    )


def gauge(registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """A value that goes up and down."""
    found = _found(registry, name, Gauge)
    return found if found is not None else _kept(registry, name, Gauge(name, documentation, labels, registry=registry))


def histogram(
    registry: CollectorRegistry,
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = SECONDS_BUCKETS,
) -> Histogram:
    """A distribution, of seconds unless other buckets are given."""
    found = _found(registry, name, Histogram)
    if found is not None:
        return found
    return _kept(registry, name, Histogram(name, documentation, labels, registry=registry, buckets=buckets))


def _found(registry: CollectorRegistry, name: str, kind: type[_Metric]) -> _Metric | None:
    metric = _made.setdefault(registry, {}).get(name)
    assert metric is None or isinstance(metric, kind), f"metric {name} is a {type(metric).__name__} already"
    return metric


def _kept(registry: CollectorRegistry, name: str, metric: _Metric) -> _Metric:
    _made[registry][name] = metric
    return metric
