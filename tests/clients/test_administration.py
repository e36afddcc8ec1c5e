"""A partition's stores looked after from afar: answers, refusals, silence, and a file that is whole or not there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from random import Random
from typing import Any

import pytest
import trio
from ursa.clients.administration import SILENCE_SECONDS_MAX, Administration
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions import administration
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import BadRequest, Conflict, Expired, InputError, NotFound, Unreachable
from ursa.proto.kinds import Role
from ursa.proto.sessions import Caller, ServerStream, Service
from ursa.storage import Change, InlineCommitter, LmdbStore, MemoryStore, digest
from ursa.storage.snapshot import restore
from ursa.storage.verify import verify

from .worlds import WALL_OFFSET_SECONDS, run


def link(service: Service, latency_seconds: float = 0.0) -> MemoryTransport:
    return MemoryTransport("p-1", service, random=Random(2), latency_seconds=(latency_seconds, latency_seconds))


@asynccontextmanager
async def partition() -> AsyncIterator[tuple[Administration, MemoryStore, MemoryTransport]]:
    """Several changes of twenty keys."""
    store = MemoryStore(incarnation="one")
    for round_ in range(10):
        store.stage([Change(f"\0key-{number}", b"%d;" % round_ * 100) for number in range(20)])
        store.commit(lambda _: None)
    objects = MemoryStore(incarnation="of-the-objects")
    async with open_local_partition(
        "p-1", Role.TENANT, objects, Random(1), wall_offset_seconds=WALL_OFFSET_SECONDS
    ) as server:
        server._administration._stores["main"] = store  # One that no object is kept in, and nobody else changes.
        transport = link(server)
        yield Administration(transport), store, transport


@pytest.mark.parametrize("latency_seconds", [0.0, 0.01])
def test_every_question_is_answered(tmp_path, monkeypatch, latency_seconds):
    monkeypatch.setattr(digest, "STEP_RECORDS", 3)
    monkeypatch.setattr(administration, "CHUNK_BYTES", 1000)

    async def main() -> None:
        async with partition() as (_, store, transport):
            partitions = Administration(link(transport._link.service, latency_seconds))
            whole = await partitions.digest()
            assert (whole.digest, whole.resource_version, whole.incarnation) == (store.digest(), 200, "one")
            assert (await partitions.digest(resource_version=150, store="main")).digest == store.digest(150)
            copied = await partitions.snapshot(tmp_path / "copy")
            assert (copied.resource_version, copied.incarnation) == (200, "one")
            assert copied.bytes_total == (tmp_path / "copy").stat().st_size
            compacted = await partitions.compact(resource_version=190)
            assert (compacted.compacted_resource_version, compacted.bytes) == (190, store.status().bytes)
            assert compacted.bytes_before > 3 * compacted.bytes
            assert (await partitions.compact()).compacted_resource_version == 200
            assert await partitions.defragment() == pb.DefragmentReply()
            assert [one.name for one in (await partitions.status()).stores] == ["main"]
            restore(tmp_path / "copy", tmp_path / "restored", Random(3))
            restored = LmdbStore.open(tmp_path / "restored", InlineCommitter(), incarnation_random=Random(4))
            assert restored.digest() == store.digest()
            restored.close()

    run(main)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert verify(tmp_path / "copy").problem is None
    assert sorted(os.listdir(tmp_path)) == ["copy", "restored"]


def test_refusals_come_as_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "STEP_RECORDS", 3)

    async def main() -> None:
        async with partition() as (one, store, transport):
            await one.compact(resource_version=100)
            with pytest.raises(Expired):
                await one.digest(resource_version=99)
            with pytest.raises(BadRequest):
                await one.compact(resource_version=201)
            with pytest.raises(NotFound, match="its stores are main"):
                await one.snapshot(tmp_path / "copy", store="events")
            async with transport.stream("Digest") as stream:
                await stream.send(pb.DigestRequest())
                with pytest.raises(Conflict, match="wait for its end"):
                    await one.digest()
            assert (await one.digest()).digest == store.digest()

    run(main)
    assert os.listdir(tmp_path) == []


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_that_exists_is_left_alone_and_the_partition_is_not_even_asked(tmp_path):
    (tmp_path / "copy").write_text("mine")

    async def main() -> None:
        async with partition() as (one, _, transport):
            transport.cut()
            with pytest.raises(InputError, match=f"{tmp_path}/copy: exists already: give the snapshot another name"):
                await one.snapshot(tmp_path / "copy")
            with pytest.raises(InputError, match=f"{tmp_path}/missing/copy: cannot be written: No such file"):
                await one.snapshot(tmp_path / "missing" / "copy")

    run(main)
    assert (tmp_path / "copy").read_text() == "mine"
    assert os.listdir(tmp_path) == ["copy"]


def test_a_file_made_by_somebody_else_meanwhile_is_left_alone(tmp_path):
    async def main() -> None:
        async with partition() as (_, _store, transport), trio.open_nursery() as nursery:
            one = Administration(link(transport._link.service, 0.01))

            async def snapshot(refusals: list[str]) -> None:
                try:
                    await one.snapshot(tmp_path / "copy")
                except InputError as error:
                    refusals.append(str(error))

            refusals: list[str] = []
            nursery.start_soon(snapshot, refusals)
            await trio.sleep(0.01)
            (tmp_path / "copy").write_text("mine")
            await trio.sleep(10)
            assert refusals == [f"{tmp_path}/copy: cannot be written: File exists"]

    run(main)
    assert (tmp_path / "copy").read_text() == "mine"
    assert os.listdir(tmp_path) == ["copy"]


class Answers(ServerStream):
    """The far end as a test wants it: sends these, then ends, or falls silent."""

    def __init__(self, replies: list[Any], *, ends: bool) -> None:
        self._replies = [reply.SerializeToString() for reply in replies]
        self._ends = ends

    def receive(self, data: bytes) -> None: ...

    def end_requests(self) -> None: ...

    def take(self) -> bytes | None:
        return self._replies.pop(0) if self._replies else None

    @property
    def finished(self) -> bool:
        return self._ends and not self._replies

    def close(self) -> None: ...


class Scripted(Service):
    def __init__(self, *replies: Any, ends: bool = True) -> None:
        self._stream = Answers(list(replies), ends=ends)

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[..., None]) -> None:
        raise AssertionError(method)

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> ServerStream:
        return self._stream


PIECE = pb.SnapshotReply(data=b"a piece")


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (lambda: Scripted(PIECE, PIECE), "its Snapshot ended without an answer"),
        (lambda: Scripted(PIECE, ends=False), f"no word of its Snapshot for {SILENCE_SECONDS_MAX:.0f} s"),
        (lambda: Scripted(PIECE, pb.SnapshotReply(bytes_total=7, sha256=b"another")), "not the one it sent"),
        (lambda: Scripted(pb.SnapshotReply(bytes_total=7, sha256=b"of nothing")), "not the one it sent"),
    ],
    ids=["broken off", "silent", "wrong checksum", "a piece is missing"],
)
def test_of_a_snapshot_that_is_not_whole_nothing_is_left(tmp_path, service, message):
    async def main() -> None:
        with pytest.raises(Unreachable, match=f"p-1: .*{message}.*: ask again"):
            await Administration(link(service())).snapshot(tmp_path / "copy")

    run(main)
    assert os.listdir(tmp_path) == []


async def cut(transport: MemoryTransport, _: trio.CancelScope) -> None:
    transport.cut()


async def interrupt(_: MemoryTransport, scope: trio.CancelScope) -> None:
    scope.cancel()


@pytest.mark.parametrize("stop", [cut, interrupt])
@pytest.mark.parametrize("at_seconds", [0.0, 0.015, 0.065, 0.085])
def test_a_snapshot_interrupted_anywhere_leaves_nothing_at_either_end(
    tmp_path, monkeypatch, stop: Callable[..., Awaitable[None]], at_seconds: float
):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(administration, "CHUNK_BYTES", 500)
    monkeypatch.setattr("ursa.clients.transport._memory_stream.INBOUND_BYTES_MAX", 500)

    async def main() -> None:
        async with partition() as (_, _store, transport), trio.open_nursery() as nursery:
            slow = link(transport._link.service, 0.01)

            async def take() -> None:
                with trio.CancelScope() as scope:
                    nursery.start_soon(stop_it, scope)
                    with pytest.raises((Unreachable, trio.Cancelled)):
                        await Administration(slow).snapshot(tmp_path / "here" / "copy")

            async def stop_it(scope: trio.CancelScope) -> None:
                await trio.sleep(at_seconds)
                await stop(slow, scope)

            await take()
            await trio.sleep(10)
            assert os.listdir(tmp_path / "here") == []
            assert os.listdir(tmp_path / "tmp") == []
            await Administration(transport).snapshot(tmp_path / "here" / "copy")

    run(main)
    assert verify(tmp_path / "here" / "copy").problem is None


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        whole = pb.SnapshotReply(bytes_total=7, sha256=sha256(PIECE.data).digest())
        with pytest.raises(InputError, match=f"{tmp_path}/copy: cannot be written: No space left on device"):
            await Administration(link(Scripted(PIECE, whole))).snapshot(tmp_path / "copy")

    monkeypatch.setattr("os.fsync", full)
    run(main)
    assert os.listdir(tmp_path) == []
