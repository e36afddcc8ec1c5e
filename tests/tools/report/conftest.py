"""A small run whose every figure can be worked out by hand."""

from __future__ import annotations

import pytest
from ursa.tools.report.observations import (
    Machine,
    Observations,
    PlacementCounts,
    PodCounts,
    Timeline,
    Topology,
    UsageSample,
)

START_MS = 1_700_000_000_000


@pytest.fixture
def observations() -> Observations:
    """Four pods over two seconds: startups of 100, 200, 300 and 900 ms; two processes that use 60 ms of CPU in all."""
    created = [START_MS, START_MS + 100, START_MS + 1000, START_MS + 1100]
    return Observations(
        command="density",
        run_id="1a2b3c",
        started_ms=START_MS - 3000,
        ended_ms=START_MS + 3000,
        load_start_ms=START_MS,
        load_end_ms=START_MS + 2000,
        topology=Topology(tenant_partitions=2, resource_partitions=1, nodes=3),
        pods=PodCounts(requested=4, created=4, bound=4, running=4),
        placements=PlacementCounts(attempted=5, accepted=4, rejected=1),
        machine=Machine("Linux", "a processor", cpus=2, memory_bytes=2**32),
        timeline=Timeline.of(
            created,
            [time + 50 for time in created],
            [created[0] + 100, created[1] + 200, created[2] + 300, created[3] + 900],
        ),
        usage=[
            UsageSample(START_MS - 1000, {"tp-1": 0.5, "rp-1": 0.5}, {"tp-1": 1000, "rp-1": 10}),
            UsageSample(START_MS - 1, {"tp-1": 1.0, "rp-1": 1.0}, {"tp-1": 2000, "rp-1": 10}),
            UsageSample(START_MS + 1000, {"tp-1": 1.03, "rp-1": 1.01}, {"tp-1": 3000, "rp-1": 10}),
            UsageSample(START_MS + 2001, {"tp-1": 1.04, "rp-1": 1.02}, {"tp-1": 1500, "rp-1": 20}),
            UsageSample(START_MS + 3000, {"tp-1": 9.0, "rp-1": 9.0}, {"tp-1": 1500, "rp-1": 20}),
        ],
        parameters={"qps": 3000},
        versions={"ursa": "0.1.0"},
    )
