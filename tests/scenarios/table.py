"""Writes docs/scenarios.md, from the scenarios as they are: .venv/bin/python -m tests.scenarios.table"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .registry import SEEDS_MAX, Scenario, scenarios

DOCUMENT = "docs/scenarios.md"

HEAD = f"""\
# Scenarios: bugs of others, found again

Each of these happened to another control plane. The bug is brought back into Ursa's code by a switch in
`tests/scenarios`; seeds of a small swarm are run until a judge names the promise that it breaks, which must happen
within {SEEDS_MAX} seeds. Without the switch no seed breaks any promise: `make test` runs one of each, `make soak`
2,000.

Made by `python -m tests.scenarios.table`.
"""

TAIL = """\
## What is not staged here

- **S22, a disk that loses what it said it had written**: LMDB runs without syncs in a simulation, and a crash there
  keeps all that was reported. Lost, torn and reordered pages are staged below LMDB, by the disk model of
  `tests/storage/test_store_simulated_disk.py` and `test_store_disks.py`; kills of a real process are in
  `test_store_crashes.py` and `test_linearizability_kill.py`.
- **S26, py-lmdb's threads**: a write transaction that changes its thread, two of them in one thread, `set_mapsize`
  beside a reader, and an environment used behind a fork need threads and processes, of which a simulation has none. The
  store has one writer thread (`tests/storage/test_committer.py`), never changes its map, and is opened by one process
  (`tests/storage/test_store_directory.py`).
- **S1, S16 with several apiservers that write**: a partition has one. The second one, which stands still, only reads.
"""


def page(all_scenarios: Sequence[Scenario]) -> str:
    return "\n".join([HEAD, *_summary(all_scenarios), "", *_details(all_scenarios), TAIL])


def _summary(all_scenarios: Sequence[Scenario]) -> Iterator[str]:
    yield "| | scenario | found as | seeds until found |"
    yield "|---|---|---|---|"
    for each in all_scenarios:
        yield f"| {each.name} | {each.title} | {_or(each.promises)} | {each.first_seed} |"


def _details(all_scenarios: Sequence[Scenario]) -> Iterator[str]:
    for each in all_scenarios:
        yield f"## {each.name}: {each.title}"
        yield ""
        yield f"- **Origin**: {each.origin}"
        yield f"- **Invariant**: {each.invariant}"
        yield f"- **Injected bug**: {each.breaks}"
        yield f"- **Found as**: {_or(each.promises)}, by seed {each.first_seed}"
        yield ""


def _or(promises: Sequence[str]) -> str:
    return " or ".join(promises)


if __name__ == "__main__":
    (Path(__file__).parents[2] / DOCUMENT).write_text(page(scenarios()))
