"""What a kubelet does with what it is told."""

from __future__ import annotations

from random import Random

import pytest
from ursa.clients.kubelet import HollowNodesOptions, hollow_node
from ursa.clients.kubelet.core import RETRY_SECONDS_MAX, RETRY_SECONDS_MIN
from ursa.clients.kubelet.pod import State
from ursa.proto.objects import decode, format_time

from .core_bench import HOME, NODE, NOW, Bench, pod_message

NOW_TEXT = format_time(round(NOW * 1000))


def test_a_bound_pod_runs_at_once_with_the_status_of_a_real_one() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [(uid, status)] = bench.taken("tp-1")
    assert uid == "uid-1"
    assert status["phase"] == "Running"
    assert {condition["type"]: condition["status"] for condition in status["conditions"]} == dict.fromkeys(
        ("Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    assert status["startTime"] == NOW_TEXT
    assert status["hostIP"] == bench.kubelet._address != ""
    [container] = status["containerStatuses"]
    assert (container["name"], container["image"], container["ready"]) == ("main", "app:1", True)
    assert container["state"] == {"running": {"startedAt": NOW_TEXT}}


def test_addresses_are_unique_on_a_node_and_the_same_in_another_run() -> None:
    def addresses() -> list[str]:
        bench = Bench(node=hollow_node(NODE))
        for number in range(5):
            bench.changed("tp-1", pod_message(f"web-{number}", f"uid-{number}"))
        return [status["podIP"] for _, status in bench.taken("tp-1")]

    assert len(dict.fromkeys(addresses())) == 5
    assert addresses() == addresses()


def test_a_status_is_written_to_the_partition_the_pod_came_from() -> None:
    bench = Bench()
    bench.changed("tp-2", pod_message())
    assert bench.taken("tp-1") == []
    assert [uid for uid, _ in bench.taken("tp-2")] == ["uid-1"]


def test_pods_of_one_name_in_two_partitions_are_two_pods() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message(uid="uid-1"))
    bench.changed("tp-2", pod_message(uid="uid-2"))
    assert bench.kubelet.instances == 2
    bench.acknowledge("tp-1")
    bench.acknowledge("tp-2")
    bench.changed("tp-1", pod_message(uid="uid-1", deletion_ms=1))
    assert bench.taken("tp-1") == [("uid-1", None)]
    assert bench.taken("tp-2") == []
    assert bench.states() == {("tp-1", "uid-1"): State.STOPPED, ("tp-2", "uid-2"): State.RUNNING}
    bench.deleted("tp-1", "uid-1")
    assert bench.states() == {("tp-2", "uid-2"): State.RUNNING}


def test_pods_of_one_uid_and_two_names_are_two_pods() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message(uid="uid-1"))
    bench.changed("tp-2", pod_message("other", uid="uid-1"))
    assert bench.kubelet.instances == 2
    bench.deleted("tp-1", "uid-1")
    assert bench.states() == {("tp-2", "uid-1"): State.RUNNING}


def test_another_uid_under_the_same_name_is_another_pod() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message(uid="uid-1"))
    bench.changed("tp-1", pod_message(uid="uid-2", revision=12))
    assert bench.states() == {("tp-1", "uid-2"): State.RUNNING}
    assert bench.kubelet.instances == 1
    assert [uid for uid, _ in bench.taken("tp-1")] == ["uid-2"]


def test_the_echo_of_its_own_write_is_not_answered_by_another() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    echo = pod_message(revision=11)
    echo.status = sent.operation.update.object.status
    bench.changed("tp-1", echo)  # The watch may be faster than the answer,
    bench.answer(sent, revision=11)
    bench.changed("tp-1", echo)  # or slower.
    bench.changed("tp-1", pod_message(revision=9))  # Older news never count.
    assert bench.taken("tp-1") == []


