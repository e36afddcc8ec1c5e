"""A pod whose tenant moves to another partition runs on, in whichever order its kubelet hears of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.kubelet.pod import State
from ursa.proto import ursa_pb2 as pb

from .core_bench import Bench, pod_message

RUNNING_HERE = {("tp-1", "uid-1"): State.RUNNING}
RUNNING_THERE = {("tp-2", "uid-1"): State.RUNNING}


def running() -> tuple[Bench, pb.Object]:
    """A pod of tp-1 that runs and has said so; and as tp-1 shows it then."""
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    shown = pod_message(revision=20)
    shown.status = sent.operation.update.object.status
    bench.answer(sent, revision=20)
    bench.changed("tp-1", shown)
    return bench, shown


def copy_of(shown: pb.Object, revision: int = 5) -> pb.Object:
    copy = pb.Object()
    copy.CopyFrom(shown)
    copy.metadata.resource_version = revision
    return copy


def test_it_belongs_to_the_other_partition_once_its_own_has_forgotten_it() -> None:
    bench, shown = running()
    bench.changed("tp-2", copy_of(shown))
    assert bench.states() == RUNNING_HERE
    bench.deleted("tp-1", "uid-1", moved_to="tp-2")
    assert bench.states() == RUNNING_THERE
    assert bench.kubelet.instances == 1
    assert bench.outbox.instances is None
    assert bench.taken("tp-1") == bench.taken("tp-2") == [], "all is as it was said to be"


def test_it_is_asked_about_where_the_other_partition_was_not_heard_yet() -> None:
    bench, shown = running()
    bench.deleted("tp-1", "uid-1", moved_to="tp-2")
    assert bench.kubelet.instances == 1
    [question] = bench.outbox.questions
    assert question.partition == "tp-2"
    bench.kubelet.pod_found(question.pod, "tp-2", copy_of(shown), bench.now)
    assert bench.states() == RUNNING_THERE
    bench.changed("tp-2", copy_of(shown))
    assert bench.kubelet.instances == 1


def test_it_ends_where_the_other_partition_says_that_it_is_gone() -> None:
    bench, _ = running()
    bench.deleted("tp-1", "uid-1", moved_to="tp-2")
    bench.say_gone()
    assert bench.states() == {}
    assert bench.kubelet.room.used["cpu"] == 0


def test_what_is_missing_from_a_full_view_is_asked_about_before_it_is_stopped() -> None:
    bench, shown = running()
    bench.kubelet.view_started("tp-1")
    bench.kubelet.view_complete("tp-1", bench.now)
    assert bench.kubelet.instances == 1
    [question] = bench.outbox.questions
    assert question.partition == "tp-1"
    bench.kubelet.pod_found(question.pod, "tp-2", copy_of(shown), bench.now)
    assert bench.states() == RUNNING_THERE


def test_an_answer_that_comes_late_does_not_count() -> None:
    bench, shown = running()
    bench.kubelet.view_started("tp-1")
    bench.kubelet.view_complete("tp-1", bench.now)
    [question] = bench.outbox.questions
    bench.changed("tp-1", copy_of(shown, 30))
    bench.kubelet.pod_found(question.pod, "tp-1", None, bench.now)
    assert bench.states() == RUNNING_HERE


def test_a_move_that_was_undone_changes_nothing() -> None:
    bench, shown = running()
    bench.changed("tp-2", copy_of(shown))
    bench.deleted("tp-2", "uid-1", moved_to="tp-1")
    assert bench.states() == RUNNING_HERE
    assert not bench.outbox.questions


def test_a_status_that_was_refused_while_the_tenant_was_frozen_is_written_to_the_other_partition() -> None:
    bench = Bench()
    pending = pod_message()
    bench.changed("tp-1", pending)
    [sent] = bench.take("tp-1")
    bench.answer(sent, error="ServiceUnavailable")
    bench.changed("tp-2", copy_of(pending))
    bench.deleted("tp-1", "uid-1", moved_to="tp-2")
    assert bench.taken("tp-1") == []
    [(uid, status)] = bench.taken("tp-2")
    assert (uid, status["phase"]) == ("uid-1", "Running")


def test_the_old_partition_s_answer_says_nothing_about_the_new_one() -> None:
    bench = Bench()
    pending = pod_message()
    bench.changed("tp-1", pending)
    [sent] = bench.take("tp-1")
    bench.changed("tp-2", copy_of(pending))
    bench.deleted("tp-1", "uid-1", moved_to="tp-2")
    bench.answer(sent, revision=1000)
    [(_, status)] = bench.taken("tp-2")
    assert status["phase"] == "Running"
    [pod] = bench.kubelet.pods()
    assert pod.acknowledged_revision == 0


def test_a_deletion_under_way_is_confirmed_where_the_pod_is_by_then() -> None:
    bench, shown = running()
    deleting = copy_of(shown, 21)
    deleting.metadata.deletion_ms, deleting.metadata.deletion_grace_seconds = 1, 30
    bench.changed("tp-1", deleting)
    [sent] = bench.take("tp-1")
    bench.answer(sent, error="NotFound")  # The tenant has moved.
    bench.changed("tp-2", copy_of(deleting))
    bench.deleted("tp-1", "uid-1", moved_to="tp-2")
    assert bench.taken("tp-2") == [("uid-1", None)]


def test_another_pod_of_its_name_in_the_old_partition_is_another_pod() -> None:
    bench, shown = running()
    bench.changed("tp-2", copy_of(shown))
    bench.deleted("tp-1", "uid-1", moved_to="tp-2")
    bench.changed("tp-1", pod_message(uid="uid-2", revision=40))
    assert bench.states() == {**RUNNING_THERE, ("tp-1", "uid-2"): State.RUNNING}


def test_a_kubelet_that_starts_amid_a_move_runs_it_once() -> None:
    for first, second in itertools.permutations(("tp-1", "tp-2")):
        _, shown = running()
        bench = Bench(synced=False)
        bench.view(first, copy_of(shown))
        bench.view(second, copy_of(shown))
        assert bench.kubelet.instances == 1
        bench.deleted("tp-1", "uid-1", moved_to="tp-2")
        assert bench.states() == RUNNING_THERE
        assert bench.kubelet.instances == 1


def test_a_new_pod_waits_for_the_room_of_one_that_is_asked_about() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message("old", "uid-1", cpu="800m"))
    bench.acknowledge("tp-1")
    bench.kubelet.view_started("tp-1")
    bench.changed("tp-1", pod_message("new", "uid-2", cpu="800m"))
    bench.kubelet.view_complete("tp-1", bench.now)
    assert bench.taken("tp-1") == []
    bench.say_gone()
    assert bench.states() == {("tp-1", "uid-2"): State.RUNNING}


def test_it_waits_no_longer_when_the_other_one_has_ended_before_the_answer() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message("old", "uid-1", cpu="800m"))
    bench.kubelet.view_started("tp-1")
    bench.changed("tp-1", pod_message("new", "uid-2", cpu="800m"))
    bench.kubelet.view_complete("tp-1", bench.now)
    bench.deleted("tp-1", "uid-1")
    bench.say_gone()
    assert bench.states() == {("tp-1", "uid-2"): State.RUNNING}


def test_a_partition_that_is_removed_leaves_its_pods_to_the_one_that_has_them() -> None:
    bench, shown = running()
    bench.changed("tp-2", copy_of(shown))
    bench.kubelet.partition_removed("tp-1", bench.now)
    assert bench.states() == RUNNING_THERE


# What a kubelet may hear of a move, from each partition in its own order.
_SOURCE: list[Callable[[Bench, pb.Object], None]] = [
    lambda bench, _: bench.deleted("tp-1", "uid-1", moved_to="tp-2"),
    lambda bench, _: bench.kubelet.view_started("tp-1"),
    lambda bench, _: bench.kubelet.view_complete("tp-1", bench.now),
]
_TARGET: list[Callable[[Bench, pb.Object], None]] = [
    lambda bench, shown: bench.changed("tp-2", copy_of(shown, 5)),
    lambda bench, _: bench.kubelet.view_started("tp-2"),
    lambda bench, shown: bench.changed("tp-2", copy_of(shown, 6)),
    lambda bench, _: bench.kubelet.view_complete("tp-2", bench.now),
]


@given(st.data())
def test_in_whatever_order_it_hears_of_it_the_pod_never_stops_and_never_runs_twice(data: st.DataObject) -> None:
    bench, shown = running()
    source = _SOURCE[:1] if data.draw(st.booleans()) else _SOURCE[1:]
    target = _TARGET[:1] if data.draw(st.booleans()) else _TARGET[1:]
    [pod] = bench.kubelet.pods()
    while source or target or bench.outbox.questions:
        choices = [name for name, left in (("source", source), ("target", target)) if left]
        choices += ["answer"] if bench.outbox.questions else []
        choice = data.draw(st.sampled_from(choices))
        if choice == "answer":
            question = bench.outbox.questions.pop(0)
            bench.kubelet.pod_found(question.pod, "tp-2", copy_of(shown), bench.now)
        else:
            act, *rest = source if choice == "source" else target
            source, target = (rest, target) if choice == "source" else (source, rest)
            act(bench, shown)
        assert bench.kubelet.pods() == [pod]
        assert pod.state is State.RUNNING
        assert bench.kubelet.instances == 1
    assert bench.states() == RUNNING_THERE
