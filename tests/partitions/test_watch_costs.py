"""What watches cost: an event those that want it, a slow reader nobody, and a commit the same bytes for all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch as patched

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.cache import key_order, window
from ursa.partitions.cache.key_order import KeyOrder
from ursa.partitions.selections import CompiledSelection
from ursa.partitions.watches import lane, sharing
from ursa.partitions.watches.watching import WatchSession
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import TooManyRequests
from ursa.proto.sessions import Caller, ServerStream

from .conftest import Partition, pod
from .test_writes import bind, patch


def opened(partition: Partition, *selections: pb.Selection, **fields: Any) -> ServerStream:
    """A stream with a watch on each selection, its first replies read."""
    stream = partition.server.open("Watch", Caller("test"), lambda: None)
    start = [pb.WatchStart(id=number, selection=selection, **fields) for number, selection in enumerate(selections, 1)]
    stream.receive(pb.WatchRequest(start=start).SerializeToString())
    return stream


def read(stream: ServerStream) -> list[bytes]:
    return list(iter(stream.take, None))  # type: ignore[arg-type]


def batches(replies: list[bytes]) -> list[pb.WatchBatch]:
    return [batch for reply in replies for batch in pb.WatchReply.FromString(reply).batches]


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a selection has been asked about an object, since it was asked last."""
    calls = 0
    matches = CompiledSelection.matches

    def counted(self: CompiledSelection, entry: Any) -> bool:
        nonlocal calls
        calls += 1
        return matches(self, entry)

    def since() -> int:
        nonlocal calls
        number, calls = calls, 0
        return number

    monkeypatch.setattr(CompiledSelection, "matches", counted)
    return since


def test_an_event_costs_no_watch_that_selects_another_node_name_or_namespace(
    tenant_partition: Partition, matched: Callable[[], int]
) -> None:
    selections = []
    for number in range(300):
        selections.append(pb.Selection(resource="pods", field_selector=f"spec.nodeName=n{number}"))
        selections.append(pb.Selection(resource="pods", namespace="default", field_selector=f"metadata.name=p{number}"))
        selections.append(pb.Selection(resource="pods", namespace=f"space-{number}"))
        selections.append(pb.Selection(resource="pods", tenant=f"tenant-{number}"))
    stream = opened(tenant_partition, *selections)
    read(stream)
    uid = tenant_partition.create(pod("p7")).uid
    tenant_partition.do(bind("p7", uid))  # To n1.
    matched()
    tenant_partition.do(patch("pods", "p7", {"metadata": {"labels": {"x": "1"}}}))
    assert matched() == 4, "two watches, each asked about the object before and after"
    names = {batch.id: len(batch.events) for batch in batches(read(stream))}
    assert names == {4 * 1 + 1: 2, 4 * 7 + 2: 3}


def test_watches_that_select_the_same_are_asked_once_and_sent_the_same_bytes(
    tenant_partition: Partition, matched: Callable[[], int]
) -> None:
    selection = pb.Selection(resource="pods", label_selector="!x")
    streams = [opened(tenant_partition, selection) for _ in range(50)]
    for stream in streams:
        read(stream)
    tenant_partition.create(pod("a"))
    assert matched() == 1
    replies = [read(stream) for stream in streams]
    assert all(len(reply) == 1 and reply[0] is replies[0][0] for reply in replies)


def test_a_commit_wakes_the_streams_that_see_something_of_it(tenant_partition: Partition) -> None:
    woken: list[str] = []
    streams = []
    for resource in ("pods", "configmaps"):
        stream = tenant_partition.server.open("Watch", Caller("test"), partial(woken.append, resource))
        start = pb.WatchStart(id=1, selection=pb.Selection(resource=resource))
        stream.receive(pb.WatchRequest(start=[start]).SerializeToString())
        read(stream)
        streams.append(stream)
    tenant_partition.create(pod("a"))
    woken.clear()
    read(streams[0])
    tenant_partition.create(pod("b"))
    assert woken == ["pods"]
    tenant_partition.create(pod("c"))
    assert woken == ["pods"], "it has not read yet, so it will see the rest, too"
    assert [len(batch.events) for batch in batches(read(streams[0]))] == [2]


