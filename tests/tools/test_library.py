"""The library's face: what `import ursa` gives, and the example."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import ursa

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_name_is_there() -> None:
    for name in ursa.__all__:
        assert getattr(ursa, name).__name__ == name
        assert name in dir(ursa)
    with pytest.raises(AttributeError, match="no attribute 'Clutser'"):
        _ = ursa.Clutser


def test_the_import_alone_costs_nothing() -> None:
    script = "import sys, ursa; print([name for name in ('trio', 'grpc', 'numpy', 'google') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_example_runs_and_prints_where_its_pods_run(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "library.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line in lines:
        name, runs, on, node, of, partition = line.split()
        assert name.startswith("web-")
        assert (runs, on, of) == ("runs", "on", "of")
        assert node.startswith("node-")
        assert partition in ("rp-1", "rp-2")


def test_the_scheduler_of_the_example_breaks_promises_that_ursas_own_keeps(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "own_scheduler.py"), run_name="__main__")
    own, careless, *examples = capsys.readouterr().out.splitlines()
    assert own == "Ursa's own schedulers: broken promises: 0"
    assert int(careless.rpartition(" ")[2]) > 0
    assert examples[0].strip().startswith("Converges: ")
