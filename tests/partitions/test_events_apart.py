"""Events in a store of their own: nothing they do is felt by anything else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ursa.partitions import apiserver, stores
from ursa.partitions.cache import window
from ursa.partitions.watches import sharing
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Expired, InputError, NotFound, ServiceUnavailable, StoreError, UrsaError
from ursa.proto.kinds import EVENT_TTL_SECONDS, Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller
from ursa.storage import InlineCommitter, LmdbStore, MemoryStore

from .conftest import HandCommitter, Partition, Watching, pod, target


def event(name: str, **fields: Any) -> dict[str, Any]:
    involved = {"kind": "Pod", "namespace": "default", "name": "a", "uid": "u-1"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "tenant": "system", "namespace": "default"},
        "involvedObject": involved,
        "reason": "Tested",
        "type": "Normal",
        **fields,
    }


def create(manifest: dict[str, Any]) -> pb.Operation:
    message = Object.from_dict(manifest).message
    operation = pb.Operation(resource=f"{message.kind.lower()}s")
    operation.create.object.CopyFrom(message)
    return operation


class Apart(Partition):
    """A partition whose Events are kept apart; both stores commit when told to."""

    def __init__(self, *, events_bytes_max: int = 1 << 30) -> None:
        self.events_committer = HandCommitter()
        self.events_store = MemoryStore(self.events_committer, incarnation="apart", bytes_max=events_bytes_max)
        super().__init__(Role.TENANT, events_store=self.events_store)

    def ask(self, *operations: pb.Operation) -> list[bytes | ApiError]:
        """One batch; its answer stands in the list once it is given."""
        answers: list[bytes | ApiError] = []
        self.server.call(
            "Write", pb.MutateRequest(operations=operations).SerializeToString(), Caller("test"), answers.append
        )
        return answers


@pytest.fixture
def partition() -> Iterator[Apart]:
    opened = Apart()
    yield opened
    opened.server.close()
    opened.store.close()
    opened.events_store.close()


def test_each_store_has_revisions_of_its_own(partition: Apart) -> None:
    before = partition.store.head
    for number in range(3):
        assert partition.create(event(f"e{number}")).resource_version == number + 1
    assert partition.store.head == before
    assert [record.key for record in partition.events_store.range("/registry/")] == [
        f"/registry/events/system/default/e{number}" for number in range(3)
    ]
    assert partition.list("events").resource_version == 3
    assert partition.list("pods").resource_version == before
    assert partition.get("events", "e1").resource_version == 2
    main, apart = partition.server.status().stores
    assert (main.name, main.incarnation, main.resource_version) == ("main", "one", before)
    assert (apart.name, apart.incarnation, apart.resource_version) == ("events", "apart", 3)


def test_an_event_needs_its_namespace_all_the_same(partition: Apart) -> None:
    manifest = event("e")
    manifest["metadata"]["namespace"] = "nowhere"
    with pytest.raises(NotFound, match="namespace system/nowhere does not exist"):
        partition.create(manifest)


def test_a_full_store_of_events_refuses_events_only() -> None:
    partition = Apart(events_bytes_max=2000)

    def fill() -> None:
        for number in range(20):
            partition.create(event(f"e{number}"))

    with pytest.raises(ServiceUnavailable, match="the events store is full"):
        fill()
    partition.create(pod("a"))
    main, apart = partition.server.status().stores
    assert (list(main.alarms), list(apart.alarms)) == ([], ["NOSPACE"])


def test_no_write_waits_for_a_commit_of_events(partition: Apart) -> None:
    partition.events_committer.automatic = False
    slow = partition.ask(create(event("e")))
    both = partition.ask(create(pod("with")), create(event("f")))
    quick = partition.ask(create(pod("quick")))
    partition.runtime.advance(1)
    assert (len(slow), len(both), len(quick)) == (0, 0, 1)
    assert partition.get("pods", "with").name == "with"  # It is durable; its batch is not.
    with pytest.raises(NotFound):
        partition.get("events", "e")
    partition.events_committer.automatic = True
    partition.events_committer.finish()
    partition.runtime.advance(1)
    assert (len(slow), len(both)) == (1, 1)
    assert partition.get("events", "e").name == "e"


def test_an_event_waits_for_what_it_rests_on(partition: Apart) -> None:
    partition.committer.automatic = False
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new", "tenant": "system"}}
    asked = partition.ask(create(namespace))
    manifest = event("e")
    manifest["metadata"]["namespace"] = "new"
    event_asked = partition.ask(create(manifest))
    partition.runtime.advance(1)
    assert (asked, event_asked) == ([], [])  # If the namespace is lost, nobody was told of its event.
    partition.committer.automatic = True
    partition.committer.finish()
    partition.runtime.advance(1)
    assert (len(asked), len(event_asked)) == (1, 1)


def test_a_stream_of_writes_is_answered_store_by_store(partition: Apart) -> None:
    partition.events_committer.automatic = False
    events_stream = partition.server.open("Mutate", Caller("test"), lambda: None)
    main_stream = partition.server.open("Mutate", Caller("test"), lambda: None)
    events_stream.receive(pb.MutateRequest(operations=[create(event("e"))], batch=1).SerializeToString())
    main_stream.receive(pb.MutateRequest(operations=[create(pod("a"))], batch=2).SerializeToString())
    partition.runtime.advance(1)
    assert events_stream.take() is None
    assert (answer := main_stream.take()) is not None
    assert pb.MutateReply.FromString(answer).batch == 2


def test_a_reply_speaks_of_one_store(partition: Apart) -> None:
    stream = partition.server.open("Watch", Caller("test"), lambda: None)
    starts = [
        pb.WatchStart(id=number, selection=pb.Selection(resource=resource), initial_events=True)
        for number, resource in enumerate(("pods", "events", "configmaps"), 1)
    ]
    stream.receive(pb.WatchRequest(start=starts).SerializeToString())
    partition.create(pod("a"))
    partition.create(event("e"))
    replies = []
    while (data := stream.take()) is not None:
        replies.append(pb.WatchReply.FromString(data))
    by_store: dict[str, list[int]] = {}
    for reply in replies:
        by_store.setdefault(reply.store, []).extend(batch.id for batch in reply.batches)
    assert {store: sorted(dict.fromkeys(ids)) for store, ids in by_store.items()} == {"": [1, 3], "events": [2]}
    assert {reply.store: reply.incarnation for reply in replies if reply.incarnation} == {"": "one", "events": "apart"}
    assert {reply.store: reply.resource_version for reply in replies} == {"": partition.store.head, "events": 1}


def test_a_quiet_store_is_bookmarked_apart(partition: Apart) -> None:
    stream = partition.server.open("Watch", Caller("test"), lambda: None)
    start = pb.WatchStart(id=1, selection=pb.Selection(resource="events"))
    stream.receive(pb.WatchRequest(start=[start]).SerializeToString())
    while stream.take() is not None:
        pass
    partition.runtime.advance(apiserver.BOOKMARK_SECONDS)
    assert (data := stream.take()) is not None
    assert pb.WatchReply.FromString(data).store == "events"
    assert stream.take() is None  # Nothing is watched in the main store.


def test_a_watch_of_events_goes_on_in_their_own_history(partition: Apart) -> None:
    for number in range(3):
        partition.create(event(f"e{number}"))
    resumed = partition.watch("events", resource_version=1, incarnation="apart")
    assert [name for _, name, _ in resumed.events] == ["e1", "e2"]
    assert isinstance(partition.watch("events", resource_version=1, incarnation="one").error, Expired)
    future = partition.watch("events", resource_version=partition.store.head + 4, incarnation="apart")
    assert isinstance(future.error, Expired)


def test_a_flood_of_events_on_a_stream_ends_no_other_watch(partition: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 10)
    monkeypatch.setattr(sharing, "SHARED_COMMITS_MAX", 10)
    watching_pods = Watching(partition, "pods")
    start = pb.WatchStart(id=2, selection=pb.Selection(resource="events"))
    watching_pods.stream.receive(pb.WatchRequest(start=[start]).SerializeToString())
    for number in range(30):
        partition.create(event(f"e{number}"))
    partition.create(pod("a"))
    ended = {}
    names = []
    while (data := watching_pods.stream.take()) is not None:
        for batch in pb.WatchReply.FromString(data).batches:
            if batch.HasField("error"):
                ended[batch.id] = batch.error.reason
            names += [one.object.metadata.name for one in batch.events if batch.id == 1]
    assert ended == {2: "Expired"}
    assert names == ["a"]


def test_pages_of_events_are_of_one_revision_of_theirs(partition: Apart) -> None:
    for number in range(4):
        partition.create(event(f"e{number}"))
    first = partition.list("events", limit=2)
    partition.create(event("e25"))
    second = partition.list("events", limit=2, continue_token=first.continue_token)
    assert [item.metadata.name for item in (*first.items, *second.items)] == ["e0", "e1", "e2", "e3"]
    assert second.resource_version == 4


# ------------------------------------------------------------------------------------------------------------- expiry


def test_an_event_goes_an_hour_after_its_last_change(partition: Apart) -> None:
    watch = partition.watch("events", initial_events=True)
    partition.create(event("quiet"))
    partition.create(event("repeated"))
    partition.runtime.advance(EVENT_TTL_SECONDS / 2)
    patch = pb.Operation(resource="events")
    patch.patch.target.CopyFrom(target("events", "repeated"))
    patch.patch.body = b"\x81\xa5count\x02"
    partition.do(patch)
    partition.runtime.advance(EVENT_TTL_SECONDS / 2 + apiserver.EXPIRY_SECONDS)
    assert [item.metadata.name for item in partition.list("events").items] == ["repeated"]
    partition.runtime.advance(EVENT_TTL_SECONDS / 2)
    assert not partition.list("events").items
    watch.read()
    assert [(kind, name) for kind, name, _ in watch.events if kind == "DELETED"] == [
        ("DELETED", "quiet"),
        ("DELETED", "repeated"),
    ]


def test_events_that_lived_before_a_restart_go_an_hour_after_it(partition: Apart) -> None:
    partition.create(event("old"))
    reopened = Partition(Role.TENANT, partition.store, partition.events_store)
    reopened.runtime.advance(EVENT_TTL_SECONDS - 1)
    assert len(reopened.list("events").items) == 1
    reopened.runtime.advance(1 + apiserver.EXPIRY_SECONDS)
    assert not reopened.list("events").items


def test_many_expire_in_small_steps_and_others_never(partition: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "EXPIRE_AT_ONCE_MAX", 2)
    for number in range(5):
        partition.create(event(f"e{number}"))
    partition.create(pod("a"))
    left = []
    partition.runtime.advance(EVENT_TTL_SECONDS - 1)
    for _ in range(400):
        partition.runtime.advance(apiserver.EXPIRE_AGAIN_SECONDS)
        left.append(len(partition.list("events").items))
    assert [number for number, _ in itertools.groupby(left)] == [5, 3, 1, 0]
    partition.runtime.advance(10 * EVENT_TTL_SECONDS)
    assert partition.get("pods", "a").name == "a"


def test_without_a_store_of_their_own_events_expire_too(tenant_partition: Partition) -> None:
    tenant_partition.create(event("e"))
    tenant_partition.runtime.advance(EVENT_TTL_SECONDS + apiserver.EXPIRY_SECONDS)
    assert not tenant_partition.list("events").items


# ------------------------------------------------------------------------------------------------------------ on disk


def opened(path: Path) -> LmdbStore:
    return LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1))


def write_events_together(path: Path, names: list[str]) -> None:
    """What a server does whose Events are not kept apart."""
    store = opened(path)
    partition = Partition(Role.TENANT, store)
    for name in names:
        partition.create(event(name))
    partition.create(pod("a"))
    partition.server.close()
    store.close()


def names_in(store: LmdbStore, resource: str) -> list[str]:
    return [record.key.rsplit("/", 1)[1] for record in store.range(f"/registry/{resource}/")]


def test_events_written_before_are_moved_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOVED_AT_ONCE", 2)
    names = [f"e{number}" for number in range(5)]
    write_events_together(tmp_path, names)
    with stores.open_stores(tmp_path, InlineCommitter, Random(2)) as both:
        assert both.events is not None
        assert (names_in(both.main, "events"), names_in(both.main, "pods")) == ([], ["a"])
        partition = Partition(Role.TENANT, both.main, both.events)
        listed = partition.list("events").items
        assert [item.metadata.name for item in listed] == names
        assert [item.metadata.resource_version for item in listed] == [1, 2, 3, 4, 5]
        partition.create(event("another"))
        partition.server.close()


@given(crash_at=st.integers(1, 6))
def test_a_crash_while_they_are_moved_loses_and_doubles_none(
    crash_at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Crash(Exception):
        pass

    path = tmp_path_factory.mktemp("partition")
    names = [f"e{number}" for number in range(5)]
    write_events_together(path, names)
    commits = itertools.count(1)

    def commit(self: LmdbStore, done: Any) -> None:
        if next(commits) == crash_at:
            raise Crash
        original(self, done)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stores, "MOVED_AT_ONCE", 2)
        original = LmdbStore.commit
        patched.setattr(LmdbStore, "commit", commit)
        with pytest.raises(Crash), stores.open_stores(path, InlineCommitter, Random(2)):
            pass
    with stores.open_stores(path, InlineCommitter, Random(2)) as both:
        assert both.events is not None
        assert (names_in(both.main, "events"), names_in(both.events, "events")) == ([], names)
        assert both.events.head == len(names)


def test_a_server_that_would_not_see_the_events_does_not_start(tmp_path: Path) -> None:
    with stores.open_stores(tmp_path, InlineCommitter, Random(2)):
        pass
    with (
        pytest.raises(InputError, match="keeps its Events apart"),
        stores.open_stores(tmp_path, InlineCommitter, Random(2), events_quota_bytes=0),
    ):
        pass


def test_a_server_does_not_start_over_events_that_were_not_moved() -> None:
    store = MemoryStore(incarnation="one")
    together = Partition(Role.TENANT, store)
    together.create(event("e"))
    with pytest.raises(UrsaError, match="events must be moved apart first"):
        Partition(Role.TENANT, store, MemoryStore(incarnation="apart"))


def test_stores_are_closed_when_the_second_cannot_be_opened(tmp_path: Path) -> None:
    with stores.open_stores(tmp_path, InlineCommitter, Random(2)):
        pass
    held = opened(tmp_path / "events")
    with pytest.raises(StoreError), stores.open_stores(tmp_path, InlineCommitter, Random(2)):
        pass
    opened(tmp_path).close()
    held.close()


# ------------------------------------------------------------------------------------------- what is the store's own


def test_keys_of_the_store_itself_are_nobodys_business() -> None:
    """Leases take revisions of the log, between those of objects."""
    store = MemoryStore(incarnation="one")
    partition = Partition(Role.TENANT, store)
    watch = partition.watch("pods")
    lease = store.grant(0, 10.0, 0.0)
    created = partition.create(pod("a"))
    store.keep_alive(lease, 1.0)
    store.revoke(lease)
    partition.create(pod("b"))
    watch.read()
    assert [name for _, name, _ in watch.events] == ["a", "b"]
    assert watch.bookmark == store.head
    behind = partition.watch("pods", resource_version=created.resource_version)
    assert [name for _, name, _ in behind.events] == ["b"]
    reopened = Partition(Role.TENANT, store)
    assert [item.metadata.name for item in reopened.list("pods").items] == ["a", "b"]
    behind = reopened.watch("pods", resource_version=created.resource_version)
    assert [name for _, name, _ in behind.events] == ["b"]
