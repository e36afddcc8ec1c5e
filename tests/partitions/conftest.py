"""A partition's core under hand control: time and commits move only when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from ursa.partitions import ApiServer
from ursa.partitions.flow import FlowOptions
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, from_status
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.sessions import Caller
from ursa.storage import MemoryStore, Store


class HandCommitter:
    """Commits when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Callable[[BaseException | None], None]]] = []
        self.automatic = True

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        self.waiting.append((work, done))
        if self.automatic:
            self.finish()

    def finish(self) -> None:
        while self.waiting:
            work, done = self.waiting.pop(0)
            work()
            done(None)

    def close(self) -> None:
        self.finish()


class HandRuntime:
    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + round(self.now * 1000)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._count += 1
        self.timers.append((self.now + seconds, self._count, callback))

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= until]:
            timer = min(due)
            self.timers.remove(timer)
            self.now = timer[0]
            timer[2]()
        self.now = until


class Partition:
    """One apiserver, its store, and short forms for what tests do to it."""

    def __init__(
        self,
        role: Role,
        store: Store | None = None,
        events_store: Store | None = None,
        flow_options: FlowOptions | None = None,
    ) -> None:
        self.role = role
        self.committer = HandCommitter()
        self.store = store or MemoryStore(self.committer, incarnation="one")
        self.runtime = HandRuntime()
        self.server = ApiServer(
            "p-1", role, self.store, self.runtime, Random(7), events_store=events_store, flow_options=flow_options
        )
        self.runtime.advance(0.1)

    def write(self, *operations: pb.Operation) -> list[pb.Result]:
        """One batch, answered at once because commits are automatic."""
        answers: list[bytes | ApiError] = []
        request = pb.MutateRequest(operations=operations, batch=1).SerializeToString()
        self.server.call("Write", request, Caller("test"), answers.append)
        self.runtime.advance(0.1)
        [answer] = answers
        if isinstance(answer, ApiError):
            raise answer
        return list(pb.MutateReply.FromString(answer).results)

    def do(self, operation: pb.Operation) -> pb.Result:
        """One operation; its refusal is raised."""
        [result] = self.write(operation)
        if result.HasField("error"):
            raise from_status(result.error)
        return result

    def create(self, manifest: dict[str, Any]) -> Object:
        message = Object.from_dict(manifest).message
        from ursa.proto.kinds import BY_KIND

        operation = pb.Operation(resource=BY_KIND[message.kind].resource, return_object=True)
        operation.create.object.CopyFrom(message)
        return Object(self.do(operation).object)

    def get(self, resource: str, name: str, tenant: str = "system", namespace: str = "default") -> Object:
        answers: list[bytes | ApiError] = []
        request = pb.GetRequest(resource=resource, tenant=tenant, namespace=namespace, name=name)
        self.server.call("Get", request.SerializeToString(), Caller("test"), answers.append)
        [answer] = answers
        if isinstance(answer, ApiError):
            raise answer
        return Object(pb.GetReply.FromString(answer).object)

    def list(self, resource: str, **fields: Any) -> pb.ListReply:
        selection = {
            name: fields.pop(name)
            for name in ("tenant", "namespace", "label_selector", "field_selector", "metadata_only")
            if name in fields
        }
        request = pb.ListRequest(selection=pb.Selection(resource=resource, **selection), **fields)
        stream = self.server.open("List", Caller("test"), lambda: None)
        stream.receive(request.SerializeToString())
        reply = pb.ListReply()
        while not stream.finished:
            while (chunk := stream.take()) is not None:
                reply.MergeFromString(chunk)
            if not stream.finished:
                self.runtime.advance(0.1)  # It waits for a revision, or lets others have a turn.
        return reply

    def watch(self, resource: str, **fields: Any) -> Watching:
        return Watching(self, resource, **fields)


class Watching:
    """One watch on a stream of its own, and what it has received."""

    def __init__(self, partition: Partition, resource: str, **fields: Any) -> None:
        selection = {
            name: fields.pop(name)
            for name in ("tenant", "namespace", "label_selector", "field_selector")
            if name in fields
        }
        self.stream = partition.server.open("Watch", Caller("test"), lambda: None)
        self.events: list[tuple[str, str, int]] = []
        self.objects: list[pb.Object] = []
        self.bookmark = 0
        self.synced = False
        self.error: ApiError | None = None
        start = pb.WatchStart(id=1, selection=pb.Selection(resource=resource, **selection), **fields)
        self.stream.receive(pb.WatchRequest(start=[start]).SerializeToString())
        self.read()

    def read(self) -> list[tuple[str, str, int]]:
        """Take in what has come; returns just that, as (type, name, revision)."""
        fresh = []
        while (data := self.stream.take()) is not None:
            reply = pb.WatchReply.FromString(data)
            for batch in reply.batches:
                for event in batch.events:
                    fresh.append(
                        (pb.WatchEvent.Type.Name(event.type), event.object.metadata.name, event.resource_version)
                    )
                    self.objects.append(event.object)
                self.synced |= batch.initial_events_end
                if batch.HasField("error"):
                    self.error = from_status(batch.error)
            self.bookmark = max(self.bookmark, reply.resource_version)
        self.events += fresh
        return fresh


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "tenant": "system", "namespace": "default", **metadata},
        "spec": {"containers": [{"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "100m"}}}]},
    }


def target(resource: str, name: str, tenant: str = "system", namespace: str = "default") -> pb.GetRequest:
    return pb.GetRequest(resource=resource, tenant=tenant, namespace=namespace, name=name)


@pytest.fixture
def tenant_partition() -> Iterator[Partition]:
    partition = Partition(Role.TENANT)
    yield partition
    partition.server.close()
    partition.store.close()


@pytest.fixture
def resource_partition() -> Iterator[Partition]:
    partition = Partition(Role.RESOURCE)
    yield partition
    partition.server.close()
    partition.store.close()
