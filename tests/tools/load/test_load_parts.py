"""Progress, faults, scraping, the machine: the small parts of a load test."""

from __future__ import annotations

from io import StringIO

import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from rich.console import Console
from trio.testing import MockClock
from ursa.proto.errors import InputError, UrsaError
from ursa.tools.load.density import DensityOptions
from ursa.tools.load.faults import Kill
from ursa.tools.load.flags import require_empty
from ursa.tools.load.machine import describe_machine, describe_versions, steal_seconds
from ursa.tools.load.progress import Counts, Reporter
from ursa.tools.load.scrape import counts_by, placements_by_result
from ursa.tools.observability import ObservabilityServer

EXPOSITION = """\
# HELP ursa_placements_total Placements tried.
# TYPE ursa_placements_total counter
ursa_placements_total{result="accepted",partition="rp-1"} 40.0
ursa_placements_total{result="accepted",partition="rp-2"} 2.0
ursa_placements_total{result="rejected",partition="rp-1"} 3.0
# HELP ursa_placements_created Placements tried.
# TYPE ursa_placements_created gauge
ursa_placements_created{result="accepted",partition="rp-1"} 1.7e+09
# HELP other_total Something else.
# TYPE other_total counter
other_total{result="accepted"} 7.0
"""


def test_a_counter_is_summed_by_one_of_its_labels() -> None:
    assert counts_by("result", "ursa_placements_total", EXPOSITION) == {"accepted": 42, "rejected": 3}


def test_processes_are_asked_over_http_and_added_up() -> None:
    async def main() -> None:
        registry = CollectorRegistry()
        tried = Counter("ursa_placements", "Placements tried.", ["result"], registry=registry)
        tried.labels("accepted").inc(5)
        with ObservabilityServer("127.0.0.1:0", registry, dict) as server:
            assert await placements_by_result([server.address, server.address]) == {"accepted": 10}

    trio.run(main)


def test_a_process_that_gives_no_metrics_is_named() -> None:
    async def main() -> None:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        await listener.aclose()
        with pytest.raises(UrsaError, match=f"no metrics from {address}"):
            await placements_by_result([address])

    trio.run(main)


def test_a_progress_line_says_how_many_of_how_many() -> None:
    counts = Counts(created=30, bound=20, running=10, waiting=10, total=40)
    assert str(counts) == "pods: 30 created, 20 bound, 10 running, 10 waiting of 40"


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_goes_on_until_it_is_stopped_and_ends_with_the_last_counts(terminal) -> None:
    out = StringIO()
    reporter = Reporter(Console(file=out, force_terminal=terminal, width=160))
    running = 0

    async def main() -> None:
        nonlocal running
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reporter.show, lambda: Counts(5, 5, running, 0, 5))
            for step in range(6):
                running = step
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    text = out.getvalue()
    assert "5 running, 0 waiting of 5" in text
    if not terminal:
        assert len(text.splitlines()) in (6, 7)


@pytest.mark.parametrize(
    ("text", "kill"), [("tp-1@50%", Kill("tp-1", 50)), ("scheduler-tp-2@0%", Kill("scheduler-tp-2", 0))]
)
def test_a_kill_names_a_process_and_a_share(text, kill) -> None:
    assert Kill.parse(text) == kill


@pytest.mark.parametrize("text", ["tp-1", "tp-1@50", "tp-1@101%", "@5%", "TP@5%", "tp-1@-5%"])
def test_a_kill_of_another_form_is_refused(text) -> None:
    with pytest.raises(InputError, match="like tp-1@50%"):
        Kill.parse(text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nodes": 0}, "--nodes must be more than 0"),
        ({"qps": -1}, "--qps must be more than 0"),
        ({"qps": float("nan")}, "--qps must be more than 0"),
        ({"timeout_seconds": float("inf")}, "--timeout must be more than 0"),
        ({"pod_cpu": "-100m"}, "--pod-cpu must not be negative"),
        ({"pod_memory": "lots"}, "--pod-memory: 'lots' is no quantity"),
    ],
)
def test_options_that_cannot_be_are_refused_by_their_flag(values, said) -> None:
    with pytest.raises(InputError, match=said):
        DensityOptions(**values)


def test_a_data_directory_that_holds_something_is_refused(tmp_path) -> None:
    require_empty(None)
    require_empty(tmp_path)
    require_empty(tmp_path / "new")
    (tmp_path / "tp-1").mkdir()
    with pytest.raises(InputError, match="is not empty"):
        require_empty(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be read: Not a directory"):
        require_empty(tmp_path / "file")


def test_a_report_says_what_it_was_measured_on() -> None:
    machine = describe_machine(steal_seconds())
    assert machine.cpus >= 1
    assert machine.memory_bytes > 2**28
    assert machine.steal_seconds >= 0
    assert machine.processor
    versions = describe_versions()
    assert versions["python"].startswith("3.")
    assert "not installed" not in versions.values()
