"""A failing plan is made small, and what is left still fails."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ursa.tools.simulation import Knobs, Plan, draw_plan, shrink


@given(st.integers(0, 10_000), st.data())
def test_what_does_not_matter_goes_and_what_does_stays(seed: int, data: st.DataObject) -> None:
    plan = draw_plan(seed)
    needed_faults = data.draw(st.sets(st.sampled_from(plan.faults), max_size=2)) if plan.faults else set()
    needed_operations = data.draw(st.sets(st.sampled_from(range(len(plan.operations))), max_size=2))
    needed = [plan.operations[number] for number in needed_operations]

    def fails(candidate: Plan) -> bool:
        return needed_faults <= set(candidate.faults) and all(each in candidate.operations for each in needed)

    small = shrink(plan, fails, runs_max=100_000)
    assert fails(small)
    assert set(small.faults) == needed_faults
    assert all(each in needed for each in small.operations)
    assert small.knobs == Knobs()
    assert small.seconds <= plan.seconds


def test_the_runs_that_it_may_make_are_bounded() -> None:
    runs: list[Plan] = []

    def fails(candidate: Plan) -> bool:
        runs.append(candidate)
        return len(candidate.operations) > 3

    small = shrink(draw_plan(7), fails, runs_max=10)
    assert len(runs) == 10
    assert fails(small)


def test_it_gives_the_same_small_plan_each_time() -> None:
    def fails(candidate: Plan) -> bool:
        return sum(each.verb == "put" for each in candidate.operations) >= 2

    plan = next(draw_plan(seed) for seed in range(100) if fails(draw_plan(seed)))
    assert shrink(plan, fails) == shrink(plan, fails)
