"""A client of one partition: reads, batched writes, watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from ..proto import ursa_pb2 as pb
from ..proto.kinds import Role
from ..proto.objects import Object, ObjectKey
from .actor import Actor
from .transport.interface import Transport


class ObjectList(NamedTuple):
    items: list[Object]
    resource_version: int
    continue_token: str


class PartitionClient:
    """One partition, as a component sees it. Make one with `open_client`.

    `resource` arguments are names on the wire (`pods`, `deployments.apps`). Writes travel on one Mutate stream, one
    batch in flight: whatever is asked for meanwhile is the next batch, so many tasks writing at once share messages.
    """

    partition: str
    actor: Actor

    async def get(self, resource: str, key: ObjectKey) -> Object:
        """Raises NotFound, or Unreachable (reads are retried until the timeout)."""
        raise NotImplementedError

    async def list(
        self,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """Empty tenant or namespace: all of them."""
        raise NotImplementedError

    async def mutate(self, operations: Sequence[pb.Operation]) -> list[pb.Result]:
        """Write many: the hot path. Results in order; a failed operation has its `error` set and raises nothing.

        Raises:
            Unreachable: nothing was sent.
            OutcomeUnknown: sent, and the link was lost before the answer.
        """
        raise NotImplementedError

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Returns the object as written. Raises ApiError, Unreachable, OutcomeUnknown; so do all below."""
        raise NotImplementedError

    async def update(self, obj: Object, *, dry_run: bool = False) -> Object:
        """The whole object but its status. Raises Conflict unless its resource_version is 0 or still the newest."""
        raise NotImplementedError

    async def update_status(self, obj: Object) -> Object:
        raise NotImplementedError

    async def patch(self, resource: str, key: ObjectKey, body: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """A merge patch (RFC 7386)."""
        raise NotImplementedError

    async def delete(
        self,
        resource: str,
        key: ObjectKey,
        *,
        uid: str = "",
        resource_version: int = 0,
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> None:
        raise NotImplementedError

    async def status(self) -> pb.PartitionStatus:
        raise NotImplementedError

    def watch(self, start: pb.WatchStart, sink: WatchSink) -> Watch:
        """Open a watch on the shared Watch stream; `sink` is called with what arrives, synchronously and in order."""
        raise NotImplementedError


class WatchSink:
    """What a watch calls. Both are plain functions: they must not block."""

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        """Events of this watch (batch.events may be empty: then it is a bookmark, or the end of the initial events).

        Afterwards the watch is complete up to `resource_version`. If `batch.error` is set the watch has ended.
        """
        raise NotImplementedError

    def on_lost(self) -> None:
        """The stream is gone; the watch has ended and must be opened again."""
        raise NotImplementedError


class Watch:
    def stop(self) -> None:
        raise NotImplementedError


def open_client(transport: Transport, actor: Actor) -> AbstractAsyncContextManager[PartitionClient]:
    """`async with open_client(transport, actor) as client:`; the client's tasks live in the block."""
    raise NotImplementedError


class ClientSet:
    """The clients of one component, by partition name and role. Static in a run for now; the order is by name."""

    tenant_clients: dict[str, PartitionClient]
    resource_clients: dict[str, PartitionClient]


def open_clients(
    tenant_transports: Mapping[str, Transport],
    resource_transports: Mapping[str, Transport],
    actor: Actor,
) -> AbstractAsyncContextManager[ClientSet]:
    raise NotImplementedError


_ = (Role, Callable)
