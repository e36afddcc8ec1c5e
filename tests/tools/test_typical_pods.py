"""Profiles are completed by what pods ask for, and left as they are where they say it or make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ursa.tools.scheduler_config import read_scheduler_config
from ursa.tools.typical_pods import config_with_typical

PROFILES = Path(__file__).resolve().parents[2] / "examples" / "profiles"
REQUESTS = [{"cpu": 4000, "ursa.dev/gpu-milli": 500, "pods": 1}] * 3 + [{"cpu": 8000, "ursa.dev/gpu-milli": 2000}]
HEADER = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def test_a_profile_that_does_not_say_what_pods_ask_for_is_told_as_long_as_it_is_needed() -> None:
    with config_with_typical(PROFILES / "gpu-stranding.yaml", REQUESTS) as file:
        assert file is not None
        assert file.name == "gpu-stranding.yaml"
        [profile] = yaml.safe_load(file.read_text())["profiles"]
        [args] = [each["args"] for each in profile["pluginConfig"] if each["name"] == "GpuStranding"]
        assert args["typicalPods"][0] == {"cpu": "4000m", "gpuMilli": 500, "weight": 0.75}
        read_scheduler_config(file)
    assert not file.exists()


def test_a_profile_that_says_it_keeps_its_own(tmp_path: Path) -> None:
    own = "{name: GpuStranding, args: {typicalPods: [{cpu: 1, gpuMilli: 100, weight: 1}]}}"
    (tmp_path / "own.yaml").write_text(HEADER + f"profiles: [{{schedulerName: a, pluginConfig: [{own}]}}]\n")
    with config_with_typical(tmp_path / "own.yaml", REQUESTS) as file:
        assert file is not None
        [profile] = yaml.safe_load(file.read_text())["profiles"]
        kept = [each["args"]["typicalPods"] for each in profile["pluginConfig"] if each["name"] == "GpuStranding"]
        assert kept == [[{"cpu": 1, "gpuMilli": 100, "weight": 1}]]


@pytest.mark.parametrize("text", ["a: [", HEADER + "profiles: 3\n", None])
def test_a_file_that_makes_no_sense_is_left_to_who_reads_it(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "wrong.yaml"
    if text is not None:
        path.write_text(text)
    with config_with_typical(path, REQUESTS) as file:
        assert file == path
    with config_with_typical(None, REQUESTS) as nothing:
        assert nothing is None
