"""Counters of the running processes, from their `/metrics`."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable

import trio
from prometheus_client.parser import text_string_to_metric_families

from ...proto.errors import UrsaError

# A process on this machine answers in milliseconds, and within a second or two while all cores are busy.
SCRAPE_SECONDS_MAX = 10.0

PLACEMENTS_METRIC = "ursa_placements_total"


def counts_by(label: str, metric: str, exposition: str) -> dict[str, int]:
    """One process's values of a counter, summed by one of its labels."""
    counts: dict[str, int] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == metric and label in sample.labels:
                value = sample.labels[label]
                counts[value] = counts.get(value, 0) + round(sample.value)
    return counts


async def scrape(address: str) -> str:
    """The exposition of one process.

    Raises:
        UrsaError: it does not answer.
    """

    def fetch() -> bytes:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SCRAPE_SECONDS_MAX) as reply:
            data: bytes = reply.read()
            return data

    try:
        return (await trio.to_thread.run_sync(fetch)).decode()
    except OSError as error:
        raise UrsaError(f"no metrics from {address}: {error}") from error


async def placements_by_result(metrics_addresses: Iterable[str]) -> dict[str, int]:
    """How many placements these schedulers tried, by result (accepted, ...)."""
    total: dict[str, int] = {}
    for address in metrics_addresses:
        for result, count in counts_by("result", PLACEMENTS_METRIC, await scrape(address)).items():
            total[result] = total.get(result, 0) + count
    return total
