"""The parts of a cluster that are clients of its partitions, as processes: a scheduler, controllers, hollow nodes.

A component starts without waiting for any partition, prints its ready line (lifetime.py) on standard output, and runs
until SIGTERM or Ctrl-C. Whether it works is another question, and `/readyz` answers it. A stop takes STOP_SECONDS at
most; a second signal ends it at once.
"""

from __future__ import annotations

import os
import signal
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
from .lifetime import ReadyLine, announce, bound_stop, end_process
from .observability import LoopProbe, ObservabilityServer, Probe

if TYPE_CHECKING:
    from ..clients.client_set import ClientSet
    from ..clients.transport.interface import Transport


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


def run_component(spec: ComponentSpec) -> NoReturn:
    """Run it until a signal ends it, and with it the process. Raises UrsaError where it cannot start."""
    trio.run(_run, spec)
    end_process()


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
