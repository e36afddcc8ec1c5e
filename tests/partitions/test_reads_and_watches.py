"""Lists and watches show what is durable, in order, once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.cache import window
from ursa.partitions.watches import lane, sharing
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, BadRequest, Expired, NotFound, Timeout
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller

from .conftest import Partition, Watching, pod
from .test_writes import bind, delete, patch


def test_a_write_is_invisible_until_it_is_durable_and_then_everywhere_at_once(tenant_partition: Partition) -> None:
    watch = tenant_partition.watch("pods")
    tenant_partition.committer.automatic = False
    operation = pb.Operation(resource="pods")
    operation.create.object.CopyFrom(Object.from_dict(pod("a")).message)
    answers: list[bytes | ApiError] = []
    tenant_partition.server.call(
        "Write", pb.MutateRequest(operations=[operation]).SerializeToString(), Caller("t"), answers.append
    )
    tenant_partition.runtime.advance(1)
    assert (answers, watch.read(), list(tenant_partition.list("pods").items)) == ([], [], [])
    with pytest.raises(NotFound):
        tenant_partition.get("pods", "a")
    tenant_partition.committer.finish()
    assert len(answers) == 1
    assert [event[:2] for event in watch.read()] == [("ADDED", "a")]
    assert [item.metadata.name for item in tenant_partition.list("pods").items] == ["a"]


def test_the_bytes_of_a_write_are_the_bytes_stored_listed_and_watched(tenant_partition: Partition) -> None:
    watch = tenant_partition.watch("pods")
    tenant_partition.create(pod("a", labels={f"k{n}": "v" for n in range(20)}))
    watch.read()
    [stored] = tenant_partition.store.range("/registry/pods/")
    stream = tenant_partition.server.open("List", Caller("t"), lambda: None)
    stream.receive(pb.ListRequest(selection=pb.Selection(resource="pods")).SerializeToString())
    chunk = stream.take()
    assert chunk is not None
    assert stored.value in chunk
    assert watch.objects[0].SerializeToString(deterministic=True) == stored.value


def test_a_list_is_cut_into_pages_at_one_revision(tenant_partition: Partition) -> None:
    for number in range(5):
        tenant_partition.create(pod(f"p{number}"))
    first = tenant_partition.list("pods", limit=2)
    assert first.remaining == 3
    tenant_partition.create(pod("p00"))
    tenant_partition.do(delete("pods", "p3"))
    second = tenant_partition.list("pods", limit=2, continue_token=first.continue_token)
    third = tenant_partition.list("pods", limit=2, continue_token=second.continue_token)
    names = [item.metadata.name for page in (first, second, third) for item in page.items]
    assert names == ["p0", "p1", "p2", "p3", "p4"]
    assert first.resource_version == second.resource_version == third.resource_version
    with pytest.raises(BadRequest, match="belongs to another query"):
        tenant_partition.list("pods", tenant="system", continue_token=first.continue_token)
    with pytest.raises(BadRequest, match="none of this server's"):
        tenant_partition.list("pods", continue_token="bm9uc2Vuc2U=")


def test_a_list_at_an_exact_revision_shows_the_past(tenant_partition: Partition) -> None:
    then = tenant_partition.create(pod("a")).resource_version
    tenant_partition.do(delete("pods", "a"))
    assert [i.metadata.name for i in tenant_partition.list("pods", resource_version=str(then), exact=True).items] == [
        "a"
    ]
    assert not tenant_partition.list("pods", resource_version=str(then)).items
    tenant_partition.store.compact(tenant_partition.store.head)
    with pytest.raises(Expired):
        tenant_partition.list("pods", resource_version=str(then), exact=True)
    with pytest.raises(Timeout, match="too large resource version"):
        tenant_partition.list("pods", resource_version="999")


def test_selectors_choose_by_label_and_field(tenant_partition: Partition) -> None:
    tenant_partition.create(pod("a", labels={"app": "web", "tier": "front"}))
    created = tenant_partition.create(pod("b", labels={"app": "db"}))
    tenant_partition.do(bind("b", created.uid))

    def names(**selectors: str) -> list[str]:
        return [item.metadata.name for item in tenant_partition.list("pods", **selectors).items]

    assert names(label_selector="app in (web, db)") == ["a", "b"]
    assert names(label_selector="app!=web") == ["b"]
    assert names(label_selector="!tier") == ["b"]
    assert names(field_selector="spec.nodeName=n1") == ["b"]
    assert names(field_selector="spec.nodeName=,status.phase=Pending") == ["a"]
    assert names(field_selector="metadata.name=a") == ["a"]
    assert names(tenant="other") == []
    with pytest.raises(BadRequest, match=r"cannot be selected by field 'spec\.color'"):
        names(field_selector="spec.color=red")
    with pytest.raises(BadRequest, match="label selector"):
        names(label_selector="a in b")


def test_a_watch_sees_objects_enter_and_leave_its_selection(tenant_partition: Partition) -> None:
    unbound = tenant_partition.watch("pods", field_selector="spec.nodeName=")
    on_n1 = tenant_partition.watch("pods", field_selector="spec.nodeName=n1")
    web = tenant_partition.watch("pods", label_selector="app=web")
    created = tenant_partition.create(pod("a"))
    tenant_partition.do(bind("a", created.uid))
    tenant_partition.do(patch("pods", "a", {"metadata": {"labels": {"app": "web"}}}))
    tenant_partition.do(patch("pods", "a", {"metadata": {"labels": {"app": None}}}))
    assert [event[:2] for event in unbound.read()] == [("ADDED", "a"), ("DELETED", "a")]
    assert [event[0] for event in on_n1.read()] == ["ADDED", "MODIFIED", "MODIFIED"]
    assert [event[0] for event in web.read()] == ["ADDED", "DELETED"]


def test_initial_events_are_one_revision_and_end_before_what_comes_later(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "REPLY_BYTES", 100)  # One object a reply.
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    watch = tenant_partition.watch("pods", initial_events=True)
    assert watch.synced
    assert [event[:2] for event in watch.events] == [("ADDED", f"p{number}") for number in range(3)]
    assert watch.bookmark == tenant_partition.server.status().stores[0].resource_version
    assert watch.stream.take() is None


def test_changes_during_the_initial_events_come_after_them(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "REPLY_BYTES", 100)
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    stream = tenant_partition.server.open("Watch", Caller("t"), lambda: None)
    start = pb.WatchStart(id=1, selection=pb.Selection(resource="pods"), initial_events=True)
    stream.receive(pb.WatchRequest(start=[start]).SerializeToString())
    replies = [pb.WatchReply.FromString(stream.take() or b"")]
    tenant_partition.do(delete("pods", "p2"))
    while (data := stream.take()) is not None:
        replies.append(pb.WatchReply.FromString(data))
    events = [(e.type, e.object.metadata.name) for reply in replies for b in reply.batches for e in b.events]
    assert events == [(0, "p0"), (0, "p1"), (0, "p2"), (2, "p2")]
    assert [bool(reply.resource_version) for reply in replies] == [False] * (len(replies) - 1) + [True]


def test_a_lost_watch_goes_on_where_it_stopped(tenant_partition: Partition) -> None:
    seen = tenant_partition.create(pod("a")).resource_version
    tenant_partition.create(pod("b"))
    tenant_partition.do(delete("pods", "a"))
    watch = tenant_partition.watch("pods", resource_version=seen, incarnation="one")
    assert [event[:2] for event in watch.events] == [("ADDED", "b"), ("DELETED", "a")]
    for start in ({"resource_version": 999}, {"resource_version": seen, "incarnation": "two"}):
        assert isinstance(tenant_partition.watch("pods", **start).error, Expired)


def test_a_watch_from_before_the_window_must_list_again(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 2)
    first = tenant_partition.create(pod("a")).resource_version
    for number in range(3):
        tenant_partition.create(pod(f"p{number}"))
    error = tenant_partition.watch("pods", resource_version=first).error
    assert isinstance(error, Expired)
    assert error.resource_version == first + 1
    assert len(tenant_partition.watch("pods", resource_version=first + 1).events) == 2


def test_watches_of_the_last_process_go_on_after_a_restart(tenant_partition: Partition) -> None:
    created = tenant_partition.create(pod("a"))
    tenant_partition.do(bind("a", created.uid))
    tenant_partition.do(delete("pods", "a", grace_seconds=0))
    again = Partition(Role.TENANT, tenant_partition.store)
    watch = again.watch("pods", resource_version=created.resource_version, field_selector="spec.nodeName=n1")
    assert [event[:2] for event in watch.events] == [("ADDED", "a"), ("DELETED", "a")]


def test_a_slow_watch_is_ended_and_the_others_go_on(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = tenant_partition.watch("pods"), tenant_partition.watch("pods")
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 3)
    monkeypatch.setattr(sharing, "SHARED_COMMITS_MAX", 3)
    for number in range(10):
        tenant_partition.create(pod(f"p{number}"))
        quick.read()
    slow.read()
    assert isinstance(slow.error, Expired)
    # From here on nothing is missing, for one who lists again.
    assert slow.error.resource_version == tenant_partition.server.status().stores[0].resource_version - 3
    assert len(quick.events) == 10


def test_quiet_watches_learn_how_far_they_are_complete(tenant_partition: Partition) -> None:
    watch = tenant_partition.watch("configmaps")
    tenant_partition.create(pod("a"))
    assert watch.read() == []
    tenant_partition.runtime.advance(5)
    watch.read()
    assert watch.bookmark == tenant_partition.server.status().stores[0].resource_version


def test_many_watches_share_a_stream_and_stop_one_by_one(tenant_partition: Partition) -> None:
    stream = tenant_partition.server.open("Watch", Caller("t"), lambda: None)
    selection = pb.Selection(resource="pods")
    start = [pb.WatchStart(id=number, selection=selection) for number in (1, 2)]
    stream.receive(pb.WatchRequest(start=start).SerializeToString())
    assert [batch.id for batch in pb.WatchReply.FromString(stream.take() or b"").batches] == [1, 2]
    for number in (2, 0):
        with pytest.raises(BadRequest, match="zero or in use"):
            stream.receive(pb.WatchRequest(start=[pb.WatchStart(id=number, selection=selection)]).SerializeToString())
    stream.receive(pb.WatchRequest(stop=[pb.WatchStop(id=1)]).SerializeToString())
    tenant_partition.create(pod("a"))
    reply = pb.WatchReply.FromString(stream.take() or b"")
    assert [batch.id for batch in reply.batches] == [2]
    assert tenant_partition.server.status().watches == 1
    stream.close()
    assert tenant_partition.server.status().watches == 0


@pytest.mark.parametrize("method", ["Watch", "Mutate", "List"])
def test_bytes_that_are_no_message_are_a_bad_request(tenant_partition: Partition, method: str) -> None:
    stream = tenant_partition.server.open(method, Caller("t"), lambda: None)
    with pytest.raises(BadRequest):
        stream.receive(b"\xff\xff\xff")


moves = st.lists(
    st.tuples(st.sampled_from(["create", "delete", "bind", "label", "unlabel"]), st.integers(0, 4)), max_size=30
)
SELECTIONS = [
    {},
    {"label_selector": "x=1"},
    {"field_selector": "spec.nodeName=n1"},
    {"field_selector": "spec.nodeName="},
    {"namespace": "kube-system"},
]


@settings(max_examples=60, deadline=None)
@given(moves, st.integers(0, 30))
def test_events_replayed_over_the_initial_ones_equal_a_later_list(asked: list[tuple[str, int]], opened_at: int) -> None:
    partition = Partition(Role.TENANT)
    watches: list[tuple[dict[str, str], Watching]] = []
    for step, (verb, number) in enumerate([*asked, ("end", 0)]):
        if step == min(opened_at, len(asked)):
            watches = [(s, partition.watch("pods", initial_events=True, **s)) for s in SELECTIONS]
        name = f"p{number}"
        try:
            if verb == "create":
                partition.create(pod(name))
            elif verb == "delete":
                partition.do(delete("pods", name, grace_seconds=0))
            elif verb == "bind":
                partition.do(bind(name, partition.get("pods", name).uid))
            elif verb != "end":
                partition.do(patch("pods", name, {"metadata": {"labels": {"x": "1" if verb == "label" else None}}}))
        except ApiError:
            continue
    partition.runtime.advance(5)
    for selection, watch in watches:
        watch.read()
        view: dict[str, bool] = {}
        last = 0
        for kind, name, revision in watch.events:
            assert (kind == "ADDED") == (name not in view), "ADDED just once, nothing of the unknown"
            view.pop(name, None) if kind == "DELETED" else view.update({name: True})
            if watch.synced and kind != "ADDED":
                assert revision > last
                last = revision
        listed = partition.list("pods", **selection)
        assert sorted(view) == [item.metadata.name for item in listed.items]
        assert watch.bookmark == listed.resource_version


def test_old_history_is_forgotten_and_takes_no_room(tenant_partition: Partition) -> None:
    then = tenant_partition.create(pod("a")).resource_version
    for number in range(50):
        tenant_partition.do(patch("pods", "a", {"metadata": {"labels": {"x": str(number)}}}))
        tenant_partition.runtime.advance(1)
    before = tenant_partition.store.status().bytes
    tenant_partition.runtime.advance(600)
    for number in range(50):
        tenant_partition.do(patch("pods", "a", {"metadata": {"labels": {"x": str(number)}}}))
    assert tenant_partition.store.compacted > then
    with pytest.raises(Expired, match="has been compacted"):
        tenant_partition.list("pods", resource_version=str(then), exact=True)
    assert tenant_partition.store.status().bytes < before * 1.1
