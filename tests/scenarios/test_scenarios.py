"""Every scenario's bug is found by the promise that it breaks, and without the bug nothing is.

`make test` runs of each the seed that finds it, with the bug and without: it is the bug that breaks the promise. `make
soak` looks for the bug anew, and runs 2,000 seeds of each stage without one.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .registry import SEEDS_MAX, Scenario, scenarios, stages
from .table import DOCUMENT, page

SOAK = "URSA_SOAK" in os.environ
CLEAN_SEEDS = 2000

ALL = scenarios()
STAGES = stages(ALL)
each_scenario = pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)


@pytest.fixture(autouse=True, scope="module")
def little_garbage() -> Iterator[None]:
    """The collector runs behind each simulation, and would look at all that was imported each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@each_scenario
def test_the_injected_bug_is_found_by_its_promise(scenario: Scenario) -> None:
    if SOAK:
        assert any(scenario.finds(seed) for seed in range(1, SEEDS_MAX + 1))
        return
    assert 1 <= scenario.first_seed <= SEEDS_MAX
    broken = scenario.broken(scenario.first_seed, with_bug=True)
    assert [promise for promise in broken if promise in scenario.promises], broken


@each_scenario
def test_it_is_the_bug_that_breaks_the_promise(scenario: Scenario) -> None:
    assert not scenario.broken(scenario.first_seed, with_bug=False)


@pytest.mark.skipif(not SOAK, reason="2,000 seeds: make soak")
@pytest.mark.parametrize("scenario", STAGES.values(), ids=STAGES)
def test_without_a_bug_every_promise_is_kept(scenario: Scenario) -> None:
    seeds = range(1, CLEAN_SEEDS + 1)
    assert {seed: broken for seed in seeds if (broken := scenario.broken(seed, with_bug=False))} == {}


def test_names_are_used_once() -> None:
    names = [scenario.name for scenario in ALL]
    assert names == list(dict.fromkeys(names))


def test_the_document_is_made_of_the_scenarios_as_they_are() -> None:
    path = Path(__file__).parents[2] / DOCUMENT
    assert path.read_text() == page(ALL), "run: python -m tests.scenarios.table"
