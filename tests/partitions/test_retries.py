"""A write that is sent again because its answer was lost happens once (S20: a retry that repeats a write)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions import ApiServer
from ursa.partitions.cache import window
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, BadRequest, Conflict
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller
from ursa.storage import MemoryStore

from .conftest import HandCommitter, HandRuntime, Partition

KEY = {"tenant": "system", "namespace": "default"}


def config_map(name: str = "", request_id: bytes = b"", **fields: Any) -> pb.Operation:
    metadata = {"name": name, **KEY, **fields}
    message = Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).message
    return pb.Operation(
        resource="configmaps", create=pb.Create(object=message), request_id=request_id, return_object=True
    )


def delete(name: str, request_id: bytes) -> pb.Operation:
    target = pb.GetRequest(resource="configmaps", name=name, **KEY)
    return pb.Operation(resource="configmaps", delete=pb.Delete(target=target), request_id=request_id)


def test_a_create_that_is_repeated_is_answered_as_the_first_time(tenant_partition: Partition) -> None:
    """Without the look into the outcomes it says AlreadyExists: the client would take its own object for another's."""
    first = tenant_partition.do(config_map("a", b"id-1"))
    head = tenant_partition.store.head
    again = tenant_partition.do(config_map("a", b"id-1"))
    assert again == first
    assert tenant_partition.store.head == head
    with pytest.raises(ApiError, match="exists already"):
        tenant_partition.do(config_map("a", b"id-2"))


def test_a_made_up_name_is_made_up_once(tenant_partition: Partition) -> None:
    first = tenant_partition.do(config_map("", b"id-1", generateName="web-"))
    assert tenant_partition.do(config_map("", b"id-1", generateName="web-")).name == first.name
    names = [item.metadata.name for item in tenant_partition.list("configmaps", **KEY).items]
    assert [name for name in names if name.startswith("web-")] == [first.name]


def test_a_delete_that_is_repeated_does_not_delete_the_next_one_of_the_name(tenant_partition: Partition) -> None:
    tenant_partition.do(config_map("a", b"id-1"))
    first = tenant_partition.do(delete("a", b"id-2"))
    tenant_partition.do(config_map("a", b"id-3"))
    assert tenant_partition.do(delete("a", b"id-2")).resource_version == first.resource_version
    assert tenant_partition.get("configmaps", "a").name == "a"


def test_an_update_after_the_write_does_not_hide_that_it_was_done(tenant_partition: Partition) -> None:
    first = tenant_partition.do(config_map("a", b"id-1"))
    tenant_partition.do(delete("a", b""))
    assert tenant_partition.do(config_map("a", b"id-1")).resource_version == first.resource_version
    with pytest.raises(ApiError):
        tenant_partition.get("configmaps", "a")


def test_what_left_nothing_behind_may_be_carried_out_when_it_comes_again(tenant_partition: Partition) -> None:
    with pytest.raises(ApiError):
        tenant_partition.do(delete("a", b"id-1"))
    tenant_partition.do(config_map("a"))
    tenant_partition.do(delete("a", b"id-1"))


def test_an_id_of_another_operation_is_refused(tenant_partition: Partition) -> None:
    tenant_partition.do(config_map("a", b"id-1"))
    for operation in (config_map("b", b"id-1"), config_map("c", b"x" * 33)):
        with pytest.raises(ApiError, match="request_id") as refused:
            tenant_partition.do(operation)
        assert refused.value.code == 400


def test_an_id_of_another_operation_on_the_object_is_refused_where_it_cannot_be_the_same(
    tenant_partition: Partition,
) -> None:
    tenant_partition.do(config_map("a", b"id-1"))
    target = pb.GetRequest(resource="configmaps", name="a", **KEY)
    patch = pb.Patch(target=target, body=b"\x80", subresource="scale")
    other = pb.Operation(resource="configmaps", patch=patch, request_id=b"id-1", return_object=True)
    with pytest.raises(BadRequest, match="no subresource 'scale'"):
        tenant_partition.do(other)


def test_a_dry_run_is_neither_remembered_nor_answered_from_memory(tenant_partition: Partition) -> None:
    dry = config_map("a", b"id-1")
    dry.dry_run = True
    tenant_partition.do(dry)
    tenant_partition.do(config_map("a", b"id-1"))
    assert tenant_partition.get("configmaps", "a").name == "a"


def test_the_id_is_not_shown_to_people(tenant_partition: Partition) -> None:
    obj = Object(tenant_partition.do(config_map("a", b"id-1")).object)
    assert "id-1" not in str(obj.to_dict())
    assert "equest" not in str(obj.to_dict())


# -------------------------------------------------------------------------------------------------------- streams


class Stream:
    """A writer's stream, as the client drives it."""

    def __init__(self, server: ApiServer, writer: bytes = b"", stream: int = 1) -> None:
        self._stream = server.open("Mutate", Caller("test"), lambda: None)
        self._batch = 0
        first = self.send(writer=writer, stream=stream)
        assert first is not None
        self.writer, self.position = first.writer, first.position

    def send(self, *operations: pb.Operation, **fields: Any) -> pb.MutateReply | None:
        self._batch += 1
        self._stream.receive(pb.MutateRequest(operations=operations, batch=self._batch, **fields).SerializeToString())
        return self.take()

    def take(self) -> pb.MutateReply | None:
        data = self._stream.take()
        return None if data is None else pb.MutateReply.FromString(data)


