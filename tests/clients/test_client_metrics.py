from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from ursa.clients.metrics import counter, gauge, histogram
from ursa.proto.buckets import SECONDS_BUCKETS


def test_components_that_share_a_registry_share_their_metrics() -> None:
    registry = CollectorRegistry()
    counter(registry, "things_total", "Things.", ["kind"]).labels("a").inc()
    counter(registry, "things_total", "Things.", ["kind"]).labels("a").inc()
    assert registry.get_sample_value("things_total", {"kind": "a"}) == 2
    assert histogram(registry, "wait_seconds", "Waits.") is histogram(registry, "wait_seconds", "Waits.")


def test_registries_are_apart() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    gauge(one, "depth", "Depth.").set(3)
    gauge(other, "depth", "Depth.").set(5)
    assert (one.get_sample_value("depth"), other.get_sample_value("depth")) == (3, 5)


def test_one_name_is_one_kind_of_metric() -> None:
    registry = CollectorRegistry()
    gauge(registry, "things", "Things.")
    with pytest.raises(AssertionError, match="things is a Gauge already"):
        histogram(registry, "things", "Things.")


def test_a_four_minute_request_is_not_hidden_in_the_last_bucket() -> None:
    registry = CollectorRegistry()
    seconds = histogram(registry, "request_seconds", "Requests.")
    seconds.observe(239)
    assert registry.get_sample_value("request_seconds_bucket", {"le": "120.0"}) == 0
    assert registry.get_sample_value("request_seconds_bucket", {"le": "240.0"}) == 1
    assert SECONDS_BUCKETS[-1] == 600
