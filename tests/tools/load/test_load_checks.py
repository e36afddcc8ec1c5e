from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.kubelet.node import hollow_node
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object
from ursa.tools.load.checks import LedgerCheck, missing, overcommitted_nodes, placed_by_binding, placed_by_ledger

ADDED, MODIFIED, DELETED = pb.WatchEvent.ADDED, pb.WatchEvent.MODIFIED, pb.WatchEvent.DELETED


GPU = "ursa.dev/gpu-milli"


def node(name="n1", cpu="1", partition="rp-1", gpus=0) -> Object:
    made = hollow_node(name, cpu=cpu, memory="1Gi", pods=3, extended={GPU: 1000 * gpus} if gpus else {})
    return Object(made.message, partition)


def placement(uid: str, node_name="n1", cpu=100, partition="rp-1", **more: object) -> Object:
    spec = {"node": node_name, "nodeUID": "u", "requests": {"cpu": cpu, "memory": 1, "pods": 1}, **more}
    manifest = {"apiVersion": "ursa.dev/v1", "kind": "Placement", "metadata": {"name": uid, "uid": uid}, "spec": spec}
    return Object.from_dict(manifest, partition)


def bound_pod(uid: str, cpu="100m", phase="Running", node_name="n1") -> Object:
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]
    spec = {"containers": containers, "nodeName": node_name, "resourcePartition": "rp-1"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": uid, "uid": uid}, "spec": spec}
    return Object.from_dict({**manifest, "status": {"phase": phase}}, "tp-1")


def gpu_placement(uid: str, milli: int, *devices: int, **more: object) -> Object:
    named = {"devices": list(devices)} if devices else {}
    return placement(uid, **{"requests": {"pods": 1, GPU: milli}, **named, **more})


def gpu_pod(uid: str, milli: int, devices: str) -> Object:
    made = bound_pod(uid, cpu="1m")
    containers = [{"name": "c", "resources": {"requests": {GPU: milli}}}]
    made.message.metadata.annotations["ursa.dev/gpu-devices"] = devices
    return made.with_spec({**made.spec, "containers": containers})


def event(kind, item: Object, revision: int) -> pb.WatchEvent:
    return pb.WatchEvent(type=kind, object=item.message, resource_version=revision)


def test_a_node_that_is_full_is_fine_and_one_millicore_more_is_found_with_its_revision():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(cpu="1"), 1))
    ledger.apply_placement(event(ADDED, placement("a", cpu=600), 2))
    ledger.apply_placement(event(ADDED, placement("b", cpu=400), 3))
    assert ledger.violations == []
    ledger.apply_placement(event(ADDED, placement("c", cpu=1), 4))
    assert [str(violation) for violation in ledger.violations] == [
        "node n1 of rp-1 is over-committed at revision 4: 1001 cpu placed, 1000 allocatable"
    ]


def test_a_release_makes_room_at_its_revision_and_not_before():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(cpu="1"), 1))
    ledger.apply_placement(event(ADDED, placement("a", cpu=1000), 2))
    ledger.apply_placement(event(DELETED, placement("a", cpu=1000), 3))
    ledger.apply_placement(event(ADDED, placement("b", cpu=1000), 4))
    assert ledger.violations == []
    assert ledger.placements_seen == 2


def test_a_momentary_overcommitment_is_found_though_the_end_is_fine():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(cpu="1"), 1))
    ledger.apply_placement(event(ADDED, placement("a", cpu=1000), 2))
    ledger.apply_placement(event(ADDED, placement("b", cpu=1000), 3))
    ledger.apply_placement(event(DELETED, placement("a", cpu=1000), 4))
    assert [violation.revision for violation in ledger.violations] == [3]


def test_the_number_of_pods_is_a_resource_too():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(), 1))
    for number in range(4):
        ledger.apply_placement(event(ADDED, placement(f"p{number}", cpu=1), 2 + number))
    assert [violation.resource for violation in ledger.violations] == ["pods"]


