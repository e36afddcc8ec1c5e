"""A component may be moved to an apiserver that stands still, and back."""

from __future__ import annotations

from ursa.tools.recording.records import Get
from ursa.tools.simulation import Fault, Operation, Plan, Topology, simulate


def put(at: float, user: str, value: str) -> Operation:
    return Operation(at, user, "put", {"tenant": "tenant-1", "name": "register-1", "value": value})


def read(at: float, user: str, match: str) -> Operation:
    return Operation(at, user, "read", {"tenant": "tenant-1", "name": "register-1", "match": match})


def test_who_has_seen_nothing_yet_may_be_told_what_was_and_is_told_what_is_once_it_is_back() -> None:
    plan = Plan(
        1,
        Topology(1, 1, 1),
        seconds=20.0,
        operations=(
            put(0.5, "writer", "old"),
            put(2.0, "writer", "new"),
            read(3.0, "reader", "any"),
            read(4.0, "writer", "any"),
            read(4.0, "reader", ""),
        ),
        faults=(
            Fault(1.0, "freeze", "reader", "tp-1", 9.0),
            Fault(1.0, "freeze", "controller-manager-tp-1", "tp-1", 9.0),
        ),
    )
    outcome = simulate(plan, keep_trace=True)
    assert outcome.violations == []
    gets = [each for each in outcome.records if isinstance(each, Get)]
    [stale, consistent] = [each for each in gets if each.client == "reader#1" and each.code == 200]
    [newest] = [each for each in gets if each.client == "writer#1" and each.match != "consistent"]
    assert stale.object_revision < newest.object_revision == consistent.object_revision
    told = [each.code for each in gets if each.client == "reader#1" and each.ret < consistent.ret]
    assert told[0] == 200
    assert 504 in told[1:], "too large resource version: ask again"
    assert simulate(plan).digest == outcome.digest


def test_one_whose_partition_dies_is_led_to_the_next_life() -> None:
    plan = Plan(
        2,
        Topology(1, 1, 1),
        seconds=20.0,
        operations=(put(0.5, "writer", "old"), put(8.0, "writer", "new"), read(10.0, "writer", "any")),
        faults=(Fault(1.0, "freeze", "tp-1", "", 15.0), Fault(3.0, "crash", "tp-1", seconds=2.0)),
    )
    assert simulate(plan).violations == []
