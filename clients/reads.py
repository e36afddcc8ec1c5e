"""The reads of a client: repeated until they are answered or their time is up, and never going back in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import (
    ApiError,
    Expired,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unreachable,
    WrongPartition,
)
from ..proto.objects import Object
from .actor import Actor
from .backoff import Backoff
from .metrics import counter, histogram
from .sightings import ANY, CONSISTENT, Sightings, store_of
from .transport.interface import UNARY_TIMEOUT_SECONDS, Transport

_Reply = TypeVar("_Reply")


class ObjectList(NamedTuple):
    """`resource_version` is the one revision at which all items were read; `continue_token` is empty at the end.

    `remaining` items are left for later pages; 0 with a token: not known. The revision belongs to the `incarnation`.
    """

    items: list[Object]
    resource_version: int
    continue_token: str
    remaining: int = 0
    incarnation: str = ""


class Reads:
    """What `PartitionClient` reads with."""

    def __init__(self, transport: Transport, actor: Actor, sightings: Sightings) -> None:
        self._partition = transport.partition
        self._transport = transport
        self._actor = actor
        self._sightings = sightings
        self._name = f"{actor.random.getrandbits(32):08x}"
        self._asked = 0  # How often, for the ids of requests.
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

    async def get(self, request: pb.GetRequest) -> Object:
        store = store_of(request.resource)

        async def attempt(seconds: float) -> Object:
            try:
                reply = await self._transport.unary("Get", request, timeout_seconds=seconds, trace=self._trace())
            except NotFound as error:
                # To have seen it missing is to have seen something.
                self._sightings.learned(store, error.resource_version)
                raise
            self._sightings.saw(store, reply.incarnation, reply.resource_version)
            return Object(reply.object, self._partition)

        return await self._not_going_back("Get", request, store, attempt)

    async def list(self, request: pb.ListRequest) -> ObjectList:
        resource = request.selection.resource
        store = store_of(resource)

        async def attempt(seconds: float) -> ObjectList:
            with trio.move_on_after(seconds):
                listed = await self._list_once(request)
                self._sightings.saw(store, listed.incarnation, listed.resource_version)
                return listed
            raise Unreachable(self._partition, f"no complete list of {resource} within {seconds:.0f} s")

        return await self._not_going_back("List", request, store, attempt)

    async def status(self) -> pb.PartitionStatus:
        async def attempt(seconds: float) -> pb.PartitionStatus:
            reply = await self._transport.unary("Status", pb.StatusRequest(), timeout_seconds=seconds)
            assert isinstance(reply, pb.PartitionStatus)
            return reply

        return await self._read("Status", attempt)

    async def requests(self, slow_max: int) -> pb.RequestsReply:
        async def attempt(seconds: float) -> pb.RequestsReply:
            request = pb.RequestsRequest(slow_max=slow_max)
            reply = await self._transport.unary("Requests", request, timeout_seconds=seconds)
            assert isinstance(reply, pb.RequestsReply)
            return reply

        return await self._read("Requests", attempt)

    async def _not_going_back(
        self,
        method: str,
        request: pb.GetRequest | pb.ListRequest,
        store: str,
        attempt: Callable[[float], Awaitable[_Reply]],
    ) -> _Reply:
        """A read of any state is one that is not older than what was seen."""
        if request.resource_version != ANY:
            return await self._read(method, attempt)
        if isinstance(request, pb.ListRequest) and (request.continue_token or request.exact):
            # A token has a revision of its own; what is exact about any state is for the partition to refuse.
            return await self._read(method, attempt)
        request.resource_version, request.incarnation = self._sightings.not_older(store)
        if isinstance(request, pb.ListRequest):
            request.not_older_than = request.resource_version != CONSISTENT
        try:
            return await self._read(method, attempt)
        except Expired:
            if not request.incarnation:
                raise
            self._sightings.forget(store)
            request.resource_version, request.incarnation = ANY, ""
            return await self._read(method, attempt)

    async def _list_once(self, request: pb.ListRequest) -> ObjectList:
        items: list[Object] = []
        last = pb.ListReply()
        async with self._transport.stream("List", trace=self._trace()) as stream:
            await stream.send(request)
            while chunks := await stream.receive():
                for chunk in chunks:
                    items.extend(Object(item, self._partition) for item in chunk.items)
                last = chunks[-1]
        if not last.incarnation:
            raise Unreachable(self._partition, "the list ended before its last part")
        return ObjectList(items, last.resource_version, last.continue_token, last.remaining, last.incarnation)

    async def _read(self, method: str, attempt: Callable[[float], Awaitable[_Reply]]) -> _Reply:
        """Repeat a read, which changes nothing, until it is answered or its time is up."""
        give_up_at = trio.current_time() + UNARY_TIMEOUT_SECONDS
        backoff = Backoff(self._actor.random)
        while True:
            pause = backoff.next_seconds()
            try:
                return await self._measured(method, attempt, give_up_at - trio.current_time())
            except (Unreachable, TooManyRequests, ServiceUnavailable, Timeout) as error:
                if isinstance(error, ApiError):
                    pause = max(pause, error.retry_after_ms / 1000)
                if trio.current_time() + pause >= give_up_at or isinstance(error, WrongPartition):
                    raise
            await trio.sleep(pause)

    def _trace(self) -> str:
        self._asked += 1
        return f"{self._name}-{self._asked}"

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
            self._requests.labels(self._partition, method, code).inc()
            self._seconds.labels(self._partition, method).observe(trio.current_time() - began)
