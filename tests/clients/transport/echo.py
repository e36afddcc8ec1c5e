"""A small apiserver without a store: what it answers is decided by the names in the request.

Get     name "missing": a refusal with every field set; "silent": no answer; others: an object that names the caller.
List    `limit` chunks of 64 KiB, numbered; resource "refuse": a refusal.
Mutate  each batch echoed. Resource of the first operation: "refuse", a refusal; "crash", a bug; "stall", nothing more
        is read (over gRPC); a number, so many replies.
Watch   resource "flood": replies of 64 KiB without end; others: one reply a start.
Status  what the service has seen, as `objects`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, Cause, Invalid
from ursa.proto.sessions import Caller

CHUNK_BYTES = 64 * 1024


def refusal() -> Invalid:
    cause = Cause("spec.nodeName", "is set already", "FieldValueForbidden")
    return Invalid("two rules broken", key="pods/a/b/c", resource_version=7, causes=[cause], retry_after_ms=250)


class EchoService:
    def __init__(self) -> None:
        self.seen = dict.fromkeys(("calls", "opened", "closed", "requests", "replies", "reply_bytes"), 0)
        self.unanswered: list[Callable[[bytes | ApiError], None]] = []

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[[bytes | ApiError], None]) -> None:
        self.seen["calls"] += 1
        if method == "Status":
            reply(pb.PartitionStatus(name="echo", objects=self.seen).SerializeToString())
        elif method == "Get":
            self._get(pb.GetRequest.FromString(request), caller.user, reply)
        else:
            reply(echo(pb.MutateRequest.FromString(request)).SerializeToString())

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> EchoStream:
        self.seen["opened"] += 1
        return EchoStream(self, method, wake)

    def _get(self, request: pb.GetRequest, user: str, reply: Callable[[bytes | ApiError], None]) -> None:
        if request.name == "missing":
            reply(refusal())
        elif request.name == "silent":
            self.unanswered.append(reply)
        else:
            metadata = pb.ObjectMeta(name=request.name, annotations={"user": user})
            reply(pb.GetReply(object=pb.Object(kind="Echo", metadata=metadata)).SerializeToString())


class EchoStream:
    def __init__(self, service: EchoService, method: str, wake: Callable[[], None]) -> None:
        self._service = service
        self._method = method
        self._wake = wake
        self._replies: deque[bytes] = deque()
        self._flood = False
        self._number = 0
        self.stalled = False
        self.finished = False

    def receive(self, data: bytes) -> None:
        self._service.seen["requests"] += 1
        getattr(self, f"_{self._method.lower()}")(data)
        self._wake()

    def say(self, reply: pb.MutateReply) -> None:
        """By itself."""
        self._replies.append(reply.SerializeToString())
        self._wake()

    def end_requests(self) -> None:
        self.finished = self._method == "List"
        self._wake()

    def take(self) -> bytes | None:
        if self._flood:
            self._number += 1
            padding = pb.WatchBatch(events=[pb.WatchEvent(object=pb.Object(spec=bytes(CHUNK_BYTES)))])
            self._replies.append(pb.WatchReply(resource_version=self._number, batches=[padding]).SerializeToString())
        if not self._replies:
            return None
        data = self._replies.popleft()
        self._service.seen["replies"] += 1
        self._service.seen["reply_bytes"] += len(data)
        return data

    def close(self) -> None:
        self._service.seen["closed"] += 1

    def _list(self, data: bytes) -> None:
        request = pb.ListRequest.FromString(data)
        if request.selection.resource == "refuse":
            raise refusal()
        item = pb.Object(kind="Echo", spec=bytes(CHUNK_BYTES))
        for number in range(request.limit):
            self._replies.append(pb.ListReply(items=[item], remaining=request.limit - number - 1).SerializeToString())

    def _mutate(self, data: bytes) -> None:
        request = pb.MutateRequest.FromString(data)
        resource = request.operations[0].resource if request.operations else ""
        if resource == "refuse":
            raise refusal()
        if resource == "crash":
            raise ZeroDivisionError
        self.stalled = resource == "stall"
        for _ in range(int(resource) if resource.isdigit() else 1):
            self._replies.append(echo(request).SerializeToString())

    def _watch(self, data: bytes) -> None:
        for start in pb.WatchRequest.FromString(data).start:
            self._flood = start.selection.resource == "flood"
            batch = pb.WatchBatch(id=start.id, initial_events_end=True)
            self._replies.append(pb.WatchReply(batches=[batch]).SerializeToString())


def echo(request: pb.MutateRequest) -> pb.MutateReply:
    results = [pb.Result(name=each.resource) for each in request.operations]
    return pb.MutateReply(batch=request.batch, results=results)