def test_a_node_that_shrinks_under_its_placements_is_found():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(cpu="2"), 1))
    ledger.apply_placement(event(ADDED, placement("a", cpu=2000), 2))
    ledger.apply_node(event(MODIFIED, node(cpu="1"), 3))
    assert [violation.revision for violation in ledger.violations] == [3]


def test_a_pod_that_was_there_already_over_commits_nothing_but_the_next_claim_does():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(cpu="1"), 1))
    ledger.apply_placement(event(ADDED, placement("a", cpu=600), 2))
    ledger.apply_placement(event(ADDED, placement("lost", cpu=600, bound=True), 3))
    ledger.apply_node(event(MODIFIED, node(cpu="1"), 4))
    ledger.apply_placement(event(ADDED, placement("nothing", cpu=0), 5))
    assert ledger.violations == []
    ledger.apply_placement(event(DELETED, placement("nothing", cpu=0), 6))
    ledger.apply_placement(event(ADDED, placement("b", cpu=1), 7))
    assert [(violation.revision, violation.used) for violation in ledger.violations] == [(7, 1201)]


def test_a_placement_seen_again_counts_once_and_a_changed_one_counts_as_changed():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(cpu="1"), 1))
    for revision in (2, 3):
        ledger.apply_placement(event(ADDED, placement("a", cpu=600), revision))
    assert ledger.violations == []
    assert ledger.placements_seen == 1
    ledger.apply_placement(event(MODIFIED, placement("a", cpu=1001), 4))
    assert [violation.used for violation in ledger.violations] == [1001]


def test_after_a_restart_nothing_is_counted_twice_and_the_gap_is_told():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(cpu="1"), 1))
    ledger.apply_placement(event(ADDED, placement("gone", cpu=1000), 2))
    ledger.restart()
    ledger.apply_node(event(ADDED, node(cpu="1"), 1))
    ledger.apply_placement(event(ADDED, placement("new", cpu=1000), 9))
    assert ledger.violations == []
    assert ledger.gaps == 1


@given(st.lists(st.tuples(st.sampled_from(["n1", "n2"]), st.integers(1, 700), st.booleans()), max_size=30))
def test_the_ledger_agrees_with_adding_up_afresh_at_every_revision(steps):
    ledger = LedgerCheck("rp-1")
    nodes = [node("n1", cpu="1"), node("n2", cpu="2")]
    for item in nodes:
        ledger.apply_node(event(ADDED, item, 1))
    present: dict[str, Object] = {}
    for revision, (where, cpu, release) in enumerate(steps, start=2):
        before = len(ledger.violations)
        if release and present:
            _, old = present.popitem()
            ledger.apply_placement(event(DELETED, old, revision))
            changed = old.spec["node"]
        else:
            present[f"p{revision}"] = made = placement(f"p{revision}", where, cpu)
            ledger.apply_placement(event(ADDED, made, revision))
            changed = where
            fresh = overcommitted_nodes(nodes, placed_by_ledger(present.values()))
            assert (len(ledger.violations) > before) == (("rp-1", changed) in fresh)


def test_nodes_of_the_same_name_in_two_partitions_are_two_nodes():
    nodes = [node("n1", cpu="1", partition="rp-1"), node("n1", cpu="1", partition="rp-2")]
    placements = [placement("a", cpu=1000, partition="rp-1"), placement("b", cpu=1000, partition="rp-2")]
    assert overcommitted_nodes(nodes, placed_by_ledger(placements)) == {}
    placements.append(placement("c", cpu=1, partition="rp-2"))
    assert list(overcommitted_nodes(nodes, placed_by_ledger(placements))) == [("rp-2", "n1")]


