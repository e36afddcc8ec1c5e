"""`ursa density` and `ursa replay` at the keyboard: mistakes in one line with nothing left behind, and one real run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ursa.tools.cli import main

POD_HEADER = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time\n"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["density", "--nodes", "0"], "--nodes must be more than 0"),
        (["density", "--pods-per-node", "-3"], "--pods-per-node must be more than 0"),
        (["density", "--qps", "fast"], "'fast' is not a valid float"),
        (["density", "--kill", "tp-1"], "like tp-1@50%"),
        (["density", "--kill", "tp-9@50%"], "tp-9 is no process"),
        (["density", "--pod-cpu", "-1"], "--pod-cpu must not be negative"),
        (["density", "--node-memory", "much"], "memory of a node: 'much' is no quantity"),
        (["density", "--node-pods", "0"], "--node-pods must be more than 0"),
        (["density", "--start-delay", "-1"], "--start-delay"),
        (["density", "--data-dir", "."], "is not empty"),
        (["replay"], "Missing option '--nodes'"),
        (["replay", "--nodes", "missing.csv", "--pods", "missing.csv"], "missing.csv: cannot be read: No such file"),
        (
            ["replay", "--nodes", "nodes.csv", "--pods", "broken.csv"],
            "broken.csv:2:3: cpu_milli must be a whole number",
        ),
        (["replay", "--nodes", "nodes.csv", "--pods", "pods.csv", "--speed", "0"], "--speed must be more than 0"),
    ],
)
def test_a_mistake_is_one_line_and_status_one_and_leaves_nothing(arguments, complaint, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nodes.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nn1,1000,1000,0,\n")
    Path("pods.csv").write_text(POD_HEADER + "p,1,1,0,0,LS,0,1\n")
    Path("broken.csv").write_text(POD_HEADER + "p,x,1,0,0,LS,0,1\n")
    before = sorted(os.listdir())
    result = run(*arguments)
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_an_output_that_cannot_be_written_is_found_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    result = run("density", "--output", tmp_path / "taken")
    assert result.exit_code == 1
    assert "name another --output" in result.stderr


@pytest.mark.slow
def test_density_runs_a_real_cluster_and_leaves_a_report_and_nothing_else(tmp_path: Path) -> None:
    arguments = ["--nodes", "4", "--pods-per-node", "5", "--qps", "100", "--tenants-per-partition", "2"]
    result = run("density", *arguments, "--output", tmp_path / "runs", "--startup-p99-max", "60000")
    assert result.exit_code == 0, result.output
    assert "density: PASS" in result.stdout
    assert "20 running, 0 waiting of 20" in result.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder / "report.html") in result.stdout
    assert sorted(os.listdir(folder)) == ["PodStartupLatency.json", "report.html", "report.json"]
    report = json.loads((folder / "report.json").read_text())
    assert report["pods"]["running"] == 20
    assert report["placements"]["accepted"] == 20
    assert report["durability"] == {"acknowledged": 24, "lost": 0}  # 20 pods, 4 ReplicaSets of 5
    used = report["resources"]["cpuSeconds"]
    assert {"tp-1", "tp-2", "rp-1", "rp-2", "scheduler-tp-1", "controller-manager-rp-2", "density"} <= set(used)
    assert all(report["resources"]["residentBytesMax"][name] > 2**20 for name in used)
    assert 0 < report["podStartupMilliseconds"]["p50"] < 60_000


@pytest.mark.slow
def test_a_partition_killed_in_the_middle_comes_back_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    arguments = ["--nodes", "6", "--pods-per-node", "30", "--qps", "60", "--kill", "tp-1@30%", "--timeout", "60"]
    result = run("density", *arguments, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    report = json.loads((folder / "report.json").read_text())
    assert report["pods"]["running"] == report["pods"]["created"] == 180
    # All pods; and of the 60 ReplicaSets those whose acknowledgement was not lost with the partition.
    assert 180 < report["durability"]["acknowledged"] <= 240
    assert report["durability"]["lost"] == 0
    assert [(fault["process"], fault["podsRunning"] >= 54) for fault in report["faults"]] == [("tp-1", True)]
    assert "kill -9 tp-1" in result.stdout
