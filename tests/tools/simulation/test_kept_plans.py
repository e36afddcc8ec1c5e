"""Plans that have found bugs find none any more. `keep.py` adds one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ursa.tools.simulation import Plan, simulate

from .keep import KEPT

PLANS = sorted(KEPT.glob("*.json"))


@pytest.mark.parametrize("path", PLANS, ids=[path.stem for path in PLANS])
def test_a_plan_that_has_found_a_bug_keeps_every_promise(path: Path) -> None:
    plan = Plan.load(path)
    assert plan.about, "it says which bug it has found"
    outcome = simulate(plan)
    assert outcome.operations, "nobody did anything"
    assert outcome.passed, [str(violation) for violation in outcome.violations[:3]]


def test_some_are_kept() -> None:
    assert PLANS
