"""Plans are data: drawn from a seed, written and read, and refused where they speak of what there is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.proto.errors import InputError
from ursa.tools.simulation import Plan, Swarm, draw_plan
from ursa.tools.simulation.drawing import PARTITION_KINDS
from ursa.tools.simulation.plan import FAULTS, VERBS


@given(st.integers(0, 2**63))
def test_a_plan_is_read_as_it_was_written(seed: int) -> None:
    plan = draw_plan(seed)
    assert Plan.from_json(plan.to_json()) == plan
    assert draw_plan(seed) == plan


def test_every_kind_of_fault_and_of_operation_is_drawn_by_some_seed() -> None:
    asked_for = Swarm(faults=PARTITION_KINDS)
    plans = [draw_plan(seed) for seed in range(300)] + [draw_plan(seed, asked_for) for seed in range(20)]
    assert sorted({fault.kind for plan in plans for fault in plan.faults}) == sorted(FAULTS)
    assert sorted({operation.verb for plan in plans for operation in plan.operations}) == sorted(VERBS)


def test_a_swarm_bounds_what_is_drawn() -> None:
    swarm = Swarm(seconds=20.0, faults=("crash",), workload=("registers",))
    for seed in range(20):
        plan = draw_plan(seed, swarm)
        assert {fault.kind for fault in plan.faults} <= {"crash"}
        assert {operation.verb for operation in plan.operations} <= {"put", "remove", "read", "list"}
        assert all(0 <= each.at <= 20.0 for each in (*plan.operations, *plan.faults))
    assert draw_plan(1, Swarm(faults=())).faults == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('"ursa-plan/1"', '"ursa-plan/9"'), "its format is not ursa-plan/1"),
        (('"crash"', '"earthquake"'), "there is no fault 'earthquake'"),
        (('"put"', '"wish"'), "there is no operation 'wish'"),
        (('"seconds": 60.0', '"minutes": 1'), "unknown fields: minutes"),
        (("{", ""), "this is no plan"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(change: tuple[str, str], why: str, tmp_path: Path) -> None:
    swarm = Swarm(faults=("crash",), workload=("registers",), faults_a_minute=(3.0, 3.0))
    path = tmp_path / "plan.json"
    path.write_text(draw_plan(1, swarm).to_json().replace(*change))
    with pytest.raises(InputError, match=why):
        Plan.load(path)


def test_a_plan_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Plan.load(tmp_path / "missing.json")
