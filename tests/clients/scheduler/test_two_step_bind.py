"""Claim, then bind: what happens when either goes wrong. Against real apiservers, message by message."""

from __future__ import annotations

import pytest
from ursa.clients.scheduler.actions import Bind, Claim, Probe, Release
from ursa.clients.scheduler.columns import Shard
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PodState
from ursa.clients.scheduler.turns import TURN_SECONDS
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Forbidden

from .objects import node, placement, pod
from .rig import HOME, Rig


def rig_with(*nodes: tuple[str, str, str], options: SchedulerOptions | None = None) -> Rig:
    """Nodes as (partition, name, cpu); everything is seen."""
    rig = Rig(options, batch_max=256)
    for partition, name, cpu in nodes:
        rig.add_node(partition, node(name, cpu=cpu))
    rig.deliver_all()
    return rig


def exchange(rig: Rig, partition: str) -> None:
    rig.send(partition)
    rig.carry_out(partition)
    rig.answer(partition)
    rig.step()


def decide(rig: Rig) -> None:
    rig.deliver_all()
    rig.step()


def test_a_pod_is_claimed_then_bound_then_forgotten() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    [claim] = rig.outbox["rp-1"]
    assert isinstance(claim, Claim)
    assert not rig.outbox[HOME], "nothing is bound before the claim was accepted"
    exchange(rig, "rp-1")
    [bind] = rig.outbox[HOME]
    assert isinstance(bind, Bind)
    exchange(rig, HOME)
    assert rig.bound == {uid: ("rp-1", "n")}
    [claimed] = rig.partitions["rp-1"].objects("placements.ursa.dev")
    assert claimed.spec == {
        "node": "n",
        "nodeUID": rig.partitions["rp-1"].objects("nodes")[0].uid,
        "tenantPartition": HOME,
        "pod": {"tenant": "acme", "namespace": "default", "name": "p", "uid": uid},
        "requests": {"cpu": 1000, "memory": 0, "pods": 1},
    }
    rig.deliver_all()
    assert not rig.core.pods
    assert rig.core.counts.accepted == rig.core.counts.scheduled == 1


def test_a_batch_of_pods_is_spread_over_equal_nodes_of_all_partitions() -> None:
    rig = rig_with(*((f"rp-{number % 2 + 1}", f"n{number}", "4") for number in range(16)))
    own = [name for name in (f"n{number}" for number in range(16)) if Shard(0, 2).owns(name)]
    for number in range(2 * len(own)):
        rig.add_pod(pod(f"p{number}", {"cpu": "1"}))
    rig.settle(20)
    free = {**rig.free("rp-1"), **rig.free("rp-2")}
    assert {free[name]["cpu"] for name in own} == {2000}


def test_pods_of_another_scheduler_are_left_alone() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    rig.add_pod(pod("p", {"cpu": "1"}, schedulerName="another"))
    decide(rig)
    assert not rig.outbox["rp-1"]
    assert not rig.core.pods


