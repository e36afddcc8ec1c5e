"""Bugs seeded one by one, each of which the storage tests must catch.

    .venv/bin/python tests/storage/mutants.py                  all of them, half an hour
    .venv/bin/python tests/storage/mutants.py watch leases     those whose file or reason contains one of the words
    .venv/bin/python tests/storage/mutants.py --list           the list, numbered

The list is mutant_list.py. Not part of `make test`. The package and its tests are copied to a temporary folder; there
each patch is applied, the tests are run up to the first failure and for a bounded time, and the patch is taken back.
First the tests are run with no patch at all: they must pass. Ends with 1 if a bug survived, or if a patch does not fit
the source any more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("__init__.py", "pyproject.toml", "proto", "storage", "clients", "partitions", "tools")
# The apiserver's histories are judged too.
COPIED_TESTS = ("tests/conftest.py", "tests/storage", "tests/checkers", "tests/partitions")
# A bug that makes the store go round in circles is caught, too. Far above what all tests take on a busy machine.
RUN_SECONDS_MAX = 300
# The quick ones first, the slow ones last.
FIRST = (
    "contract",
    "bad_input",
    "watch",
    "leases",
    "compaction_policy",
    "index",
    "sweep",
    "records",
    "verify",
    "model",
)
LAST = ("linearizability", "crashes", "durability", "disk")
# They seed bugs of their own.
PASSED_OVER = "the_images_show_it_if"
# What fails need not be made small.
PROFILE = """
from hypothesis import Phase
from hypothesis import settings as _settings

_settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
"""


def copy_to(folder: Path) -> None:
    for name in (*COPIED, *COPIED_TESTS):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    with (folder / "tests/storage/conftest.py").open("a") as conftest:
        conftest.write(PROFILE)


def run_tests(folder: Path) -> str:
    """ "" if all passed, else what failed first."""
    found = sorted((folder / "tests/storage").glob("test_*.py"))
    first = [file for word in FIRST for file in found if word in file.name]
    last = [file for word in LAST for file in found if word in file.name]
    order = list(dict.fromkeys([*first, *(file for file in found if file not in last), *last]))
    # No byte code: two patches within a second may have the same length.
    environment = os.environ | {"PYTHONPATH": os.fspath(folder.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += ["--hypothesis-profile=mutants", "-k", f"not {PASSED_OVER}", *map(str, order)]
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return f"not done after {RUN_SECONDS_MAX} s"
    if ended.returncode == 0:
        return ""
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split("::", 1)[-1].split(" - ")[0] if failed else f"pytest ended with {ended.returncode}"


def judge(mutant: Mutant, folder: Path) -> str:
    file = folder / "storage" / mutant.file
    source = file.read_text()
    if source.count(mutant.old) != 1:
        return "DOES NOT FIT"
    file.write_text(source.replace(mutant.old, mutant.new))
    try:
        failed = run_tests(folder)
    finally:
        file.write_text(source)
    return f"caught by {failed}" if failed else "SURVIVED"


def main(words: list[str]) -> int:
    if words == ["--list"]:
        for number, mutant in enumerate(MUTANTS, 1):
            print(f"{number:3} {mutant.file:14} {mutant.why}")
        return 0
    chosen = [one for one in MUTANTS if not words or any(word in f"{one.file} {one.why}" for word in words)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "ursa"
        copy_to(folder)
        if failed := run_tests(folder):
            print(f"without any patch: {failed}")
            return 1
        bad = 0
        for mutant in chosen:
            begun = time.perf_counter()
            verdict = judge(mutant, folder)
            bad += not verdict.startswith("caught")
            seconds = time.perf_counter() - begun
            print(f"{mutant.file:14} {mutant.why:60} {verdict} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen)} bugs, {bad} not caught")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
