"""Which pods of a trace were not Running at their time, and whose fault it was."""

from __future__ import annotations

from ursa.tools.load.replay_load import Outcome, judge
from ursa.tools.load.trace import TraceNode, TracePod
from ursa.tools.load.trace_plan import plan_trace

NODES = [TraceNode("n1", 4000, 4000, 0)]
PODS = [
    TracePod("ran", "ls", 1000, 1, 0, 0, 100),
    TracePod("late", "ls", 1000, 1, 0, 0, 100),
    TracePod("no-room", "ls", 1000, 1, 0, 0, 100),
    TracePod("giant", "ls", 9000, 1, 0, 0, 100),
]


def test_a_pod_that_was_not_running_is_late_unless_it_never_fits_or_the_scheduler_found_no_room() -> None:
    plan = plan_trace(NODES, PODS, ["tp-1"], speed=1, least_life_seconds=5)
    outcome = Outcome(
        uids={0: "u0", 1: "u1", 2: "u2", 3: "u3"},
        created_ms={0: 1000, 1: 1000, 2: 1000, 3: 1000},
        not_running={1: 101_000, 2: 101_500, 3: 101_000},
        no_room={"u2": "0/1 nodes are available", "u3": "Insufficient cpu"},
    )
    judgement = judge(plan, outcome)
    assert judgement.late == ["pod late fits, and was not Running at its time, 100.0 s after its creation"]
    assert judgement.waited_seconds == {"no-room": 100.5}
    assert judgement.never == [
        {
            "pod": "giant",
            "reason": "it wants 9000m of CPU where the largest node has 4000m",
            "scheduler": "Insufficient cpu",
        }
    ]


def test_a_pod_that_was_never_acknowledged_is_late() -> None:
    plan = plan_trace(NODES, PODS[:1], ["tp-1"], speed=1, least_life_seconds=5)
    assert len(judge(plan, Outcome(not_running={0: 5000})).late) == 1


def test_a_trace_of_which_all_ran_has_nothing_to_tell() -> None:
    plan = plan_trace(NODES, PODS[:3], ["tp-1"], speed=1, least_life_seconds=5)
    judgement = judge(plan, Outcome(uids={0: "u0", 1: "u1", 2: "u2"}))
    assert (judgement.late, judgement.waited_seconds, judgement.never) == ([], {}, [])
