"""A pytest fixture for those who test their own parts in a simulated cluster.

In a `conftest.py`: `from ursa.tools.simulation.fixture import simulated` (its name says that it is used). Then

    def test_my_scheduler(simulated):
        simulated(seed=1, components={"scheduler-tp-1": make_my_scheduler})

runs the seed's plan, and fails with the whole report if a promise is broken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ..makers import Make
from .drawing import Swarm, draw_plan
from .outcome import Outcome
from .plan import Plan
from .report import report_lines, write_report
from .run import simulate

Simulated = Callable[..., Outcome]


@pytest.fixture
def simulated(tmp_path: Path) -> Simulated:
    """`simulated(seed=..., swarm=..., components=...)`, or `simulated(plan=...)`: the outcome, if it passed. Other
    arguments are those of `simulate`."""

    def run(
        *,
        seed: int = 1,
        swarm: Swarm | None = None,
        plan: Plan | None = None,
        components: Mapping[str, Make] | None = None,
        scheduler_config: str | os.PathLike[str] | None = None,
        scheduler_plugins: Sequence[str] = (),
    ) -> Outcome:
        outcome = simulate(
            plan or draw_plan(seed, swarm or Swarm()),
            components=components,
            scheduler_config=scheduler_config,
            scheduler_plugins=scheduler_plugins,
        )
        if not outcome.passed:
            folder = write_report(tmp_path / f"seed-{outcome.plan.seed}", outcome)
            pytest.fail("\n".join(report_lines(outcome, folder)), pytrace=False)
        return outcome

    return run