@pytest.mark.parametrize("acknowledged_first", [True, False])
def test_a_foreign_status_is_corrected(acknowledged_first: bool) -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    foreign = pod_message(phase="Running", status={"conditions": []}, revision=12)
    if acknowledged_first:
        bench.answer(sent, revision=11)
    bench.changed("tp-1", foreign)
    if not acknowledged_first:
        bench.answer(sent, revision=11)
    assert bench.taken("tp-1") == [("uid-1", decode(sent.operation.update.object.status))]


def test_a_foreign_status_that_came_before_its_own_is_not() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    bench.changed("tp-1", pod_message(status={"conditions": []}, revision=11))
    bench.answer(sent, revision=12)
    assert bench.taken("tp-1") == []


def test_a_pod_that_somebody_else_has_declared_failed_stops() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    bench.acknowledge("tp-1", revision=11)
    bench.changed("tp-1", pod_message(phase="Failed", revision=12))
    assert bench.kubelet.instances == 0
    assert bench.kubelet.room.used == {"cpu": 0, "memory": 0, "pods": 0}
    assert bench.taken("tp-1") == []


def test_a_final_status_that_its_own_write_has_run_over_is_written_again() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    bench.changed("tp-1", pod_message(phase="Failed", revision=11))
    bench.answer(sent, revision=12)  # The API now shows a Running pod that does not run.
    assert bench.taken("tp-1") == [("uid-1", {"phase": "Failed"})]


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ({"cpu": "1100m"}, "OutOfcpu"),
        ({"memory": "2Gi"}, "OutOfmemory"),
        ({"ursa.dev/gpu-milli": 500}, "OutOfursa.dev/gpu-milli"),
    ],
)
def test_a_pod_without_room_is_refused(requests: dict[str, str], reason: str) -> None:
    bench = Bench()
    container = {"name": "main", "image": "app", "resources": {"requests": requests}}
    bench.changed("tp-1", pod_message(containers=[container]))
    [(_, status)] = bench.taken("tp-1")
    assert (status["phase"], status["reason"]) == ("Failed", reason)
    assert "requested" in status["message"]
    assert bench.kubelet.instances == 0
    assert not any(bench.kubelet.room.used.values())
    assert bench.outbox.rejections == {reason: 1}


def test_room_is_shared_by_the_pods_of_all_partitions() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message("a", "uid-1", cpu="600m"))
    bench.changed("tp-2", pod_message("b", "uid-2", cpu="600m"))
    [(_, status)] = bench.taken("tp-2")
    assert status["reason"] == "OutOfcpu"
    bench.changed("tp-1", pod_message("a", "uid-1", cpu="600m", deletion_ms=1))
    bench.changed("tp-2", pod_message("c", "uid-3", cpu="600m"))
    assert bench.states()["tp-2", "uid-3"] is State.RUNNING


def test_a_node_takes_no_more_pods_than_it_says() -> None:
    bench = Bench()
    for number in range(5):
        bench.changed("tp-1", pod_message(f"web-{number}", f"uid-{number}"))
    assert [status.get("reason") for _, status in bench.taken("tp-1")] == [None] * 4 + ["OutOfpods"]


def test_extended_resources_are_counted() -> None:
    bench = Bench(node=hollow_node(NODE, extended={"ursa.dev/gpu-milli": 1000}))
    for number in range(3):
        container = {"name": "main", "image": "app", "resources": {"requests": {"ursa.dev/gpu-milli": 500}}}
        bench.changed("tp-1", pod_message(f"web-{number}", f"uid-{number}", containers=[container]))
    assert [status["phase"] for _, status in bench.taken("tp-1")] == ["Running", "Running", "Failed"]


def test_init_containers_need_room_one_at_a_time() -> None:
    bench = Bench()
    init = [{"name": f"init-{n}", "image": "app", "resources": {"requests": {"cpu": "700m"}}} for n in range(2)]
    bench.changed("tp-1", pod_message(initContainers=init))
    assert bench.kubelet.room.used["cpu"] == 700


