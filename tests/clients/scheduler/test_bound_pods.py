"""Pods that say something of others wait for the view of bound pods; without such pods nobody pays for it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from ursa.clients.revisions import Revision
from ursa.clients.scheduler.actions import Action, Evict, TakeOver
from ursa.clients.scheduler.core import SchedulingCore
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PodState
from ursa.clients.scheduler.plugins.coscheduling import MIN_LABEL, NAME_LABEL
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object

from .objects import node, placement, pod

HOME = "tp-1"
WEB = {"app": "web"}
TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": WEB}}
APART = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}
ZONES = ("a", "b")


def core(options: SchedulerOptions | None = None) -> SchedulingCore:
    """Two nodes in two zones."""
    made = SchedulingCore(HOME, [HOME], ["rp-1"], Random(1), options or SchedulerOptions())
    for zone in ZONES:
        made.node_seen("rp-1", node(f"n-{zone}", labels={"zone": zone}))
    made.partition_synced("rp-1")
    made.pods_synced()
    return made


def labelled(name: str, **spec: Any) -> Object:
    return pod(name, **spec).with_metadata(labels=WEB)


def bound(obj: Object, zone: str) -> Object:
    return obj.with_spec({**obj.spec, "nodeName": f"n-{zone}", "resourcePartition": "rp-1"})


def step(scheduler: SchedulingCore) -> list[Action]:
    """What is claimed."""
    return scheduler.step(0.0).actions.get("rp-1", [])


def nodes(actions: list[Action]) -> list[str]:
    return [action.pod.node for action in actions]  # type: ignore[attr-defined]


def answer(scheduler: SchedulingCore, actions: list[Action]) -> None:
    """All claims are taken, and then all bindings."""
    results = [pb.Result(resource_version=1, uid=f"p-{number}") for number in range(len(actions))]
    scheduler.answered("rp-1", actions, results, 0.0)
    binds = scheduler.step(0.0).binds
    scheduler.answered(HOME, list(binds), [pb.Result(resource_version=5)] * len(binds), 0.0)


def test_plain_pods_ask_for_nothing() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("p"), 0.0)
    assert len(step(scheduler)) == 1
    assert not scheduler.needs_bound_pods


def test_a_pod_that_says_something_waits_for_the_view_and_others_do_not() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    scheduler.pod_seen(labelled("plain"), 0.0)
    assert [action.pod.object.name for action in step(scheduler)] == ["plain"]  # type: ignore[attr-defined]
    assert scheduler.needs_bound_pods
    assert not scheduler.has_more
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert scheduler.has_more
    assert len(step(scheduler)) == 1


def test_a_pod_that_was_deleted_while_it_waited_is_not_placed() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    step(scheduler)
    scheduler.pod_gone("uid-apart")
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert step(scheduler) == []


def test_pods_placed_in_one_batch_see_each_other() -> None:
    scheduler = core()
    for number in range(3):
        scheduler.pod_seen(labelled(f"apart-{number}", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert sorted(nodes(step(scheduler))) == ["n-a", "n-b"]
    assert scheduler.queue.unschedulable == 1


def test_what_was_placed_before_the_view_was_wanted_is_seen_too() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("plain"), 0.0)
    [taken] = nodes(step(scheduler))
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert sorted([taken, *nodes(step(scheduler))]) == ["n-a", "n-b"]


def test_a_pod_whose_claim_is_refused_stands_in_nobodys_way() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart-0", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    actions = step(scheduler)
    assert len(scheduler.nodes.pods) == 1
    refused = pb.Result(error=pb.Status(reason="Forbidden", message="no"))
    scheduler.answered("rp-1", actions, [refused], 0.0)
    assert len(scheduler.nodes.pods) == 0


def test_a_pod_that_is_bound_is_known_until_it_is_seen_to_go() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart-0", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    answer(scheduler, step(scheduler))
    scheduler.pod_gone("uid-apart-0")
    scheduler.bound_pods_seen_up_to(Revision(HOME, 4))
    assert len(scheduler.nodes.pods) == 1
    scheduler.bound_pod_seen(bound(labelled("apart-0", affinity=APART), "a"))
    scheduler.bound_pods_seen_up_to(Revision(HOME, 5))
    assert len(scheduler.nodes.pods) == 1
    scheduler.bound_pod_gone("uid-apart-0")
    assert len(scheduler.nodes.pods) == 0


def test_a_pod_seen_to_be_bound_before_the_answer_to_its_binding_stays_known() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart-0", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    scheduler.answered("rp-1", step(scheduler), [pb.Result(resource_version=1, uid="p")], 0.0)
    binds = list(scheduler.step(0.0).binds)
    scheduler.pod_gone("uid-apart-0")  # It has left the unbound ones.
    scheduler.answered(HOME, binds, [pb.Result(resource_version=5)], 0.0)
    assert scheduler.pods == {}
    assert len(scheduler.nodes.pods) == 1


def test_a_pod_that_was_bound_and_is_not_in_a_view_past_its_binding_is_gone() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart-0", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    answer(scheduler, step(scheduler))
    scheduler.bound_pods_seen_up_to(Revision(HOME, 5))
    assert len(scheduler.nodes.pods) == 0


def test_a_pod_bound_before_the_view_was_wanted_is_in_it_or_is_gone() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("plain"), 0.0)
    answer(scheduler, step(scheduler))
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    step(scheduler)
    assert len(scheduler.nodes.pods) == 1
    scheduler.bound_pods_seen_up_to(Revision(HOME, 9))
    assert len(scheduler.nodes.pods) == 0


def test_a_pod_on_a_node_that_says_something_concerns_every_pod() -> None:
    """A scheduler that has just started knows no pod of its own."""
    scheduler = core()
    scheduler.bound_pods_say_something()
    scheduler.pod_seen(labelled("plain"), 0.0)
    assert step(scheduler) == []
    scheduler.bound_pod_seen(bound(labelled("apart", affinity=APART), "a"))
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert nodes(step(scheduler)) == ["n-b"]


def test_a_pod_does_not_stand_in_its_own_way_when_it_is_explained() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    [taken] = nodes(step(scheduler))
    told = scheduler.explain("uid-apart")
    assert told is not None
    assert told.feasible == 2
    assert len(scheduler.nodes.pods) == 1
    scheduler.pod_seen(labelled("second", affinity=APART), 0.0)
    assert sorted([taken, *nodes(step(scheduler))]) == ["n-a", "n-b"]


def test_a_pod_that_goes_makes_room_for_one_that_avoids_it() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    step(scheduler)
    for zone in ZONES:
        scheduler.bound_pod_seen(bound(labelled(f"web-{zone}"), zone))
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert step(scheduler) == []
    scheduler.bound_pod_gone("uid-web-b")
    claimed = scheduler.step(1.0).actions.get("rp-1", []) or scheduler.step(2.0).actions.get("rp-1", [])
    assert nodes(claimed) == ["n-b"]


def test_a_pod_that_comes_helps_one_that_wants_to_be_near_it() -> None:
    scheduler = core()
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}
    scheduler.pod_seen(pod("near", affinity=near), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert step(scheduler) == []
    scheduler.bound_pod_seen(bound(labelled("web"), "b"))
    claimed = scheduler.step(1.0).actions.get("rp-1", []) or scheduler.step(2.0).actions.get("rp-1", [])
    assert nodes(claimed) == ["n-b"]


def test_a_pod_that_is_found_placed_while_it_waits_is_not_placed_again() -> None:
    scheduler = core()
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    step(scheduler)
    made = placement("uid-apart", "n-a", {"pods": 1}, tenant_partition=HOME)
    scheduler.placement_seen("rp-1", made.message)
    decided = scheduler.step(0.0)
    assert [type(action) for action in decided.actions["rp-1"]] == [TakeOver]
    assert not decided.binds
    assert len(scheduler.nodes.pods) == 1
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert step(scheduler) == []


def test_a_term_that_makes_no_sense_is_one_clear_condition() -> None:
    scheduler = core()
    wrong = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}}
    scheduler.pod_seen(labelled("wrong", affinity=wrong), 0.0)
    scheduler.pod_seen(labelled("plain"), 0.0)
    decisions = scheduler.step(20.0)
    assert len(decisions.actions["rp-1"]) == 1
    [report] = decisions.reports
    assert "podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey" in report.message


# ------------------------------------------------------------------------------------------ one view, for all of them

GANGS = {
    "schedulerName": "default-scheduler",
    "plugins": {"multiPoint": {"enabled": [{"name": "Coscheduling"}]}},
}


def hold(scheduler: SchedulingCore, name: str, zone: str, cpu: int, **spec: Any) -> None:
    """A pod of our own runs there, which no pod of this process is."""
    made = labelled(name, requests={"cpu": f"{cpu}m"}, **spec)
    scheduler.placement_seen(
        "rp-1", placement(made.uid, f"n-{zone}", {"cpu": cpu, "pods": 1}, tenant_partition=HOME).message
    )
    scheduler.bound_pod_seen(bound(made, zone))


def evicted(scheduler: SchedulingCore, now: float = 0.0) -> list[str]:
    return [action.uid for action in scheduler.step(now).evictions if isinstance(action, Evict)]


def test_who_preempts_finds_its_victims_in_the_view_that_affinity_has_opened() -> None:
    scheduler = core()
    scheduler.bound_pods_say_something()
    for zone in ZONES:
        hold(scheduler, f"low-{zone}", zone, 4000)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    scheduler.pod_seen(pod("high", {"cpu": "1"}, priority=9), 0.0)
    assert evicted(scheduler)[0].startswith("uid-low-")


def test_who_keeps_apart_finds_others_in_the_view_that_preemption_has_opened() -> None:
    scheduler = core()
    scheduler.pod_seen(pod("high", {"cpu": "9"}, priority=9), 0.0)
    assert step(scheduler) == []
    assert scheduler.needs_bound_pods
    hold(scheduler, "web", "a", 100)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    scheduler.pod_seen(labelled("apart", affinity=APART), 0.0)
    assert nodes(step(scheduler)) == ["n-b"]


def test_a_pod_that_might_preempt_waits_until_all_bound_pods_are_known() -> None:
    scheduler = core()
    for zone in ZONES:
        hold(scheduler, f"low-{zone}", zone, 4000, priority=1)
    scheduler.pod_seen(pod("high", {"cpu": "1"}, priority=9), 0.0)
    assert evicted(scheduler) == [], "others may be the better victims"
    hold(scheduler, "lower-a", "a", 0, priority=0)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert len(evicted(scheduler)) == 1


def test_a_member_of_a_group_counts_on_those_that_run_in_a_view_that_was_opened_before() -> None:
    scheduler = core(SchedulerOptions(profiles=(GANGS,)))
    scheduler.bound_pods_say_something()
    group = {NAME_LABEL: "g", MIN_LABEL: "2"}
    scheduler.bound_pod_seen(bound(pod("one").with_metadata(labels=group), "a"))
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    scheduler.pod_seen(pod("two").with_metadata(labels=group), 0.0)
    assert len(step(scheduler)) == 1


def test_the_first_member_of_a_group_asks_for_the_view() -> None:
    scheduler = core(SchedulerOptions(profiles=(GANGS,)))
    group = {NAME_LABEL: "g", MIN_LABEL: "2"}
    scheduler.pod_seen(pod("two").with_metadata(labels=group), 0.0)
    assert scheduler.needs_bound_pods
    assert step(scheduler) == []
    scheduler.bound_pod_seen(bound(pod("one").with_metadata(labels=group), "a"))
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    assert len(step(scheduler)) == 1


def test_news_of_bound_pods_wakes_nobody_who_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = core()
    scheduler.bound_pods_say_something()
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    scheduler.pod_seen(pod("large", {"cpu": "9"}), 0.0)
    step(scheduler)
    scheduler.step(1.0)
    assert scheduler.pods["uid-large"].state is PodState.UNSCHEDULABLE
    asked: list[Shape] = []
    monkeypatch.setattr(scheduler.pickers["default-scheduler"], "fits_somewhere", asked.append)
    scheduler.bound_pod_seen(bound(labelled("web"), "b"))
    scheduler.step(2.0)
    scheduler.bound_pod_gone("uid-web")
    scheduler.step(3.0)
    assert asked == []


def test_a_pod_whose_claim_is_refused_wakes_one_that_kept_away_from_it() -> None:
    scheduler = core()
    for number in range(3):
        scheduler.pod_seen(labelled(f"apart-{number}", affinity=APART), 0.0)
    step(scheduler)
    scheduler.bound_pods_seen_up_to(Revision(HOME, 1))
    actions = step(scheduler)
    refused = pb.Result(error=pb.Status(reason="Forbidden", message="no"))
    scheduler.answered("rp-1", actions, [refused] * 2, 0.0)
    claimed = scheduler.step(0.1).actions.get("rp-1", [])
    assert [action.pod.object.name for action in claimed] == ["apart-2"]  # type: ignore[attr-defined]
