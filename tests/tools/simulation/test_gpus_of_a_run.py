"""Some seeds have GPUs: pods get devices there, and a ledger that does not look at devices is found out."""

from __future__ import annotations

import pytest
from ursa.partitions.admission.ledger import Ledger
from ursa.tools.simulation import Plan, Topology, draw_plan, simulate
from ursa.tools.simulation.gpus import with_gpus
from ursa.tools.simulation.plan import Knobs, Operation

# Two schedulers at a time for the first of a node's two GPUs. Both have room for what they want in all.
RIVALS = Plan(
    seed=1,
    topology=Topology(2, 1, 1),
    seconds=30.0,
    knobs=Knobs(latency_seconds=(0.005, 0.05), node_gpus=2),
    operations=tuple(
        Operation(
            2.0 * number,
            f"user-{tenant}",
            "pod",
            {"tenant": f"tenant-{tenant}", "name": f"gpu-{number}", "cpu": "50m", "gpu": 600, "run_seconds": 3},
        )
        for number in range(1, 11)
        for tenant in (1, 2)
    ),
)


def test_gpus_are_drawn_beside_what_a_seed_draws_anyway() -> None:
    plans = [draw_plan(seed) for seed in range(1, 31)]
    having = [plan for plan in plans if plan.knobs.node_gpus]
    assert 0 < len(having) < len(plans)
    for plan in having:
        without = plan.with_(
            knobs=plan.knobs.with_(node_gpus=0),
            operations=tuple(each for each in plan.operations if "gpu" not in str(each.arguments.get("name"))),
        )
        assert with_gpus(without) == plan


def test_two_schedulers_never_give_one_device_to_two_pods() -> None:
    outcome = simulate(RIVALS)
    assert outcome.passed, outcome.violations


def test_a_ledger_that_does_not_look_at_devices_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "_check_devices", lambda *_: None)
    assert "No claim over-commits" in simulate(RIVALS).promises