def test_a_node_selector_must_match() -> None:
    bench = Bench(node=hollow_node(NODE, labels={"disk": "ssd"}))
    bench.changed("tp-1", pod_message("a", "uid-1", nodeSelector={"disk": "ssd"}))
    bench.changed("tp-1", pod_message("b", "uid-2", nodeSelector={"disk": "tape"}))
    assert [status.get("reason") for _, status in bench.taken("tp-1")] == [None, "NodeAffinity"]


def test_a_pod_of_another_node_is_left_alone() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message("a", "uid-1", node="node-2"))
    bench.changed("tp-1", pod_message("b", "uid-2", home="rp-2"))  # A node of our name in another partition.
    assert bench.states() == {}
    assert bench.taken("tp-1") == []


def test_requests_that_cannot_be_read_refuse_the_pod_and_harm_nobody_else() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message("a", "uid-1", cpu="lots"))
    bench.changed("tp-1", pod_message("b", "uid-2"))
    assert [status.get("reason") for _, status in bench.taken("tp-1")] == ["UnexpectedAdmissionError", None]


def test_a_start_delay_is_waited_for_and_holds_the_room() -> None:
    bench = Bench(HollowNodesOptions(start_delay_seconds=2.0))
    bench.changed("tp-1", pod_message(cpu="600m"))
    bench.changed("tp-1", pod_message("b", "uid-2", cpu="600m"))
    bench.pass_time(1.9)
    assert [uid for uid, _ in bench.taken("tp-1")] == ["uid-2"]  # Refused.
    bench.pass_time(0.1)
    [(uid, status)] = bench.taken("tp-1")
    assert (uid, status["startTime"]) == ("uid-1", NOW_TEXT)
    assert status["containerStatuses"][0]["state"]["running"]["startedAt"] == format_time(round((NOW + 2) * 1000))


def test_a_start_delay_can_be_drawn_from_a_range() -> None:
    bench = Bench(HollowNodesOptions(start_delay_seconds=(1.0, 3.0)), random=Random(7))
    for number in range(4):
        bench.changed("tp-1", pod_message(f"web-{number}", f"uid-{number}"))
    waits = [timer.when - NOW for timer in bench.outbox.timers]
    assert len(dict.fromkeys(waits)) == 4
    assert all(1.0 <= wait <= 3.0 for wait in waits)


def test_a_pod_deleted_before_it_started_never_runs() -> None:
    bench = Bench(HollowNodesOptions(start_delay_seconds=2.0))
    bench.changed("tp-1", pod_message())
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    assert bench.acknowledge("tp-1") == [("uid-1", None)]
    bench.pass_time(10)
    assert bench.kubelet.instances == 0
    assert bench.taken("tp-1") == []


def test_a_stopping_pod_keeps_its_room_until_it_has_stopped() -> None:
    bench = Bench(HollowNodesOptions(stop_delay_seconds=5.0))
    bench.changed("tp-1", pod_message())
    bench.acknowledge("tp-1")
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    bench.pass_time(4.9)
    assert bench.kubelet.room.used["cpu"] == 100
    assert bench.taken("tp-1") == []
    bench.pass_time(0.1)
    assert bench.kubelet.room.used["cpu"] == 0
    assert bench.taken("tp-1") == [("uid-1", None)]


def test_the_timer_of_an_earlier_state_does_not_count() -> None:
    bench = Bench(HollowNodesOptions(stop_delay_seconds=5.0))
    bench.changed("tp-1", pod_message(restartPolicy="Never", annotations={"ursa.dev/run-seconds": "3"}))
    bench.acknowledge("tp-1")
    bench.pass_time(2)
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    bench.pass_time(1)
    assert bench.states() == {("tp-1", "uid-1"): State.STOPPING}


def test_a_pod_gets_no_longer_than_its_grace_period_to_stop() -> None:
    bench = Bench(HollowNodesOptions(stop_delay_seconds=50.0))
    bench.changed("tp-1", pod_message())
    bench.acknowledge("tp-1")
    bench.changed("tp-1", pod_message(deletion_ms=1, grace_seconds=3, revision=11))
    bench.pass_time(3)
    assert bench.taken("tp-1") == [("uid-1", None)]


