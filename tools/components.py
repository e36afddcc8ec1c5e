"""The parts of a cluster as processes: what each command runs, from its first import to its last breath.

A component starts without waiting for any partition, prints its ready line (`processes.ReadyLine`) on standard output,
and runs until SIGTERM or Ctrl-C. Whether it works is another question, and `/readyz` answers it. A stop takes
STOP_SECONDS at most; a second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, NoReturn, Protocol

import trio

from ..clients.actor import Actor
from ..clients.nurseries import open_background
from ..proto.errors import InputError, UrsaError
from .clocks import running_clock
from .observability import Conditions, LoopProbe, ObservabilityServer, Probe
from .processes import ReadyLine

if TYPE_CHECKING:
    from ..clients.client_set import ClientSet
    from ..clients.transport.interface import Transport
    from ..partitions.process import ApiServerOptions

# Everything a component holds is durable elsewhere: a stop only has to say goodbye.
STOP_SECONDS = 5

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Component(Protocol):
    """A scheduler, a controller manager, a host of hollow nodes."""

    async def run(self) -> None:
        """Until cancelled."""

    def ready(self) -> Mapping[str, bool]:
        """Which of its conditions hold."""


@dataclass(frozen=True)
class Endpoints:
    """Where the partitions are, by name, and which of them is the component's own.

    Raises:
        InputError: `home` is not among them.
    """

    home: str
    tenant_partitions: Mapping[str, str] = field(default_factory=dict)
    resource_partitions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = [name for name in self.tenant_partitions if name in self.resource_partitions]
        if twice:
            raise InputError(f"{twice[0]} is given both as a tenant and as a resource partition; leave one out")
        known = [*self.tenant_partitions, *self.resource_partitions]
        if self.home not in known:
            raise InputError(f"--home {self.home} is none of the partitions given ({', '.join(known) or 'none'})")

    def require_home(self, partitions: Mapping[str, str], what: str) -> None:
        """Raises InputError unless home is one of `partitions`."""
        if self.home not in partitions:
            raise InputError(f"--home {self.home} must be {what}: one of {', '.join(partitions) or 'none given'}")


@dataclass(frozen=True)
class ComponentSpec:
    """What a component process is and does. `on_hangup` is called on SIGHUP; what it cannot do, it raises."""

    component: str
    name: str
    endpoints: Endpoints
    metrics_address: str
    make: Callable[[ClientSet, Actor], Component]
    on_hangup: Callable[[Component, ClientSet], Awaitable[None]] | None = None


def start_logging(level: str) -> None:
    """The log goes to standard error; standard output belongs to the ready line."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=LOG_FORMAT)


def run_component(spec: ComponentSpec) -> NoReturn:
    """Run it until a signal ends it, and with it the process. Raises UrsaError where it cannot start."""
    trio.run(_run, spec)
    _end_process()


async def _run(spec: ComponentSpec) -> None:
    # The process is its own source of randomness: after a restart it must not draw the same UIDs again.
    actor = Actor(spec.name, running_clock(), Random())
    partitions = spec.endpoints.tenant_partitions, spec.endpoints.resource_partitions
    async with open_grpc_clients(*partitions, actor) as clients, open_background() as nursery:
        component = spec.make(clients, actor)
        with (
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
            ObservabilityServer(spec.metrics_address, actor.registry, _trio_probe(component.ready)) as observability,
        ):
            nursery.start_soon(component.run)
            announce(ReadyLine(spec.component, spec.name, os.getpid(), metrics=observability.address))
            async for number in signals:
                if number != signal.SIGHUP:
                    break
                if spec.on_hangup is not None:
                    nursery.start_soon(_hang_up, spec.on_hangup, component, clients, actor)
        bound_stop()
        actor.log.info("stopping")


def _trio_probe(conditions: Probe) -> LoopProbe:
    return LoopProbe(conditions, trio.lowlevel.current_trio_token().run_sync_soon)


def run_apiserver_component(options: ApiServerOptions, metrics_address: str) -> NoReturn:
    """Run a partition's apiserver until a signal ends it, and with it the process.

    Raises:
        UrsaError: it cannot start.
    """
    from ..partitions.process import run_apiserver

    # Before it has a loop it serves nothing.
    probes: list[Probe] = [lambda: {"serving": False}]

    def probe() -> Conditions:
        return probes[-1]()

    with ObservabilityServer(metrics_address, options.registry, probe) as observability:

        def ready(address: str) -> None:
            probes.append(LoopProbe(lambda: {"serving": True}, asyncio.get_running_loop().call_soon_threadsafe))
            announce(ReadyLine("apiserver", options.name, os.getpid(), address, observability.address))

        run_apiserver(options, ready=ready)
    _end_process()


def _end_process() -> NoReturn:
    # Everything has been closed. What the interpreter would tidy up now, object by object, takes it 0.3 s and more,
    # and the system no time at all.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


async def _hang_up(
    on_hangup: Callable[[Component, ClientSet], Awaitable[None]], component: Component, clients: ClientSet, actor: Actor
) -> None:
    try:
        await on_hangup(component, clients)
    except UrsaError as error:
        # A slip of the pen in a file is no reason to lose what runs.
        actor.log.warning("SIGHUP: %s", error)


@asynccontextmanager
async def open_grpc_clients(
    tenant_partitions: Mapping[str, str], resource_partitions: Mapping[str, str], actor: Actor
) -> AsyncIterator[ClientSet]:
    """Clients of all partitions over gRPC, for one component."""
    from ..clients.client_set import open_clients
    from ..clients.transport.grpc import GrpcBridge, GrpcTransport

    async with GrpcBridge() as bridge:

        def transports(partitions: Mapping[str, str]) -> dict[str, Transport]:
            return {name: GrpcTransport(name, address, bridge, user=actor.name) for name, address in partitions.items()}

        async with open_clients(transports(tenant_partitions), transports(resource_partitions), actor) as clients:
            yield clients


def announce(line: ReadyLine) -> None:
    """Tell whoever started this process that it serves."""
    print(line.dump(), flush=True)


def bound_stop() -> None:
    """From here on the process ends within STOP_SECONDS, or at once on another signal."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(STOP_SECONDS)


def end_with_parent() -> None:
    """Stop this process, as SIGTERM does, when its standard input ends: when whoever holds the other end is gone."""
    threading.Thread(target=_wait_for_end_of_input, name="ursa-parent-pipe", daemon=True).start()


def _wait_for_end_of_input() -> NoReturn:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS + 1)
    os._exit(1)
