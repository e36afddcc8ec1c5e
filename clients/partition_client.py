"""A client of one partition: reads, batched writes, watches."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import OutcomeUnknown, Unreachable, was_fenced_off
from ..proto.kinds import BY_KIND, EVENTS_STORE, MAIN_STORE, KindTable
from ..proto.objects import Object, ObjectKey
from . import operations as ops
from .actor import Actor
from .contact import Contact
from .kinds import DEFINITIONS, Kinds
from .mutations import WRITE_SECONDS_MAX, Mutations
from .nurseries import open_background
from .reads import ObjectList, Reads
from .sightings import Sightings
from .throttling import RateLimit, ThrottledTransport
from .transport.interface import Transport
from .watches import Watch, Watches, WatchSink

if TYPE_CHECKING:
    from .fencing import Fencing

_Results = list[pb.Result]  # `list` is a method below.
_EVENTS = BY_KIND["Event"].resource

# Giving a link back takes no longer than this, whatever its other end does.
CLOSE_SECONDS_MAX = 5.0


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
        self.contact = Contact(transport.partition, actor.log)
        self._mutations = Mutations(transport, actor, self.contact)
        self._event_mutations = Mutations(transport, actor, self.contact)
        self._sightings = Sightings()
        self._reads = Reads(transport, actor, self._sightings)
        self._kinds = Kinds(self._definitions)
        self._watches = Watches(transport, actor, self._sightings, self.contact)
        self._fencing: Fencing | None = None

    def fenced(self, fencing: Fencing) -> PartitionClient:
        """This client, its streams and all, for who writes only while he leads. `mutate`, and all that writes by it."""
        view = copy.copy(self)
        view._fencing = fencing  # noqa: SLF001 - it is one of us
        return view

    # ---------------------------------------------------------------------------------------------------- reads

    async def get(self, resource: str, key: ObjectKey, *, resource_version: str = "", subresource: str = "") -> Object:
        """The object, with nothing missing that anybody was told of before.

        Args:
            resource_version: "0": any state will do that is not older than what this client has seen. A revision: not
                older than that; it must be one of this partition's.
            subresource: "scale": the workload's Scale.

        Raises:
            NotFound.
            Timeout: the partition has not reached the revision.
            Unreachable: retries are used up.
        """
        request = ops.target(resource, key)
        request.resource_version = resource_version
        request.subresource = subresource
        return await self._reads.get(request)

    async def list(
        self,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        resource_version: str = "",
        exact: bool = False,
        not_older_than: bool = False,
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """All objects, or a page of at most `limit`; empty tenant or namespace: all of them.

        Args:
            resource_version: as for `get`. With `exact`, the state at just that revision; also with a limit, unless
                `not_older_than`.
            continue_token: of the page before. All pages of a list show one revision.

        Raises:
            Expired: the revision is compacted. With a token, the error has a `continue_token`, too, which goes on with
                what is there now.
            BadRequest, Invalid: what was asked for makes no sense.
            Timeout: the partition has not reached the revision.
            Unreachable: retries are used up.
        """
        selection = pb.Selection(
            resource=resource,
            tenant=tenant,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
        )
        request = pb.ListRequest(
            selection=selection,
            resource_version=resource_version,
            exact=exact,
            not_older_than=not_older_than,
            limit=limit,
            continue_token=continue_token,
        )
        return await self._reads.list(request)

    async def kinds(self) -> KindTable:
        """The kinds that the partition serves now, custom ones among them."""
        return await self._kinds.refresh()

    async def status(self) -> pb.PartitionStatus:
        return await self._reads.status()

    async def requests(self, *, slow_max: int = 0) -> pb.RequestsReply:
        """Who asked the partition for what lately, and the newest requests that were slow (0: all that are kept)."""
        return await self._reads.requests(slow_max)

    async def _definitions(self) -> Sequence[Object]:
        return (await self.list(DEFINITIONS)).items

    # --------------------------------------------------------------------------------------------------- writes

    async def mutate(
        self,
        operations: Sequence[pb.Operation],
        *,
        history: str = "",
        unsent_seconds_max: float = WRITE_SECONDS_MAX,
    ) -> _Results:
        """Write many: the hot path. Results in order; a failed operation has its `error` set and raises nothing.

        Args:
            history: the incarnation of the partition that this was decided on; empty: it does not matter.
            unsent_seconds_max: how long to wait for a link, where there is none.

        Raises:
            Unreachable: nothing was sent, as the partition was not reached, or has another history.
            OutcomeUnknown: sent, and the link was lost before the answer.
        """
        fencing = self._fencing
        if fencing is None:
            return await self._mutate(operations, history, None, unsent_seconds_max)
        fence = await fencing.fence()
        results = await self._mutate(operations, history, fence, unsent_seconds_max)
        if any(was_fenced_off(result.error) for result in results if result.HasField("error")):
            fencing.refused(fence)
        return results

    async def _mutate(
        self,
        operations: Sequence[pb.Operation],
        history: str,
        fence: pb.Fence | None,
        unsent_seconds_max: float = WRITE_SECONDS_MAX,
    ) -> _Results:
        of_events = bool(operations) and operations[0].resource == _EVENTS
        mutations = self._event_mutations if of_events else self._mutations
        results = await mutations.mutate(
            operations, history=history, fence=fence, unsent_seconds_max=unsent_seconds_max
        )
        self._saw_results(operations, results)
        return results

    async def write_apart(self, operation: pb.Operation, *, timeout_seconds: float) -> pb.Result:
        """Write past everything that waits in line, by a call of its own: for what must not be late.

        Only for writes that cannot happen twice: it has no id, and nobody asks again for an answer that was lost.

        Raises:
            ApiError: the partition had no turn for it.
            OutcomeUnknown: no answer in time.
        """
        request = pb.MutateRequest(operations=[operation])
        try:
            reply = await self._transport.unary("Write", request, timeout_seconds=timeout_seconds)
        except Unreachable as error:
            raise OutcomeUnknown(self.partition, f"a write has no answer ({error})") from None
        self._saw_results([operation], reply.results)
        result: pb.Result = reply.results[0]
        return result

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Returns the object as written. Raises ApiError, Unreachable, OutcomeUnknown; so do all below."""
        resource = await self._kinds.resource_of(obj)
        return await self._write(ops.create_operation(obj, resource=resource, return_object=True, dry_run=dry_run))

    async def update(self, obj: Object, *, dry_run: bool = False) -> Object:
        """The whole object but its status. Raises Conflict unless its resource_version is 0 or still the newest."""
        resource = await self._kinds.resource_of(obj)
        return await self._write(ops.update_operation(obj, resource=resource, return_object=True, dry_run=dry_run))

    async def update_status(self, obj: Object) -> Object:
        """Only the status. Raises Conflict like `update`."""
        resource = await self._kinds.resource_of(obj)
        return await self._write(ops.update_status_operation(obj, resource=resource, return_object=True))

    async def patch(
        self,
        resource: str,
        key: ObjectKey,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        patch_type: pb.Patch.Type = pb.Patch.MERGE,
        subresource: str = "",
        field_manager: str = "",
        dry_run: bool = False,
    ) -> Object:
        """A merge patch (RFC 7386), or another type; the body of a JSON patch is a list of operations."""
        return await self._write(
            ops.patch_operation(
                resource,
                key,
                body,
                patch_type=patch_type,
                subresource=subresource,
                field_manager=field_manager,
                return_object=True,
                dry_run=dry_run,
            )
        )

    async def apply(
        self,
        resource: str,
        key: ObjectKey,
        configuration: Mapping[str, Any],
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        field_validation: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply: create the object, or give it what `configuration` says.

        What the same manager said before and no longer says is removed.

        Args:
            force: take over fields that others manage. Without it they are a Conflict, whose causes name them.
            field_validation: Strict refuses fields that the kind does not have, by a BadRequest.
        """
        return await self._write(
            ops.apply_operation(
                resource,
                key,
                configuration,
                field_manager=field_manager,
                force=force,
                subresource=subresource,
                field_validation=field_validation,
                return_object=True,
                dry_run=dry_run,
            )
        )

    async def scale(self, resource: str, key: ObjectKey, replicas: int) -> Object:
        """Set the number of replicas of a workload; returns its Scale."""
        return await self.patch(resource, key, {"spec": {"replicas": replicas}}, subresource="scale")

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
        """`propagation`: Background, Foreground or Orphan; empty: as the object says, or is usual for its kind.

        Raises:
            Conflict: a given uid or resource_version is not the object's.
        """
        operation = ops.delete_operation(
            resource,
            key,
            uid=uid,
            resource_version=resource_version,
            grace_seconds=grace_seconds,
            propagation=propagation,
        )
        ops.raise_for_error((await self.mutate([operation]))[0])

    async def delete_collection(
        self,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
        dry_run: bool = False,
    ) -> int:
        """Delete all selected objects of one namespace, each as `delete` does; returns how many. Not one transaction.

        Raises:
            Invalid: no namespace, or no tenant, where the kind has one.
        """
        selection = pb.Selection(
            resource=resource,
            tenant=tenant,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        deleted, token = 0, ""
        while True:
            operation = ops.delete_collection_operation(
                selection,
                grace_seconds=grace_seconds,
                propagation=propagation,
                continue_token=token,
                dry_run=dry_run,
            )
            [result] = await self.mutate([operation])
            ops.raise_for_error(result)
            deleted, token = deleted + result.deleted, result.continue_token
            if not token:
                return deleted

    async def evict(self, key: ObjectKey, *, uid: str = "", grace_seconds: int | None = None) -> None:
        """Delete a pod, if that may be. Raises like `delete`."""
        ops.raise_for_error((await self.mutate([ops.evict_operation(key, uid=uid, grace_seconds=grace_seconds)]))[0])

    async def bind(
        self, key: ObjectKey, *, uid: str, resource_partition: str, node: str, devices: Sequence[int] = ()
    ) -> None:
        """Pod to node, and to the devices that its placement holds. Raises Conflict where it is bound elsewhere."""
        operation = ops.bind_operation(key, uid=uid, resource_partition=resource_partition, node=node, devices=devices)
        ops.raise_for_error((await self.mutate([operation]))[0])

    # -------------------------------------------------------------------------------------------------- watches

    def watch(self, start: pb.WatchStart, sink: WatchSink) -> Watch:
        """Open a watch on the shared Watch stream; `sink` is called with what arrives, synchronously and in order."""
        return self._watches.watch(start, sink)

    # -------------------------------------------------------------------------------------------------- details

    async def run(self) -> None:
        """Serve writes and watches until cancelled, then close the transport. `open_client` does this."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._mutations.run)
                nursery.start_soon(self._event_mutations.run)
                nursery.start_soon(self._watches.run)
        finally:
            with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
                await self._transport.aclose()

    async def _write(self, operation: pb.Operation) -> Object:
        [result] = await self.mutate([operation])
        ops.raise_for_error(result)
        return Object(result.object, self.partition)

    def _saw_results(self, operations: Sequence[pb.Operation], results: _Results) -> None:
        newest = newest_event = 0
        for operation, result in zip(operations, results, strict=True):
            revision = result.resource_version
            if operation.resource != _EVENTS:
                newest = max(newest, revision)
            else:
                newest_event = max(newest_event, revision)
        if newest:
            self._sightings.learned(MAIN_STORE, newest)
        if newest_event:
            self._sightings.learned(EVENTS_STORE, newest_event)


def make_client(transport: Transport, actor: Actor, *, rate_limit: RateLimit | None = None) -> PartitionClient:
    """A client that works once its `run` does. With a `rate_limit` it holds back what it asks: see `throttling`."""
    if rate_limit is not None:
        transport = ThrottledTransport(transport, rate_limit, actor)
    return PartitionClient(transport, actor)


@asynccontextmanager
async def open_client(
    transport: Transport, actor: Actor, *, rate_limit: RateLimit | None = None
) -> AsyncIterator[PartitionClient]:
    """`async with open_client(transport, actor) as client:`; the client's tasks live in the block.

    Opening does not wait for the partition. The client owns its transport, and closes it at the end of the block.
    """
    client = make_client(transport, actor, rate_limit=rate_limit)
    async with open_background() as nursery:
        nursery.start_soon(client.run)
        yield client
