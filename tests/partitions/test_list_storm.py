"""A client that lists everything, again and again, many times at once, does not make another client's writes slow.

The loop is imitated: in each turn every stream that has something to send sends one chunk, as a front end does, and the
turn takes as long as that takes on a real machine. A write needs a few turns, whatever else is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from ursa.partitions.flow import UNLIMITED, FlowOptions, costs
from ursa.partitions.reads import listing
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, TooManyRequests
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller, ServerStream

from .conftest import Partition, pod

LISTS = 32
PODS = 100
TURN_SECONDS = 0.001
CHUNK_SECONDS = 0.0004


class Storm:
    """Lists of one user, each begun anew when it has ended."""

    def __init__(self, partition: Partition, lists: int) -> None:
        self._partition = partition
        self._streams: list[ServerStream | None] = [None] * lists
        self.read = 0
        self.refused = 0

    def turn(self) -> None:
        for place, stream in enumerate(self._streams):
            try:
                self._streams[place] = self._one_chunk(stream or self._begin())
            except TooManyRequests:
                self.refused += 1
                self._streams[place] = None

    def _begin(self) -> ServerStream:
        stream = self._partition.server.open("List", Caller("storm"), lambda: None)
        stream.receive(pb.ListRequest(selection=pb.Selection(resource="configmaps")).SerializeToString())
        return stream

    def _one_chunk(self, stream: ServerStream) -> ServerStream | None:
        if stream.take() is not None:
            self._partition.runtime.advance(CHUNK_SECONDS)
        if stream.finished:
            self.read += 1
            return None
        return stream


def write_seconds(partition: Partition, storm: Storm | None, writes: int) -> list[float]:
    """How long each write took, from its arrival until it was durable and answered."""
    partition.committer.automatic = False
    seconds = []
    for number in names:
        if len(seconds) == writes:
            break
        operation = pb.Operation(resource="pods")
        operation.create.object.CopyFrom(Object.from_dict(pod(f"pod-{number}")).message)
        request = pb.MutateRequest(operations=[operation]).SerializeToString()
        answers: list[bytes | ApiError] = []
        asked = partition.runtime.now
        partition.server.call("Write", request, Caller("writer"), answers.append)
        while not answers:
            partition.committer.finish()  # The disk is quick.
            partition.runtime.advance(TURN_SECONDS)
            if storm is not None:
                storm.turn()
        assert isinstance(answers[0], bytes)
        seconds.append(partition.runtime.now - asked)
        partition.runtime.advance(0.02)  # Commits are not what is measured here: let their tokens drop.
        if storm is not None:
            storm.turn()
    partition.committer.automatic = True
    return sorted(seconds)


names: Iterator[int] = count()


def beside_a_storm(monkeypatch: pytest.MonkeyPatch, options: FlowOptions) -> tuple[float, Storm]:
    """The p99 of a write beside a storm, against its p99 in quiet."""
    monkeypatch.setattr(listing, "CHUNK_BYTES", 1000)  # So that there are many chunks of a few objects...
    monkeypatch.setattr(costs, "OBJECTS_PER_SEAT", 4)  # ...that count as many.
    partition = Partition(Role.TENANT, flow_options=options)
    for number in range(PODS):
        partition.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"map-{number}", "tenant": "system", "namespace": "default"},
                "data": {"text": "x" * 300},
            }
        )
    quiet = write_seconds(partition, None, 100)
    storm = Storm(partition, LISTS)
    stormy = write_seconds(partition, storm, 100)
    partition.server.close()
    partition.store.close()
    return stormy[98] / quiet[98], storm


def test_writes_keep_their_pace_beside_a_storm_of_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take flow control out, and this fails: see the next test."""
    ratio, storm = beside_a_storm(monkeypatch, FlowOptions())
    assert ratio <= 2, ratio
    assert storm.read >= 3, "the storm is served, too"
    assert not storm.refused, "32 lists are no more than may wait"


def test_without_flow_control_they_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ratio, _ = beside_a_storm(monkeypatch, UNLIMITED)
    assert ratio > 4, ratio
