"""Counters of the running processes, from their `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable

import trio
from prometheus_client.parser import text_string_to_metric_families

from ...proto.errors import UrsaError
from ..addresses import Address

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


async def scrape(metrics_address: str) -> str:
    """The exposition of one process.

    Raises:
        UrsaError: it does not answer.
    """
    address = Address.parse(metrics_address)
    try:
        with trio.fail_after(SCRAPE_SECONDS_MAX):
            async with await trio.open_tcp_stream(address.host, address.port) as stream:
                await stream.send_all(b"GET /metrics HTTP/1.0\r\n\r\n")
                answer = b"".join([chunk async for chunk in stream])
    except (OSError, trio.TooSlowError) as error:
        raise UrsaError(f"no metrics from {metrics_address}: {error or 'no answer'}") from error
    return answer.partition(b"\r\n\r\n")[2].decode()


async def placements_by_result(metrics_addresses: Iterable[str]) -> dict[str, int]:
    """How many placements these schedulers tried, by result (accepted, ...)."""
    total: dict[str, int] = {}
    for address in metrics_addresses:
        for result, count in counts_by("result", PLACEMENTS_METRIC, await scrape(address)).items():
            total[result] = total.get(result, 0) + count
    return total
