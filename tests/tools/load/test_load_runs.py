"""Whole runs against a cluster in this process, on a mock clock: minutes of load in seconds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock
from ursa.partitions.selections import CompiledSelection
from ursa.partitions.watches.sharing import EventFrames
from ursa.proto.errors import InputError
from ursa.tools.checking.check import PROMISES, check
from ursa.tools.load.density import DensityOptions, run_density
from ursa.tools.load.progress import Reporter
from ursa.tools.load.replay import ReplayOptions, run_replay
from ursa.tools.load.trace import read_nodes, read_pods
from ursa.tools.recording import read_recording
from ursa.tools.report.observations import Observations, Threshold
from ursa.tools.report.summarise import summarise

DENSITY = DensityOptions(nodes=10, pods_per_node=10, qps=50, tenants_per_partition=2, processes=False)


def run_here(run, *arguments) -> tuple[Observations, str]:
    out = StringIO()
    reporter = Reporter(Console(file=out, width=200))
    observations = trio.run(partial(run, *arguments, reporter), clock=MockClock(autojump_threshold=0))
    return observations, out.getvalue()


@pytest.mark.slow
def test_a_density_run_fills_the_cluster_and_counts_it_afresh() -> None:
    observations, said = run_here(run_density, DENSITY)
    report = summarise(observations)
    document = report.document
    assert report.failures == []
    assert document["pods"] == {
        "requested": 100,
        "created": 100,
        "bound": 100,
        "running": 100,
        "failed": 0,
        "unschedulable": 0,
    }
    assert document["placements"]["overcommittedNodes"] == 0
    # 100 pods at 50 a second: sets of 2, the last 1.96 s after the first.
    assert document["generator"]["replicaSets"] == 50
    assert 1.96 <= document["seconds"]["load"] < 4
    assert document["podStartupMilliseconds"]["count"] == 100
    assert document["podStartupMilliseconds"]["p99"] < 1000
    # Every pod and every ReplicaSet.
    assert document["durability"] == {"acknowledged": 150, "lost": 0}
    assert document["ledger"]["placementsChecked"] == 100
    assert document["ledger"]["violations"] == document["ledger"]["gaps"] == 0
    assert "100 running, 0 waiting of 100" in said


@pytest.mark.slow
def test_a_cluster_that_is_too_small_times_out_and_says_how_many_could_not_run() -> None:
    options = replace(DENSITY, nodes=2, pods_per_node=50, qps=1000, timeout_seconds=30)  # 40 fit a node
    report = summarise(run_here(run_density, options)[0])
    assert (report.verdict, report.exit_status) == ("timeout", 2)
    assert report.failures[0] == "20 of 100 pods were not Running after 30 s"
    pods = report.document["pods"]
    assert (pods["created"], pods["running"], pods["unschedulable"]) == (100, 80, 20)
    assert report.document["placements"]["overcommittedNodes"] == 0


@pytest.mark.slow
def test_a_threshold_that_is_missed_fails_the_run() -> None:
    options = replace(DENSITY, pods_per_node=2, thresholds=[Threshold("throughputPodsPerSecond.mean", at_least=1e6)])
    assert summarise(run_here(run_density, options)[0]).exit_status == 4


PROFILES = Path(__file__).resolve().parents[3] / "examples" / "profiles"
NODES = """\
sn,cpu_milli,memory_mib,gpu,model
n-0,4000,8192,0,
n-1,4000,8192,2,T4
n-2,8000,8192,8,G2
"""
PODS = """\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
short,1000,1024,0,0,,LS,Running,0,1,0
giant,9000,1024,0,0,,BE,Pending,1000,400000,
share,1000,1024,1,460,T4,LS,Running,2000,400000,2000
whole,1000,1024,8,1000,,BE,Running,3000,300000,3000
waits,1000,1024,8,1000,,Guaranteed,Pending,4000,200000,
after,1000,1024,8,1000,,LS,Running,310000,390000,310000
model,1000,1024,1,1000,T4,BE,Running,5000,390000,5000
stays,1000,1024,0,0,,Burstable,Running,6000,,6000
"""


@pytest.fixture
def trace(tmp_path: Path) -> ReplayOptions:
    (tmp_path / "nodes.csv").write_text(NODES)
    (tmp_path / "pods.csv").write_text(PODS)
    return ReplayOptions(tmp_path / "nodes.csv", tmp_path / "pods.csv", speed=1000, processes=False)


def replay(options: ReplayOptions) -> Observations:
    return run_here(run_replay, options, read_nodes(options.nodes_path), read_pods(options.pods_path))[0]


@pytest.mark.slow
def test_a_replay_is_scheduled_by_the_profile_that_is_named_and_knows_what_its_pods_ask_for(
    trace: ReplayOptions, tmp_path: Path
) -> None:
    written = (PROFILES / "gpu-fragmentation.yaml").read_text()
    report = summarise(replay(replace(trace, scheduler_config=PROFILES / "gpu-fragmentation.yaml")))
    assert report.failures == []
    assert report.document["trace"]["runningAtTheirTime"] == 6
    assert report.document["parameters"]["schedulerConfig"] == "gpu-fragmentation.yaml"
    (tmp_path / "other.yaml").write_text(written.replace("default-scheduler", "for-nobody-here"))
    report = summarise(replay(replace(trace, scheduler_config=tmp_path / "other.yaml")))
    assert report.document["pods"]["bound"] == 0


@pytest.mark.slow
def test_a_replay_runs_what_fits_at_its_time_and_says_why_the_rest_did_not(trace) -> None:
    report = summarise(replay(trace))
    document = report.document
    assert report.failures == []
    told = document["trace"]
    assert told["late"] == []
    assert [never["pod"] for never in told["neverFit"]] == ["giant"]
    assert told["neverFit"][0]["reason"] == "it wants 9000m of CPU where the largest node has 8000m"
    assert "cpu" in told["neverFit"][0]["scheduler"]
    assert list(told["waitedForRoomSeconds"]) == ["waits"]
    assert told["waitedForRoomSeconds"]["waits"] == pytest.approx(196, abs=1)
    assert told["runningAtTheirTime"] == 6
    assert told["livesLengthened"] == 1
    assert document["pods"] == {
        "requested": 8,
        "created": 8,
        "bound": 6,
        "running": 6,
        "failed": 0,
        "unschedulable": 2,
    }
    assert document["ledger"]["violations"] == document["ledger"]["gaps"] == 0
    assert document["ledger"]["placementsChecked"] == 6
    assert document["durability"]["lost"] == 0
    assert 400 <= document["seconds"]["load"] < 410


@pytest.mark.slow
def test_a_density_run_is_checked_by_what_was_recorded_of_it(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    observations, said = run_here(run_density, replace(DENSITY, record=file))
    assert "checking what was recorded" in said
    assert observations.problems == []
    report = summarise(observations)
    assert report.document["promises"]["broken"] == 0
    assert report.document["promises"]["operations"] > 1000
    assert f"{len(PROMISES)} of {len(PROMISES)} kept" in report.document["notes"]["promises"]
    assert check(read_recording(file)) == []
    with pytest.raises(InputError, match="exists already"):
        replace(DENSITY, record=file)
    with pytest.raises(InputError, match="is no directory"):
        replace(DENSITY, record=tmp_path / "none" / "recording")


@pytest.mark.slow
def test_a_promise_that_was_broken_fails_a_density_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen_by = EventFrames.seen_by

    def stutters(self: EventFrames, selection: CompiledSelection) -> bytes | None:
        frame = seen_by(self, selection)
        return frame + frame if frame is not None and self._change.revision % 50 == 0 else frame

    monkeypatch.setattr(EventFrames, "seen_by", stutters)
    observations, _ = run_here(run_density, replace(DENSITY, check=True))
    report = summarise(observations)
    assert report.exit_status == 4
    assert any(problem.startswith("Unique and atomic: ") for problem in observations.problems)
    assert any("more promises broken" in problem for problem in observations.problems)
