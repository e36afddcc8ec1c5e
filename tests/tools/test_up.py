"""`ursa up`, as a person uses it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from ursa.tools.endpoints import load_cluster
from ursa.tools.processes import URSA_COMMAND

from .leftovers import title

pytestmark = pytest.mark.slow
SECONDS = 120


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URSA_HOME", str(tmp_path / "home"))


@contextmanager
def up(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `ursa up`, and what it printed until it was ready."""
    command = [*URSA_COMMAND, "up", "--tenant-partitions=1", "--resource-partitions=1", "--nodes=2", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            printed = ""
            while "Ctrl-C" not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield process, printed
        finally:
            process.kill()


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    command = [*URSA_COMMAND, "up", "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting ...\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "stopped\n"
        assert process.wait(SECONDS) == 0
    assert not [
        each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(each.info["cmdline"] or [])
    ]


def test_it_shows_its_processes_says_what_comes_next_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with up("--data-dir", str(data_dir)) as (process, printed):
        found = load_cluster()
        for each in found.processes:
            (row,) = [line for line in printed.splitlines() if line.split()[:1] == [each.name]]
            assert row.split() == [
                each.name,
                each.component,
                str(each.pid),
                each.address or "-",
                f"http://{each.metrics}/metrics",
            ]
        assert "    ursa get nodes\n" in printed
        children = psutil.Process(process.pid).children(recursive=True)
        made = {each.pid for each in found.processes}
        # And the process of whom they are copies.
        assert [title(child) for child in children if child.pid not in made] == ["ursa fork server"]
        assert {child.pid for child in children} > made
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert not [child for child in children if child.is_running()]
    assert not (data_dir / "cluster.json").exists()
    # What was there is continued.
    with up("--data-dir", str(data_dir), "--name", "again") as (process, printed):
        assert "    ursa get nodes --cluster again\n" in printed
        # Killed in mid-air it leaves a file behind, and no process.
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(SECONDS)
        psutil.wait_procs(children, timeout=SECONDS)
        assert not [child for child in children if child.is_running()]
        refused = subprocess.run(
            [*URSA_COMMAND, "up", "--data-dir", str(data_dir), "--resource-partitions=0"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: ")
