"""A bind is for a history of the home partition and for a generation of the pod; so is the claim it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from ursa.clients.scheduler.actions import Bind, Claim, Release
from ursa.clients.scheduler.framework.interface import Allow, Deny, PermitPlugin, Wait
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PendingPod, PodState
from ursa.clients.scheduler.sender import Sender
from ursa.proto.objects import decode

from .objects import node, pod
from .rig import HOME, Rig


def rig_that_claims() -> tuple[Rig, str]:
    """A pod for which a node has been chosen, in the history `first`."""
    rig = Rig()
    rig.core.home_set_back("first")
    rig.add_node("rp-1", node("n", cpu="4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    rig.deliver_all()
    rig.step()
    return rig, uid


def rig_with_a_pod() -> tuple[Rig, str]:
    """A pod that is claimed, in the history `first`, and is to be bound."""
    rig, uid = rig_that_claims()
    exchange(rig, "rp-1")
    rig.deliver_all()
    return rig, uid


def exchange(rig: Rig, partition: str) -> None:
    assert rig.send(partition)
    rig.carry_out(partition)
    rig.answer(partition)
    rig.step()


def set_back(rig: Rig, uid: str) -> None:
    """The home partition goes on in another history, in which the pod is not bound."""
    unbound = rig.pods()[uid]
    rig.core.home_set_back("second")
    rig.core.pod_seen(unbound, rig.now)


def test_a_bind_names_its_history_and_the_generation_it_was_decided_on() -> None:
    rig, uid = rig_with_a_pod()
    [bind] = rig.outbox[HOME]
    assert isinstance(bind, Bind)
    assert (bind.history, bind.operation().bind.generation) == ("first", rig.pods()[uid].generation)
    [placement] = rig.partitions["rp-1"].objects("placements.ursa.dev")
    assert placement.spec["history"] == "first"


def test_a_pod_that_asks_for_something_else_by_now_is_decided_on_again() -> None:
    rig, uid = rig_with_a_pod()
    operation = rig.outbox[HOME][0].operation()
    operation.bind.generation += 1
    refused = rig.apply(HOME, operation)
    assert refused.error.reason == "Conflict"
    assert "look at what it asks for now" in refused.error.message
    rig.outbox[HOME][0].generation += 1  # type: ignore[attr-defined]
    exchange(rig, HOME)
    assert isinstance(rig.outbox["rp-1"][0], Release)
    rig.settle(30)
    assert rig.bound[uid] == ("rp-1", "n")


def test_a_repeated_bind_that_has_happened_is_answered_whatever_the_generation() -> None:
    rig, _ = rig_with_a_pod()
    operation = rig.outbox[HOME][0].operation()
    assert not rig.apply(HOME, operation).HasField("error")
    operation.bind.generation += 5
    assert not rig.apply(HOME, operation).HasField("error")


def test_a_bind_of_a_history_that_is_gone_gives_its_claim_up_and_the_pod_is_claimed_anew() -> None:
    rig, uid = rig_with_a_pod()
    [before] = rig.partitions["rp-1"].objects("placements.ursa.dev")
    assert rig.send(HOME)
    set_back(rig, uid)
    rig.refuse_link(HOME)  # What it was for is gone, says the client.
    rig.now += 1
    rig.step()
    assert not rig.outbox[HOME]
    [release] = rig.outbox["rp-1"]
    assert isinstance(release, Release)
    assert release.placement_uid == before.uid
    rig.settle(30)
    [after] = rig.partitions["rp-1"].objects("placements.ursa.dev")
    assert (after.spec["history"], after.uid != before.uid) == ("second", True)
    assert rig.bound[uid] == ("rp-1", "n")


def test_a_bind_of_a_history_that_is_gone_is_asked_about_where_the_pod_is_not_seen_unbound() -> None:
    """The snapshot may have it bound."""
    rig, uid = rig_with_a_pod()
    rig.apply(HOME, rig.outbox[HOME][0].operation())
    assert rig.send(HOME)
    rig.core.home_set_back("second")
    rig.core.pod_gone(uid)
    rig.refuse_link(HOME)
    rig.now += 1
    rig.step()
    [bind] = rig.outbox[HOME]
    assert isinstance(bind, Bind)
    assert bind.history == "second"
    exchange(rig, HOME)
    assert uid not in rig.core.pods
    assert rig.claims(uid) == [("rp-1", "n")]


def test_a_placement_of_another_history_is_not_taken_over_by_who_starts_anew() -> None:
    rig, uid = rig_with_a_pod()
    rig.restart_scheduler()
    rig.core.home_set_back("second")
    rig.deliver_all()
    rig.step()
    assert [type(action) for action in rig.outbox["rp-1"]] == [Release]
    assert rig.core.pods[uid].state is PodState.RELEASING
    rig.settle(30)
    assert rig.bound[uid] == ("rp-1", "n")


def test_one_of_the_same_history_is() -> None:
    rig, uid = rig_with_a_pod()
    rig.restart_scheduler()
    rig.core.home_set_back("first")
    rig.deliver_all()
    rig.step()
    exchange(rig, "rp-1")
    assert [type(action) for action in rig.outbox[HOME]] == [Bind]
    assert rig.claims(uid) == [("rp-1", "n")]


def test_nor_is_one_whose_history_ends_while_it_is_taken_over() -> None:
    rig, uid = rig_with_a_pod()
    rig.restart_scheduler()
    rig.core.home_set_back("first")
    rig.deliver_all()
    rig.step()
    rig.send("rp-1")
    set_back(rig, uid)
    rig.carry_out("rp-1")
    rig.answer("rp-1")
    rig.step()
    assert not rig.outbox[HOME]
    exchange(rig, "rp-1")
    assert not rig.claims(uid)


def test_a_claim_does_not_pass_for_one_of_another_history() -> None:
    """Its scheduler has not seen the old one, whose release may be on its way."""
    rig, uid = rig_with_a_pod()
    claim = Claim(rig.core.pods[uid], b"")
    [placement] = rig.partitions["rp-1"].objects("placements.ursa.dev")
    claim.spec = placement.message.spec
    assert not rig.apply("rp-1", claim.operation()).HasField("error")
    operation = claim.operation()
    operation.create.object.spec = placement.with_spec({**decode(claim.spec), "history": "second"}).message.spec
    refused = rig.apply("rp-1", operation)
    assert refused.error.reason == "AlreadyExists"
    assert "in another history" in refused.error.message


def test_the_writes_of_two_histories_do_not_travel_together() -> None:
    rig, uid = rig_with_a_pod()
    binds = [Bind(HOME, rig.core.pods[uid], "", history) for history in ("first", "first", "second", "first")]
    sender = Sender.__new__(Sender)
    sender._outbox = list(binds)
    assert sender._next_batch() == binds[:2]
    sender._outbox = binds[2:]
    assert sender._next_batch() == binds[2:3]


def claimed_in(rig: Rig) -> str:
    [placement] = rig.partitions["rp-1"].objects("placements.ursa.dev")
    return str(placement.spec["history"])


def test_a_claim_that_is_answered_in_another_history_is_given_up_and_made_anew() -> None:
    rig, uid = rig_that_claims()
    assert rig.send("rp-1")
    rig.carry_out("rp-1")
    set_back(rig, uid)
    rig.answer("rp-1")
    rig.step()
    assert not rig.outbox[HOME]
    assert isinstance(rig.outbox["rp-1"][0], Release)
    rig.settle(30)
    assert (claimed_in(rig), rig.bound[uid]) == ("second", ("rp-1", "n"))


class TheOldWaitForTheYoung(PermitPlugin):
    """A pod waits until another one has been claimed."""

    name = "TheOldWaitForTheYoung"
    waiting: ClassVar[list[str]] = []

    def permit(self, pod: PendingPod, slot: int) -> Allow | Wait | Deny:
        if self.waiting:
            return Allow()
        self.waiting.append(pod.uid)
        return Wait(600.0)

    def allows(self, pod: PendingPod) -> Sequence[str]:
        return self.waiting


def test_a_pod_that_waited_while_its_history_ended_is_not_bound_by_its_old_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TheOldWaitForTheYoung, "waiting", [])
    profile = {
        "schedulerName": "default-scheduler",
        "plugins": {"multiPoint": {"enabled": [{"name": TheOldWaitForTheYoung.name}]}},
    }
    rig = Rig(SchedulerOptions(profiles=(profile,), plugins=(TheOldWaitForTheYoung,)))
    rig.core.home_set_back("first")
    rig.add_node("rp-1", node("n", cpu="4"))
    old = rig.add_pod(pod("old", {"cpu": "1"}))
    rig.settle(5)
    assert rig.core.pods[old].state is PodState.WAITING
    assert claimed_in(rig) == "first"
    set_back(rig, old)
    young = rig.add_pod(pod("young", {"cpu": "1"}))
    rig.settle(60)
    assert list(rig.bound) == [young, old]
    histories = [each.spec["history"] for each in rig.partitions["rp-1"].objects("placements.ursa.dev")]
    assert histories == ["second", "second"]