def test_pods_bound_to_a_node_count_whatever_the_ledger_says_and_finished_ones_do_not():
    pods = [bound_pod("a", "600m"), bound_pod("b", "500m", phase="Succeeded"), bound_pod("c", "400m", phase="Pending")]
    assert overcommitted_nodes([node(cpu="1")], placed_by_binding(pods)) == {}
    pods.append(bound_pod("d", "1m"))
    (found,) = overcommitted_nodes([node(cpu="1")], placed_by_binding(pods)).values()
    assert str(found) == "node n1 of rp-1 is over-committed: 1001 cpu placed, 1000 allocatable"


def test_what_was_acknowledged_and_is_not_there_is_missing():
    assert missing(["a", "b"], [bound_pod("b"), bound_pod("c")]) == ["a"]
    assert missing([], []) == []


@pytest.mark.parametrize(
    ("placed", "problem"),
    [
        ([(600, [0]), (400, [0]), (2000, [1, 2])], ""),
        ([(600, [0]), (500, [0])], f"1100 {GPU} of device 0 placed, 1000 allocatable"),
        ([(1, [2]), (2000, [1, 2])], f"1001 {GPU} of device 2 placed, 1000 allocatable"),
        ([(2000, [1, 2]), (1, [1])], f"1001 {GPU} of device 1 placed, 1000 allocatable"),
        ([(500, [3])], f"500 {GPU} of device 3 placed, 0 allocatable"),
        ([(2000, [1])], f"2000 {GPU} of no device placed, 0 allocatable"),
        ([(2000, [1, 1])], f"2000 {GPU} of no device placed, 0 allocatable"),
        ([(500, [0, 1])], f"500 {GPU} of no device placed, 0 allocatable"),
        ([(500, [])], f"500 {GPU} of no device placed, 0 allocatable"),
        ([(1500, [0])], f"1500 {GPU} of no device placed, 0 allocatable"),
        ([(1500, [0, 1])], f"1500 {GPU} of no device placed, 0 allocatable"),
    ],
)
def test_each_device_is_judged_by_itself_though_all_together_have_room(placed, problem):
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(gpus=3), 1))
    placements = [gpu_placement(f"p{number}", milli, *devices) for number, (milli, devices) in enumerate(placed)]
    for revision, each in enumerate(placements, start=2):
        ledger.apply_placement(event(ADDED, each, revision))
    found = overcommitted_nodes([node(gpus=3)], placed_by_ledger(placements)).values()
    assert [str(each) for each in found] == ([f"node n1 of rp-1 is over-committed: {problem}"] if problem else [])
    told = f"node n1 of rp-1 is over-committed at revision {1 + len(placed)}: {problem}"
    assert [str(each) for each in ledger.violations] == ([told] if problem else [])


def test_where_a_pod_runs_that_does_not_know_its_devices_no_claim_is_right():
    ledger = LedgerCheck("rp-1")
    ledger.apply_node(event(ADDED, node(gpus=3), 1))
    unknown = gpu_placement("lost", 500, bound=True)
    ledger.apply_placement(event(ADDED, unknown, 2))
    ledger.apply_placement(event(ADDED, placement("a", cpu=1), 3))
    assert ledger.violations == []
    assert overcommitted_nodes([node(gpus=3)], placed_by_ledger([unknown])) == {}
    ledger.apply_placement(event(ADDED, gpu_placement("b", 100, 2), 4))
    assert [each.revision for each in ledger.violations] == [4]


def test_bound_pods_are_judged_by_the_devices_that_they_say_they_hold():
    pods = [gpu_pod("a", 600, "1"), gpu_pod("b", 2000, "0-2")]
    assert overcommitted_nodes([node(gpus=3)], placed_by_binding(pods)) == {}
    (found,) = overcommitted_nodes([node(gpus=3)], placed_by_binding([*pods, gpu_pod("c", 600, "1")])).values()
    assert str(found) == f"node n1 of rp-1 is over-committed: 1200 {GPU} of device 1 placed, 1000 allocatable"
