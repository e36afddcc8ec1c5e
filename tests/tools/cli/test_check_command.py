"""`ursa check` on a recording: a verdict, what was broken, and the story of an object."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ursa.tools.checking.check import PROMISES
from ursa.tools.cli import main
from ursa.tools.recording import write_recording
from ursa.tools.recording.records import Get, Happened, Instance, Logged, Record


def _recorded_run() -> tuple[Record, ...]:
    path = Path(__file__).parents[1] / "recording" / "recorded_run.py"
    spec = importlib.util.spec_from_file_location("recorded_run_of_check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    records: tuple[Record, ...] = module.recorded_run()
    return records


@pytest.fixture(scope="module")
def records() -> tuple[Record, ...]:
    return _recorded_run()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)])


def written(path: Path, records: Any) -> Path:
    write_recording(path, records)
    return path


def test_a_run_that_kept_its_promises_passes(tmp_path, records):
    result = run(written(tmp_path / "run", records))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{len(PROMISES)} of {len(PROMISES)} promises kept; ")


def test_a_broken_promise_is_named_with_the_way_to_its_story(tmp_path, records):
    get = next(record for record in records if isinstance(record, Get) and record.object_revision > 1)
    spoilt = [record._replace(object_revision=1) if record is get else record for record in records]
    result = run(written(tmp_path / "run", spoilt))
    assert result.exit_code == 4
    assert result.stdout.startswith("✗ Reads: at ")
    key = get.key.removeprefix("/registry/")
    assert f"--story {key}" in result.stdout
    assert f"{len(PROMISES) - 1} of {len(PROMISES)} promises kept" in result.stdout


def test_of_many_broken_promises_the_first_are_shown_or_all(tmp_path, records):
    spoilt = [record._replace(deleted=False) if isinstance(record, Logged) else record for record in records]
    path = written(tmp_path / "run", spoilt)
    few, many = run(path), run(path, "--all")
    assert few.stdout.count("✗") == 20
    assert "more: see them with --all" in few.stdout
    assert many.stdout.count("✗") > 20


def test_the_story_of_a_pod_tells_of_all_that_was_done_to_it(tmp_path, records):
    stopped = next(record for record in records if isinstance(record, Instance) and not record.started)
    fault = Happened(stopped.time, "cut", "tp-1")
    result = run(written(tmp_path / "run", [*records, fault]), "--story", stopped.key.rsplit("/", 1)[1])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == stopped.key
    times = [float(line.split()[0]) for line in lines[1:]]
    assert times == sorted(times)
    text = result.stdout
    in_order = [
        "create by controller-manager",
        ": created, uid ",
        ": ADDED at ",
        "bind by scheduler",
        "nodeName node-",
        f"{stopped.host} starts {stopped.uid}",
        "phase Running",
        "terminating",
        f"{stopped.host} stops {stopped.uid}",
        "delete by hollow-nodes",
        ": deleted, uid ",
    ]
    places = [text.index(each) for each in in_order]
    assert places == sorted(places)
    assert "tp-1: cut" in text


def test_an_object_that_was_never_there_has_no_story(tmp_path, records):
    result = run(written(tmp_path / "run", records), "--story", "pods/t/n/nobody")
    assert result.exit_code == 1
    assert "is no object of this recording" in result.stderr


def test_a_file_that_is_no_recording_is_one_line(tmp_path):
    (tmp_path / "run").write_text("text")
    result = run(tmp_path / "run")
    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path / 'run'}: this is no recording of Ursa\n"