def test_a_stopping_pod_that_is_then_deleted_without_grace_stops_now() -> None:
    bench = Bench(HollowNodesOptions(stop_delay_seconds=50.0))
    bench.changed("tp-1", pod_message())
    bench.acknowledge("tp-1")
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    bench.changed("tp-1", pod_message(deletion_ms=1, grace_seconds=0, revision=12))
    assert bench.taken("tp-1") == [("uid-1", None)]


def test_a_running_status_on_its_way_does_not_hide_a_deletion() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [status] = bench.take("tp-1")
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    bench.answer(status, revision=12)
    assert bench.taken("tp-1") == [("uid-1", None)]


def test_a_deleted_pod_that_a_finalizer_keeps_is_deleted_once() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    assert bench.acknowledge("tp-1") == [("uid-1", None)]
    bench.changed("tp-1", pod_message(deletion_ms=1, grace_seconds=0, revision=12))
    assert bench.taken("tp-1") == []


def test_a_vanished_pod_frees_its_room_at_once() -> None:
    bench = Bench(HollowNodesOptions(stop_delay_seconds=50.0))
    bench.changed("tp-1", pod_message())
    bench.deleted("tp-1", "uid-1")
    assert bench.kubelet.instances == 0
    assert bench.kubelet.room.used["cpu"] == 0
    assert bench.taken("tp-1") == []


def test_an_answer_about_a_vanished_pod_changes_nothing() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    bench.deleted("tp-1", "uid-1")
    bench.answer(sent, revision=11)
    bench.answer(sent, error="InternalError")
    bench.pass_time(100)
    assert bench.taken("tp-1") == []


@pytest.mark.parametrize("reason", ["NotFound", "Conflict"])
def test_a_write_about_a_pod_that_is_gone_is_not_repeated(reason: str) -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    bench.answer(sent, error=reason)
    bench.pass_time(1000)
    assert bench.taken("tp-1") == []
    assert bench.states() == {("tp-1", "uid-1"): State.RUNNING}  # Until its watch says so.


def test_a_refusal_of_an_outdated_write_does_not_hold_up_the_next() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    [sent] = bench.take("tp-1")
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    bench.answer(sent, error="Conflict")
    assert bench.taken("tp-1") == [("uid-1", None)]


def test_a_refused_write_is_repeated_with_growing_pauses() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    pauses = []
    for _ in range(10):
        [sent] = bench.take("tp-1")
        bench.answer(sent, error="ServiceUnavailable")
        [timer] = bench.outbox.timers
        pauses.append(timer.when - bench.now)
        bench.pass_time(pauses[-1])
    assert RETRY_SECONDS_MIN <= pauses[0] < 2 * RETRY_SECONDS_MIN
    assert pauses[-1] >= RETRY_SECONDS_MAX
    assert bench.acknowledge("tp-1")
    bench.pass_time(1000)
    assert bench.taken("tp-1") == []


def test_a_repeated_write_is_the_one_wanted_by_then() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message())
    batch = bench.take("tp-1")
    bench.changed("tp-1", pod_message(deletion_ms=1, revision=11))
    bench.outbox.put_back(batch)  # The link was lost.
    assert bench.taken("tp-1") == [("uid-1", None)]


def test_a_pod_with_a_run_time_succeeds_and_frees_its_room() -> None:
    bench = Bench()
    job = {"restartPolicy": "Never", "annotations": {"ursa.dev/run-seconds": "60"}}
    bench.changed("tp-1", pod_message(**job))
    bench.acknowledge("tp-1")
    bench.pass_time(59)
    assert bench.kubelet.instances == 1
    bench.pass_time(1)
    [(_, status)] = bench.taken("tp-1")
    assert status["phase"] == "Succeeded"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert not any(bench.kubelet.room.used.values())


