"""The seam between a partition's apiserver and what carries its messages.

A front end (gRPC, or an in-memory link) moves bytes; the apiserver behind this seam is synchronous and never waits.
Requests go in through `call` and `receive`; what is to be sent comes out of `take`, and `wake` says that there is
something to take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from . import ursa_pb2 as pb
from .errors import ApiError


@dataclass(frozen=True)
class Method:
    """One RPC of the service: its shape and its messages."""

    name: str
    request: type[Message]
    reply: type[Message]
    streams_requests: bool = False
    streams_replies: bool = False

    @property
    def path(self) -> str:
        return f"/ursa.v1.Partition/{self.name}"


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("Get", pb.GetRequest, pb.GetReply),
        Method("List", pb.ListRequest, pb.ListReply, streams_replies=True),
        Method("Write", pb.MutateRequest, pb.MutateReply),
        Method("Mutate", pb.MutateRequest, pb.MutateReply, streams_requests=True, streams_replies=True),
        Method("Watch", pb.WatchRequest, pb.WatchReply, streams_requests=True, streams_replies=True),
        Method("Status", pb.StatusRequest, pb.PartitionStatus),
        Method("Requests", pb.RequestsRequest, pb.RequestsReply),
        Method("Compact", pb.CompactRequest, pb.CompactReply, streams_replies=True),
        Method("Defragment", pb.DefragmentRequest, pb.DefragmentReply, streams_replies=True),
        Method("Digest", pb.DigestRequest, pb.DigestReply, streams_replies=True),
        Method("Snapshot", pb.SnapshotRequest, pb.SnapshotReply, streams_replies=True),
    )
}

# Where a refused call carries its Status, serialized.
STATUS_METADATA_KEY = "ursa-status-bin"
# Who asks, whom, and the id of the request; set by the transport. A partition of another name answers nothing.
USER_METADATA_KEY = "ursa-user"
PARTITION_METADATA_KEY = "ursa-partition"
TRACE_METADATA_KEY = "ursa-trace"


class Caller(NamedTuple):
    """Who asks, as the front end knows it.

    `user` is the identity (today the transport's word for it), `agent` the program, as it calls itself; `trace` the id
    under which this request, or all requests of this stream, can be found again: made by the client, or empty.
    """

    user: str
    agent: str = ""
    trace: str = ""


class ServerStream(Protocol):
    """The apiserver's end of one stream (List, Mutate or Watch)."""

    def receive(self, data: bytes) -> None:
        """Take one request.

        Raises:
            ApiError: the stream ends with it.
        """

    def end_requests(self) -> None:
        """The client will send no more."""

    def take(self) -> bytes | None:
        """The next reply to send, or None: nothing now, wait for `wake`.

        Raises:
            ApiError: the stream ends with it.
        """

    @property
    def finished(self) -> bool:
        """Nothing will ever be there to take any more; the stream ends well."""

    def close(self) -> None:
        """The client is gone."""


class Service(Protocol):
    """A partition's apiserver, as its front ends see it."""

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[[bytes | ApiError], None]) -> None:
        """A unary call. `reply` is called once, now or later."""

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> ServerStream:
        """Open a stream. `wake` is called whenever `take` may have something new, or `finished` has become true."""
