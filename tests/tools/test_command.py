"""The `ursa` command as a whole: its overview, and how it takes mistakes."""

import subprocess
import sys

import pytest
from click.testing import CliRunner, Result
from ursa.tools.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_overview_imports_no_subcommand() -> None:
    script = (
        "import sys\n"
        "from ursa.tools.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('trio', 'grpc', 'numpy', 'yaml', 'rich') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    for command in ("up", "apiserver", "scheduler", "controller-manager", "hollow-nodes"):
        assert command in done.stdout


def test_without_arguments_it_shows_the_overview() -> None:
    result = run()
    assert result.exit_code == 0
    assert "Start with `ursa up`" in result.stdout


@pytest.mark.parametrize("command", ["up", "apiserver", "scheduler", "controller-manager", "hollow-nodes"])
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--parent-pipe" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nope"], "No such command 'nope'"),
        (["up", "--nodes", "-1"], "--nodes"),
        (["apiserver", "--name", "tp-1"], "--role"),
        (["apiserver", "--name", "TP", "--role", "tenant", "--data-dir", "d"], "--name: 'TP' is no DNS label"),
        (["apiserver", "--name", "t", "--role", "tenant", "--data-dir", "d", "--listen", "x"], "--listen must look"),
        (["scheduler", "--home", "tp-1"], "--home tp-1 is none of the partitions given"),
        (["scheduler", "--home", "rp-1", "--resource-partition", "rp-1=h:1"], "--home rp-1 must be a tenant partition"),
        (["scheduler", "--home", "tp-1", "--tenant-partition", "tp-1"], "--tenant-partition must look like"),
        (["hollow-nodes", "--home", "rp-1", "--resource-partition", "rp-1=h:1"], "give either --nodes N"),
        (
            ["hollow-nodes", "--home", "rp-1", "--resource-partition", "rp-1=h:1", "--nodes", "1", "--cpu", "x"],
            "cpu",
        ),
        (
            ["hollow-nodes", "--home=rp-1", "--resource-partition=rp-1=h:1", "--nodes=1", "--start-delay=3-1"],
            "--start-delay must be seconds",
        ),
        (["hollow-nodes", "--home=rp-1", "--resource-partition=rp-1=h:1", "--nodes-file=/no"], "/no: cannot be read"),
        (
            ["hollow-nodes", "--home=rp-1", "--resource-partition=rp-1=h:1", "--nodes=1", "--static-pods=/none"],
            "/none: cannot be read",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_1(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert complaint in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
