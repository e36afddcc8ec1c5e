"""The examples run, as a reader would run them; and what the custom controllers decide."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ursa.proto.objects import Object

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_kinds_controller", EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


controller = load("custom_kinds/controller.py")


def run(example: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_library_example_runs_three_pods() -> None:
    assert run("library.py").count("runs on node-") == 3


@pytest.mark.slow
def test_the_plugin_example_chooses_alike_in_both_ways() -> None:
    lines = run("own_plugin.py").splitlines()
    assert lines[:4] == [
        "plain pod-0 runs on node-0002",
        "plain pod-1 runs on node-0003",
        "plain pod-2 runs on node-0004",
        "refused: {'NodeResourcesFit': 2, 'Cool': 1}",
    ]
    assert [line.replace("arrays", "plain").replace("CoolArrays", "Cool") for line in lines[4:]] == lines[:4]


@pytest.mark.slow
def test_the_custom_kinds_example_runs_both_kinds_and_takes_the_pods_of_one_away() -> None:
    assert run("custom_kinds/run.py").splitlines() == [
        "sparkapplications.sparkoperator.k8s.io pi {'applicationState': 'Running', 'executors': 2}",
        "workflows.argoproj.io diamond {'phase': 'AllStarted', 'started': 4}",
        "the workflow is gone, and its pods with it",
    ]


def workflow(**dependencies: list[str]) -> Object:
    tasks = [{"name": name, "image": "i", "dependencies": needs} for name, needs in dependencies.items()]
    return Object.from_dict(
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}, "spec": {"tasks": tasks}}
    )


def test_a_task_waits_for_all_that_it_depends_on() -> None:
    diamond = workflow(a=[], b=["a"], c=["a"], d=["b", "c"])
    decide = controller.pods_of_workflow
    assert list(decide(diamond, {}).pods) == ["w-a"]
    assert list(decide(diamond, {"w-a": True, "w-b": True}).pods) == ["w-a", "w-b", "w-c"]
    everything = decide(diamond, dict.fromkeys(("w-a", "w-b", "w-c", "w-d"), True))
    assert everything.status == {"phase": "AllStarted", "started": 4}


def test_executors_wait_for_the_driver() -> None:
    spec = {
        "image": "i",
        "driver": {"cores": 1, "memory": "1Gi"},
        "executor": {"cores": 1, "memory": 1, "instances": 2},
    }
    application = Object.from_dict({"apiVersion": "s/v1", "kind": "S", "metadata": {"name": "pi"}, "spec": spec})
    assert list(controller.pods_of_spark(application, {"pi-driver": False}).pods) == ["pi-driver"]
    wanted = controller.pods_of_spark(application, {"pi-driver": True, "pi-exec-0": True})
    assert list(wanted.pods) == ["pi-driver", "pi-exec-0", "pi-exec-1"]
    assert wanted.status == {"applicationState": "Running", "executors": 1}