def test_a_reply_is_the_turn_of_a_bounded_number_of_watches(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "TURNS_PER_REPLY_MAX", 4)
    stream = opened(tenant_partition, *[pb.Selection(resource="pods")] * 10)
    replies = [pb.WatchReply.FromString(reply) for reply in read(stream)]
    assert [len(reply.batches) for reply in replies] == [4, 4, 2]
    assert [bool(reply.resource_version) for reply in replies] == [False, False, True]


def test_a_change_is_encoded_once_for_all_that_see_the_same_event(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    watch_event = sharing.frames.watch_event
    monkeypatch.setattr(
        sharing.frames, "watch_event", lambda kind, *rest: encoded.append(kind) or watch_event(kind, *rest)
    )
    streams = [
        opened(tenant_partition, pb.Selection(resource="pods", label_selector=selector, metadata_only=metadata_only))
        for selector in ("", "!y", "!x", "x")
        for metadata_only in (False, True)
    ]
    tenant_partition.create(pod("a"))
    assert encoded == [0, 0]
    tenant_partition.do(patch("pods", "a", {"metadata": {"labels": {"x": "1"}}}))
    assert sorted(encoded[2:]) == [0, 0, 1, 1, 2, 2]
    for stream in streams:
        stream.close()


def test_watches_that_come_back_find_what_they_missed_without_looking_at_the_rest(
    tenant_partition: Partition, matched: Callable[[], int]
) -> None:
    before = tenant_partition.create(pod("first")).resource_version
    for number in range(50):
        uid = tenant_partition.create(pod(f"p{number}")).uid
        tenant_partition.do(bind(f"p{number}", uid))
        if number:
            tenant_partition.do(patch("pods", f"p{number}", {"metadata": {"labels": {"x": "1"}}}))
    matched()
    none = pb.Selection(resource="pods", field_selector="spec.nodeName=n2")
    named = pb.Selection(resource="pods", field_selector="metadata.name=p0")
    stream = opened(tenant_partition, none, named, resource_version=before)
    assert [len(batch.events) for batch in batches(read(stream))] == [0, 2]
    assert matched() == 3


def test_a_slow_view_is_ended_when_it_would_hold_what_is_no_longer_kept(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "REPLY_BYTES", 1)
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 3)
    for name in "abc":
        tenant_partition.create(pod(name))
    stream = opened(tenant_partition, pb.Selection(resource="pods"), initial_events=True)
    first = stream.take()
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    assert [len(batch.events) for batch in batches([first or b"", stream.take() or b""])] == [1, 1]
    tenant_partition.create(pod("p3"))
    [batch] = batches(read(stream))
    assert (batch.error.reason, len(batch.events)) == ("Expired", 0)
    assert tenant_partition.server.status().watches == 0


def test_a_quiet_watch_that_has_read_everything_is_not_slow(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 3)
    monkeypatch.setattr(sharing, "SHARED_COMMITS_MAX", 1)
    stream = opened(tenant_partition, pb.Selection(resource="pods", field_selector="metadata.name=p9"))
    read(stream)
    for number in range(10):
        tenant_partition.create(pod(f"p{number}"))
    [batch] = batches(read(stream))
    assert [event.object.metadata.name for event in batch.events] == ["p9"]


def test_a_view_that_is_stopped_half_way_is_let_go(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "REPLY_BYTES", 1)
    for name in "abc":
        tenant_partition.create(pod(name))
    stream = opened(tenant_partition, pb.Selection(resource="pods"), initial_events=True)
    assert isinstance(stream, WatchSession)
    stream.take()
    stream.receive(pb.WatchRequest(stop=[pb.WatchStop(id=1)]).SerializeToString())
    assert (stream._lanes["main"]._opening, tenant_partition.server.status().watches) == ({}, 0)
    tenant_partition.create(pod("d"))
    assert [len(batch.events) for batch in batches(read(stream))] == []


