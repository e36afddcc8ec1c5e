"""The gRPC front end: moves bytes between grpc.aio and the apiserver's sessions, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ...proto import ursa_pb2 as pb
from ...proto.errors import WRONG_PARTITION, ApiError, BadRequest, Cause, InternalError, UrsaError
from ...proto.sessions import (
    METHODS,
    PARTITION_METADATA_KEY,
    STATUS_METADATA_KEY,
    TRACE_METADATA_KEY,
    USER_METADATA_KEY,
    Caller,
    Method,
    ServerStream,
    Service,
)

log = logging.getLogger("ursa.grpc")

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["Partition"].full_name
# Streams end by themselves within this time when the server stops.
STOP_GRACE_SECONDS = 1.0
# A client that pings more often than its own keepalive (10 s) is cut off.
_PING_INTERVAL_MS_MIN = 5_000

# A client that has gone silent (a host without power, a cable) is found within the sum of these two, and its watches
# and seats are free again. Clients look three times as often, for they have leases to renew.
KEEPALIVE_SECONDS = 30.0
KEEPALIVE_TIMEOUT_SECONDS = 10.0

# Of a request's metadata: what makes a Caller. gRPC itself sends the user agent.
_CALLER_KEYS = (USER_METADATA_KEY, "user-agent", TRACE_METADATA_KEY)

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Two servers on one port would each get half of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", _PING_INTERVAL_MS_MIN),
    ("grpc.keepalive_permit_without_calls", 1),
]

_CODES: dict[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    409: grpc.StatusCode.ABORTED,
    410: grpc.StatusCode.OUT_OF_RANGE,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class Connections:
    """How long connections live.

    `age_seconds` after it was made, give or take a tenth, a connection is ended by a GOAWAY: its client makes another,
    perhaps to another server behind the same address, and after `grace_seconds` what is still open on the old one is
    cut. Its clients resume their watches where they were, and send again what had no answer. None: they live for ever.
    """

    age_seconds: float | None = None
    grace_seconds: float = 5.0
    keepalive_seconds: float = KEEPALIVE_SECONDS
    keepalive_timeout_seconds: float = KEEPALIVE_TIMEOUT_SECONDS

    @property
    def options(self) -> list[tuple[str, Any]]:
        options: list[tuple[str, Any]] = [
            ("grpc.keepalive_time_ms", round(self.keepalive_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout_seconds * 1000)),
            ("grpc.http2.ping_timeout_ms", round(self.keepalive_timeout_seconds * 1000)),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        if self.age_seconds is not None:
            options += [
                ("grpc.max_connection_age_ms", max(1, round(self.age_seconds * 1000))),
                ("grpc.max_connection_age_grace_ms", max(1, round(self.grace_seconds * 1000))),
            ]
        return options


async def serve(
    service: Service,
    address: str,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    connections: Connections = Connections(),
    name: str = "",
) -> None:
    """Serve until `stop` is set. `ready` is called with the address that was bound.

    With a `name`, requests that are meant for a partition of another name are refused.

    Raises:
        UrsaError: the address cannot be bound.
    """
    server = grpc.aio.server(options=[*_OPTIONS, *connections.options])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, _handlers(service, name)),))
    probes = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise UrsaError(f"cannot listen on {address}: the port is in use or the address is not this host's")
    await server.start()
    for name in ("", SERVICE_NAME):
        await probes.set(name, health_pb2.HealthCheckResponse.SERVING)
    ready(f"{address.rpartition(':')[0]}:{port}")
    try:
        await stop.wait()
    finally:
        await server.stop(STOP_GRACE_SECONDS)


def _handlers(service: Service, name: str) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
    return {method.name: _handler(service, name, method) for method in METHODS.values()}


def _handler(service: Service, name: str, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
    if not method.streams_replies:
        return grpc.unary_unary_rpc_method_handler(_unary(service, name, method))
    if not method.streams_requests:
        return grpc.unary_stream_rpc_method_handler(_one_request(service, name, method))
    return grpc.stream_stream_rpc_method_handler(_both_ways(service, name, method))


def _unary(service: Service, name: str, method: Method) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def handle(request: bytes, context: Any) -> bytes:
        answered: asyncio.Future[bytes | ApiError] = asyncio.get_running_loop().create_future()

        def reply(answer: bytes | ApiError) -> None:
            if not answered.done():
                answered.set_result(answer)

        try:
            service.call(method.name, request, _caller(context, name), reply)
        except Exception as error:  # noqa: BLE001 - logged, and told to the client
            await _abort(context, _as_api_error(error, method.name))
        answer = await answered
        if isinstance(answer, ApiError):
            await _abort(context, answer)
            raise AssertionError("abort does not return")
        return answer

    return handle


def _one_request(service: Service, name: str, method: Method) -> Callable[[bytes, Any], Awaitable[None]]:
    async def handle(request: bytes, context: Any) -> None:
        news = asyncio.Event()
        stream = await _opened(service, name, method, context, news)
        try:
            try:
                stream.receive(request)
            except Exception as error:  # noqa: BLE001 - logged, and told to the client
                await _abort(context, _as_api_error(error, method.name))
            stream.end_requests()
            await _send(stream, context, news)
        finally:
            stream.close()

    return handle


def _both_ways(service: Service, name: str, method: Method) -> Callable[[AsyncIterator[bytes], Any], Awaitable[None]]:
    async def handle(_requests: AsyncIterator[bytes], context: Any) -> None:
        news = asyncio.Event()
        stream = await _opened(service, name, method, context, news)
        reader = asyncio.create_task(_read(stream, context, news))
        try:
            await _send(stream, context, news, reader)
        finally:
            reader.cancel()
            stream.close()

    return handle


async def _read(stream: ServerStream, context: Any, news: asyncio.Event) -> None:
    """Take requests as they come. An error ends the task, and by waking the sender the stream."""
    try:
        while (request := await context.read()) is not grpc.aio.EOF:
            stream.receive(request)
        stream.end_requests()
    finally:
        news.set()


async def _send(
    stream: ServerStream, context: Any, news: asyncio.Event, reader: asyncio.Task[None] | None = None
) -> None:
    while True:
        try:
            while (message := stream.take()) is not None:
                await context.write(message)
        except ApiError as refusal:
            await _abort(context, refusal)
        if reader is not None and reader.done() and (error := reader.exception()) is not None:
            await _abort(context, _as_api_error(error))
        if stream.finished:
            return
        await news.wait()
        news.clear()


async def _opened(service: Service, name: str, method: Method, context: Any, news: asyncio.Event) -> ServerStream:
    try:
        return service.open(method.name, _caller(context, name), news.set)
    except ApiError as error:
        await _abort(context, error)
        raise AssertionError("abort does not return") from None


def _as_api_error(error: BaseException, method: str = "") -> ApiError:
    """Any error reaches the client as a Status; grpc alone would send UNKNOWN and drop the rest."""
    if isinstance(error, ApiError):
        return error
    log.error("%s failed", method or "a stream", exc_info=error)
    return InternalError(f"the partition failed on this request: {error!r}")


async def _abort(context: Any, error: ApiError) -> None:
    code = _CODES.get(error.code, grpc.StatusCode.INTERNAL)
    await context.abort(code, error.message, ((STATUS_METADATA_KEY, error.status.SerializeToString()),))


def _caller(context: Any, name: str) -> Caller:
    """Who asks. Raises BadRequest: somebody else is meant."""
    return _caller_of(context.invocation_metadata(), name)


@lru_cache(maxsize=1024)
def _caller_of(metadata: tuple[tuple[str, str | bytes], ...], name: str) -> Caller:
    """Most calls of a client come with the same metadata."""
    said = {key: str(value) for key, value in metadata}
    if name and said.get(PARTITION_METADATA_KEY, name) != name:
        message = f"here is partition {name}, and not {said[PARTITION_METADATA_KEY]}: one of their addresses is wrong"
        raise BadRequest(f"{message} where you have it from", causes=[Cause("partition", name, WRONG_PARTITION)])
    return Caller(*(said.get(key, "") for key in _CALLER_KEYS))
