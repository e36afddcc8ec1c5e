"""Watches with many initial objects wait for their turn like the lists that they are; others begin at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ursa.partitions.flow import FlowOptions, Level, costs
from ursa.partitions.watches import lane
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import TooManyRequests
from ursa.proto.kinds import Role
from ursa.proto.sessions import Caller, ServerStream

from .conftest import Partition, pod

PODS = 4


@pytest.fixture
def partition(monkeypatch: pytest.MonkeyPatch) -> Iterator[Partition]:
    """One in which four objects are many, and one user has seats for one watch of them at a time."""
    monkeypatch.setattr(lane, "OBJECTS_WITHOUT_SEAT_MAX", 2)
    monkeypatch.setattr(costs, "OBJECTS_PER_SEAT", 1)
    partition = Partition(Role.TENANT, flow_options=FlowOptions((Level("only", 10, queue_length=1),), ()))
    for number in range(PODS):
        partition.create(pod(f"p{number}"))
    yield partition
    partition.server.close()
    partition.store.close()


class Stream:
    """A Watch stream of one user, which is read when a test says so."""

    def __init__(self, partition: Partition, user: str = "a") -> None:
        self.stream: ServerStream = partition.server.open("Watch", Caller(user), lambda: None)
        self.partition = partition

    def start(self, watch_id: int, resource: str = "pods", **fields: bool) -> None:
        selection = pb.Selection(resource=resource)
        start = pb.WatchStart(id=watch_id, selection=selection, initial_events=fields.get("initial_events", True))
        self.stream.receive(pb.WatchRequest(start=[start]).SerializeToString())

    def stop(self, watch_id: int) -> None:
        self.stream.receive(pb.WatchRequest(stop=[pb.WatchStop(id=watch_id)]).SerializeToString())

    def read(self) -> dict[int, pb.WatchBatch]:
        """What there is, by watch."""
        self.partition.runtime.advance(0.0)
        batches: dict[int, pb.WatchBatch] = {}
        while (data := self.stream.take()) is not None:
            for batch in pb.WatchReply.FromString(data).batches:
                batches.setdefault(batch.id, pb.WatchBatch()).MergeFrom(batch)
        return batches


def test_a_watch_waits_until_the_initial_objects_of_another_one_have_been_taken(partition: Partition) -> None:
    first, second = Stream(partition), Stream(partition)
    first.start(1)
    second.start(1)
    assert not second.read()
    partition.create(pod("meanwhile"))
    assert len(first.read()[1].events) == PODS + 1
    batch = second.read()[1]
    assert len(batch.events) == PODS + 1
    assert batch.initial_events_end
    partition.create(pod("later"))
    assert [len(stream.read()[1].events) for stream in (first, second)] == [1, 1]


def test_other_users_and_watches_of_few_objects_or_none_do_not_wait(partition: Partition) -> None:
    Stream(partition).start(1)
    other = Stream(partition, "b")
    other.start(1)
    assert other.read()[1].initial_events_end
    same = Stream(partition)
    same.start(1, "configmaps")
    same.start(2, initial_events=False)
    assert sorted(same.read()) == [1, 2]


def test_a_watch_that_has_no_turn_ends_with_a_hint_when_to_ask_again(partition: Partition) -> None:
    first, second = Stream(partition), Stream(partition)
    first.start(1)
    second.start(1)
    second.start(2)
    error = second.read()[2].error
    assert (error.reason, error.retry_after_ms) == (TooManyRequests.reason, 1000)
    partition.runtime.advance(8.0)
    assert second.read()[1].error.causes[0].reason == "time-out"


def test_a_watch_that_is_stopped_while_it_waits_never_begins_and_leaves_its_place(partition: Partition) -> None:
    first, second = Stream(partition), Stream(partition)
    first.start(1)
    second.start(1)
    second.stop(1)
    second.start(1)
    second.stop(1)
    first.read()
    assert not second.read()


def test_a_stream_that_closes_gives_back_its_seats_and_its_places(partition: Partition) -> None:
    first, second, third = (Stream(partition) for _ in range(3))
    first.start(1)
    second.start(1)
    second.stream.close()
    first.stream.close()
    third.start(1)
    assert third.read()[1].initial_events_end
    assert partition.server.status().watches == 1


def test_a_waiting_watch_keeps_its_id_and_its_stream(partition: Partition) -> None:
    first, second = Stream(partition), Stream(partition)
    first.start(1)
    second.start(7)
    with pytest.raises(Exception, match="watch id 7 is zero or in use"):
        second.start(7)
    second.stream.end_requests()
    assert not second.stream.finished


def test_who_never_reads_loses_his_seats_and_not_his_watch(partition: Partition) -> None:
    first, second = Stream(partition), Stream(partition)
    first.start(1)
    partition.runtime.advance(61.0)
    second.start(1)
    assert second.read()[1].initial_events_end
    assert first.read()[1].initial_events_end
