"""Runs in which schedulers and controller managers have standbys: one works, and all that it writes is fenced."""

from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.proto.leases import LEASES, holding
from ursa.proto.objects import decode
from ursa.tools.recording.records import Logged, Write
from ursa.tools.simulation import Fault, Knobs, Operation, Outcome, Plan, Topology, draw_plan, simulate

NAMES = ("controller-manager-tp-1", "scheduler-tp-1")


def scaled(at: float, replicas: int) -> Operation:
    return Operation(at, "user-1", "scale", {"tenant": "tenant-1", "name": "s", "replicas": replicas})


def plan(*faults: Fault, seed: int = 1) -> Plan:
    operations = scaled(5.0, 2), scaled(30.0, 6)
    knobs = Knobs(latency_seconds=(0.05, 0.3))
    return Plan(seed, Topology(1, 1, 2, replicas=2), 60.0, knobs=knobs, faults=faults, operations=operations)


def one_of_each_sleeps(at: float, suffix: str = "") -> list[Fault]:
    return [Fault(at, "sleep", name + suffix, seconds=25.0) for name in NAMES]


def terms_of(outcome: Outcome, name: str) -> list[int]:
    """In the order of the log of its home."""
    key = f"/registry/{LEASES}/system/kube-system/{name}"
    specs = [
        decode(pb.Object.FromString(each.data).spec)
        for each in outcome.records
        if isinstance(each, Logged) and each.key == key and each.partition == "tp-1"
    ]
    return list(dict.fromkeys(holding(spec).term for spec in specs))


def test_all_that_the_elected_write_is_fenced() -> None:
    outcome = simulate(plan(), keep_trace=True)
    assert outcome.promises == []
    writes = [each for each in outcome.records if isinstance(each, Write) and each.client.startswith(NAMES)]
    unfenced = {each.resource for each in writes if each.fence is None}
    assert unfenced == {LEASES}
    assert {each.resource for each in writes if each.fence is not None} >= {"pods", "placements.ursa.dev"}
    assert [terms_of(outcome, name) for name in NAMES] == [[1], [1]]


def test_a_leader_that_sleeps_is_deposed_and_its_standby_goes_on() -> None:
    outcome = simulate(plan(*one_of_each_sleeps(5.2), *one_of_each_sleeps(31.0, "-2")), keep_trace=True)
    assert outcome.promises == []
    terms = [terms_of(outcome, name) for name in NAMES]
    assert all(numbers == sorted(numbers) for numbers in terms)
    assert max(*terms[0], *terms[1]) > 1


def test_a_run_with_replicas_is_the_same_each_time() -> None:
    first, second = (simulate(plan(*one_of_each_sleeps(5.2), seed=7)) for _ in range(2))
    assert first.promises == []
    assert first.digest == second.digest


def test_some_seeds_have_replicas_and_put_them_to_sleep() -> None:
    drawn = [draw_plan(seed) for seed in range(30)]
    assert {each.topology.replicas for each in drawn} == {1, 2}
    slept = [fault for each in drawn for fault in each.faults if fault.kind == "sleep"]
    assert any(fault.target.endswith("-2") for fault in slept)
