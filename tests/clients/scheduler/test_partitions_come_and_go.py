"""A resource partition is added or removed while pods are on their way: nothing is lost, nobody waits for the dead."""

from __future__ import annotations

from ursa.clients.scheduler.pending import PodState

from .objects import node, pod
from .rig import HOME, Rig

GONE = "rp-2"


def rig_with(*partitions: str) -> Rig:
    """A node in each of these; of one partition: only pods for it can be claimed there."""
    rig = Rig()
    for name in partitions:
        rig.add_node(name, node(f"node-{name}", cpu="4"))
    rig.deliver_all()
    return rig


def claimed(rig: Rig) -> str:
    """A pod whose claim at the partition that will go has been decided; returns its uid."""
    uid = rig.add_pod(pod("web", {"cpu": "1"}))
    rig.deliver_all()
    rig.step()
    assert rig.core.pods[uid].state is PodState.CLAIMING
    assert rig.core.pods[uid].partition == GONE
    return uid


def exchange(rig: Rig, partition: str) -> None:
    assert rig.send(partition)
    assert rig.carry_out(partition)
    assert rig.answer(partition)


def test_a_pod_claimed_at_a_partition_that_goes_is_bound_elsewhere() -> None:
    for sent in (False, True):
        rig = rig_with(GONE)
        uid = claimed(rig)
        if sent:
            rig.send(GONE)
            rig.carry_out(GONE)
        rig.remove_partition(GONE)
        rig.add_node("rp-1", node("node-rp-1", cpu="4"))
        rig.settle(5)
        assert rig.bound[uid] == ("rp-1", "node-rp-1")


def test_a_claim_that_was_being_given_up_is_no_more() -> None:
    rig = rig_with(GONE)
    uid = claimed(rig)
    exchange(rig, GONE)
    rig.delete_pod("web")
    rig.step()
    exchange(rig, HOME)  # The bind is refused.
    assert rig.core.pods[uid].state is PodState.RELEASING
    rig.remove_partition(GONE)
    rig.deliver_all()
    rig.step()  # It has nothing to ask of the partition that is gone.
    assert not rig.core.pods


def test_what_was_to_be_repeated_at_it_is_not() -> None:
    rig = rig_with(GONE)
    claimed(rig)
    exchange(rig, GONE)
    rig.delete_pod("web")
    rig.step()
    exchange(rig, HOME)
    rig.step()
    rig.send(GONE)
    rig.refuse_link(GONE)
    rig.remove_partition(GONE)
    rig.now += 60
    rig.settle(5)
    assert not rig.core.pods


def test_a_bind_to_it_that_is_refused_leaves_nothing_to_give_up() -> None:
    rig = rig_with(GONE)
    uid = claimed(rig)
    exchange(rig, GONE)
    rig.delete_pod("web")
    rig.step()
    rig.send(HOME)
    rig.carry_out(HOME)
    rig.remove_partition(GONE)
    rig.answer(HOME)
    rig.settle(5)
    assert uid not in rig.core.pods


def test_what_it_held_is_held_no_more_when_it_comes_back_under_its_name() -> None:
    rig = rig_with("rp-1", GONE)
    for number in range(6):
        rig.add_pod(pod(f"p{number}", {"cpu": "1"}))
    rig.settle(5)
    held = [slot for slot, partition in enumerate(rig.core.nodes.partitions) if partition == GONE]
    rig.remove_partition(GONE)
    assert not any(rig.core.nodes.facts[slot] for slot in held)
    assert not any(rig.core.nodes._holds[slot] for slot in held)
    rig.core.partition_added(GONE)
    assert not rig.core.nodes.is_open(GONE)
    assert list(rig.core.views) == ["rp-1", GONE]


def test_schedulers_share_the_nodes_out_anew_when_they_become_more() -> None:
    rig = rig_with("rp-1")
    for number in range(40):
        rig.add_node("rp-1", node(f"n{number}", cpu="4"))
    rig.deliver_all()
    nodes = rig.core.nodes

    def own() -> int:
        return sum(nodes.turn(slot) == 0 for slot, facts in enumerate(nodes.facts) if facts is not None)

    of_two = own()
    rig.core.tenant_partitions_are([HOME])
    assert own() == 41
    rig.core.tenant_partitions_are([HOME, "tp-2"])
    assert own() == of_two
    assert 0 < of_two < 41
