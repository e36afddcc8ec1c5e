"""Whole partitions are drained, lost for good, and their nodes deregistered; and all comes to rest without them."""

from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import decode
from ursa.tools.recording.records import Instance, Logged
from ursa.tools.simulation import Fault, Operation, Outcome, Plan, Topology, simulate
from ursa.tools.simulation.drawing import LOST_CONVERGE_SECONDS

SET = {"tenant": "tenant-1", "name": "set-1"}


def run(*faults: Fault, operations: tuple[Operation, ...], seconds: float = 40.0) -> Outcome:
    plan = Plan(1, Topology(1, 2, 4), seconds, LOST_CONVERGE_SECONDS, faults=faults, operations=operations)
    outcome = simulate(plan, keep_trace=True)
    assert outcome.promises == [], outcome.violations
    return outcome


def scale(at: float, replicas: int) -> Operation:
    return Operation(at, "user-1", "scale", {**SET, "replicas": replicas})


def placed(outcome: Outcome, partition: str) -> list[float]:
    """When something was placed there."""
    began = next(note.time for note in outcome.notes if note.what == "began")
    return [
        each.time - began
        for each in outcome.records
        if isinstance(each, Logged) and each.partition == partition and "/placements" in each.key and not each.deleted
    ]


def test_pods_of_a_partition_that_is_lost_for_good_run_elsewhere_and_nobody_waits_for_it() -> None:
    outcome = run(Fault(15.0, "remove", "rp-1", "", 5.0), operations=(scale(2.0, 8),))
    running: dict[str, str] = {}
    for each in outcome.records:
        if isinstance(each, Instance):
            if each.started:
                running[each.uid] = each.node_partition
            else:
                running.pop(each.uid)
    assert list(running.values()) == ["rp-2"] * 8
    assert placed(outcome, "rp-1"), "some were there before"


def test_nothing_is_placed_on_a_partition_that_is_being_drained_until_it_is_over() -> None:
    outcome = run(Fault(3.0, "drain", "rp-1", "", 20.0), operations=(scale(8.0, 8), scale(28.0, 60)), seconds=45.0)
    times = placed(outcome, "rp-1")
    assert min(times) > 23.0, times


def test_a_node_that_is_deregistered_while_it_runs_comes_back_as_another_and_its_pods_end_with_it_or_run_on() -> None:
    outcome = run(Fault(10.0, "deregister", "node-0001"), operations=(scale(2.0, 4),))
    uids = [
        pb.Object.FromString(each.data).metadata.uid
        for each in outcome.records
        if isinstance(each, Logged) and each.key == "/registry/nodes///node-0001"
    ]
    assert len(dict.fromkeys(uids)) == 2
    states = [
        decode(pb.Object.FromString(each.data).spec)["state"]
        for each in outcome.records
        if isinstance(each, Logged) and "/resourcepartitions" in each.key
    ]
    assert set(states) == {"Active"}