def test_writers_have_names_that_no_other_has(tenant_partition: Partition) -> None:
    first, second = Stream(tenant_partition.server), Stream(tenant_partition.server)
    assert first.writer != second.writer
    assert len(first.writer) == 8
    assert Stream(tenant_partition.server, first.writer, 2).writer == first.writer


def test_what_an_older_stream_still_brings_is_too_late(tenant_partition: Partition) -> None:
    """A link may hold back a batch until after its retry: refused there, it would come as a ghost."""
    old = Stream(tenant_partition.server)
    new = Stream(tenant_partition.server, old.writer, 2)
    reply = new.send(delete("a", b"id-1"), resent_behind=old.position)
    assert reply is not None
    assert reply.results[0].error.code == 404  # The client is told.
    tenant_partition.do(config_map("a"))
    late = old.send(delete("a", b"id-1"))
    assert late is not None
    assert late.results[0].error.reason == "Conflict"
    assert tenant_partition.get("configmaps", "a").name == "a"
    with pytest.raises(Conflict, match="newer stream"):
        Stream(tenant_partition.server, old.writer, 1)


def test_a_retry_that_comes_after_what_is_remembered_is_not_carried_out(
    tenant_partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "WINDOW_CHANGES_MAX", 32)
    stream = Stream(tenant_partition.server)
    position = stream.position
    assert stream.send(config_map("a", b"id-1")) is not None
    for number in range(100):
        tenant_partition.do(config_map(f"other-{number}"))
    tenant_partition.do(delete("a", b""))
    retry = Stream(tenant_partition.server, stream.writer, 2).send(config_map("a", b"id-1"), resent_behind=position)
    assert retry is not None
    assert retry.forgotten
    assert not retry.results
    with pytest.raises(ApiError):
        tenant_partition.get("configmaps", "a")
    for nonsense in ("x", "one:1 two:2", "one:-1", "one:9\u0663", f"other:{1}"):
        again = Stream(tenant_partition.server, stream.writer, 3).send(config_map("b"), resent_behind=nonsense)
        assert again is not None
        assert again.forgotten


def test_a_batch_that_is_on_its_way_to_the_disk_is_known_already(tenant_partition: Partition) -> None:
    stream = Stream(tenant_partition.server)
    tenant_partition.committer.automatic = False
    assert stream.send(config_map("a", b"id-1")) is None
    retry = Stream.__new__(Stream)
    retry._stream, retry._batch = tenant_partition.server.open("Mutate", Caller("test"), lambda: None), 0
    assert retry.send(writer=stream.writer, stream=2) is None  # Not before the first is durable.
    assert retry.send(config_map("a", b"id-1"), resent_behind=stream.position) is None
    tenant_partition.committer.finish()
    tenant_partition.runtime.advance(0.1)
    tenant_partition.committer.finish()
    assert retry.take() is not None
    reply = retry.take()
    assert reply is not None
    assert not reply.results[0].HasField("error")


class World:
    """A server that can be killed with what is not on the disk, and one client that counts."""

    def __init__(self) -> None:
        self.committer = HandCommitter()
        self.store = MemoryStore(self.committer, incarnation="one")
        self.random = Random(5)
        self.runtime = HandRuntime()
        self.start()

    def start(self) -> None:
        self.server = ApiServer("p-1", Role.TENANT, self.store, self.runtime, self.random)
        self.runtime.advance(0.1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_cut_at_any_moment_is_exactly_once(seed: int) -> None:
    """Creates with made-up names, and any loss: of the request, of the answer, of the server and what it remembers."""
    random = Random(seed)
    world = World()
    partition = Partition.__new__(Partition)
    partition.role, partition.committer, partition.store = Role.TENANT, world.committer, world.store
    partition.runtime, partition.server = world.runtime, world.server
    stream = Stream(world.server)
    streams, done = 1, 0
    for number in range(12):
        operations = [
            config_map("", b"%d-%d" % (number, each), generateName="x-") for each in range(random.randint(1, 3))
        ]
        position, reply = stream.position, None
        fields: dict[str, Any] = {}
        while reply is None:
            lost = random.choice(("nothing", "request", "answer", "server"))
            if lost != "request":
                reply = stream.send(*operations, **fields)
                world.runtime.advance(0.1)
                reply = reply or stream.take()
            if lost != "nothing":
                reply = None
                if lost == "server":
                    world.server.close()
                    world.start()
                streams += 1
                stream = Stream(world.server, stream.writer, streams)
                fields = {"resent_behind": position}
        done += len(operations)
        stream.position = reply.position
        assert not any(result.HasField("error") for result in reply.results)
        assert not reply.forgotten
    partition.server = world.server
    assert len(partition.list("configmaps").items) == done


def test_ids_are_found_again_in_the_log() -> None:
    world = World()
    stream = Stream(world.server)
    first = stream.send(config_map("a", b"id-1"))
    world.server.close()
    world.start()
    again = Stream(world.server, stream.writer, 2).send(config_map("a", b"id-1"), resent_behind=stream.position)
    assert first is not None
    assert again is not None
    assert again.results[0].resource_version == first.results[0].resource_version
