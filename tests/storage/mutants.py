"""Bugs seeded one by one into the store, each of which the storage tests must catch.

    .venv/bin/python -m tests.storage.mutants                  all of them, half an hour
    .venv/bin/python -m tests.storage.mutants watch leases     those whose file or reason contains one of the words

The list is mutant_list.py, the rest is tests/seeding.py. Not part of `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..seeding import Bug, main
from .mutant_list import MUTANTS

# The apiserver's histories are judged too.
COPIED_TESTS = ("tests/storage", "tests/checkers", "tests/partitions")
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
BUGS = tuple(Bug("", f"storage/{one.file}", one.old, one.new, one.why) for one in MUTANTS)
# They seed bugs of their own, or are not about the store.
PASSED_OVER = "not the_images_show_it_if and not watch-cache and not client-memory and not client-grpc"


def arguments(folder: Path, _tests: str) -> Sequence[str]:
    found = sorted((folder / "tests/storage").rglob("test_*.py"))
    first = [file for word in FIRST for file in found if word in file.name]
    last = [file for word in LAST for file in found if word in file.name]
    order = dict.fromkeys([*first, *(file for file in found if file not in last), *last])
    return ["-k", PASSED_OVER, *map(str, order)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], BUGS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