def test_a_pod_whose_exit_code_is_not_0_fails() -> None:
    bench = Bench()
    job = {"restartPolicy": "Never", "annotations": {"ursa.dev/run-seconds": "60", "ursa.dev/exit-code": "3"}}
    bench.changed("tp-1", pod_message(**job))
    bench.acknowledge("tp-1")
    bench.pass_time(60)
    [(_, status)] = bench.taken("tp-1")
    assert status["phase"] == "Failed"
    terminated = status["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (3, "Error")
    assert not any(bench.kubelet.room.used.values())


def test_containers_that_restart_on_failure_do_so_ever_later() -> None:
    bench = Bench()
    job = {"restartPolicy": "OnFailure", "annotations": {"ursa.dev/run-seconds": "5", "ursa.dev/exit-code": "1"}}
    bench.changed("tp-1", pod_message(**job))
    bench.acknowledge("tp-1")
    for restarts, seconds in enumerate((5, 10 + 5, 20 + 5), 1):
        bench.pass_time(seconds - 1)
        assert bench.taken("tp-1") == []
        bench.pass_time(1)
        [(_, status)] = bench.taken("tp-1")
        assert (status["phase"], status["containerStatuses"][0]["restartCount"]) == ("Running", restarts)
        bench.changed("tp-1", pod_message(status=status, revision=20 + restarts, **job))
    assert bench.kubelet.instances == 1


def test_a_kubelet_that_adopts_a_pod_goes_on_counting_its_restarts() -> None:
    bench = Bench()
    job = {"restartPolicy": "OnFailure", "annotations": {"ursa.dev/run-seconds": "5", "ursa.dev/exit-code": "1"}}
    status = {"phase": "Running", "containerStatuses": [{"name": "main", "restartCount": 4}]}
    bench.changed("tp-1", pod_message(status=status, **job))
    bench.pass_time(5)
    [(_, shown)] = bench.taken("tp-1")
    assert shown["containerStatuses"][0]["restartCount"] == 5


@pytest.mark.parametrize("code", ["", "256", "-1", "one", "1000000000000000000000000"])
def test_what_is_no_exit_code_is_success(code: str) -> None:
    bench = Bench()
    job = {"restartPolicy": "Never", "annotations": {"ursa.dev/run-seconds": "1", "ursa.dev/exit-code": code}}
    bench.changed("tp-1", pod_message(**job))
    bench.acknowledge("tp-1")
    bench.pass_time(1)
    assert bench.taken("tp-1")[0][1]["phase"] == "Succeeded"


@pytest.mark.parametrize(
    "spec",
    [
        {"restartPolicy": "Always", "annotations": {"ursa.dev/run-seconds": "60"}},
        {"restartPolicy": "Never"},
        {"restartPolicy": "Never", "annotations": {"ursa.dev/run-seconds": "soon"}},
    ],
)
def test_other_pods_run_on(spec: dict[str, str]) -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message(**spec))
    bench.acknowledge("tp-1")
    bench.pass_time(100_000)
    assert bench.kubelet.instances == 1


def test_a_finished_pod_is_deleted_when_asked_for() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message(phase="Failed"))
    assert bench.taken("tp-1") == []
    bench.changed("tp-1", pod_message(phase="Failed", deletion_ms=1, revision=11))
    assert bench.taken("tp-1") == [("uid-1", None)]


def test_nothing_is_concluded_from_half_a_view() -> None:
    bench = Bench(synced=False)
    bench.kubelet.view_started("tp-1")
    bench.changed("tp-1", pod_message())
    assert bench.states() == {}
    bench.kubelet.view_started("tp-1")  # The link was lost: from the beginning.
    bench.changed("tp-1", pod_message("b", "uid-2"))
    bench.kubelet.view_complete("tp-1", NOW)
    assert bench.states() == {("tp-1", "uid-2"): State.RUNNING}


def test_a_partition_that_is_away_delays_its_own_pods_only() -> None:
    bench = Bench(synced=False)
    bench.kubelet.view_started("tp-1")
    bench.view("tp-2", pod_message())
    assert bench.states() == {("tp-2", "uid-1"): State.RUNNING}