def test_what_is_kept_for_slow_watches_is_bounded_for_all_together(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "SHARED_BYTES_MAX", 3000)
    selections = [pb.Selection(resource="pods", label_selector=f"!x{number}") for number in range(5)]
    streams = [opened(tenant_partition, selection) for selection in selections]
    for number in range(20):
        tenant_partition.create(pod(f"p{number}"))
    [history] = tenant_partition.server._histories
    commits = history.dispatcher.shared._commits
    assert sum(len(chunk.body) for one in commits for events in one.events.values() for chunk in events.chunks) <= 3000
    for stream in streams:
        # Its opening, and the events.
        assert sum(len(batch.events) for batch in batches(read(stream))) == 20


def test_a_client_that_starts_and_stops_watches_without_reading_fills_nothing(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "ENDED_IN_LINE_MIN", 10)
    monkeypatch.setattr(lane, "UNREAD_ENDS_MAX", 10)
    stream = tenant_partition.server.open("Watch", Caller("test"), lambda: None)
    assert isinstance(stream, WatchSession)
    pods, nothing = pb.Selection(resource="pods"), pb.Selection(resource="nothing")
    for number in range(1, 100):
        start = pb.WatchRequest(start=[pb.WatchStart(id=number, selection=pods)])
        stream.receive(start.SerializeToString())
        stream.receive(pb.WatchRequest(stop=[pb.WatchStop(id=number)]).SerializeToString())
    assert len(stream._lanes["main"]._ready) <= 11
    refused = [pb.WatchStart(id=number, selection=nothing) for number in range(1, 12)]
    with pytest.raises(TooManyRequests, match="read first"):
        stream.receive(pb.WatchRequest(start=refused).SerializeToString())
    assert [batch.error.reason for batch in batches(read(stream))] == ["BadRequest"] * 10


# --- the order of keys -----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("+-?"), st.text("ab/", max_size=3)), max_size=60),
    st.sampled_from([0, 2, 1000]),
    st.sampled_from([1, 5, 1000]),
)
def test_keys_are_in_order_whatever_came_and_went(asked: list[tuple[str, str]], per_insert: int, noted: int) -> None:
    with patched.object(key_order, "KEYS_PER_INSERT", per_insert), patched.object(key_order, "NOTED_MAX", noted):
        present: dict[str, None] = {}
        order = KeyOrder(present)
        for step, key in [*asked, ("?", "")]:
            if step == "?":
                assert order.keys() == sorted(present)
                assert order.between(key, "b") == [each for each in sorted(present) if key <= each < "b"]
            elif step == "+":
                present[key] = None
                order.changed(key)
            elif key in present:
                del present[key]
                order.changed(key)


def test_a_list_beside_writes_sorts_nothing_again(tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_order, "KEYS_PER_INSERT", 10)
    for number in range(30):
        tenant_partition.create(pod(f"p{number:02}"))
    tenant_partition.list("pods")
    monkeypatch.setattr(KeyOrder, "_merged", None)  # To be called no more.
    monkeypatch.setattr(key_order, "sorted", None, raising=False)
    for name in ("p005", "z", "a"):
        tenant_partition.create(pod(name))
        names = [item.metadata.name for item in tenant_partition.list("pods").items]
        assert name in names
        assert names == sorted(names)


def test_keys_that_come_and_go_while_nobody_lists_are_not_all_noted() -> None:
    present: dict[str, None] = {"a": None}
    order = KeyOrder(present)
    order.keys()
    for number in range(3 * key_order.NOTED_MAX):
        order.changed(f"gone-{number}")
    assert len(order._noted) <= key_order.NOTED_MAX
    assert order.keys() == ["a"]