def test_the_node_whose_partition_refused_is_not_tried_again_until_news_of_it_comes() -> None:
    rig = rig_with(("rp-1", "big", "4"), ("rp-2", "small", "2"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    assert rig.place_for_other("rp-1", placement("x", "big", {"cpu": 3500, "memory": 0, "pods": 1}))
    rig.deliver(HOME, "pods")
    rig.step()
    assert [claim.pod.node for claim in rig.outbox["rp-1"]] == ["big"]
    exchange(rig, "rp-1")
    assert rig.core.counts.rejected == 1
    assert [claim.pod.node for claim in rig.outbox["rp-2"]] == ["small"], "at once, and elsewhere"
    exchange(rig, "rp-2")
    rig.add_pod(pod("q", {"cpu": "1"}))
    rig.deliver(HOME, "pods")
    rig.step()
    assert [claim.pod.node for claim in rig.outbox["rp-2"]] == ["small"], "so do all pods like it"
    rig.remove_placement("rp-1", "x")
    rig.deliver_all()
    rig.step()
    rig.now += 2 * TURN_SECONDS
    rig.add_pod(pod("r", {"cpu": "1"}))
    decide(rig)
    assert [claim.pod.node for claim in rig.outbox["rp-1"]] == ["big"]


def test_a_refusal_on_a_view_that_was_renewed_meanwhile_excludes_nothing() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    assert rig.place_for_other("rp-1", placement("x", "n", {"cpu": 3500, "memory": 0, "pods": 1}))
    rig.deliver(HOME, "pods")
    rig.step()
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.remove_placement("rp-1", "x")
    rig.deliver_all()
    rig.answer("rp-1")
    rig.step()
    assert [claim.pod.node for claim in rig.outbox["rp-1"]] == ["n"]


def test_a_pod_that_is_refused_again_and_again_backs_off() -> None:
    options = SchedulerOptions(conflicts_max=2)
    rig = rig_with(*(("rp-1", f"n{number}", "4") for number in range(5)), options=options)
    for number in range(5):
        rig.place_for_other("rp-1", placement(f"x{number}", f"n{number}", {"cpu": 3500, "memory": 0, "pods": 1}))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    rig.deliver(HOME, "pods")
    rig.step()
    for _ in range(3):
        exchange(rig, "rp-1")
    assert rig.core.counts.rejected == 3
    assert rig.core.pods[uid].state is PodState.BACKOFF
    assert rig.core.next_deadline() == options.backoff_seconds_min
    rig.now = 1.0
    rig.step()
    assert len(rig.outbox["rp-1"]) == 1


def test_a_claim_on_a_node_that_is_gone_goes_elsewhere() -> None:
    rig = rig_with(("rp-1", "big", "4"), ("rp-2", "small", "2"))
    rig.remove_node("rp-1", "big")
    rig.add_pod(pod("p", {"cpu": "1"}))
    rig.deliver(HOME, "pods")
    rig.step()
    exchange(rig, "rp-1")
    assert [claim.pod.node for claim in rig.outbox["rp-2"]] == ["small"]
    rig.settle(20)
    assert list(rig.bound.values()) == [("rp-2", "small")]


def test_a_node_that_came_back_under_its_name_is_another_node() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    rig.remove_node("rp-1", "n")
    rig.add_node("rp-1", node("n", cpu="4"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    rig.deliver(HOME, "pods")
    rig.step()
    exchange(rig, "rp-1")
    assert rig.core.counts.rejected == 1
    rig.settle(20)
    assert list(rig.bound.values()) == [("rp-1", "n")]


def test_a_claim_without_an_answer_is_held_and_repeated_and_nothing_else_is_tried() -> None:
    rig = rig_with(("rp-1", "big", "4"), ("rp-2", "small", "2"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.lose_answer("rp-1")
    for _ in range(100):
        rig.now += 0.1
        rig.step()
    assert not rig.outbox["rp-2"]
    assert uid in rig.core.views["rp-1"].ledger.assumed
    exchange(rig, "rp-1")
    exchange(rig, HOME)
    assert rig.bound == {uid: ("rp-1", "big")}
    assert rig.claims(uid) == [("rp-1", "big")]


def test_a_claim_without_an_answer_that_is_seen_is_bound_at_once() -> None:
    rig = rig_with(("rp-1", "big", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.lose_answer("rp-1")
    decide(rig)
    exchange(rig, HOME)
    assert rig.bound == {uid: ("rp-1", "big")}
    rig.settle(20)
    assert rig.core.counts.attempted == 1


def test_a_claim_seen_before_its_answer_is_bound_once() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    rig.send("rp-1")
    rig.carry_out("rp-1")
    decide(rig)
    assert not rig.outbox[HOME]
    rig.answer("rp-1")
    rig.step()
    assert len(rig.outbox[HOME]) == 1
    rig.settle(10)
    assert rig.core.counts.accepted == rig.core.counts.scheduled == 1


def test_a_claim_that_was_never_sent_leaves_the_pod_free_and_the_partition_alone() -> None:
    rig = rig_with(("rp-1", "big", "8"), ("rp-2", "small", "2"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    rig.send("rp-1")
    rig.refuse_link("rp-1")
    rig.step()
    exchange(rig, "rp-2")
    exchange(rig, HOME)
    assert rig.bound == {uid: ("rp-2", "small")}
    rig.add_pod(pod("q", {"cpu": "4"}))
    decide(rig)
    assert "resource partition out of reach" in rig.reports[-1]
    rig.now += 1.0
    rig.step()
    assert [type(action) for action in rig.outbox["rp-1"]] == [Probe], "no pod waits to find out"
    exchange(rig, "rp-1")
    rig.now += 1.0
    rig.step()
    assert [claim.pod.node for claim in rig.outbox["rp-1"]] == ["big"]


def test_a_partition_that_stalls_gets_no_new_work_until_it_answers() -> None:
    rig = rig_with(("rp-1", "big", "8"), ("rp-2", "small", "4"))
    rig.batch_max = 1
    uids = [rig.add_pod(pod(f"p{number}", {"cpu": "1"})) for number in range(2)]
    decide(rig)
    assert len(rig.outbox["rp-1"]) == 2
    rig.send("rp-1")
    rig.stall("rp-1")
    rig.step()
    exchange(rig, "rp-2")
    exchange(rig, HOME)
    assert rig.bound == {uids[1]: ("rp-2", "small")}, "what was not sent goes elsewhere"
    rig.carry_out("rp-1")
    rig.answer("rp-1")
    rig.step()
    exchange(rig, HOME)
    assert rig.bound[uids[0]] == ("rp-1", "big")
    rig.add_pod(pod("q", {"cpu": "1"}))
    decide(rig)
    assert [claim.pod.node for claim in rig.outbox["rp-1"]] == ["big"]


def test_while_the_home_partition_does_not_answer_nothing_is_claimed() -> None:
    rig = rig_with(("rp-1", "n", "8"))
    first = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    exchange(rig, "rp-1")
    rig.send(HOME)
    rig.lose_answer(HOME)
    second = rig.add_pod(pod("q", {"cpu": "1"}))
    decide(rig)
    assert not rig.outbox["rp-1"]
    rig.now += 1.0
    rig.step()
    exchange(rig, HOME)
    rig.step()
    assert len(rig.outbox["rp-1"]) == 1
    rig.settle(10)
    assert set(rig.bound) == {first, second}


def test_the_claim_of_a_pod_that_is_gone_is_released() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    exchange(rig, "rp-1")
    rig.delete_pod("p")
    rig.deliver_all()
    assert uid in rig.core.pods, "its claim is not settled"
    exchange(rig, HOME)
    [release] = rig.outbox["rp-1"]
    assert isinstance(release, Release)
    exchange(rig, "rp-1")
    rig.deliver_all()
    assert not rig.claims(uid)
    assert not rig.core.pods
    assert rig.core.nodes.free[0, rig.core.nodes.slot("rp-1", "n")] == 4000


def test_the_claim_of_a_pod_that_another_has_bound_is_released() -> None:
    rig = rig_with(("rp-1", "n", "4"), ("rp-2", "m", "2"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    exchange(rig, "rp-1")
    operation = rig.outbox[HOME][0].operation()
    operation.bind.resource_partition, operation.bind.node = "rp-2", "m"
    assert not rig.apply(HOME, operation).HasField("error")
    exchange(rig, HOME)
    exchange(rig, "rp-1")
    rig.deliver_all()
    assert not rig.claims(uid)
    assert not rig.core.pods


def test_a_binding_refused_for_another_reason_is_reported_and_repeated_on_the_same_claim() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    exchange(rig, "rp-1")
    binds, rig.outbox[HOME] = rig.outbox[HOME], []
    rig.core.answered(HOME, binds, [pb.Result(error=Forbidden("not you").status)], rig.now)
    rig.step()
    assert rig.reports == ["binding to node n of rp-1 was refused: not you"]
    assert rig.claims(uid) == [("rp-1", "n")]
    rig.settle(10)
    assert rig.bound == {uid: ("rp-1", "n")}


def test_the_claim_of_a_pod_that_waits_for_its_finalizers_to_go_is_released() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}).with_metadata(finalizers=["example.com/wait"]))
    decide(rig)
    exchange(rig, "rp-1")
    rig.delete_pod("p")
    rig.deliver_all()
    assert list(rig.pods()) == [uid], "it is still there"
    exchange(rig, HOME)
    exchange(rig, "rp-1")
    assert not rig.claims(uid)
    assert not rig.core.pods


def test_a_new_process_binds_a_pod_to_the_node_it_finds_it_placed_on() -> None:
    rig = rig_with(("rp-1", "n", "4"), ("rp-2", "better", "8"))
    rig.add_pod(pod("other", {"cpu": "7"}))
    rig.settle(10)
    uid = rig.add_pod(pod("p", {"cpu": "2"}))
    decide(rig)
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.delete_pod("other")
    rig.collect_garbage()
    for pods_are_seen_first in (True, False):
        rig.restart_scheduler()
        feeds = list(rig.feeds) if pods_are_seen_first else list(reversed(rig.feeds))
        for feed in feeds:
            while rig.deliver(*feed):
                pass
        rig.step()
        exchange(rig, "rp-1")
        assert [bind.pod.node for bind in rig.outbox[HOME] if isinstance(bind, Bind)] == ["n"]
        assert not rig.outbox["rp-2"]
    exchange(rig, HOME)
    assert rig.bound[uid] == ("rp-1", "n")


def test_a_second_claim_found_late_is_given_back() -> None:
    """An earlier process had claimed in a partition that this one saw only after it had bound the pod elsewhere."""
    for found_while_unbound in (True, False):
        rig = rig_with(("rp-1", "n", "4"), ("rp-2", "m", "8"))
        uid = rig.add_pod(pod("p", {"cpu": "2"}))
        decide(rig)
        rig.send("rp-2")
        rig.carry_out("rp-2")
        rig.restart_scheduler()
        for feed in ((HOME, "pods"), ("rp-1", "nodes"), ("rp-1", "placements")):
            while rig.deliver(*feed):
                pass
        rig.step()
        exchange(rig, "rp-1")
        if found_while_unbound:
            rig.deliver_all()
        exchange(rig, HOME)
        rig.deliver_all()
        rig.settle(10)
        assert rig.bound[uid] == ("rp-1", "n")
        assert rig.claims(uid) == [("rp-1", "n")]


def test_what_a_controller_made_where_it_found_the_pod_bound_is_not_given_back() -> None:
    """The home partition was set back to when the pod was bound elsewhere, which this process knows nothing of."""
    for bound in (True, False):
        rig = rig_with(("rp-1", "n", "4"))
        uid = rig.add_pod(pod("p", {"cpu": "2"}))
        rig.settle(10)
        assert rig.bound[uid] == ("rp-1", "n")
        rig.add_node("rp-2", node("m", cpu="4"))
        found = placement(uid, "m", {"cpu": 2000}, tenant_partition=HOME)
        rig.place_for_other("rp-2", found.with_spec({**found.spec, "bound": bound}))
        rig.settle(10)
        assert (("rp-2", "m") in rig.claims(uid)) == bound


def test_a_placement_left_on_a_node_that_is_gone_is_bound_because_its_bind_may_be_on_the_way() -> None:
    rig = rig_with(("rp-1", "n", "4"), ("rp-2", "m", "2"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.remove_node("rp-1", "n")
    rig.restart_scheduler()
    rig.settle(20)
    assert rig.bound[uid] == ("rp-1", "n")
    assert rig.claims(uid) == [("rp-1", "n")]


def test_a_placement_of_the_pod_on_another_node_is_taken_over_when_it_is_seen() -> None:
    """AlreadyExists: an earlier process has claimed another node of the same partition, and it was not seen yet."""
    rig = rig_with(("rp-1", "n", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    rig.add_node("rp-1", node("m", cpu="2"))
    earlier = placement(uid, "m", {"cpu": 1000, "memory": 0, "pods": 1}, tenant_partition=HOME)
    assert rig.place_for_other("rp-1", earlier)
    rig.deliver(HOME, "pods")
    rig.step()
    assert [claim.pod.node for claim in rig.outbox["rp-1"]] == ["n"]
    exchange(rig, "rp-1")
    assert rig.core.pods[uid].state is PodState.BACKOFF
    decide(rig)
    exchange(rig, "rp-1")
    exchange(rig, HOME)
    assert rig.bound[uid] == ("rp-1", "m")


@pytest.mark.parametrize("seen", ["before the pod", "while it is claimed"])
def test_what_the_scheduler_of_another_partition_has_claimed_for_the_pod_is_not_given_up(seen: str) -> None:
    """Its tenant is moving: two partitions have the pod, and the other one's scheduler may bind it by this."""
    rig = rig_with(("rp-1", "n", "4"), ("rp-1", "m", "2"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    others = placement(uid, "m", {"cpu": 1000, "memory": 0, "pods": 1}, tenant_partition="tp-9")
    if seen == "before the pod":
        assert rig.place_for_other("rp-1", others)
        rig.deliver("rp-1", "placements")
        decide(rig)
    else:
        decide(rig)
        assert rig.place_for_other("rp-1", others)
        rig.send("rp-1")
        rig.carry_out("rp-1")
        rig.deliver("rp-1", "placements")
        rig.answer("rp-1")
    rig.settle(20)
    assert rig.claims(uid) == [("rp-1", "m")]
    assert rig.partitions["rp-1"].objects("placements.ursa.dev")[0].spec["tenantPartition"] == "tp-9"
    assert uid not in rig.bound
    rig.remove_placement("rp-1", uid)
    rig.settle()
    assert rig.bound[uid] == ("rp-1", "n"), "it has not moved after all"


def test_nothing_is_picked_before_all_pods_and_some_partition_have_been_seen() -> None:
    rig = Rig()
    rig.add_node("rp-1", node("n", cpu="4"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    while rig.deliver(HOME, "pods"):
        pass
    rig.step()
    assert not rig.reports, "that no node is known yet is no reason to complain"
    while rig.deliver("rp-1", "nodes"):
        pass
    rig.step()
    assert not rig.outbox["rp-1"], "a node might look empty whose placements have not been seen"
    while rig.deliver("rp-1", "placements"):
        pass
    rig.step()
    assert len(rig.outbox["rp-1"]) == 1
    assert not rig.core.views["rp-2"].synced


def test_a_pod_is_not_called_unschedulable_while_a_partition_may_still_be_seen() -> None:
    rig = Rig(batch_max=256)
    rig.add_node("rp-1", node("small", cpu="1"))
    rig.add_pod(pod("p", {"cpu": "2"}))
    for feed in ((HOME, "pods"), ("rp-1", "nodes"), ("rp-1", "placements")):
        while rig.deliver(*feed):
            pass
    for _ in range(9):
        rig.step()
        assert not rig.reports
        rig.now += 1.0
    rig.now += 2.0
    rig.step()
    assert rig.reports == ["0/1 nodes are available: 1 Insufficient cpu. Not seen yet: rp-2."]


def test_a_pod_that_fits_nowhere_is_reported_once_and_scheduled_when_it_fits() -> None:
    rig = rig_with(("rp-1", "n", "1"))
    uid = rig.add_pod(pod("p", {"cpu": "2"}))
    decide(rig)
    assert rig.reports == ["0/1 nodes are available: 1 Insufficient cpu."]
    for number in range(20):
        rig.now += 1.0
        rig.add_node("rp-2", node(f"small{number}", cpu="1"))
        decide(rig)
    assert len(rig.reports) == 1
    rig.now += 60.0
    rig.add_node("rp-2", node("m", cpu="4"))
    rig.settle(10)
    assert rig.bound == {uid: ("rp-2", "m")}


def test_room_left_by_a_pod_is_found_by_the_next_one() -> None:
    rig = rig_with(("rp-1", "n", "1"))
    rig.add_pod(pod("first", {"cpu": "1"}))
    rig.settle(10)
    uid = rig.add_pod(pod("second", {"cpu": "1"}))
    decide(rig)
    assert rig.core.pods[uid].state is PodState.UNSCHEDULABLE
    rig.delete_pod("first")
    rig.apply(HOME, pb.Operation(resource="pods", delete=pb.Delete(target=_target("first"), grace_seconds=0)))
    rig.settle(10)
    assert uid in rig.bound


def _target(name: str) -> pb.GetRequest:
    return pb.GetRequest(resource="pods", tenant="acme", namespace="default", name=name)


def test_a_pod_that_comes_to_tolerate_a_taint_is_looked_at_again() -> None:
    rig = Rig(batch_max=256)
    rig.add_node("rp-1", node("n", taints=[{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]))
    rig.deliver_all()
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    assert "untolerated taint {dedicated: x}" in rig.reports[0]
    changed = rig.pods()[uid]
    changed = changed.with_spec({**changed.spec, "tolerations": [{"key": "dedicated", "operator": "Exists"}]})
    result = rig.apply(HOME, pb.Operation(resource="pods", update=pb.Update(object=changed.message)))
    assert not result.HasField("error"), result
    rig.settle(10)
    assert uid in rig.bound


def test_no_more_claims_are_on_their_way_than_allowed() -> None:
    rig = rig_with(("rp-1", "n", "64"), options=SchedulerOptions(claims_outstanding_max=3, batch_pods=100))
    for number in range(10):
        rig.add_pod(pod(f"p{number}", {"cpu": "1"}))
    decide(rig)
    assert len(rig.outbox["rp-1"]) == 3
    assert not rig.core.has_more, "there is nothing to do until an answer comes"
    exchange(rig, "rp-1")
    assert len(rig.outbox["rp-1"]) == 3
    rig.settle(20)
    assert len(rig.bound) == 10


def test_a_step_looks_at_a_bounded_number_of_pods() -> None:
    rig = rig_with(("rp-1", "n", "64"), options=SchedulerOptions(batch_pods=4))
    for number in range(10):
        rig.add_pod(pod(f"p{number}", {"cpu": "1"}))
    decide(rig)
    assert len(rig.outbox["rp-1"]) == 4
    assert rig.core.has_more


def test_pods_of_higher_priority_are_placed_first() -> None:
    rig = rig_with(("rp-1", "n", "2"))
    for number in range(4):
        rig.add_pod(pod(f"low{number}", {"cpu": "1"}))
    important = [rig.add_pod(pod(f"high{number}", {"cpu": "1"}, priority=10)) for number in range(2)]
    rig.settle(10)
    assert set(rig.bound) == set(important)


def test_a_late_bind_of_a_dead_process_finds_its_claim_even_if_the_node_is_gone() -> None:
    rig = rig_with(("rp-1", "n", "4"), ("rp-2", "m", "2"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    exchange(rig, "rp-1")
    rig.send(HOME)
    rig.remove_node("rp-1", "n")
    rig.restart_scheduler()
    decide(rig)
    for partition in ("rp-1", "rp-2"):
        exchange(rig, partition)
    rig.carry_out_lost()  # The rig checks that a bound pod has its claim.
    assert rig.bound[uid] == ("rp-1", "n")
    rig.settle(20)
    assert rig.claims(uid) == [("rp-1", "n")]


def test_a_claim_given_up_is_not_bound_while_its_deletion_has_not_been_seen() -> None:
    rig = rig_with(("rp-1", "n", "4"), ("rp-2", "m", "2"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    exchange(rig, "rp-1")
    rig.deliver_all()
    operation = rig.outbox[HOME][0].operation()
    operation.bind.resource_partition, operation.bind.node = "rp-2", "m"
    assert not rig.apply(HOME, operation).HasField("error")
    exchange(rig, HOME)  # Refused: bound elsewhere, which the pods' view does not show yet.
    exchange(rig, "rp-1")  # The release.
    assert not rig.claims(uid)
    for _ in range(5):
        rig.step()
        assert not rig.outbox[HOME], "the claim is gone, whatever our view still shows"
        rig.now += 1


def test_a_pod_whose_binding_was_undone_before_it_was_seen_to_leave_is_bound_again_by_its_placement() -> None:
    rig = rig_with(("rp-1", "n", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    unbound = rig.core.pods[uid].object
    exchange(rig, "rp-1")
    exchange(rig, HOME)
    assert rig.core.pods[uid].state is PodState.BOUND
    while rig.deliver("rp-1", "placements"):
        pass
    rig.core.home_set_back()
    rig.core.pod_seen(unbound, 0.0)
    rig.step()
    exchange(rig, "rp-1")
    [bind] = rig.outbox[HOME]
    assert isinstance(bind, Bind)
    assert rig.claims(uid) == [("rp-1", "n")]
