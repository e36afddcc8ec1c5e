"""Each judge catches what breaks its promise, and nothing else does: recordings of real runs, and spoilt ones.

A run is recorded as it is, one thing in it is changed, and exactly the promise that this breaks must be named. Where it
is the truth that is changed (the log), what clients were told is left out, for it would contradict it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object
from ursa.tools.checking.check import JUDGES, PROMISES, check
from ursa.tools.recording.records import (
    MODIFIED,
    Complete,
    Finished,
    Instance,
    Logged,
    Opened,
    Record,
    Selection,
    Watched,
    WatchStarted,
    Write,
)

from . import spoilt_acts, spoilt_answers, spoilt_moves, spoilt_truth  # noqa: F401 - each adds its cases
from .faulty_run import faulty_run
from .recorded_run import recorded_run
from .spoilt import CASES, Case, found, of, truth
from .spoilt_truth import logged, restored_and_placed, shares_of_gpus, two_lives_of_a_name


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_a_run_as_it_was_keeps_every_promise(judge: Any) -> None:
    assert check(recorded_run(), [judge]) == []
    assert judge.__doc__
    assert "**" in judge.__doc__, "it quotes its promise"


@pytest.mark.parametrize("seed", range(6))
def test_a_run_with_faults_and_a_restored_store_keeps_every_promise(seed: int) -> None:
    records = faulty_run(seed)
    assert check(records) == []
    assert {each.incarnation for each in of(Opened, records)} == {"first", "second"}


def test_namesakes_one_after_the_other_are_right() -> None:
    one, other = two_lives_of_a_name()
    assert check([*one, *other, Finished(9.0)]) == []


def test_a_pod_that_was_force_deleted_may_run_beside_its_namesake() -> None:
    one, other = two_lives_of_a_name()
    forced = [each._replace(client="user#1") if isinstance(each, Write) else each for each in one]
    still_running = [each for each in forced if not (isinstance(each, Instance) and not each.started)]
    assert check([*still_running, *other, Finished(9.0)]) == []


def test_two_pods_may_hold_two_gpus_of_one_node() -> None:
    assert check(shares_of_gpus(0, 3)) == []


def test_a_restored_partition_that_was_told_of_what_runs_may_place_beside_it() -> None:
    assert check(restored_and_placed(told=True)) == []


def test_a_kubelet_that_starts_again_adopts_what_runs() -> None:
    one, _ = two_lives_of_a_name()
    start = next(each for each in one if isinstance(each, Instance))
    assert check([start, start._replace(host="kubelet#2", time=1.6)]) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_breaks_a_promise_is_caught_by_its_name(case: Case) -> None:
    assert found(case.change()) == sorted(case.promise)


def test_every_promise_has_a_case() -> None:
    assert sorted({promise for case in CASES for promise in case.promise}) == sorted(PROMISES)


def test_the_truth_of_a_run_alone_keeps_every_promise() -> None:
    assert check(truth(recorded_run(), healed=True)) == []
    assert check(truth(faulty_run(1))) == []


# --------------------------------------------------------------------------------------- replicas, to the letter


SET, SET_KEY = "set", "/registry/replicasets.apps/t/n/s"


def asked_for(revision: int, replicas: int, *, create: int = 0) -> Logged:
    spec = Object.from_dict({"spec": {"replicas": replicas}}).message.spec
    return logged(revision, SET_KEY, pb.Object(metadata=pb.ObjectMeta(uid=SET), spec=spec), create=create)


def created(revision: int, name: str, client: str = "controller#1", call: float = 0.0) -> list[Record]:
    owner = pb.OwnerReference(api_version="apps/v1", kind="ReplicaSet", name="s", uid=SET, controller=True)
    request_id = name.encode()
    metadata = pb.ObjectMeta(uid=name, request_id=request_id, owner_references=[owner])
    key = f"/registry/pods/t/n/{name}"
    write = Write(client, "tp-1", call or revision - 0.5, 1000.0, "create", "pods", key, request_id, store="main")
    told = write._replace(incarnation="i", revision=revision, uid=name)
    return [logged(revision, key, pb.Object(metadata=metadata)), told]


def saw(revision: int, time: float, client: str = "controller#1") -> list[Record]:
    selection = Selection("replicasets.apps")
    started = WatchStarted(client, "tp-1", time - 0.1, revision, revision, selection, after=revision - 1)
    event = MODIFIED, SET_KEY, revision, revision, 0
    return [started, Watched(client, "tp-1", time, revision, revision, "main", "i", (event,))]


def replicas(*parts: Sequence[Record]) -> list[str]:
    from ursa.tools.checking.replicas import replicas_stay_within_bounds

    records = [each for part in parts for each in part]
    last = max(each.revision for each in of(Logged, records))
    return [
        each.text for each in check([*records, Complete("tp-1", "main", "i", 0, last)], [replicas_stay_within_bounds])
    ]


def test_one_pod_more_than_was_ever_asked_for_is_one_too_many() -> None:
    assert replicas([asked_for(1, 1)], created(2, "a")) == []
    assert (
        "has 2 active pods at revision 3, and asked for 1 at most"
        in replicas([asked_for(1, 1)], created(2, "a"), created(3, "b"))[0]
    )


def test_what_was_asked_for_before_counts_while_the_controller_may_not_have_seen_more() -> None:
    shrinks = [asked_for(1, 2), *created(2, "a"), asked_for(3, 1, create=1)]
    assert replicas(shrinks, created(4, "b")) == []
    assert replicas(shrinks, created(4, "b"), saw(3, 3.1)) == []


def test_what_was_asked_for_long_before_the_controller_decided_does_not_count() -> None:
    shrinks = [asked_for(1, 2), *created(2, "a"), asked_for(3, 1, create=1)]
    assert replicas(shrinks, saw(3, 3.1), created(4, "b", call=100.0))


def test_a_pod_that_a_dead_controller_had_still_on_its_way_does_not_count() -> None:
    late = created(3, "b", "controller#1")
    assert replicas([asked_for(1, 1)], late, saw(1, 1.1, "controller#2"), created(4, "c", "controller#2")) == []
    mine = created(3, "b", "controller#2")
    assert replicas([asked_for(1, 1)], mine, saw(1, 1.1, "controller#2"), created(4, "c", "controller#2"))
