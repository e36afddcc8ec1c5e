"""Connections are ended by age, or go silent: nothing is lost, and nothing waits for ever."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom

import pytest
import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import open_client
from ursa.clients.informer import Informer
from ursa.clients.operations import create_operation
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Unreachable
from ursa.proto.objects import Object

SECONDS_MAX = 60.0
CUTS = 3
_SERVER = """
import sys
from pathlib import Path
from ursa.partitions.frontends.grpc import Connections
from ursa.partitions.process import ApiServerOptions, run_apiserver
from ursa.proto.kinds import Role
from ursa.tools.lifetime import end_with_parent

end_with_parent()
connections = Connections(age_seconds=float(sys.argv[2]) or None, grace_seconds=0.1)
options = ApiServerOptions("p-1", Role.TENANT, Path(sys.argv[1]), connections=connections)
run_apiserver(options, ready=lambda address: print(address, flush=True))
"""


@contextmanager
def apiserver(directory: Path, *, age_seconds: float = 0.0) -> Iterator[str]:
    """A process whose connections live for about that long, or for ever."""
    command = [sys.executable, "-c", _SERVER, str(directory), str(age_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


class Proxy:
    """Between a client and its server. Once silent it passes nothing on, and closes nothing."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.silent = threading.Event()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        try:
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()
        except OSError:
            return

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.silent.is_set():
                    sink.sendall(data)
        except OSError:
            return


def real_actor() -> Actor:
    return Actor("test", Clock(time.time() - time.monotonic()), SystemRandom())


def unnamed() -> Object:
    metadata = {"generateName": "c-", "namespace": "default", "tenant": "system"}
    return Object.from_dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def seen(informer: Informer, names: list[str]) -> None:
    while sorted(obj.name for obj in informer.objects.values()) != names:  # noqa: ASYNC110 it has no event for all
        await trio.sleep(0.01)


def test_over_connections_that_are_ended_by_age_no_write_and_no_event_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(address: str) -> None:
        names: list[str] = []
        async with (
            GrpcBridge() as bridge,
            open_client(GrpcTransport("p-1", address, bridge), real_actor()) as client,
            trio.open_nursery() as nursery,
        ):
            informer = Informer(client, "configmaps")
            nursery.start_soon(informer.run)
            with trio.fail_after(SECONDS_MAX):
                while sum("stream lost" in message for message in caplog.messages) < 2 * CUTS:
                    results = await client.mutate([create_operation(unnamed()) for _ in range(5)])
                    names += [result.name for result in results]
                stored = sorted(obj.name for obj in (await client.list("configmaps")).items)
                assert stored == sorted(names)
                await seen(informer, stored)
            nursery.cancel_scope.cancel()

    with apiserver(tmp_path, age_seconds=0.4) as address, caplog.at_level(logging.INFO, "ursa.test"):
        trio.run(main, address)


def test_a_link_that_has_gone_silent_is_found_within_the_keepalive(tmp_path: Path) -> None:
    keepalive, timeout = 0.5, 0.5

    async def main(proxy: Proxy) -> None:
        async with GrpcBridge() as bridge:
            transport = GrpcTransport(
                "p-1", proxy.address, bridge, keepalive_seconds=keepalive, keepalive_timeout_seconds=timeout
            )
            async with transport.stream("Mutate") as stream:
                await stream.send(pb.MutateRequest(batch=1))
                assert await stream.receive()
                proxy.silent.set()
                began = trio.current_time()
                with trio.fail_after(12.0), pytest.raises(Unreachable):
                    await stream.receive()
                # The rest is for a machine that has other things to do.
                assert trio.current_time() - began < keepalive + timeout + 5.0
            await transport.aclose()

    with apiserver(tmp_path) as address:
        proxy = Proxy(address)
        try:
            trio.run(main, proxy)
        finally:
            proxy.close()
