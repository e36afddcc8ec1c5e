from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, encode
from ursa.tools.load.observer import RUNNING_STATUS, PodObserver

ADDED, MODIFIED, DELETED = pb.WatchEvent.ADDED, pb.WatchEvent.MODIFIED, pb.WatchEvent.DELETED


class Clock:
    now_ms = 1000

    def __call__(self) -> int:
        return self.now_ms


def event(kind, uid="a", phase="Pending", node="", creation_ms=900, extra_status=None) -> pb.WatchEvent:
    spec = {"containers": [{"name": "c", "image": "nodeName phase Running"}], **({"nodeName": node} if node else {})}
    status = {"startTime": "x", "phase": phase, "podIP": "10.0.0.1", **(extra_status or {})}
    pod = Object(pb.Object(metadata=pb.ObjectMeta(uid=uid, name=uid, creation_ms=creation_ms)))
    return pb.WatchEvent(type=kind, object=pod.with_spec(spec).with_status(status).message)


def counts(observer: PodObserver) -> tuple[int, int, int, int]:
    return observer.created, observer.bound, observer.running, observer.waiting


def test_the_three_moments_of_a_pod():
    clock = Clock()
    observer = PodObserver(clock)
    observer.on_events([event(ADDED)])
    assert counts(observer) == (1, 0, 0, 1)
    clock.now_ms = 1010
    observer.on_events([event(MODIFIED, node="n1")])
    assert counts(observer) == (1, 1, 0, 0)
    clock.now_ms = 1020
    observer.on_events([event(MODIFIED, node="n1", phase="Running")])
    assert counts(observer) == (1, 1, 1, 0)
    clock.now_ms = 9999
    observer.on_events([event(MODIFIED, node="n1", phase="Running")])
    timeline = observer.timeline
    assert timeline.created_ms.tolist() == [900]
    assert timeline.bound_ms.tolist() == [1010]
    assert timeline.running_ms.tolist() == [1020]
    assert observer.running_ms("a") == 1020
    assert observer.running_ms("b") == 0


def test_a_pod_first_seen_when_it_runs_is_bound_and_running_at_once():
    observer = PodObserver(Clock())
    observer.on_events([event(ADDED, node="n1", phase="Running")])
    assert counts(observer) == (1, 1, 1, 0)


def test_words_in_other_places_are_not_mistaken_for_the_state():
    observer = PodObserver(Clock())
    observer.on_events(
        [event(ADDED, extra_status={"message": "phase: Running", "reason": "phase\N{SECTION SIGN}Running"})]
    )
    assert counts(observer) == (1, 0, 0, 1)


def test_the_running_mark_is_in_every_status_that_is_running_and_in_no_other():
    for status in ({"phase": "Running"}, {"a": 1, "phase": "Running", "z": [1]}):
        assert RUNNING_STATUS in encode(status)
    for status in ({"phase": "RunningLate"}, {"phase": "Pending"}, {"Phase": "Running"}, {"phases": "Running"}, {}):
        assert RUNNING_STATUS not in encode(status)


def test_a_deleted_pod_counts_no_more_but_stays_in_the_timeline():
    observer = PodObserver(Clock())
    observer.on_events([event(ADDED, node="n1", phase="Running"), event(ADDED, uid="b")])
    observer.on_events([event(DELETED, node="n1", phase="Running"), event(DELETED, uid="b"), event(DELETED, uid="b")])
    assert counts(observer) == (0, 0, 0, 0)
    assert observer.ever == (2, 1, 1)
    assert observer.present == []
    assert len(observer.timeline.created_ms) == 2


def test_a_pod_that_failed_after_it_ran_runs_no_more():
    observer = PodObserver(Clock())
    observer.on_events([event(ADDED, node="n1", phase="Running"), event(MODIFIED, node="n1", phase="Failed")])
    observer.on_events([event(MODIFIED, node="n1", phase="Failed"), event(DELETED, node="n1", phase="Failed")])
    assert observer.running == 0
    assert observer.ever == (1, 1, 1)
    assert observer.running_ms("a") == 1000


def test_what_a_restarted_watch_sends_again_is_known_already():
    observer = PodObserver(Clock())
    observer.on_events([event(ADDED, node="n1", phase="Running")])
    observer.restart()
    observer.on_events([event(ADDED, node="n1", phase="Running"), event(ADDED, uid="b")])
    assert counts(observer) == (2, 1, 1, 1)
    assert observer.present == ["a", "b"]
    assert observer.gaps == 1
