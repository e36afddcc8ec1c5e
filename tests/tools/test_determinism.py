"""One seed, one trace: in any process, whatever ran before, whatever the hashes of its strings."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from ursa.tools.determinism import Trace, first_difference, seeded_run

WORKLOAD = Path(__file__).with_name("determinism_workload.py")


def trace_here(seed: int) -> list[str]:
    lines: list[str] = runpy.run_path(str(WORKLOAD))["run"](seed)
    return lines


def trace_elsewhere(seed: int, hash_seed: int) -> list[str]:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, str(WORKLOAD), str(seed)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.slow
def test_one_seed_gives_one_trace_in_another_process_too() -> None:
    here, elsewhere = trace_here(7), trace_elsewhere(7, hash_seed=12345)
    assert len(here) > 1000
    difference = first_difference(here, elsewhere)
    assert not difference, difference
    assert first_difference(here, trace_here(8)), "another seed gave the same trace"


def test_the_order_of_tasks_comes_from_the_seed() -> None:
    def order(seed: int) -> list[str]:
        trace = Trace()

        async def step(name: str) -> None:
            for _ in range(3):
                trace(name)
                await trio.lowlevel.checkpoint()

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                for name in "abcdef":
                    nursery.start_soon(step, name)

        seeded_run(seed, main)
        return trace.lines

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_afterwards_trio_is_as_it_was() -> None:
    from trio._core import _run

    async def main() -> None:
        assert _run._ALLOW_DETERMINISTIC_SCHEDULING

    before = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    seeded_run(1, main)
    assert (_run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()) == before


def test_the_first_difference_is_shown_with_its_number() -> None:
    assert first_difference(["a", "b"], ["a", "b"]) == ""
    assert first_difference(["a", "b"], ["a", "c"]) == "line 2:\n  b\n  c"
    assert first_difference(["a"], ["a", "c"]) == "line 2 is only in one of them:\n  c"
