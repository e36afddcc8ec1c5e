"""Whose pods hold what of a node, as `ursa describe node` tells it."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.proto.objects import Object
from ursa.tools.objects.held import Held, State, claim_of, homeless_lines, placement_lines, state_of, total_lines


def placement(name: str, tenant_partition: str = "tp-1", **requests: int) -> Object:
    spec = {
        "node": "n1",
        "nodeUID": "nu",
        "tenantPartition": tenant_partition,
        "pod": {"tenant": "acme", "namespace": "default", "name": name, "uid": f"u-{name}"},
        "requests": {"cpu": 500, "memory": 2**30, "pods": 1, **requests},
    }
    return Object.from_dict({"kind": "Placement", "metadata": {"name": f"u-{name}"}, "spec": spec}, "rp-1")


def pod(
    name: str, *, uid: str = "", phase: str = "Running", node: str = "n1", partition: str = "rp-1", **meta: Any
) -> Object:
    spec = {"nodeName": node, "resourcePartition": partition} if node else {}
    metadata = {"name": name, "namespace": "default", "tenant": "acme", "uid": uid or f"u-{name}", **meta}
    return Object.from_dict({"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}, "tp-1")


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (pod("a"), State.RUNNING),
        (pod("a", phase="Pending"), State.BOUND),
        (pod("a", phase="Pending", node=""), State.CLAIMED),
        (pod("a", deletionTimestamp="2026-01-01T00:00:00Z"), State.TERMINATING),
        (None, State.GONE),
        (pod("a", uid="another"), State.GONE),
        (pod("a", phase="Failed"), State.FINISHED),
        (pod("a", node="n2"), State.ELSEWHERE),
        (pod("a", partition="rp-2"), State.ELSEWHERE),
    ],
)
def test_what_becomes_of_a_pod_says_whether_its_placement_is_an_orphan(found: Object | None, state: State) -> None:
    assert state_of(claim_of(placement("a")), found, "rp-1", "n1") is state
    assert state.is_orphan == state.value.startswith("ORPHAN")


def test_each_placement_is_told_with_what_it_holds_and_orphans_are_counted() -> None:
    held = [
        Held(claim_of(placement("b", "tp-2")), State.UNKNOWN),
        Held(claim_of(placement("a", **{"ursa.dev/gpu-milli": 250})), State.GONE),
    ]
    first, titles, *rows = placement_lines(held)
    assert first == "Placements:   2, 1 of them orphans"
    assert titles.split() == [
        "TENANT-PARTITION",
        "TENANT",
        "NAMESPACE",
        "POD",
        "STATE",
        "CPU",
        "MEMORY",
        "URSA.DEV/GPU-MILLI",
    ]
    assert [row.split()[0] for row in rows] == ["tp-1", "tp-2"]
    assert rows[0].split()[-3:] == ["500m", "1Gi", "250"]
    assert "ORPHAN, no such pod" in rows[0]
    assert list(placement_lines([])) == ["Placements:   <none>"]


def test_where_gpus_are_held_it_is_told_which() -> None:
    whole = placement("a", **{"ursa.dev/gpu-milli": 2000})
    held = [
        Held(claim_of(whole.with_spec({**whole.spec, "devices": [0, 3]})), State.RUNNING),
        Held(claim_of(placement("b")), State.RUNNING),
    ]
    _, titles, *rows = placement_lines(held)
    assert titles.split()[-1] == "DEVICES"
    assert [row.split()[-1] for row in rows] == ["0,3", "-"]


def test_totals_are_told_beside_what_the_node_has() -> None:
    status = {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": 110}}
    node = Object.from_dict({"kind": "Node", "metadata": {"name": "n1"}, "status": status})
    held = [Held(claim_of(placement(name)), state) for name, state in (("a", State.RUNNING), ("b", State.FINISHED))]
    rows = [line.split() for line in total_lines(node, held)]
    assert rows == [
        ["Allocated:"],
        ["RESOURCE", "HELD", "ALLOCATABLE", "SHARE", "BY", "ORPHANS"],
        ["cpu", "1", "2", "50%", "500m"],
        ["memory", "2Gi", "4Gi", "50%", "1Gi"],
        ["pods", "2", "110", "2%", "1"],
    ]
    assert [line.split() for line in total_lines(node, [])][1:] == [
        ["RESOURCE", "HELD", "ALLOCATABLE", "SHARE"],
        ["cpu", "0", "2", "0%"],
        ["memory", "0", "4Gi", "0%"],
        ["pods", "0", "110", "0%"],
    ]


def test_pods_that_hold_no_room_are_told() -> None:
    assert list(homeless_lines([pod("a")])) == ["Without a placement:  1", "  acme/default/a of tp-1"]
    assert list(homeless_lines([])) == []
