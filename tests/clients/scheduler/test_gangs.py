"""Groups of pods run as a whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PodState
from ursa.clients.scheduler.plugins.coscheduling import MIN_LABEL, NAME_LABEL, Coscheduling

from .objects import node, placement, pod
from .rig import HOME, Rig

PROFILE = {
    "schedulerName": "default-scheduler",
    "plugins": {"multiPoint": {"enabled": [{"name": "Coscheduling"}]}},
    "pluginConfig": [{"name": "Coscheduling", "args": {"permitWaitingTimeSeconds": 5}}],
}


def rig_with(*nodes: tuple[str, str, str]) -> Rig:
    rig = Rig(SchedulerOptions(profiles=(PROFILE,)))
    for partition, name, cpu in nodes:
        rig.add_node(partition, node(name, cpu=cpu))
    return rig


def add(rig: Rig, name: str, cpu: str = "1", gang: str = "", least: Any = 0, **spec: Any) -> str:
    made = pod(name, {"cpu": cpu}, **spec)
    if gang:
        made.message.metadata.labels[NAME_LABEL] = gang
        made.message.metadata.labels[MIN_LABEL] = str(least)
    return rig.add_pod(made)


def run(rig: Rig, seconds: float = 2.0) -> None:
    until = rig.now + seconds
    while rig.now < until:
        rig.deliver_all()
        rig.step()
        for name in rig.outbox:
            while rig.send(name):
                rig.carry_out(name)
                rig.answer(name)
        rig.now += 0.1
    rig.deliver_all()


def bound(rig: Rig) -> list[str]:
    return sorted(pod.name for pod in rig.pods().values() if pod.spec.get("nodeName"))


def held(rig: Rig) -> list[str]:
    """Pods that hold room, bound or not."""
    names = {pod.uid: pod.name for pod in rig.pods().values()}
    return sorted(
        names[each.name]
        for partition in rig.resource_partitions
        for each in rig.partitions[partition].objects("placements.ursa.dev")
        if each.name in names
    )


def test_nobody_of_a_group_is_placed_before_all_are_there() -> None:
    rig = rig_with(("rp-1", "a", "4"))
    for name in ("one", "two"):
        add(rig, name, gang="g", least=3)
    run(rig)
    assert (held(rig), rig.core.queue.gated) == ([], 2)
    add(rig, "three", gang="g", least=3)
    run(rig)
    assert bound(rig) == ["one", "three", "two"]
    assert rig.core.queue.gated == 0


def test_a_group_that_does_not_fit_as_a_whole_holds_nothing_and_comes_when_it_fits() -> None:
    rig = rig_with(("rp-1", "a", "2"))
    for name in ("one", "two", "three"):
        add(rig, name, gang="g", least=3)
    run(rig, 0.8)
    assert held(rig) == [], "given back at once, not when time is up"
    run(rig, 30)
    assert bound(rig) == []
    add(rig, "alone")
    run(rig, 15)
    assert bound(rig) == ["alone"], "the room is there for others"
    rig.add_node("rp-2", node("b", cpu="2"))
    run(rig, 30)
    assert bound(rig) == ["alone", "one", "three", "two"]


def test_members_come_one_after_the_other_whoever_came_between() -> None:
    rig = rig_with(("rp-1", "a", "2"))
    add(rig, "one", gang="g", least=2)
    for number in range(2):
        add(rig, f"alone-{number}")
    add(rig, "two", gang="g", least=2)
    run(rig, 1.0)
    assert bound(rig) == ["one", "two"]


def test_more_members_than_are_needed_do_not_hold_the_others_up() -> None:
    rig = rig_with(("rp-1", "a", "2"))
    for name in ("one", "two", "three"):
        add(rig, name, gang="g", least=2)
    run(rig, 30)
    assert len(bound(rig)) == 2


def test_a_member_that_fits_nowhere_does_not_hold_up_those_that_are_enough() -> None:
    rig = rig_with(("rp-1", "a", "2"))
    for name, cpu in (("one-too-large", "4"), ("two", "1"), ("three", "1"), ("four-too-large", "4")):
        add(rig, name, cpu, gang="g", least=2)
    run(rig, 0.4)
    assert bound(rig) == ["three", "two"], "at once, and not after a backoff"
    assert rig.core.queue.unschedulable == 2


def test_a_member_that_is_replaced_counts_on_those_that_run_also_after_a_restart() -> None:
    rig = rig_with(("rp-1", "a", "4"))
    for name in ("one", "two", "three"):
        add(rig, name, gang="g", least=3)
    run(rig)
    assert len(bound(rig)) == 3
    rig.restart_scheduler()
    rig.delete_pod("one")
    rig.end_deleted()
    rig.collect_garbage()
    add(rig, "again", gang="g", least=3)
    run(rig)
    assert bound(rig) == ["again", "three", "two"]


def test_claims_are_given_back_when_time_is_up() -> None:
    rig = rig_with(("rp-1", "a", "2"), ("rp-2", "b", "1"))
    for name in ("one", "two", "three"):
        add(rig, name, gang="g", least=3)
    rig.deliver_all()
    rig.step()
    for name in ("rp-1",):
        rig.send(name)
        rig.carry_out(name)
        rig.answer(name)
    assert len(held(rig)) == 2
    for _ in range(60):
        rig.now += 0.1
        rig.step()
        rig.send("rp-1")
        rig.carry_out("rp-1")
        rig.answer("rp-1")
        rig.step()
        if not held(rig):
            break
    assert 5.0 <= rig.now <= 5.5
    assert bound(rig) == []
    resume_at = [pod.resume_at for pod in rig.core.pods.values()]
    assert len(dict.fromkeys(resume_at)) == 1, "they are looked at together again"
    assert 0.0 < resume_at[0] - rig.now <= 1.0
    assert rig.core.queue.backing_off == 2
    assert rig.core.queue.next_deadline() == resume_at[0]


def test_claims_that_will_be_given_back_hold_no_hope() -> None:
    rig = rig_with(("rp-1", "a", "2"))
    for name in ("one", "two", "three", "four"):
        add(rig, name, gang="g", least=3)
    rig.deliver_all()
    rig.step()
    assert rig.core.queue.backing_off == 2, "two claims are on their way, and too few are left"
    rig.add_node("rp-2", node("b", cpu="1"))
    rig.deliver_all()
    rig.now += 1.0
    for _ in range(3):
        rig.step()
        rig.send("rp-2")
        rig.carry_out("rp-2")
        rig.answer("rp-2")
    assert held(rig) == [], "the third is not held for the sake of those two"


def test_a_member_that_goes_while_it_waits_gives_its_claim_back() -> None:
    rig = rig_with(("rp-1", "a", "2"), ("rp-2", "b", "1"))
    for name in ("one", "two", "three"):
        add(rig, name, gang="g", least=3)
    rig.deliver_all()
    rig.step()
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.answer("rp-1")
    first = next(pod for pod in rig.core.pods.values() if pod.state is PodState.WAITING)
    rig.delete_pod(first.object.name)
    rig.deliver(HOME, "pods")
    rig.step()
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.answer("rp-1")
    assert first.object.name not in held(rig)
    assert first.uid not in rig.core.pods
    add(rig, "four", gang="g", least=4)
    rig.deliver(HOME, "pods")
    assert rig.core.queue.gated == 1, "who is gone does not count"


def test_what_a_former_scheduler_has_claimed_for_a_group_is_never_released() -> None:
    """It may have been allowed to bind it, and the binding be on its way."""
    rig = rig_with(("rp-1", "a", "3"))
    for name in ("one", "two", "three"):
        add(rig, name, gang="g", least=3)
    rig.deliver_all()
    rig.step()
    for partition in ("rp-1",):
        rig.send(partition)
        rig.carry_out(partition)
        rig.answer(partition)
    rig.step()
    assert rig.send(HOME), "all are to be bound, and that is on its way"
    rig.restart_scheduler()
    rig.delete_pod("three")
    run(rig, 30)
    assert rig.carry_out_lost()
    rig.settle(30)
    assert bound(rig) == ["one", "two"]


def replaced_with_two_of_three_claimed(cpu: str, least: int = 3) -> tuple[Rig, list[str]]:
    """And which."""
    rig = rig_with(("rp-1", "a", cpu))
    rig.batch_max = 2
    for name in ("p1", "p2", "p3"):
        add(rig, name, gang="g", least=least)
    rig.deliver_all()
    rig.step()
    rig.send("rp-1")
    rig.carry_out("rp-1")
    rig.restart_scheduler()
    claimed = held(rig)
    assert len(claimed) == 2
    return rig, claimed


def test_what_a_former_scheduler_has_claimed_for_a_member_that_is_gone_is_given_back_at_once() -> None:
    rig, (gone, stays) = replaced_with_two_of_three_claimed("3")
    rig.delete_pod(next(name for name in ("p1", "p2", "p3") if name not in (gone, stays)))
    rig.deliver_all()
    rig.step()
    rig.delete_pod(gone)
    rig.deliver_all()
    run(rig, 0.5)
    [placement] = rig.partitions["rp-1"].objects("placements.ursa.dev")
    assert placement.spec["pod"]["name"] == stays, "before their time is up"


def test_what_a_former_scheduler_has_claimed_is_bound_when_its_group_gives_up_meanwhile() -> None:
    rig, claimed = replaced_with_two_of_three_claimed("2")
    rig.deliver_all()
    rig.step()
    assert rig.core.queue.backing_off == 1, "there is no room for the third"
    run(rig, 0.5)
    assert bound(rig) == claimed, "before their time is up"


def test_what_a_former_scheduler_has_claimed_may_be_enough_for_a_group() -> None:
    rig, _ = replaced_with_two_of_three_claimed("2", least=2)
    rig.deliver_all()
    rig.step()
    assert (rig.core.queue.unschedulable, rig.core.queue.backing_off) == (1, 0)


@pytest.mark.parametrize("least", ["0", "many", "", "1.5"])
def test_a_group_that_does_not_say_how_many_it_needs_waits(least: str) -> None:
    rig = rig_with(("rp-1", "a", "2"))
    add(rig, "one", gang="g", least=least)
    add(rig, "alone")
    run(rig)
    assert (bound(rig), rig.core.queue.gated) == (["alone"], 1)


@pytest.mark.parametrize("args", [{"permitWaitingTimeSeconds": 0}, {"permitWaitingTimeSeconds": "60s"}, {"wait": 3}])
def test_arguments_that_make_no_sense_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(args))):
        Coscheduling(args)


groups = st.lists(st.tuples(st.sampled_from("ghi"), st.sampled_from(["500m", "1"])), min_size=2, max_size=10)


@settings(max_examples=20)  # Each is half a minute of a scheduler's life.
@given(
    groups,
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["restart", "node", "other"])),
        max_size=2,
        unique_by=lambda each: each[0],
    ),
)
@example([(gang, "1") for gang in "ghghgh"], [])
def test_groups_never_hold_each_other_up_for_good(
    pods: list[tuple[str, str]], disturbances: list[tuple[int, str]]
) -> None:
    """Each fits alone; one after the other they run, whole, and whatever does not fit holds nothing."""
    rig = rig_with(("rp-1", "a", "2"), ("rp-2", "b", "2"))
    sizes = {gang: sum(each == gang for each, _ in pods) for gang, _ in pods}
    for number, (gang, cpu) in enumerate(pods):
        add(rig, f"{gang}-{number}", cpu, gang, sizes[gang])
        run(rig, 0.2)
        for at, what in disturbances:
            if at == number and what == "restart":
                rig.restart_scheduler()
            elif at == number and what == "node":
                rig.add_node("rp-1", node(f"n{number}", cpu="1"))
            elif at == number:
                rig.place_for_other("rp-1", placement(f"o{number}", "a", {"cpu": 500, "pods": 1}))
    run(rig, 40)
    restarted = any(what == "restart" for _, what in disturbances)
    running = bound(rig)
    if not restarted:
        for gang, size in sizes.items():
            assert sum(name.startswith(f"{gang}-") for name in running) in (0, size), "whole or not at all"
        assert held(rig) == running, "who does not run holds nothing"
    # Nobody waits where all of the group would fit one by one in what is left.
    free = [left["cpu"] for partition in rig.resource_partitions for left in rig.free(partition).values()]
    for gang in sizes:
        waiting = [cpu for number, (each, cpu) in enumerate(pods) if each == gang and f"{gang}-{number}" not in running]
        if waiting:
            assert not all_fit([{"500m": 500, "1": 1000}[cpu] for cpu in waiting], free)


def all_fit(units: list[int], free: list[int]) -> bool:
    left = sorted(free, reverse=True)
    for each in sorted(units, reverse=True):
        left.sort(reverse=True)
        if left[0] < each:
            return False
        left[0] -= each
    return True
