"""The same small apiserver behind both transports."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.clients.transport.interface import Transport
from ursa.clients.transport.memory import MemoryTransport
from ursa.tools.recording import Recorder

_spec = importlib.util.spec_from_file_location("transport_echo", Path(__file__).with_name("echo.py"))
assert _spec is not None
assert _spec.loader is not None
_echo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_echo)


@pytest.fixture(scope="session")
def echo_service() -> Any:
    """The class of the small apiserver of echo.py."""
    return _echo.EchoService


class Link(Protocol):
    """A kind of transport and the server behind it."""

    address: str

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any: ...
    def open(self, user: str = "") -> AbstractAsyncContextManager[Transport]: ...
    def stop_server(self) -> None: ...
    def start_server(self) -> None: ...


class MemoryLink:
    address = "memory"

    def __init__(self, latency_seconds: tuple[float, float]) -> None:
        self._latency_seconds = latency_seconds
        self._service = _echo.EchoService()
        self._up = True
        self._transports: list[MemoryTransport] = []

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        return trio.run(main, clock=MockClock(autojump_threshold=0))

    @asynccontextmanager
    async def open(self, user: str = "") -> AsyncIterator[Transport]:
        transport = MemoryTransport(
            "tp-1", self._service, random=Random(1), latency_seconds=self._latency_seconds, user=user
        )
        self._transports.append(transport)
        if not self._up:
            transport.cut()
        yield transport
        await transport.aclose()

    def stop_server(self) -> None:
        self._up = False
        for transport in self._transports:
            transport.cut()

    def start_server(self) -> None:
        self._up = True
        self._service = _echo.EchoService()
        for transport in self._transports:
            transport.heal(self._service)


class GrpcLink:
    def __init__(self) -> None:
        self.address = "127.0.0.1:0"
        self.start_server()

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        return trio.run(main)

    @asynccontextmanager
    async def open(self, user: str = "") -> AsyncIterator[Transport]:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport("tp-1", self.address, bridge, user=user)
            yield transport
            await transport.aclose()

    def stop_server(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.__exit__(None, None, None)

    def start_server(self) -> None:
        script = str(Path(__file__).with_name("echo_server.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, self.address.rpartition(":")[2]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the server did not start"


@pytest.fixture(scope="session")
def grpc_link() -> Iterator[GrpcLink]:
    link = GrpcLink()
    yield link
    link.stop_server()


class RecordedLink:
    """Another one, of which everything is recorded."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.run, self.stop_server, self.start_server = link.run, link.stop_server, link.start_server

    @property
    def address(self) -> str:
        return self._link.address

    @asynccontextmanager
    async def open(self, user: str = "") -> AsyncIterator[Transport]:
        async with self._link.open(user) as transport:
            yield Recorder().wrap(transport, "recorded#1")


@pytest.fixture(params=["memory", "memory with latency", "grpc", "memory, recorded", "grpc, recorded"])
def link(request: pytest.FixtureRequest) -> Link:
    latency = (0.001, 0.02) if "latency" in request.param else (0.0, 0.0)
    link = request.getfixturevalue("grpc_link") if "grpc" in request.param else MemoryLink(latency)
    return RecordedLink(link) if "recorded" in request.param else link
