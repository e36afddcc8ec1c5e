"""A client of one partition: reads, batched writes, watches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, ServiceUnavailable, TooManyRequests, Unreachable
from ..proto.kinds import BY_KIND
from ..proto.objects import Object, ObjectKey
from . import operations as ops
from .actor import Actor
from .backoff import Backoff
from .metrics import counter, histogram
from .mutations import Mutations
from .nurseries import open_background
from .transport.interface import UNARY_TIMEOUT_SECONDS, Transport
from .watches import Watch, Watches, WatchSink

_Reply = TypeVar("_Reply")
_Results = list[pb.Result]  # `list` is a method below.
_EVENTS = BY_KIND["Event"].resource

# Giving a link back takes no longer than this, whatever its other end does.
CLOSE_SECONDS_MAX = 5.0


class ObjectList(NamedTuple):
    """`resource_version` is the one revision at which all items were read; `continue_token` is empty at the end."""

    items: list[Object]
    resource_version: int
    continue_token: str


class PartitionClient:
    """One partition, as a component sees it. Make one with `open_client`.

    `resource` arguments are names on the wire (`pods`, `deployments.apps`). Writes travel on one Mutate stream, one
    batch in flight: whatever is asked for meanwhile is the next batch, so many tasks writing at once share messages.
    Events have a stream of their own: they may go to a store of their own, and nothing else should wait for that.
    """

    partition: str
    actor: Actor

    def __init__(self, transport: Transport, actor: Actor) -> None:
        self.partition = transport.partition
        self.actor = actor
        self._transport = transport
        self._mutations = Mutations(transport, actor)
        self._event_mutations = Mutations(transport, actor)
        self._watches = Watches(transport, actor)
        self._requests = counter(
            actor.registry,
            "rest_client_requests_total",
            "Requests to partitions; writes that travel in batches are not counted here.",
            ["host", "method", "code"],
        )
        self._seconds = histogram(
            actor.registry,
            "rest_client_request_duration_seconds",
            "Duration of requests to partitions.",
            ["host", "verb"],
        )

    # ---------------------------------------------------------------------------------------------------- reads

    async def get(self, resource: str, key: ObjectKey) -> Object:
        """Raises NotFound, or Unreachable (reads are retried until the timeout)."""
        request = ops.target(resource, key)

        async def attempt(seconds: float) -> Object:
            reply = await self._transport.unary("Get", request, timeout_seconds=seconds)
            return Object(reply.object, self.partition)

        return await self._read("Get", attempt)

    async def list(
        self,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        exact: bool = False,
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """Empty tenant or namespace: all of them. Raises Expired, BadRequest; Unreachable once retries are used up."""
        request = pb.ListRequest(
            selection=pb.Selection(
                resource=resource,
                tenant=tenant,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
            ),
            resource_version=resource_version,
            exact=exact,
            limit=limit,
        )
        request.continue_token = continue_token

        async def attempt(seconds: float) -> ObjectList:
            with trio.move_on_after(seconds):
                return await self._list_once(request)
            raise Unreachable(self.partition, f"no complete list of {resource} within {seconds:.0f} s")

        return await self._read("List", attempt)

    async def status(self) -> pb.PartitionStatus:
        async def attempt(seconds: float) -> pb.PartitionStatus:
            reply = await self._transport.unary("Status", pb.StatusRequest(), timeout_seconds=seconds)
            assert isinstance(reply, pb.PartitionStatus)
            return reply

        return await self._read("Status", attempt)

    # --------------------------------------------------------------------------------------------------- writes

    async def mutate(self, operations: Sequence[pb.Operation]) -> _Results:
        """Write many: the hot path. Results in order; a failed operation has its `error` set and raises nothing.

        Raises:
            Unreachable: nothing was sent.
            OutcomeUnknown: sent, and the link was lost before the answer.
        """
        of_events = bool(operations) and operations[0].resource == _EVENTS
        return await (self._event_mutations if of_events else self._mutations).mutate(operations)

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Returns the object as written. Raises ApiError, Unreachable, OutcomeUnknown; so do all below."""
        return await self._write(ops.create_operation(obj, return_object=True, dry_run=dry_run))

    async def update(self, obj: Object, *, dry_run: bool = False) -> Object:
        """The whole object but its status. Raises Conflict unless its resource_version is 0 or still the newest."""
        return await self._write(ops.update_operation(obj, return_object=True, dry_run=dry_run))

    async def update_status(self, obj: Object) -> Object:
        """Only the status. Raises Conflict like `update`."""
        return await self._write(ops.update_status_operation(obj, return_object=True))

    async def patch(
        self,
        resource: str,
        key: ObjectKey,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """A merge patch (RFC 7386)."""
        return await self._write(
            ops.patch_operation(resource, key, body, subresource=subresource, return_object=True, dry_run=dry_run)
        )

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
        """Raises Conflict where a given uid or resource_version is not the object's."""
        operation = ops.delete_operation(
            resource,
            key,
            uid=uid,
            resource_version=resource_version,
            grace_seconds=grace_seconds,
            propagation=propagation,
        )
        ops.raise_for_error((await self.mutate([operation]))[0])

    async def bind(self, key: ObjectKey, *, uid: str, resource_partition: str, node: str) -> None:
        """Pod to node. Raises Conflict where it is bound elsewhere."""
        operation = ops.bind_operation(key, uid=uid, resource_partition=resource_partition, node=node)
        ops.raise_for_error((await self.mutate([operation]))[0])

    # -------------------------------------------------------------------------------------------------- watches

    def watch(self, start: pb.WatchStart, sink: WatchSink) -> Watch:
        """Open a watch on the shared Watch stream; `sink` is called with what arrives, synchronously and in order."""
        return self._watches.watch(start, sink)

    # -------------------------------------------------------------------------------------------------- details

    async def run(self) -> None:
        """Serve writes and watches until cancelled. `open_client` does this."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mutations.run)
            nursery.start_soon(self._event_mutations.run)
            nursery.start_soon(self._watches.run)

    async def _write(self, operation: pb.Operation) -> Object:
        [result] = await self.mutate([operation])
        ops.raise_for_error(result)
        return Object(result.object, self.partition)

    async def _list_once(self, request: pb.ListRequest) -> ObjectList:
        items: list[Object] = []
        last = pb.ListReply()
        async with self._transport.stream("List") as stream:
            await stream.send(request)
            while chunks := await stream.receive():
                for chunk in chunks:
                    items.extend(Object(item, self.partition) for item in chunk.items)
                last = chunks[-1]
        return ObjectList(items, last.resource_version, last.continue_token)

    async def _read(self, method: str, attempt: Callable[[float], Awaitable[_Reply]]) -> _Reply:
        """Repeat a read, which changes nothing, until it is answered or its time is up."""
        give_up_at = trio.current_time() + UNARY_TIMEOUT_SECONDS
        backoff = Backoff(self.actor.random)
        while True:
            pause = backoff.next_seconds()
            try:
                return await self._measured(method, attempt, give_up_at - trio.current_time())
            except (Unreachable, TooManyRequests, ServiceUnavailable) as error:
                if isinstance(error, ApiError):
                    pause = max(pause, error.retry_after_ms / 1000)
                if trio.current_time() + pause >= give_up_at:
                    raise
            await trio.sleep(pause)

    async def _measured(self, method: str, attempt: Callable[[float], Awaitable[_Reply]], seconds: float) -> _Reply:
        began = trio.current_time()
        code = "<error>"  # As client-go counts a request that got no answer.
        try:
            reply = await attempt(seconds)
            code = "200"
            return reply
        except ApiError as error:
            code = str(error.code)
            raise
        finally:
            self._requests.labels(self.partition, method, code).inc()
            self._seconds.labels(self.partition, method).observe(trio.current_time() - began)


@asynccontextmanager
async def open_client(transport: Transport, actor: Actor) -> AsyncIterator[PartitionClient]:
    """`async with open_client(transport, actor) as client:`; the client's tasks live in the block.

    Opening does not wait for the partition. The client owns its transport, and closes it at the end of the block.
    """
    client = PartitionClient(transport, actor)
    try:
        async with open_background() as nursery:
            nursery.start_soon(client.run)
            yield client
    finally:
        with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
            await transport.aclose()
