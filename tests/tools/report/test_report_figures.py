from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.tools.report import figures
from ursa.tools.report.observations import Timeline, UsageSample


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        (range(1, 101), 50, 50),
        (range(1, 101), 99, 99),
        (range(1, 101), 100, 100),
        (range(1, 11), 99, 10),  # ceil(9.9) - 1 = 9
        ([1, 2, 3], 50, 2),  # ceil(1.5) - 1 = 1
        ([7], 50, 7),
        ([], 99, 0),
    ],
)
def test_a_percentile_is_the_value_at_ceil_of_n_times_p_less_one(values, percent, expected):
    assert figures.percentile(list(values), percent) == expected


@given(st.lists(st.integers(0, 10**6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_was_measured_and_has_its_share_at_or_below(values, percent):
    ordered = sorted(values)
    value = figures.percentile(ordered, percent)
    assert value in ordered
    assert sum(v <= value for v in ordered) >= len(ordered) * percent / 100 - 1e-9


def test_startup_leaves_out_pods_never_seen_running_and_never_goes_below_zero():
    timeline = Timeline.of([100, 200, 300], [0, 0, 0], [90, 0, 350])
    assert figures.startup_ms(timeline).tolist() == [0, 50]


def test_the_partial_last_second_is_no_window():
    running = np.array([10, 20, 1500, 2100])
    assert figures.per_second(running, 0, 2500) == [2, 1]


def test_a_phase_shorter_than_a_second_is_one_window():
    assert figures.per_second(np.array([10, 20, 30]), 0, 40) == [3]


def test_throughput_of_an_empty_phase_is_zero():
    assert figures.throughput_figures(np.array([], dtype=np.int64), 5, 5) == dict.fromkeys(
        ("mean", "p50", "p90", "p99", "max"), 0.0
    )


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 500), st.integers(0, 500)), max_size=50))
def test_the_curves_of_a_run_end_at_its_totals_and_never_fall(rows):
    created = [row[0] for row in rows]
    timeline = Timeline.of(created, [c + b for c, b, _ in rows], [c + b + r for c, b, r in rows])
    series = figures.pod_series(timeline, 0, 6000)
    for name in ("created", "bound", "running"):
        assert series[name][-1] == len(rows)
        assert series[name] == sorted(series[name])
    assert all(c >= b >= r for c, b, r in zip(series["created"], series["bound"], series["running"], strict=True))
    assert len(series["seconds"]) <= figures.SERIES_POINTS_MAX + 2


def test_usage_of_a_phase_spans_the_samples_around_it_and_counts_a_new_process_from_zero():
    samples = [
        UsageSample(0, {"a": 1.0}, {"a": 1}),
        UsageSample(10, {"a": 2.0}, {"a": 1}),
        UsageSample(20, {"a": 3.0, "b": 0.5}, {"a": 1, "b": 2}),
        UsageSample(30, {"a": 9.0, "b": 9.0}, {"a": 1, "b": 2}),
    ]
    assert figures.usage_between(samples, 11, 19) == {"a": 1.0, "b": 0.5}
    assert figures.usage_between(samples, -5, 99) == {"a": 8.0, "b": 9.0}
    assert figures.usage_between([], 0, 1) == {}


def test_the_usage_curve_is_in_cores_between_samples():
    samples = [UsageSample(1000, {"a": 1.0}, {"a": 5}), UsageSample(3000, {"a": 2.0, "b": 1.0}, {"a": 6, "b": 7})]
    series = figures.usage_series(samples, 1000)
    assert series["cpuCores"] == {"a": [0.0, 0.5], "b": [0.0, 0.5]}
    assert series["residentBytes"] == {"a": [5, 6], "b": [0, 7]}
    assert series["seconds"] == [0.0, 2.0]


def test_samples_too_close_for_the_cpu_clock_show_no_cores_that_are_not_there() -> None:
    samples = [UsageSample(at_ms, {"tp-1": cpu}, {"tp-1": 1}) for at_ms, cpu in ((0, 0.0), (1000, 0.5), (1002, 0.51))]
    assert figures.usage_series(samples, 0)["cpuCores"] == {"tp-1": [0.0, 0.5]}
