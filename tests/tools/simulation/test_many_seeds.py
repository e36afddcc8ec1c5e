"""Ordinary seeds keep every promise. With URSA_SOAK as many as fit into URSA_SOAK_MINUTES, 10 unless that says more."""

from __future__ import annotations

import os
import time
from itertools import count

import pytest
from ursa.tools.cli.simulate import print_tally
from ursa.tools.simulation import Swarm, Topology
from ursa.tools.simulation.soak import Tally, run_seeds

SOAK = bool(os.environ.get("URSA_SOAK"))
SOAK_MINUTES = float(os.environ.get("URSA_SOAK_MINUTES", "10"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("swarm", "some"),
    [(Swarm(), 4), (Swarm(Topology(3, 2, 20), seconds=120.0), 2), (Swarm(Topology(1, 1, 3), seconds=30.0), 6)],
    ids=["ordinary", "larger", "smaller"],
)
def test_no_seed_breaks_a_promise(swarm: Swarm, some: int, capsys: pytest.CaptureFixture[str]) -> None:
    tally, end = Tally(), time.monotonic() + 60 * SOAK_MINUTES / 3
    seeds = count(time.time_ns()) if SOAK else range(1, some + 1)
    for outcome in run_seeds(seeds, swarm, jobs=0 if SOAK else 1, stop=lambda: SOAK and time.monotonic() > end):
        tally.add(outcome)
    if SOAK:
        with capsys.disabled():
            print()
            print_tally(tally)
    failed = {outcome.plan.seed: [str(violation) for violation in outcome.violations[:3]] for outcome in tally.failed}
    assert not failed, f"again: ursa simulate --seed {next(iter(failed))} with {swarm}: {failed}"