def test_a_new_view_stops_what_is_not_in_it_and_keeps_the_rest() -> None:
    bench = Bench()
    for number in range(3):
        bench.changed("tp-1", pod_message(f"web-{number}", f"uid-{number}"))
    bench.changed("tp-2", pod_message("other", "uid-9"))
    echo = pod_message("web-0", "uid-0", revision=20)
    echo.status = bench.take("tp-1")[0].operation.update.object.status
    bench.acknowledge("tp-2")
    bench.kubelet.view_started("tp-1")
    assert bench.kubelet.instances == 4
    bench.changed("tp-1", echo)
    bench.changed("tp-1", pod_message("web-1", "uid-10"))  # Deleted and created again meanwhile.
    bench.kubelet.view_complete("tp-1", bench.now)
    assert bench.kubelet.instances == 4, "it may have moved: it is asked about"
    bench.say_gone()
    assert bench.states() == dict.fromkeys([("tp-1", "uid-0"), ("tp-1", "uid-10"), ("tp-2", "uid-9")], State.RUNNING)


def test_what_was_bound_and_deleted_while_there_was_no_link_never_runs() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message("old", "uid-1"))
    bench.kubelet.resumed("tp-1")
    bench.changed("tp-1", pod_message("missed", "uid-2"))
    bench.changed("tp-1", pod_message("new", "uid-3"))
    bench.changed("tp-2", pod_message("other", "uid-4"))
    assert sorted(bench.states()) == [("tp-1", "uid-1"), ("tp-2", "uid-4")], "only tp-1 has something to tell"
    bench.changed("tp-1", pod_message("new", "uid-3", revision=11))
    bench.deleted("tp-1", "uid-1")
    bench.deleted("tp-1", "uid-2")
    assert sorted(bench.states()) == [("tp-2", "uid-4")], "a deletion is heeded at once"
    bench.kubelet.caught_up("tp-1", bench.now)
    assert bench.states() == {("tp-1", "uid-3"): State.RUNNING, ("tp-2", "uid-4"): State.RUNNING}
    bench.changed("tp-1", pod_message("more", "uid-5"))
    assert bench.states()["tp-1", "uid-5"] is State.RUNNING


def test_when_all_that_was_missed_is_told_what_runs_already_comes_first() -> None:
    """It has its room; the other one was bound later."""
    bench = Bench()
    bench.kubelet.resumed("tp-1")
    bench.changed("tp-1", pod_message("b", "uid-2", cpu="700m", created_ms=1))
    bench.changed("tp-1", pod_message("a", "uid-1", cpu="700m", created_ms=2, phase="Running"))
    bench.kubelet.caught_up("tp-1", bench.now)
    assert bench.states() == {("tp-1", "uid-1"): State.RUNNING, ("tp-1", "uid-2"): State.FINISHED}


def test_a_view_in_the_place_of_what_was_missed_is_enough() -> None:
    bench = Bench()
    bench.kubelet.resumed("tp-1")
    bench.changed("tp-1", pod_message("missed", "uid-1"))
    bench.view("tp-1", pod_message("new", "uid-2"))
    bench.changed("tp-1", pod_message("more", "uid-3"))
    assert bench.states() == {("tp-1", "uid-2"): State.RUNNING, ("tp-1", "uid-3"): State.RUNNING}


def test_a_pod_deleted_while_a_view_is_taken_is_not_brought_back() -> None:
    bench = Bench(synced=False)
    bench.kubelet.view_started("tp-1")
    bench.changed("tp-1", pod_message())
    bench.deleted("tp-1", "uid-1")
    bench.kubelet.view_complete("tp-1", NOW)
    assert bench.states() == {}


def test_a_restored_partition_gets_the_lost_writes_again() -> None:
    bench = Bench()
    bench.changed("tp-1", pod_message("a", "uid-1"))
    bench.changed("tp-1", pod_message("b", "uid-2"))
    bench.changed("tp-1", pod_message("b", "uid-2", deletion_ms=1))
    bench.acknowledge("tp-1", revision=900)
    bench.view("tp-1", pod_message("a", "uid-1", revision=5), pod_message("b", "uid-2", revision=6, deletion_ms=1))
    assert [(uid, status and status["phase"]) for uid, status in bench.taken("tp-1")] == [
        ("uid-1", "Running"),
        ("uid-2", None),
    ]


