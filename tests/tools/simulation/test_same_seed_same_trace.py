"""A seed decides everything: every draw, every message and every fault, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ursa.tools.determinism import first_difference
from ursa.tools.simulation import Swarm, Topology, draw_plan, simulate

PROGRAM = Path(__file__).with_name("trace_of_seed.py")
SEEDS = (1, 3)
SWARM = Swarm(Topology(2, 1, 3), seconds=30.0)


def elsewhere(seed: int, hash_seed: int) -> list[str]:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, str(PROGRAM), str(seed)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_gives_the_same_trace_here_again_and_in_another_process(seed: int) -> None:
    one, again = (simulate(draw_plan(seed, SWARM), keep_trace=True) for _ in range(2))
    assert one.messages > 500
    assert first_difference(one.trace, again.trace) == ""
    assert one.digest == again.digest
    assert elsewhere(seed, 1) == elsewhere(seed, 4711) == [one.digest, str(one.messages)]


def test_another_seed_gives_another_trace() -> None:
    assert simulate(draw_plan(1, SWARM)).digest != simulate(draw_plan(2, SWARM)).digest


def test_whatever_is_changed_in_a_plan_shows_in_the_trace() -> None:
    plan = draw_plan(3, SWARM)
    assert plan.faults
    assert plan.operations
    others = [plan.with_(faults=plan.faults[1:]), plan.with_(operations=plan.operations[1:]), plan.with_(seed=4)]
    digests = [simulate(each).digest for each in (plan, *others)]
    assert len(dict.fromkeys(digests)) == len(digests)
