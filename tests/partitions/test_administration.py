"""Compact, defragment, digest and snapshot of stores that go on serving; what a quiet store does by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.message import Message
from ursa.partitions import administration
from ursa.partitions.administration import (
    DIGEST_PAUSE_SECONDS,
    FREE_PAUSE_SECONDS,
    PROGRESS_SECONDS,
    TAKE_SECONDS_MAX,
    Administration,
    AdministrationStream,
)
from ursa.partitions.maintenance import QUIET_SECONDS, Maintenance
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import (
    BadRequest,
    Conflict,
    Expired,
    InternalError,
    NotFound,
    ServiceUnavailable,
    Timeout,
    from_status,
)
from ursa.proto.kinds import Role
from ursa.proto.sessions import Caller
from ursa.storage import Change, LmdbStore, MemoryStore, Store, digest, lmdb_store, log_store, snapshot, sweep
from ursa.storage.verify import verify

from .conftest import HandCommitter, HandRuntime, Partition, pod


class Stores:
    """Two stores, of which the main one commits by hand, and what looks after them."""

    def __init__(self, main: Store, committer: HandCommitter) -> None:
        self.main, self.committer = main, committer
        self.events = MemoryStore(incarnation="events")
        self.runtime = HandRuntime()
        self.administration = Administration("p-1", {"main": main, "events": self.events}, self.runtime)

    def write(self, store: Store, *keys: str, value: bytes = b"value") -> None:
        store.stage([Change(key, value) for key in keys])
        store.commit(lambda _: None)

    def ask(self, method: str, **fields: Any) -> Asked:
        return Asked(self, method, fields)


class Asked:
    """The client's end."""

    def __init__(self, stores: Stores, method: str, fields: dict[str, Any]) -> None:
        self.stores = stores
        self.wakes = 0
        self.stream: AdministrationStream = stores.administration.open(method, self._wake)
        self.stream.receive(getattr(pb, f"{method}Request")(**fields).SerializeToString())
        self.stream.end_requests()
        self._reply = getattr(pb, f"{method}Reply")

    def _wake(self) -> None:
        self.wakes += 1

    def take(self) -> list[Message]:
        """As a front end does: until there is nothing."""
        found = []
        while (data := self.stream.take()) is not None:
            found.append(self._reply.FromString(data))
        return found

    def finish(self, seconds: float = 100.0) -> Any:
        """Time passes, and commits are made, until it is over. The last reply, or its error is raised."""
        replies = self.take()
        for _ in range(round(seconds / 0.01)):
            if self.stream.finished:
                break
            self.stores.committer.finish()
            self.stores.runtime.advance(0.01)
            replies += self.take()
        assert self.stream.finished
        assert self.wakes
        assert self.stream.take() is None
        self.stream.close()
        if replies[-1].HasField("error"):
            raise from_status(replies[-1].error)
        return replies[-1]


