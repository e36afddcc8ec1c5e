"""Asyncio's side of one gRPC transport: the channel, the tasks on it, and what its errors mean."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import re
from typing import Any, cast

import grpc

from ...proto import ursa_pb2 as pb
from ...proto.errors import WRONG_PARTITION, Unreachable, UrsaError, WrongPartition, from_status
from ...proto.sessions import (
    PARTITION_METADATA_KEY,
    STATUS_METADATA_KEY,
    TRACE_METADATA_KEY,
    USER_METADATA_KEY,
    Method,
)
from ._grpc_bridge import GrpcBridge

# A link that has gone silent (a host without power, a cable) is found within the sum of these two. Half a node's lease:
# a kubelet must find out and reconnect before its node is taken for dead.
KEEPALIVE_SECONDS = 10.0
KEEPALIVE_TIMEOUT_SECONDS = 10.0
HALF_OPEN_SECONDS_MAX = KEEPALIVE_SECONDS + KEEPALIVE_TIMEOUT_SECONDS
# An apiserver that restarts is found again within a second, and its clients do not all come at once.
RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 1.0
# What an attempt to connect to a host that does not answer may cost.
CONNECT_SECONDS = 5.0
# gRPC's own account of a failure can be long; an error is one line.
_DETAILS_LENGTH_MAX = 200
# What comes first of it, and is in our line already, or of no use: the reason of a handshake comes last.
_PREAMBLE = re.compile(r"^failed to connect to all addresses; last error: [A-Z_]+: (ipv[46]:\S+: )?")
# How often `redial` looks whether streams have been opened again.
_LOOK_SECONDS = 0.02


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", _milliseconds(RECONNECT_SECONDS_MIN)),
    ("grpc.max_reconnect_backoff_ms", _milliseconds(RECONNECT_SECONDS_MAX)),
    ("grpc.min_reconnect_backoff_ms", _milliseconds(CONNECT_SECONDS)),  # gRPC's name for it
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, so that links fail one by one
    ("grpc.enable_retries", 0),  # only the caller knows what may be repeated
    ("grpc.enable_http_proxy", 0),  # a proxy set for the web is not meant for partitions
    ("grpc.primary_user_agent", "ursa"),  # who asks, as an operator of the partition sees it
]


class CallTask(abc.ABC):
    """A gRPC call under way, and the task that carries it. The methods run on the asyncio thread."""

    comes_back = False  # Whoever made it makes another soon when it is lost.

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._task: asyncio.Task[Any] | None = None
        self._call: Any = None

    @abc.abstractmethod
    async def carry(self) -> bytes | UrsaError | None:
        """Make the call, keep it in `_call`, and return what came of it."""

    @abc.abstractmethod
    def ended(self, outcome: bytes | BaseException | None) -> None:
        """Called once, in any case, with what `carry` returned or raised."""

    def start(self) -> None:
        self._task = self._wire.run(self)

    def done(self, task: asyncio.Task[Any]) -> None:
        # The call keeps its connection alive, and errors keep calls alive by their tracebacks: hold on to neither.
        self._task = self._call = None
        if task.cancelled():
            self.ended(self._wire.closed_error())
        else:
            self.ended(task.exception() or task.result())

    def cancel(self) -> None:
        """End the call, in gRPC's core; what waits for the core then ends by itself.

        The call's own `cancel()` would cancel what waits. The core's answers would come all the same, and after the end
        of this loop they are errors in whichever loop uses gRPC next.
        """
        if self._call is not None:
            if not self._call.done():
                self._call._cython_call.cancel("cancelled")  # noqa: SLF001 there is no public way
        elif self._task is not None:
            self._task.cancel()


class Wire:
    """The channel is made at first use. All methods run on the asyncio thread."""

    def __init__(
        self,
        partition: str,
        address: str,
        bridge: GrpcBridge,
        user: str,
        credentials: grpc.ChannelCredentials | None,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        keepalive_timeout_seconds: float = KEEPALIVE_TIMEOUT_SECONDS,
        *,
        any_name: bool = False,
    ) -> None:
        self.partition = partition
        self.address = address
        self.bridge = bridge
        self._metadata: tuple[tuple[str, str], ...] = ((USER_METADATA_KEY, user),)
        if not any_name:
            self._metadata += ((PARTITION_METADATA_KEY, partition),)
        self._credentials = credentials
        self._options = [
            *_OPTIONS,
            ("grpc.keepalive_time_ms", _milliseconds(keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", _milliseconds(keepalive_timeout_seconds)),
            # A keepalive that was put off, because another ping went out just before, has this one: a minute by itself.
            ("grpc.http2.ping_timeout_ms", _milliseconds(keepalive_timeout_seconds)),
        ]
        self._channel: grpc.aio.Channel | None = None
        self._callables: dict[str, Any] = {}
        self._tasks: dict[asyncio.Task[Any], CallTask] = {}
        self._closed = False

    def run(self, call_task: CallTask) -> asyncio.Task[Any]:
        """Run it as a task that ends with the transport."""
        task = asyncio.create_task(call_task.carry())
        self._tasks[task] = call_task
        self.bridge.before_stop(self, self.close)
        task.add_done_callback(self._tasks.pop)
        task.add_done_callback(call_task.done)
        if self._closed:
            task.cancel()
        return task

    def call(self, shape: Method, request: bytes | None, timeout_seconds: float | None = None, trace: str = "") -> Any:
        """A grpc.aio call of the shape's kind; `request` is None where requests are a stream."""
        start = self._callables.get(shape.name)
        if start is None:
            start = self._callables[shape.name] = self._callable(shape)
        arguments = () if request is None else (request,)
        metadata = (*self._metadata, (TRACE_METADATA_KEY, trace)) if trace else self._metadata
        return start(*arguments, timeout=timeout_seconds, metadata=metadata)

    def explain(self, error: grpc.aio.AioRpcError, timeout_seconds: float | None = None) -> UrsaError:
        """The partition's refusal, where it sent one; otherwise the link is at fault."""
        for key, value in error.trailing_metadata():
            if key == STATUS_METADATA_KEY:
                refusal = from_status(pb.Status.FromString(cast("bytes", value)))
                if any(cause.reason == WRONG_PARTITION for cause in refusal.causes):
                    return WrongPartition(self.partition, f"at {self.address}, {refusal.message}")
                return refusal
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and timeout_seconds is not None:
            return Unreachable(self.partition, f"no answer from {self.address} within {timeout_seconds:g} s")
        details = _PREAMBLE.sub("", " ".join((error.details() or "").split()))[:_DETAILS_LENGTH_MAX]
        return Unreachable(self.partition, f"no link to {self.address} ({error.code().name}: {details})")

    def closed_error(self) -> Unreachable:
        return Unreachable(self.partition, f"the transport to {self.address} is closed")

    async def close(self) -> None:
        self._closed = True
        tasks = dict(self._tasks)
        for call_task in tasks.values():
            call_task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._channel is not None:
            await self._channel.close(None)
        self.bridge.detours.forget(self)
        self.bridge.before_stop(self, None)

    async def redial(self, seconds_max: float) -> None:
        """Connect again, to where the process's detours say. What is under way is lost, as with any lost link; this
        waits until its watches are there again."""
        tasks, channel = dict(self._tasks), self._channel
        self._channel, self._callables = None, {}
        for call_task in tasks.values():
            call_task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if channel is not None:
            await channel.close(None)
        watches = sum(call_task.comes_back for call_task in tasks.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                await self._come_back(watches)

    async def _come_back(self, watches: int) -> None:
        while sum(each.comes_back for each in self._tasks.values()) < watches and not self._closed:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        if self._channel is not None and not self._closed:
            await self._channel.channel_ready()

    def _callable(self, shape: Method) -> Any:
        channel = self._open_channel()
        if not shape.streams_replies:
            return channel.unary_unary(shape.path, None, None)
        if not shape.streams_requests:
            return channel.unary_stream(shape.path, None, None)
        return channel.stream_stream(shape.path, None, None)

    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            address = self.bridge.detours.address_of(self)
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(address, self._options)
            else:
                # Whichever way it leads, the partition's certificate is that of its own host.
                host = ("grpc.ssl_target_name_override", self.address.rpartition(":")[0].strip("[]"))
                options = self._options if address == self.address else [*self._options, host]
                self._channel = grpc.aio.secure_channel(address, self._credentials, options)
        return self._channel
