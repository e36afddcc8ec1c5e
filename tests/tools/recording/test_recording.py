"""What a recording holds of a run, and that recording changes nothing of it."""

from __future__ import annotations

from collections import Counter
from math import inf
from pathlib import Path
from typing import Any

import pytest
import ursa
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import InputError
from ursa.tools.determinism import Trace, first_difference, seeded_run
from ursa.tools.recording import Recorder, read_recording, write_recording
from ursa.tools.recording.notes import Direction, Link, Notes
from ursa.tools.recording.records import (
    KINDS,
    Complete,
    Finished,
    Get,
    Instance,
    Listed,
    Logged,
    Record,
    View,
    Watched,
    WatchStarted,
    Write,
)
from ursa.tools.recording.transcript import Transcript

from .recorded_run import recorded_run, workload


def of(kind: type[Record], records: tuple[Record, ...] | None = None) -> list[Any]:
    return [record for record in records or recorded_run() if isinstance(record, kind)]


# ------------------------------------------------------------------------------------------------------------ a run


def test_every_acknowledged_write_is_in_the_log_under_its_id() -> None:
    logged = {
        (each.partition, each.store, each.incarnation, each.revision): pb.Object.FromString(each.data)
        for each in of(Logged)
        if each.key.startswith("/registry/")
    }
    writes = of(Write)
    assert len(writes) > 200
    acknowledged = [write for write in writes if write.code == 200]
    assert len(acknowledged) > 0.9 * len(writes)  # Some pods go before they are bound.
    for write in acknowledged:
        found = logged[write.partition, write.store, write.incarnation, write.revision]
        assert found.metadata.request_id == write.request_id
        assert write.call < write.ret < inf


def test_all_pages_of_a_list_are_one() -> None:
    paged = [each for each in of(Listed) if len(each.items) > 2 and not each.selection.label_selector]
    assert any(each.complete and each.match == "consistent" for each in paged)
    assert all(each.incarnation and each.revision for each in paged)


def test_pages_without_the_last_are_said_to_be_so() -> None:
    assert {len(each.items) for each in of(Listed) if not each.complete} == {4}


def test_clients_bear_the_number_of_their_life() -> None:
    recorder = Recorder(lambda: 0.0)
    assert [recorder.life_of("a"), recorder.life_of("b"), recorder.life_of("a")] == ["a#1", "b#1", "a#2"]
    assert {"user#1", "scheduler-tp-1#1", "hollow-nodes-rp-2#1"} <= {each.client for each in of(Write)}


def test_watches_gets_views_and_the_instances_of_pods_are_there() -> None:
    counts = Counter(type(each) for each in recorded_run())
    assert all(counts[kind] for kind in (Watched, WatchStarted, Get, View, Complete))
    assert isinstance(recorded_run()[-1], Finished)
    running: dict[tuple[str, str], int] = {}
    for instance in of(Instance):
        name = instance.pod_partition, instance.uid
        running[name] = running.get(name, 0) + (1 if instance.started else -1)
        assert running[name] in (0, 1)
    assert sum(running.values()) == 11


def test_a_bookmark_comes_behind_all_events_of_its_message() -> None:
    newest: dict[tuple[int, str], int] = {}
    for told in of(Watched):
        lane = told.stream, told.store
        assert all(event[3] > newest.get(lane, 0) for event in told.events if not told.initial_end)
        newest[lane] = max(newest.get(lane, 0), told.bookmark)


def test_recording_changes_nothing_of_a_run() -> None:
    def trace(recorder: Recorder | None) -> list[str]:
        lines = Trace()

        async def main() -> None:
            async with ursa.Cluster(
                nodes=4, processes=False, seed=3, latency_seconds=(0.0001, 0.002), trace=lines, recorder=recorder
            ) as cluster:
                await cluster.apply(workload("ReplicaSet", "default", 4))
                await cluster.wait_for_pods(4)

        seeded_run(3, main)
        return lines.lines

    difference = first_difference(trace(None), trace(Recorder()))
    assert not difference, difference


# ------------------------------------------------------------------------------------------------------- the writes