@pytest.fixture(params=["memory", "lmdb"])
def stores(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    committer = HandCommitter()
    main: Store
    if request.param == "memory":
        main = MemoryStore(committer, incarnation="main")
    else:
        main = LmdbStore.open(tmp_path / "store", committer, incarnation_random=Random(1))
    found = Stores(main, committer)
    for round_ in range(10):
        found.write(main, *(f"key-{number}" for number in range(20)), value=b"%d;" % round_ * 50)
    committer.automatic = False
    yield found
    committer.automatic = True
    found.administration.close()
    main.close()


# --- each of them ----------------------------------------------------------------------------------------------------


def test_a_compaction_is_over_when_everything_is_erased(stores, monkeypatch):
    monkeypatch.setattr(sweep, "SWEEP_KEYS", 3)
    monkeypatch.setattr(sweep, "SWEEP_RECORDS", 7)
    before = stores.main.status().bytes
    asked = stores.ask("Compact", resource_version=150)
    assert stores.main.compacted == 150  # At once; the rest takes its time.
    assert not asked.stream.finished
    reply = asked.finish()
    assert (reply.compacted_resource_version, reply.bytes_before, reply.bytes) == (
        150,
        before,
        stores.main.status().bytes,
    )
    assert reply.bytes < before / 2
    assert not stores.main.sweep_step()
    assert stores.ask("Compact").finish().compacted_resource_version == stores.main.head == 200


@pytest.mark.parametrize("revision", [0, 150])
def test_a_digest_is_of_one_revision_and_leaves_the_loop_to_writers_in_between(stores, monkeypatch, revision):
    monkeypatch.setattr(digest, "STEP_RECORDS", 3)
    monkeypatch.setattr(log_store, "READ_RECORDS", 3)
    stores.committer.automatic = True
    expected = stores.main.digest(revision or None)
    asked = stores.ask("Digest", resource_version=revision)
    steps = 1
    while asked.wakes == 0:
        stores.write(stores.main, "key-3", f"new-{steps}")
        when, _, _ = stores.runtime.timers[-1]
        assert when - stores.runtime.now >= DIGEST_PAUSE_SECONDS
        stores.runtime.advance(DIGEST_PAUSE_SECONDS)
        steps += 1
    assert steps == 7  # 20 keys, 3 at a time.
    reply = asked.finish()
    assert (reply.digest, reply.resource_version) == (expected, revision or 200)
    assert reply.incarnation == stores.main.incarnation


def test_a_digest_that_compaction_overtakes_is_expired(stores, monkeypatch):
    monkeypatch.setattr(digest, "STEP_RECORDS", 3)
    monkeypatch.setattr(log_store, "READ_RECORDS", 3)
    asked = stores.ask("Digest", resource_version=190)
    stores.main.compact(195)
    with pytest.raises(Expired, match="revision 190 has been compacted") as refused:
        asked.finish()
    assert refused.value.resource_version == 195


def test_a_defragmentation_reports_what_it_gave_back(stores):
    stores.ask("Compact").finish()
    asked = stores.ask("Defragment")
    if stores.main.status().backend == "lmdb":
        assert not asked.stream.finished
    reply = asked.finish()
    if stores.main.status().backend == "lmdb":
        assert 0 < reply.bytes_on_disk < reply.bytes_on_disk_before
    assert reply.bytes_on_disk == stores.main.status().bytes_on_disk


def received(replies: list[Any]) -> bytes:
    return b"".join(reply.data for reply in replies)


def test_a_snapshot_arrives_whole_and_leaves_nothing_behind(stores, monkeypatch, tmp_path):
    monkeypatch.setattr(administration, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(snapshot, "COPY_RECORDS", 7)
    asked = stores.ask("Snapshot")
    replies = []
    while not asked.stream.finished:
        if not stores.main.status().head % 2:
            stores.main.stage([Change("later", b"")])
        stores.committer.finish()
        stores.runtime.advance(0.01)
        replies += asked.take()
    data = received(replies)
    last = replies[-1]
    assert (last.resource_version, last.incarnation) == (200, stores.main.incarnation)
    assert (last.sha256, last.bytes_total) == (sha256(data).digest(), len(data))
    assert all(reply.data for reply in replies[:-1])
    assert len(replies) > 10
    assert nothing_left(tmp_path)
    (tmp_path / "copy").write_bytes(data)
    report = verify(tmp_path / "copy")
    assert (report.problem, report.head, report.incarnation) == (None, 200, stores.main.incarnation)


def nothing_left(tmp_path: Path) -> bool:
    return os.listdir(tmp_path / "tmp") == [] and not list(tmp_path.glob("store/outgoing*"))


# --- which store, and one at a time ----------------------------------------------------------------------------------


def test_a_request_names_its_store(stores):
    stores.write(stores.events, "event")
    reply = stores.ask("Digest", store="events").finish()
    assert (reply.digest, reply.incarnation) == (stores.events.digest(), "events")
    for method in ("Compact", "Defragment", "Digest", "Snapshot"):
        with pytest.raises(NotFound, match="p-1 has no store 'leases': its stores are main, events"):
            stores.ask(method, store="leases")


def test_two_at_once_are_one_too_many(stores, monkeypatch, tmp_path):
    monkeypatch.setattr(digest, "STEP_RECORDS", 3)
    asked = {method: stores.ask(method) for method in ("Compact", "Digest", "Snapshot")}
    for method in asked:
        with pytest.raises(Conflict, match=f"p-1: somebody else's {method.lower()} of store main is under way"):
            stores.ask(method)
        stores.ask(method, store="events").finish()
    with pytest.raises(Conflict, match="a snapshot or a defragmentation is under way"):
        Asked(stores, "Defragment", {}).finish()
    for one in asked.values():
        one.finish()
    for method in asked:
        stores.ask(method).finish()
    assert nothing_left(tmp_path)


def test_revisions_out_of_reach(stores):
    stores.ask("Compact", resource_version=100).finish()
    for method in ("Compact", "Digest"):
        with pytest.raises(Expired, match="the oldest kept is 100") as expired:
            stores.ask(method, resource_version=99).finish()
        assert expired.value.resource_version == 100
        with pytest.raises(BadRequest, match="revision 201 does not exist yet") as future:
            stores.ask(method, resource_version=201).finish()
        assert future.value.resource_version == 200
    assert stores.ask("Compact", resource_version=100).finish().compacted_resource_version == 100


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks_taken", [None, 0, 2])
def test_of_a_snapshot_whose_client_went_away_nothing_is_left(stores, monkeypatch, tmp_path, chunks_taken):
    monkeypatch.setattr(administration, "CHUNK_BYTES", 1000)
    asked = stores.ask("Snapshot")
    if chunks_taken is not None:
        stores.committer.finish()
        stores.runtime.advance(0.1)
        for _ in range(chunks_taken):
            assert asked.stream.take()
    asked.stream.close()
    stores.committer.finish()  # The copy that the store was making.
    stores.runtime.advance(10)
    assert asked.stream.finished
    assert asked.stream.take() is None
    assert nothing_left(tmp_path)
    assert open_files(tmp_path) == []
    stores.ask("Snapshot").finish()


def test_the_file_of_a_snapshot_that_was_sent_is_freed_in_steps(stores, monkeypatch, tmp_path):
    monkeypatch.setattr(administration, "FREE_BYTES", 10_000)
    asked = stores.ask("Snapshot")
    stores.committer.finish()
    stores.runtime.advance(0.1)
    size = asked.finish().bytes_total
    steps = 0
    while open_files(tmp_path):
        stores.runtime.advance(FREE_PAUSE_SECONDS)
        steps += 1
    assert steps == -(-size // 10_000) - 1 > 2


def open_files(tmp_path: Path) -> list[str]:
    """Those without a name."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # The descriptor of the listing itself.
            continue
    return [path for path in found if str(tmp_path) in path and path.endswith(" (deleted)")]


def test_long_work_says_that_it_goes_on(stores):
    asked = stores.ask("Snapshot")
    for _ in range(3):
        stores.runtime.advance(PROGRESS_SECONDS)
        assert asked.take() == [pb.SnapshotReply(working=True)]
        assert not asked.stream.finished
    asked.finish()
    stores.runtime.advance(PROGRESS_SECONDS)
    assert asked.take() == []


def test_a_client_that_takes_nothing_is_given_up(stores, tmp_path):
    asked = stores.ask("Snapshot")
    stores.committer.finish()
    stores.runtime.advance(TAKE_SECONDS_MAX - PROGRESS_SECONDS)
    with pytest.raises(Conflict):
        stores.ask("Snapshot")
    stores.runtime.advance(2 * PROGRESS_SECONDS)
    assert open_files(tmp_path) == []
    with pytest.raises(Timeout, match="nothing was taken for 60 s"):
        asked.finish()
    stores.ask("Snapshot").finish()


def test_a_partition_that_stops_says_so_in_the_middle(stores, monkeypatch, tmp_path):
    monkeypatch.setattr(digest, "STEP_RECORDS", 3)
    under_way = [stores.ask(method) for method in ("Compact", "Digest", "Snapshot")]
    stores.administration.close()
    for asked in under_way:
        with pytest.raises(ServiceUnavailable, match="p-1 is stopping"):
            asked.finish()
    stores.committer.finish()
    assert nothing_left(tmp_path)
    assert open_files(tmp_path) == []


def test_a_bug_is_told_and_not_hidden(stores, monkeypatch):
    monkeypatch.setattr(type(stores.main), "digest_steps", lambda *_: 1 / 0)
    stream = stores.administration.open("Digest", lambda: None)
    with pytest.raises(ZeroDivisionError):
        stream.receive(b"")
    reply = pb.DigestReply.FromString(stream.take())
    assert isinstance(from_status(reply.error), InternalError)
    assert stream.finished


def test_a_stream_takes_one_request(stores):
    asked = stores.ask("Digest")
    with pytest.raises(BadRequest, match="Digest takes one request"):
        asked.stream.receive(b"")
    unasked = stores.administration.open("Digest", lambda: None)
    unasked.end_requests()
    assert unasked.finished
    with pytest.raises(BadRequest):
        stores.administration.open("Compact", lambda: None).receive(b"\xff")


# --- behind the apiserver --------------------------------------------------------------------------------------------


def test_an_apiserver_answers_for_its_stores_and_tells_their_status():
    partition = Partition(Role.TENANT)
    partition.create(pod("a"))
    stream = partition.server.open("Digest", Caller("test"), lambda: None)
    stream.receive(b"")
    assert not stream.finished  # There is something to take.
    reply = pb.DigestReply.FromString(stream.take())
    assert reply.digest == partition.store.digest()
    assert stream.finished
    [status] = partition.server.status().stores
    of_store = partition.store.status()
    assert (status.backend, status.keys, status.leases) == ("memory", of_store.keys, 0)
    assert status.resource_version == reply.resource_version
    waiting = partition.server.open("Snapshot", Caller("test"), lambda: None)
    waiting.receive(b"")
    partition.server.close()
    assert from_status(pb.SnapshotReply.FromString(waiting.take()).error).reason == "ServiceUnavailable"
    partition.store.close()


# --- maintenance -----------------------------------------------------------------------------------------------------


def test_a_store_that_falls_quiet_finishes_its_sweep(stores):
    stores.committer.automatic = True
    maintenance = Maintenance({"main": stores.main}, stores.runtime)
    stores.main.compact(200)
    stores.runtime.advance(QUIET_SECONDS - 1)
    before = stores.main.status().bytes
    stores.runtime.advance(2 * QUIET_SECONDS)
    assert stores.main.status().bytes < before / 5
    assert not stores.main.sweep_step()
    maintenance.stop()
    stores.runtime.advance(QUIET_SECONDS)
    assert stores.runtime.timers == []


def test_a_busy_store_is_left_to_its_commits(stores):
    stores.committer.automatic = True
    Maintenance({"main": stores.main}, stores.runtime)
    stores.main.compact(200)
    for second in range(30):
        before = stores.main.status().bytes
        stores.write(stores.main, f"busy-{second}")
        stores.runtime.advance(1)
        assert stores.main.status().bytes > before
    stores.runtime.advance(3 * QUIET_SECONDS)
    assert stores.main.status().bytes < before / 2


def test_a_store_that_falls_quiet_takes_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_store, "CHECKPOINT_CHANGES", 100)
    committer = HandCommitter()
    store = LmdbStore.open(tmp_path, committer, incarnation_random=Random(1))
    stores = Stores(store, committer)
    for number in range(200):
        stores.write(store, f"key-{number}")
    Maintenance({"main": store}, stores.runtime)
    stores.runtime.advance(2 * QUIET_SECONDS)
    assert [path.name for path in tmp_path.glob("index-*")] == ["index-200.checkpoint"]
    store.close()


def test_maintenance_of_a_store_that_has_failed_ends_by_itself(stores):
    Maintenance({"main": stores.main}, stores.runtime)
    stores.main.compact(200)
    stores.committer.automatic = True
    stores.main.close()
    stores.runtime.advance(QUIET_SECONDS * 3)
