"""The parts of a cluster that are clients of its partitions, as processes: a scheduler, controllers, hollow nodes.

A component starts without waiting for any partition, prints its ready line (lifetime.py) on standard output, and runs
until SIGTERM or Ctrl-C. Whether it works is another question, and `/readyz` answers it. A stop takes STOP_SECONDS at
most; a second signal ends it at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NoReturn, Protocol

import trio

from ..clients.actor import Actor
from ..clients.nurseries import open_background
from ..proto.errors import InputError, UrsaError
from ..proto.long_lived import expect_long_lives
from .clocks import running_clock
from .faults.processes import PATH as FAULTS_PATH
from .lifetime import ReadyLine, announce, bound_stop, end_process
from .observability import LoopProbe, ObservabilityServer, Probe

if TYPE_CHECKING:
    from ..clients.client_set import ClientSet
    from ..clients.transport.interface import Transport
    from .faults.component import ComponentFaults
    from .recording import Recorder

# To lead links around takes at most three seconds.
HEED_SECONDS = 10.0


class Component(Protocol):
    """A scheduler, a controller manager, a host of hollow nodes."""

    async def run(self) -> None:
        """Until cancelled."""

    def ready(self) -> Mapping[str, bool]:
        """Which of its conditions hold."""


def replica_names(name: str, replicas: int) -> list[str]:
    """Of the processes of a component: the first has its name, the others a number behind it."""
    return [name, *(f"{name}-{number}" for number in range(2, replicas + 1))]


def elected(
    home: str, name: str, make: Callable[[ClientSet, Actor], Component]
) -> Callable[[ClientSet, Actor], Component]:
    """One replica of a component: those that share the name elect the one that works, in their home."""
    from ..clients.elected import Elected

    return lambda clients, actor: Elected(make, clients, home, name, actor)


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
    faults_file: Path | None = None  # Of the one box: how its links are disturbed.


def run_component(spec: ComponentSpec) -> NoReturn:
    """Run it until a signal ends it, and with it the process. Raises UrsaError where it cannot start."""
    trio.run(_run, spec)
    end_process()


async def _run(spec: ComponentSpec) -> None:
    # The process is its own source of randomness: after a restart it must not draw the same UIDs again.
    actor = Actor(spec.name, running_clock(), Random())
    partitions = spec.endpoints.tenant_partitions, spec.endpoints.resource_partitions
    faults = None
    if spec.faults_file is not None:
        from .faults.component import ComponentFaults

        faults = ComponentFaults(spec.name, spec.faults_file)
    async with (
        open_grpc_clients(*partitions, actor, home=spec.endpoints.home, faults=faults) as clients,
        open_background() as nursery,
    ):
        component = spec.make(clients, actor)
        with (
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
            ObservabilityServer(
                spec.metrics_address,
                actor.registry,
                _trio_probe(component.ready),
                _actions(faults, nursery),
                clients.contacts.seen,
            ) as observability,
        ):
            expect_long_lives()
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


def _actions(faults: ComponentFaults | None, nursery: trio.Nursery) -> dict[str, Callable[[], object]]:
    """What may be asked of this process from outside."""
    if faults is None:
        return {}
    token = trio.lowlevel.current_trio_token()

    async def heed(done: Future[None]) -> None:
        try:
            await faults.heed()
        except UrsaError as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    def ask() -> None:
        done: Future[None] = Future()
        token.run_sync_soon(nursery.start_soon, heed, done)
        done.result(HEED_SECONDS)

    return {FAULTS_PATH: ask}


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
    tenant_partitions: Mapping[str, str],
    resource_partitions: Mapping[str, str],
    actor: Actor,
    recorder: Recorder | None = None,
    *,
    home: str | None = "",
    faults: ComponentFaults | None = None,
) -> AsyncIterator[ClientSet]:
    """Clients of all partitions over gRPC, for one component. The recorder is given what passes over the links, the
    faults disturb them.

    Partitions come and go by the registry of `home`; with an empty one, by those of all; with None, they stay.
    """
    from ..clients.client_set import open_clients
    from ..clients.registry import RegistryFollower
    from ..clients.transport.grpc import GrpcBridge, GrpcTransport

    client = actor.name if recorder is None else recorder.life_of(actor.name)
    async with GrpcBridge() as bridge:
        if faults is not None:
            await faults.attach(bridge)

        def transport(name: str, address: str) -> Transport:
            opened = GrpcTransport(name, address, bridge, user=actor.name)
            return opened if recorder is None else recorder.wrap(opened, client)

        def transports(partitions: Mapping[str, str]) -> dict[str, Transport]:
            return {name: transport(name, address) for name, address in partitions.items()}

        async with (
            open_clients(transports(tenant_partitions), transports(resource_partitions), actor) as clients,
            open_background() as nursery,
        ):
            addresses = {**tenant_partitions, **resource_partitions}
            follower = RegistryFollower(
                clients, home or "", addresses, lambda entry: transport(entry.name, entry.address), actor
            )
            if home is not None:
                nursery.start_soon(follower.run)
            yield clients
