"""Bugs seeded one by one into a copy of the package: for each, a test must fail.

The lists stand beside the tests that they judge; each is a program with this command line:

    .venv/bin/python -m LIST                  all of them
    .venv/bin/python -m LIST watch leases     those with one of the words in their tests, file or reason
    .venv/bin/python -m LIST --list           the list, numbered

The package is copied to a temporary folder; there each patch is applied, the tests are run up to the first failure and
for a bounded time, and the patch is taken back. First they are run with no patch at all: they must pass. Ends with 1
if a bug survived, or if a patch does not fit the source any more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ("__init__.py", "pyproject.toml", "proto", "storage", "clients", "partitions", "tools", "tests/conftest.py")
# What fails need not be made small.
PROFILE = """
from hypothesis import Phase

settings.register_profile("seeded", phases=[Phase.explicit, Phase.generate], database=None)
"""


class Bug(NamedTuple):
    tests: str  # Which of the list's tests must catch it, as the list's own `arguments` takes it.
    file: str
    old: str  # Occurs exactly once.
    new: str
    why: str


# What pytest is given to run some tests in a copy.
Arguments = Callable[[Path, str], Sequence[str]]


class Copy:
    """The package and some of its tests, in a folder of their own."""

    def __init__(self, folder: Path, tests: Sequence[str], arguments: Arguments, seconds_max: int) -> None:
        self._folder = folder
        self._arguments = arguments
        self._seconds_max = seconds_max
        for name in (*PACKAGE, *tests):
            source, target = ROOT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        with (folder / "tests/conftest.py").open("a") as conftest:
            conftest.write(PROFILE)

    def run(self, tests: str) -> str:
        """ "" if all passed, else what failed first."""
        folder = self._folder
        # No byte code: two patches within a second may have the same length.
        environment = os.environ | {"PYTHONPATH": os.fspath(folder.parent), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
        command += ["--hypothesis-profile=seeded", *self._arguments(folder, tests)]
        try:
            ended = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=self._seconds_max
            )
        except subprocess.TimeoutExpired:
            return f"not done after {self._seconds_max} s"
        if ended.returncode == 0:
            return ""
        failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0].split("::", 1)[-1].split(" - ")[0] if failed else f"pytest ended with {ended.returncode}"

    def judge(self, bug: Bug) -> str:
        file = self._folder / bug.file
        source = file.read_text()
        if source.count(bug.old) != 1:
            return "DOES NOT FIT"
        file.write_text(source.replace(bug.old, bug.new))
        try:
            failed = self.run(bug.tests)
        finally:
            file.write_text(source)
        return f"caught by {failed}" if failed else "SURVIVED"


def main(
    words: Sequence[str], bugs: Sequence[Bug], tests: Sequence[str], arguments: Arguments, seconds_max: int
) -> int:
    """The program of one list.

    Args:
        tests: what is copied beside the package.
        seconds_max: far above what the tests take on a busy machine. A bug that goes round in circles is caught, too.
    """
    if list(words) == ["--list"]:
        for number, bug in enumerate(bugs, 1):
            print(f"{number:3} {bug.file:32} {bug.why}")
        return 0
    chosen = [bug for bug in bugs if not words or any(word in f"{bug.tests} {bug.file} {bug.why}" for word in words)]
    with tempfile.TemporaryDirectory() as name:
        copy = Copy(Path(name) / "ursa", tests, arguments, seconds_max)
        for unpatched in dict.fromkeys(bug.tests for bug in chosen):
            if failed := copy.run(unpatched):
                print(f"without any patch: {failed}")
                return 1
        return int(sum(_tell(copy, bug) for bug in chosen) > 0)


def _tell(copy: Copy, bug: Bug) -> bool:
    """Whether it got away."""
    begun = time.perf_counter()
    verdict = copy.judge(bug)
    print(f"{bug.file:32} {bug.why:70} {verdict} ({time.perf_counter() - begun:.0f} s)", flush=True)
    return not verdict.startswith("caught")
