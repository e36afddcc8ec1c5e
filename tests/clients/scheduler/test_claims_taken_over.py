"""A scheduler gives a claim up for a plugin's sake, and is replaced while that is on its way.

Its successor binds the pod by that claim, or the claim goes: one of the two, whichever comes first at the partition.
"""

from __future__ import annotations

import pytest
from ursa.clients.scheduler.actions import Bind, Claim, Release, TakeOver
from ursa.clients.scheduler.binding_cycles import Binding
from ursa.clients.scheduler.framework.interface import (
    Allow,
    BindPlugin,
    Deny,
    PermitPlugin,
    Plugin,
    PreBindPlugin,
    Skip,
)
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import QUEUED, PendingPod, PodState
from ursa.proto import ursa_pb2 as pb

from .objects import node, pod
from .rig import HOME, Rig

WHERE = "rp-2"
# Whether the plugins below have still to object.
OBJECTS = [False]


class Denies(PermitPlugin):
    name = "Denies"

    def permit(self, pod: PendingPod, slot: int) -> Allow | Deny:
        return Deny("not yet") if objects_once() else Allow()


class Refuses(PreBindPlugin):
    name = "Refuses"

    def pre_bind(self, pod: PendingPod, slot: int) -> str:
        return "not yet" if objects_once() else ""


class Fails(BindPlugin):
    """The rig says what it does."""

    name = "Fails"

    async def bind(self, pod: PendingPod, binding: Binding) -> str | Skip:
        raise AssertionError


def objects_once() -> bool:
    objects, OBJECTS[0] = OBJECTS[0], False
    return objects


def rig_with(point: str, plugin: type[Plugin]) -> Rig:
    """A claim is on its way."""
    disabled = [{"name": "*"}] if point == "bind" else []
    plugins = {point: {"disabled": disabled, "enabled": [{"name": plugin.name}]}}
    rig = Rig(SchedulerOptions(profiles=({"plugins": plugins},), plugins=(plugin,)))
    rig.add_node(WHERE, node("a", cpu="1"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    rig.deliver_all()
    rig.step()
    [claim] = rig.outbox[WHERE]
    assert isinstance(claim, Claim)
    rig.send(WHERE)
    return rig


@pytest.fixture(params=[("permit", Denies), ("preBind", Refuses), ("bind", Fails)], ids=lambda param: param[0])
def rig(request: pytest.FixtureRequest) -> Rig:
    """A claim is being given up, because of what a plugin says, when the scheduler is replaced."""
    point, plugin = request.param
    OBJECTS[0] = True
    rig = rig_with(point, plugin)
    exchange(rig)
    if point == "bind":
        rig.end_cycle(0, "fails")
        rig.step()
    [release] = rig.outbox[WHERE]
    assert isinstance(release, Release)
    rig.send(WHERE)
    rig.restart_scheduler()
    rig.deliver_all()
    rig.step()
    return rig


def exchange(rig: Rig, partition: str = WHERE) -> None:
    rig.send(partition)
    rig.carry_out(partition)
    rig.answer(partition)
    rig.step()


def holds(rig: Rig) -> bool:
    """Whether the pod holds a claim; if it is bound, it does."""
    [uid] = rig.pods()
    assert uid not in rig.bound or rig.claims(uid) == [rig.bound[uid]]
    return bool(rig.claims(uid))


def test_a_late_release_of_the_former_one_does_not_cost_a_bound_pod_its_claim(rig: Rig) -> None:
    exchange(rig)
    exchange(rig, HOME)
    assert len(rig.bound) == 1
    rig.carry_out_lost()
    assert holds(rig)


def test_nor_one_that_comes_before_the_bind_that_relies_on_the_claim(rig: Rig) -> None:
    exchange(rig)
    rig.send(HOME)
    rig.carry_out_lost()
    assert holds(rig)
    rig.carry_out(HOME)
    assert holds(rig)
    assert len(rig.bound) == 1


def test_where_the_release_came_first_the_pod_is_claimed_anew_and_not_bound_by_what_is_gone(rig: Rig) -> None:
    rig.carry_out_lost()
    assert not holds(rig)
    exchange(rig)
    assert not rig.outbox[HOME]
    assert not rig.outbox[WHERE], "nor is it asked for again, though it is still seen"
    rig.settle(20)
    assert len(rig.bound) == 1
    assert holds(rig)


def test_nothing_is_bound_before_the_claim_is_known_to_be_taken_over(rig: Rig) -> None:
    assert [type(action) for action in rig.outbox[WHERE]] == [TakeOver]
    rig.send(WHERE)
    rig.carry_out(WHERE)
    rig.lose_answer(WHERE)
    rig.step()
    assert not rig.outbox[HOME]
    rig.now += 1.0
    rig.step()
    exchange(rig)
    assert [type(action) for action in rig.outbox[HOME]] == [Bind]
    rig.settle(10)
    assert holds(rig)


def test_a_pod_deleted_while_its_claim_is_taken_over_gives_it_back(rig: Rig) -> None:
    rig.send(WHERE)
    rig.delete_pod("p")
    rig.deliver_all()
    rig.settle(10)
    assert (rig.core.pods, rig.partitions[WHERE].objects("placements.ursa.dev")) == ({}, [])


def test_a_pod_whose_partition_is_gone_while_its_claim_is_taken_over_goes_elsewhere(rig: Rig) -> None:
    rig.add_node("rp-1", node("b", cpu="1"))
    rig.send(WHERE)
    rig.remove_partition(WHERE)
    rig.settle(20)
    assert list(rig.bound.values()) == [("rp-1", "b")]


def test_an_answer_to_a_partition_that_was_removed_and_came_back_binds_nothing(rig: Rig) -> None:
    [taking] = rig.outbox[WHERE]
    rig.remove_partition(WHERE)
    rig.core.partition_added(WHERE)
    rig.core.answered(WHERE, [taking], [pb.Result()], rig.now)
    rig.step()
    assert not rig.outbox[HOME]
    [waiting] = rig.core.pods.values()
    assert waiting.state in QUEUED


def test_a_claim_that_turns_out_to_be_taken_over_is_not_given_up_and_the_pod_is_bound_by_it() -> None:
    """The former scheduler lives on, and knows nothing of its successor."""
    rig = rig_with("bind", Fails)
    [uid] = rig.pods()
    exchange(rig)
    [placement] = rig.partitions[WHERE].objects("placements.ursa.dev")
    taken = TakeOver(rig.core.pods[uid], placement.uid)
    assert not rig.apply(WHERE, taken.operation()).HasField("error")
    rig.end_cycle(0, "fails")
    rig.step()
    exchange(rig)
    assert holds(rig)
    rig.settle(10)
    assert rig.bound == {uid: (WHERE, "a")}
    assert holds(rig)


def test_a_claim_without_an_answer_that_was_seen_is_given_up_like_any_other() -> None:
    rig = rig_with("bind", Fails)
    rig.carry_out(WHERE)
    rig.lose_answer(WHERE)
    rig.deliver_all()
    rig.step()
    rig.end_cycle(0, "fails")
    rig.step()
    [release] = rig.outbox[WHERE]
    [placement] = rig.partitions[WHERE].objects("placements.ursa.dev")
    assert isinstance(release, Release)
    assert release.operation().delete.preconditions == pb.Preconditions(
        uid=placement.uid, resource_version=placement.resource_version
    )
    exchange(rig)
    assert not holds(rig)
    [waiting] = rig.core.pods.values()
    assert waiting.state is PodState.BACKOFF