def test_a_restarted_kubelet_adopts_what_runs() -> None:
    first = Bench()
    first.changed("tp-1", pod_message("a", "uid-1", cpu="600m"))
    [sent] = first.take("tp-1")
    running = pod_message("a", "uid-1", cpu="600m", revision=11)
    running.status = sent.operation.update.object.status
    second = Bench(synced=False)
    second.now += 100
    second.view("tp-1", pod_message("b", "uid-2", cpu="600m"), running)
    # It was there first, though the new one comes first in the view.
    assert second.states() == {("tp-1", "uid-1"): State.RUNNING, ("tp-1", "uid-2"): State.FINISHED}
    assert [uid for uid, _ in second.acknowledge("tp-1")] == ["uid-2"]
    second.changed("tp-2", pod_message("c", "uid-3"))
    [(_, status)] = second.taken("tp-2")
    assert status["podIP"] != decode(running.status)["podIP"]


def test_an_adopted_pod_ends_at_its_time() -> None:
    job = {"restartPolicy": "Never", "annotations": {"ursa.dev/run-seconds": "60"}}
    bench = Bench(synced=False)
    started = {"startTime": format_time(round((NOW - 50) * 1000))}
    bench.view("tp-1", pod_message(phase="Running", status=started, **job))
    assert bench.taken("tp-1") == []
    bench.pass_time(10)
    [(_, status)] = bench.taken("tp-1")
    assert status["phase"] == "Succeeded"


def test_pods_found_at_the_start_are_taken_on_oldest_first() -> None:
    bench = Bench(synced=False)
    young = pod_message("a", "uid-1", cpu="600m", created_ms=200)
    old = pod_message("b", "uid-2", cpu="600m", created_ms=100)
    bench.view("tp-1", young, old)
    assert bench.states() == {("tp-1", "uid-2"): State.RUNNING, ("tp-1", "uid-1"): State.FINISHED}


def test_the_start_is_measured_from_the_first_sight_to_the_acknowledgement() -> None:
    bench = Bench(HollowNodesOptions(start_delay_seconds=2.0))
    bench.changed("tp-1", pod_message())
    bench.pass_time(2)
    [sent] = bench.take("tp-1")
    bench.pass_time(0.5)
    bench.answer(sent, revision=11)
    assert bench.outbox.start_seconds == [2.5]


def test_a_node_that_is_switched_off_writes_nothing_more() -> None:
    bench = Bench(HollowNodesOptions(start_delay_seconds=(0.0, 2.0)))
    for number in range(3):
        bench.changed("tp-1", pod_message(f"web-{number}", f"uid-{number}"))
    bench.kubelet.close()
    bench.pass_time(10)
    assert bench.taken("tp-1") == []
    assert bench.kubelet.instances == 0


@pytest.mark.parametrize(
    "options",
    [
        {"start_delay_seconds": -1.0},
        {"stop_delay_seconds": (3.0, 1.0)},
        {"lease_renew_seconds": 50.0},
        {"status_report_seconds": 0.0},
    ],
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        HollowNodesOptions(**options)  # type: ignore[arg-type]


def test_the_manifest_of_a_node_has_all_that_kubernetes_clients_ask_for() -> None:
    node = hollow_node(NODE, labels={"topology.kubernetes.io/zone": "a"}, extended={"ursa.dev/gpu-milli": 8000})
    assert len(node.status["nodeInfo"]) == 10
    assert all(node.status["nodeInfo"].values())
    assert node.status["allocatable"] == node.status["capacity"]
    assert node.labels["kubernetes.io/hostname"] == NODE
    assert node.labels["topology.kubernetes.io/zone"] == "a"
    assert HOME