class Script:
    """Notes made by hand: batches of one client on streams of a partition."""

    def __init__(self) -> None:
        self._transcript = Transcript()
        self._notes = Notes(lambda: 0.0)
        self._last: Link | None = None
        self.records: list[Record] = []

    def open(self) -> Link:
        return self._notes.link("c#1", "tp-1", "Mutate")

    def send(self, link: Link, batch: int, *ids: bytes) -> None:
        operations = [
            pb.Operation(
                resource="pods",
                request_id=request_id,
                delete=pb.Delete(target=pb.GetRequest(tenant="t", namespace="n", name="p")),
            )
            for request_id in ids
        ]
        self._note(link, Direction.SENT, (batch, pb.MutateRequest(operations=operations)))

    def answer(self, link: Link, reply: pb.MutateReply) -> None:
        self._note(link, Direction.RECEIVED, [reply])

    def close(self, link: Link) -> None:
        self._note(link, Direction.CLOSED, None)

    def end(self) -> list[Any]:
        self.records += self._transcript.close()
        return self.records

    def _note(self, link: Link, direction: Direction, what: Any) -> None:
        self._notes.note(link, direction, what)
        self.records += self._transcript.read(self._notes.take())


def done(batch: int, revision: int = 7) -> pb.MutateReply:
    return pb.MutateReply(batch=batch, results=[pb.Result(resource_version=revision)], position="i:9")


def no_turn(batch: int) -> pb.MutateReply:
    status = pb.Status(code=429, reason="TooManyRequests", causes=[pb.Cause(reason="queue-full")])
    return pb.MutateReply(batch=batch, results=[pb.Result(error=status)])


def test_a_write_that_was_sent_twice_is_one_from_its_first_call_on() -> None:
    script = Script()
    first, second = script.open(), script.open()
    script.send(first, 1, b"id")
    script.close(first)
    script.send(second, 2, b"id")
    script.answer(second, done(2))
    [write] = script.end()
    assert (write.code, write.revision, write.incarnation, write.key) == (200, 7, "i", "/registry/pods/t/n/p")
    assert write.call < write.ret < inf


def test_a_write_whose_answer_never_came_is_unknown() -> None:
    script = Script()
    link = script.open()
    script.send(link, 1, b"id", b"")
    script.close(link)
    found = script.end()
    assert [(write.code, write.ret) for write in found] == [(0, inf)] * 2


def test_a_write_that_the_partition_has_forgotten_is_unknown() -> None:
    script = Script()
    link = script.open()
    script.send(link, 1, b"id")
    script.answer(link, pb.MutateReply(batch=1, forgotten=True))
    [write] = script.end()
    assert (write.code, write.ret) == (0, inf)


def test_a_write_that_had_no_turn_may_be_sent_again() -> None:
    script = Script()
    link = script.open()
    script.send(link, 1, b"id")
    script.answer(link, no_turn(1))
    assert script.records == []
    script.send(link, 2, b"id")
    script.answer(link, done(2))
    [write] = script.end()
    assert write.code == 200


@pytest.mark.parametrize("lost", [False, True])
def test_a_write_that_never_had_a_turn_was_refused_unless_an_answer_was_lost_before(lost: bool) -> None:
    script = Script()
    link = script.open()
    if lost:
        script.send(link, 1, b"id")
        script.close(link)
        link = script.open()
    script.send(link, 2, b"id")
    script.answer(link, no_turn(2))
    [write] = script.end()
    assert write.code == (0 if lost else 429)


# -------------------------------------------------------------------------------------------------------- the file


def test_a_file_has_the_records_as_they_were(tmp_path: Path) -> None:
    write_recording(tmp_path / "run", recorded_run())
    assert tuple(read_recording(tmp_path / "run")) == recorded_run()
    assert len({kind.__name__ for kind in KINDS}) == len(KINDS)


def read_all(path: Path) -> None:
    for _ in read_recording(path):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no recording of Ursa"),
        (b"some text", "no recording of Ursa"),
        (b"\x82\xa6format\xaeursa-recording\xa7version\x09", "of version 9"),
        (b"\x82\xa6format\xaeursa-recording\xa7version\x01\xc1", "behind record 0 it is damaged"),
        (b"\x82\xa6format\xaeursa-recording\xa7version\x01\x92\x63\x90", "behind record 0 it is damaged"),
        (b"\x82\xa6format\xaeursa-recording\xa7version\x01\x92\x0b", "cut off behind record 0"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "run"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_all(path)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    write_recording(path, recorded_run()[:30])
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut off|no recording of Ursa"):
            read_all(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_all(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be written"):
        write_recording(tmp_path / "none" / "run", ())
