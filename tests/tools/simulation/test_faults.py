"""Faults do what they say, and are over when they say; however they overlap, everything lives again in the end."""

from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.tools.recording.records import Instance, Logged
from ursa.tools.simulation import Fault, Knobs, Operation, Outcome, Plan, Topology, simulate


def small(*faults: Fault, operations: tuple[Operation, ...] = (), seconds: float = 20.0, seed: int = 1) -> Plan:
    return Plan(seed, Topology(1, 1, 2), seconds, faults=faults, operations=operations)


POD = Operation(5.0, "user-1", "pod", {"tenant": "tenant-1", "name": "p", "cpu": "100m", "run_seconds": 0})


def test_a_part_that_is_killed_while_it_is_dead_comes_back() -> None:
    target = "scheduler-tp-1"
    faults = Fault(1.0, "crash", target, seconds=10.0), Fault(4.0, "crash", target, seconds=0.5)
    assert simulate(small(*faults, operations=(POD,))).promises == []


def test_a_machine_that_is_off_is_deregistered_and_comes_back_as_another_node() -> None:
    plan = small(Fault(8.0, "node-off", "node-0001", seconds=8.0, amount=2.0), operations=(POD,))
    outcome = simulate(plan, keep_trace=True)
    assert outcome.promises == []
    uids = [
        pb.Object.FromString(each.data).metadata.uid
        for each in outcome.records
        if isinstance(each, Logged) and each.key == "/registry/nodes///node-0001"
    ]
    assert len(dict.fromkeys(uids)) == 2


def test_a_half_open_link_is_noticed_by_its_keepalive_alone() -> None:
    plan = small(Fault(1.0, "half-open", "hollow-nodes-rp-1", "tp-1"), operations=(POD,), seconds=30.0)
    outcome = simulate(plan, keep_trace=True)
    assert outcome.promises == []
    started = [each.time for each in outcome.records if isinstance(each, Instance)]
    assert started[0] - began_of(outcome) > 20.0


def began_of(outcome: Outcome) -> float:
    return next(note.time for note in outcome.notes if note.what == "began")


def test_a_pod_that_no_node_has_room_for_is_at_rest() -> None:
    large = [
        Operation(float(number), "user-1", "pod", {"tenant": "tenant-1", "name": f"p-{number}", "cpu": "300m"})
        for number in range(1, 5)
    ]
    plan = small(operations=tuple(large)).with_(knobs=Knobs(node_cpu="500m"))
    outcome = simulate(plan, keep_trace=True)
    assert outcome.promises == []
    assert len([each for each in outcome.records if isinstance(each, Instance)]) == 2


def test_a_run_rests_only_when_its_kubelets_have_told_what_became_of_their_pods() -> None:
    job = Operation(8.0, "user-1", "pod", {"tenant": "tenant-1", "name": "p", "cpu": "100m", "run_seconds": 5})
    for seed in range(4):
        outcome = simulate(small(Fault(11.0, "crash", "tp-1", seconds=9.0), operations=(job,), seed=seed))
        assert outcome.promises == []
