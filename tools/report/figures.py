"""Percentiles, throughput and time series: arithmetic on what was observed, nothing else.

A percentile of n sorted values is the one at index ceil(n*p/100)-1, the definition of ClusterLoader2's measurements, so
that figures compare. It is always a value that was measured, never one interpolated between two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .observations import Timeline, Times, UsageSample

# A plot and a reader need no more than this many points a curve; long runs get wider steps instead.
SERIES_POINTS_MAX = 600
STEP_MS_MIN = 100
# The CPU clock ticks every 10 ms: over less than this, a tick more or less shows.
USAGE_GAP_MS_MIN = 500


def percentile(ordered: Sequence[float] | Times, percent: float) -> float:
    """`ordered` ascends; 0.0 if it is empty."""
    count = len(ordered)
    if not count:
        return 0.0
    index = int(np.ceil(count * percent / 100)) - 1
    return float(ordered[min(max(index, 0), count - 1)])


def startup_ms(timeline: Timeline) -> Times:
    """Creation to Running in ascending order, of the pods that were seen Running.

    Creation is stamped by the server, Running by this tool: two readings of one machine's clock, which may disagree by
    a fraction of a millisecond. A negative difference is therefore zero.
    """
    ran = timeline.running_ms > 0
    return np.sort(np.maximum(timeline.running_ms[ran] - timeline.created_ms[ran], 0))


def startup_figures(ordered: Times) -> dict[str, float]:
    return {
        "count": len(ordered),
        "p50": percentile(ordered, 50),
        "p90": percentile(ordered, 90),
        "p99": percentile(ordered, 99),
        "max": percentile(ordered, 100),
    }


def startup_quantiles(ordered: Times) -> list[list[float]]:
    """[percent, milliseconds] pairs for the curve: every whole percent, and finer at the tail."""
    if not len(ordered):
        return []
    percents: Iterable[float] = [*range(1, 100), 99.5, 99.9, 100]
    return [[float(percent), percentile(ordered, percent)] for percent in percents]


def per_second(running_ms: Times, start_ms: int, end_ms: int) -> list[int]:
    """Pods that became Running in each whole second since `start_ms`. The last, partial second is left out: it would
    count as a slow one. A phase shorter than a second gives one window, the whole of it."""
    times = running_ms[(running_ms >= start_ms) & (running_ms <= end_ms)]
    windows = max((end_ms - start_ms) // 1000, 1)
    counts, _ = np.histogram(times, bins=windows, range=(start_ms, start_ms + windows * 1000))
    return [int(count) for count in counts]


def throughput_figures(running_ms: Times, start_ms: int, end_ms: int) -> dict[str, float]:
    seconds = (end_ms - start_ms) / 1000
    running = int(np.count_nonzero((running_ms >= start_ms) & (running_ms <= end_ms)))
    windows = sorted(per_second(running_ms, start_ms, end_ms))
    return {
        "mean": round(running / seconds, 1) if seconds > 0 else 0.0,
        "p50": percentile(windows, 50),
        "p90": percentile(windows, 90),
        "p99": percentile(windows, 99),
        "max": percentile(windows, 100),
    }


def pod_series(timeline: Timeline, start_ms: int, end_ms: int) -> dict[str, list[float]]:
    """How many pods had been created, bound and seen Running, over time."""
    step = max(STEP_MS_MIN, -(-(end_ms - start_ms) // SERIES_POINTS_MAX))
    moments = np.append(np.arange(start_ms, end_ms, step), end_ms)
    series = {"seconds": [round(float(moment - start_ms) / 1000, 3) for moment in moments]}
    columns = {"created": timeline.created_ms, "bound": timeline.bound_ms, "running": timeline.running_ms}
    for name, times in columns.items():
        seen = np.sort(times[times > 0])
        series[name] = [int(count) for count in np.searchsorted(seen, moments, side="right")]
    return series


def usage_between(samples: Sequence[UsageSample], start_ms: int, end_ms: int) -> dict[str, float]:
    """CPU seconds each process used in the phase; one that appeared within it counts from zero.

    From the last sample at or before the start to the first at or after the end, so that nothing is left out.
    """
    if not samples:
        return {}
    first = next((sample for sample in reversed(samples) if sample.at_ms <= start_ms), samples[0])
    last = next((sample for sample in samples if sample.at_ms >= end_ms), samples[-1])
    return {name: round(used - first.cpu_seconds.get(name, 0.0), 3) for name, used in last.cpu_seconds.items()}


def resident_max(samples: Sequence[UsageSample]) -> dict[str, int]:
    largest: dict[str, int] = {}
    for sample in samples:
        for name, resident in sample.resident_bytes.items():
            largest[name] = max(resident, largest.get(name, 0))
    return largest


def usage_series(samples: Sequence[UsageSample], start_ms: int) -> dict[str, Any]:
    """CPU in cores between neighbouring samples, and resident bytes, by process."""
    samples = _spaced(samples)
    names = list(dict.fromkeys(name for sample in samples for name in sample.resident_bytes))
    series: dict[str, Any] = {
        "seconds": [round((sample.at_ms - start_ms) / 1000, 3) for sample in samples],
        "cpuCores": {name: [] for name in names},
        "residentBytes": {name: [sample.resident_bytes.get(name, 0) for sample in samples] for name in names},
    }
    earlier: UsageSample | None = None
    for sample in samples:
        for name in names:
            series["cpuCores"][name].append(_cores(name, earlier, sample))
        earlier = sample
    return series


def _spaced(samples: Sequence[UsageSample]) -> list[UsageSample]:
    """Without the samples that follow another too closely: a tick of the CPU clock would look like many cores."""
    spaced: list[UsageSample] = []
    for sample in samples:
        if not spaced or sample.at_ms - spaced[-1].at_ms >= USAGE_GAP_MS_MIN:
            spaced.append(sample)
    return spaced


def _cores(name: str, earlier: UsageSample | None, later: UsageSample) -> float:
    if earlier is None or later.at_ms <= earlier.at_ms:
        return 0.0
    used = later.cpu_seconds.get(name, 0.0) - earlier.cpu_seconds.get(name, 0.0)
    return round(max(used, 0.0) * 1000 / (later.at_ms - earlier.at_ms), 3)


def look_up(document: Mapping[str, Any], path: str) -> float:
    """The figure at `a.b.c`.

    Raises:
        KeyError: there is none.
    """
    value: Any = document
    for part in path.split("."):
        value = value[part]
    return float(value)
