"""What the README says is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ursa.tools.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_its_program_runs() -> None:
    [program] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert len(re.findall(r"^web-\S+ runs on \S+ of rp-[12]$", done.stdout, re.MULTILINE)) == 3


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:\$ursa|bin/ursa|`ursa) ([a-z-]+)", README))))
def test_its_commands_are_there(command: str) -> None:
    assert command in main.list_commands(None)
    assert CliRunner().invoke(main.get_command(None, command), ["--help"]).exit_code == 0


def test_its_flags_are_there() -> None:
    for command, arguments in re.findall(r"^\$ursa ([a-z]+) (.*?)(?:#.*)?$", README, re.MULTILINE):
        text = CliRunner().invoke(main.get_command(None, command), ["--help"]).output
        for flag in re.findall(r"(?<!\S)(--?[a-z-]+|-[A-Z])", arguments):
            assert flag in text, f"ursa {command} has no {flag}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)h][^)]*)\)|(examples/\S+\.yaml)", README))))
def test_its_files_are_there(path: tuple[str, str]) -> None:
    assert (ROOT / (path[0] or path[1])).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", README))))
def test_its_make_targets_are_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
