"""Bugs seeded one by one, each of which the storage tests must catch.

    .venv/bin/python tests/storage/mutants.py                  all of them, a few minutes
    .venv/bin/python tests/storage/mutants.py watch leases     those whose file or reason contains one of the words
    .venv/bin/python tests/storage/mutants.py --list           the list, numbered

Not part of `make test`. The package and its tests are copied to a temporary folder; there each patch is applied, the
tests are run up to the first failure and for a bounded time, and the patch is taken back. First the tests are run with
no patch at all: they must pass. Ends with 1 if a bug survived, or if a patch does not fit the source any more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("__init__.py", "pyproject.toml", "proto", "storage", "clients", "partitions", "tools", "tests/storage")
# A bug that makes the store go round in circles is caught, too.
RUN_SECONDS_MAX = 90
# The quick ones first; the rest follows in any order.
FIRST = ("contract", "watch", "leases", "compaction_policy", "index", "sweep", "records", "model")
# They need more than the store, and take longer than the others together.
PASSED_OVER = ("linearizability",)
# What fails need not be made small.
PROFILE = """
from hypothesis import Phase
from hypothesis import settings as _settings

_settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
"""


class Mutant(NamedTuple):
    file: str  # In storage/.
    old: str  # Occurs exactly once.
    new: str
    why: str


MUTANTS = (
    # --- staging ---
    Mutant("log_store.py", "expected != newest[0]:", "expected > newest[0]:", "a stale revision is accepted"),
    Mutant("log_store.py", "if deleted and not newest[0]:", "if False:", "what does not exist is deleted"),
    Mutant(
        "log_store.py",
        "of_batch.get(key) or self._index.newest(key)",
        "self._index.newest(key)",
        "a change does not find the one before it in its batch",
    ),
    Mutant(
        "log_store.py",
        "of_batch[key] = (0, 0) if deleted else (revision, newest[1] or revision)",
        "of_batch[key] = (revision, newest[1] or revision)",
        "a deletion is overlooked within its batch",
    ),
    Mutant("log_store.py", "created or revision, previous", "revision, previous", "each change begins a life"),
    Mutant("log_store.py", "        self._staged_head = revision\n", "", "revisions are given out twice"),
    # --- quota ---
    Mutant(
        "log_store.py", "if self._bytes >= self._bytes_max:", "if self._bytes > self._bytes_max:", "quota off by one"
    ),
    Mutant("log_store.py", "not (change.deleted or change.reserve)", "not change.deleted", "no reserve"),
    Mutant("log_store.py", "any(not (change", "all(not (change", "a deletion takes puts along into a full store"),
    Mutant("log_store.py", "        self._bytes += size\n", "", "what is staged is not counted"),
    Mutant("log_store.py", "self._bytes -= freed[0]", "pass", "what is erased is still counted"),
    Mutant("log_store.py", "            self._nospace = True\n", "", "no alarm"),
    Mutant("log_store.py", "if self._bytes < self._bytes_max:", "if False:", "the alarm stays"),
    Mutant("log_store.py", "if self._bytes < self._bytes_max:", "if True:", "the alarm clears without room"),
    # --- committing ---
    Mutant(
        "log_store.py",
        "        self._committing = True\n",
        "        self._committing = True\n        self._head = self._staged_head\n",
        "published before it is durable",
    ),
    Mutant("log_store.py", "        self._staged = []\n\n", "\n", "committed twice"),
    Mutant(
        "log_store.py",
        "            self._publish(batch, floor)\n            done(batch)\n",
        "            done(batch)\n            self._publish(batch, floor)\n",
        "acknowledged before it can be read",
    ),
    Mutant(
        "log_store.py",
        'self._fail("writing the commit", error)\n                return',
        'self._fail("writing the commit", error)',
        "a commit that failed is acknowledged",
    ),
    Mutant("log_store.py", "elif not record.previous_revision:", "else:", "every put counts as a key"),
    # --- reading ---
    Mutant("log_store.py", "if revision > self._head:", "if revision > self._staged_head:", "staged can be read"),
    Mutant("log_store.py", "if revision < self._floor:", "if revision <= self._floor:", "the floor is refused"),
    Mutant(
        "log_store.py",
        "            self._check_readable(revision)  # Time",
        "            # Time",
        "a range overtaken by compaction has gaps",
    ),
    Mutant("log_store.py", "            left -= len(records)\n", "", "a range exceeds its limit"),
    Mutant("log_store.py", "after + limit) if limit", "after + limit + 1) if limit", "a log exceeds its limit"),
    Mutant("index.py", "bound = revision * 2 + 1", "bound = revision * 2", "a deletion is not seen at its revision"),
    Mutant("index.py", "if key in self._entries]", "]", "keys that are gone stay in the order"),
    Mutant("digest.py", "len(key), len(record.value)", "0, 0", "a digest does not tell where a key ends"),
    Mutant(
        "digest.py",
        "record.create_revision, record.revision",
        "record.revision, record.revision",
        "a digest overlooks another life",
    ),
    # --- compaction ---
    Mutant(
        "index.py", "if end > 1 and not entry[end - 1] & 1 else", "if end > 1 else", "a deletion at the floor leaks"
    ),
    Mutant("index.py", "kept_from = end - 1 if end > 1", "kept_from = end if end > 1", "what holds at the floor goes"),
    Mutant(
        "index.py", "bisect_right(entry, floor * 2 + 1, 1)", "bisect_right(entry, floor * 2, 1)", "tombstone at floor"
    ),
    Mutant(
        "sweep.py",
        "self._garbage = merge(*self._runs)",
        "self._garbage = iter([one for run in self._runs for one in run])",
        "garbage is not erased oldest first",
    ),
    Mutant(
        "log_store.py",
        "        floor = self._floor\n        freed",
        "        floor = self._durable_floor\n        freed",
        "records are erased above the floor on disk",
    ),
    Mutant("log_store.py", "self._swept_floor = sweep.floor", "self._swept_floor = self._floor", "a sweep overtaken"),
    Mutant("memory.py", "self._records.pop(revision)", "self._records[revision]", "nothing is erased from memory"),
    Mutant("compaction.py", "[0][0] >= self._keep_seconds", "[0][0] > self._keep_seconds", "history kept too long"),
    Mutant(
        "compaction.py", "if revision <= self._compacted:", "if revision < self._compacted:", "compacted for nothing"
    ),
    Mutant("compaction.py", "max(revision, head - self._keep_changes)", "head", "no history is kept"),
    # --- opening and the disk ---
    Mutant("log_store.py", "if record.revision != self._head:", "if False:", "a gap in the log is not found"),
    Mutant("records.py", "if end < _HEADER.size or _CHECKSUM", "if end < _HEADER.size and _CHECKSUM", "no checksum"),
    Mutant("records.py", "crc32(data[:end], crc32(key))", "crc32(data[:end])", "a checksum without its revision"),
    Mutant("lmdb_store.py", "create=False,", "create=False, sync=False,", "no sync"),
    Mutant("lmdb_store.py", "create=False,", "create=False, metasync=False,", "half a sync"),
    # --- watch ---
    Mutant("watch.py", "record.key.startswith(self._prefix)", "self._prefix in record.key", "watch: wrong keys"),
    Mutant(
        "watch.py",
        "        return taken\n",
        "        self._revision = self._store.head\n        return taken\n",
        "watch: the bookmark runs ahead of what was taken",
    ),
    Mutant("watch.py", "if len(taken) == limit or", "if len(taken) > limit or", "watch: more than the limit"),
    Mutant("watch.py", "size >= TAKE_BYTES", "False", "watch: no bound on what is held"),
    Mutant("watch.py", "limit=LOOK_RECORDS", "limit=0", "watch: no bound on what is looked at"),
    Mutant("watch.py", "self._revision = record.revision", "self._revision += len(taken) or 1", "watch: position lost"),
    Mutant(
        "log_store.py",
        "            if batch:\n                self._wake_watches()",
        "            self._wake_watches()",
        "watch: woken for nothing",
    ),
    Mutant("log_store.py", "if watch in self._watches:", "if True:", "watch: woken after it was closed"),
    Mutant(
        "log_store.py",
        "            done(batch)\n            if batch:\n                self._wake_watches()\n",
        "            if batch:\n                self._wake_watches()\n            done(batch)\n",
        "watch: woken before the writer has its answer",
    ),
    # --- leases ---
    Mutant("leases.py", "self._ends[0][0] <= now", "self._ends[0][0] < now", "leases: a moment too late"),
    Mutant("leases.py", "elif found.ends_at > not_before:", "elif False:", "leases: ended although renewed"),
    Mutant("leases.py", "max(found.ends_at, ends_at)", "ends_at", "leases: a clock that jumps back shortens them"),
    Mutant(
        "leases.py", "if lease != attached:", "if lease and lease != attached:", "leases: a put without one keeps it"
    ),
    Mutant("leases.py", "                if attached:\n", "                if False:\n", "leases: a key has two"),
    Mutant("leases.py", "            self._untimed[lease] = None\n", "", "leases: not restarted at opening"),
    Mutant(
        "leases.py", "if ended and changes > EXPIRE_CHANGES", "if changes > EXPIRE_CHANGES", "leases: large ones stay"
    ),
    Mutant(
        "leases.py", "            self._untimed.pop(lease, None)\n", "", "leases: revoked before their time was known"
    ),
    Mutant("leases.py", "            self._clear_outdated()\n", "", "leases: the queue of ends leaks"),
    Mutant("leases.py", 'b"", reserve=True)', 'b"")', "leases: no attachment in the reserve"),
    Mutant("log_store.py", "key in attached or", "", "leases: a deletion does not detach"),
    Mutant("log_store.py", " or key < _RESERVED_END:", ":", "leases: anybody writes the store's own keys"),
    Mutant(
        "log_store.py", "if of_a_lease else b", "if False else b", "leases: the time to live is not read at opening"
    ),
)


def copy_to(folder: Path) -> None:
    for name in COPIED:
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
    files = [file for file in found if not any(word in file.name for word in PASSED_OVER)]
    order = [file for word in FIRST for file in files if word in file.name]
    order = list(dict.fromkeys([*order, *files]))
    # No byte code: two patches within a second may have the same length.
    environment = os.environ | {"PYTHONPATH": os.fspath(folder.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += ["--hypothesis-profile=mutants", *map(str, order)]
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
