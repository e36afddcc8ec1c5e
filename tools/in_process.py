"""A cluster in one trio program: every part of it as tasks of the caller's loop, over links in memory.

No port, no thread, no process. With a mock clock and a seed it is deterministic: every part draws its randomness from
the seed and its own name, so that none depends on what the others do.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from ..clients.actor import Actor, Clock
from ..clients.client import ClientSet, open_clients
from ..clients.controllers import ResourceControllerManager, TenantControllerManager
from ..clients.kubelet.hollow import HollowNodes
from ..clients.kubelet.options import Delay, HollowNodesOptions
from ..clients.nurseries import open_background, run_all
from ..clients.scheduler import Scheduler, SchedulerOptions
from ..clients.transport.interface import Transport
from ..clients.transport.memory import MemoryTransport
from ..partitions.frontends.local import open_local_partition
from ..partitions.pacing import COMMITS_PER_SECOND
from ..partitions.stores import open_stores
from ..proto.errors import UrsaError
from ..proto.kinds import Role
from ..proto.objects import Object
from ..proto.sessions import Service
from ..storage import InlineCommitter, MemoryStore, Store
from .components import Component
from .nodes import host_nodes, spread
from .one_box import Topology
from .processes import ProcessInfo
from .usage import Usage, UsageMeter
from .waiting import WaitTimeout

# Of the loop's own clock: real time, or a mock clock's.
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class InProcessOptions:
    """`data_dir` None: stores in memory. `latency_seconds`: bounds of a message's one way.

    `trace` is called with a line for each message of every link (see MemoryTransport).
    """

    topology: Topology = field(default_factory=Topology)
    seed: int = 0
    data_dir: Path | None = None
    start_delay_seconds: Delay = 0.0
    commits_per_second: float | None = None
    latency_seconds: tuple[float, float] = (0.0, 0.0)
    trace: Callable[[str], None] | None = None


class InProcess:
    """Use `open_in_process`."""

    def __init__(
        self, options: InProcessOptions, clock: Clock, services: Mapping[str, Service], nursery: trio.Nursery
    ) -> None:
        self._options = options
        self._clock = clock
        self._services = services
        self._nursery = nursery
        self._components: dict[str, Component] = {}
        self._hosts: dict[str, tuple[HollowNodes, ClientSet]] = {}
        self._meter = UsageMeter()
        self._meter.follow(os.getpid())
        self._cpu_seconds_before = self._meter.usage.cpu_seconds

    @property
    def data_dir(self) -> Path | None:
        return self._options.data_dir

    @property
    def processes(self) -> dict[str, ProcessInfo]:
        """All parts; they share one process and have no addresses."""
        parts = dict.fromkeys(self._services, "apiserver")
        parts |= {name: _component_name(component) for name, component in self._components.items()}
        return {name: ProcessInfo(name, part, os.getpid(), "", "", True, 0) for name, part in parts.items()}

    @property
    def tenant_addresses(self) -> dict[str, str]:
        return {name: f"memory:{name}" for name in self._options.topology.tenant_names}

    @property
    def resource_addresses(self) -> dict[str, str]:
        return {name: f"memory:{name}" for name in self._options.topology.resource_names}

    def usage(self) -> dict[str, Usage]:
        """Of this process, since the cluster was opened: its parts cannot be told apart."""
        self._meter.sample()
        usage = self._meter.usage
        return {"this-process": Usage(usage.cpu_seconds - self._cpu_seconds_before, usage.resident_bytes_max)}

    def actor(self, name: str) -> Actor:
        return Actor(name, self._clock, Random(f"{self._options.seed}/{name}"))

    def open_clients(self, actor: Actor) -> AbstractAsyncContextManager[ClientSet]:
        """Clients of all partitions, for one actor."""
        topology = self._options.topology
        return open_clients(
            self._transports(topology.tenant_names, actor), self._transports(topology.resource_names, actor), actor
        )

    async def start_partitions(self) -> None:
        """They live as long as this object does."""

    async def start_components(self, nodes: Sequence[Object]) -> None:
        topology = self._options.topology
        by_partition = spread(nodes, topology.resource_names)
        for home in topology.tenant_names:
            await self._start(f"scheduler-{home}", partial(_scheduler, home))
            await self._start(f"controller-manager-{home}", partial(_tenant_controllers, home))
        for home in topology.resource_names:
            await self._start(f"controller-manager-{home}", partial(_resource_controllers, home))
            options = HollowNodesOptions(start_delay_seconds=self._options.start_delay_seconds)
            await self._start(f"hollow-nodes-{home}", partial(_hollow_nodes, home, by_partition[home], options))

    async def set_nodes(self, nodes: Sequence[Object]) -> None:
        """Host exactly these nodes from now on."""
        by_partition = spread(nodes, self._options.topology.resource_names)
        await run_all(
            [
                partial(host_nodes, host, clients.resource_clients[home], by_partition[home])
                for home, (host, clients) in self._hosts.items()
            ]
        )

    async def wait_ready(self, timeout_seconds: float) -> None:
        """Raises WaitTimeout, which names a part that is not ready and why."""
        with trio.move_on_after(timeout_seconds):
            while self._not_ready():  # noqa: ASYNC110 - conditions are asked for, nobody announces them
                await trio.sleep(POLL_SECONDS)
        if problem := self._not_ready():
            raise WaitTimeout(f"after {timeout_seconds:g} s {problem}")

    def kill(self, name: str) -> None:
        raise UrsaError(f"{name} is no process of its own: use Cluster(processes=True) to kill parts of a cluster")

    def kill_all(self) -> None:
        """There is nothing that could outlive its block."""

    # -------------------------------------------------------------------------------------------------------- details

    def _transports(self, names: Sequence[str], actor: Actor) -> dict[str, Transport]:
        options = self._options
        return {
            name: MemoryTransport(
                name,
                self._services[name],
                random=Random(actor.random.getrandbits(64)),
                latency_seconds=options.latency_seconds,
                user=actor.name,
                trace=options.trace,
            )
            for name in names
        }

    async def _start(self, name: str, make: Callable[[ClientSet, Actor], Component]) -> None:
        await self._nursery.start(self._run, name, make, name=name)

    async def _run(
        self, name: str, make: Callable[[ClientSet, Actor], Component], *, task_status: trio.TaskStatus[None]
    ) -> None:
        actor = self.actor(name)
        async with self.open_clients(actor) as clients:
            component = self._components[name] = make(clients, actor)
            if isinstance(component, HollowNodes):
                self._hosts[component.home] = (component, clients)
            task_status.started()
            await component.run()

    def _not_ready(self) -> str:
        for name, component in self._components.items():
            failing = [condition for condition, holds in component.ready().items() if not holds]
            if failing:
                return f"{name} is not ready: {', '.join(failing)}"
        return ""


@asynccontextmanager
async def open_in_process(options: InProcessOptions, clock: Clock) -> AsyncIterator[InProcess]:
    """A cluster whose apiservers serve, and whose components are still to be started.

    Raises:
        StoreError: the data directory cannot be used.
    """
    async with AsyncExitStack() as partitions:
        services = {
            name: await partitions.enter_async_context(_open_partition(name, role, options, clock))
            for names, role in (
                (options.topology.tenant_names, Role.TENANT),
                (options.topology.resource_names, Role.RESOURCE),
            )
            for name in names
        }
        async with open_background() as nursery:
            yield InProcess(options, clock, services, nursery)


@asynccontextmanager
async def _open_partition(name: str, role: Role, options: InProcessOptions, clock: Clock) -> AsyncIterator[Service]:
    with _open_stores(name, options) as (store, events_store):
        # A store that has a past must not be given the UIDs of that past again.
        heads = f"{store.head}/{events_store.head}"
        async with open_local_partition(
            name,
            role,
            store,
            Random(f"{options.seed}/{name}/{heads}"),
            wall_offset_seconds=clock.offset_seconds,
            events_store=events_store,
            commits_per_second=options.commits_per_second or COMMITS_PER_SECOND,
        ) as service:
            yield service


@contextmanager
def _open_stores(name: str, options: InProcessOptions) -> Iterator[tuple[Store, Store]]:
    """The main store, and that of the Events."""
    incarnation = Random(f"{options.seed}/{name}/incarnation")
    if options.data_dir is None:
        with (
            closing(MemoryStore(incarnation=f"{incarnation.getrandbits(128):032x}")) as main,
            closing(MemoryStore(incarnation=f"{incarnation.getrandbits(128):032x}")) as events,
        ):
            yield main, events
        return
    with open_stores(options.data_dir / name, InlineCommitter, incarnation) as stores:
        assert stores.events is not None, "they have a quota"
        yield stores.main, stores.events


def _scheduler(home: str, clients: ClientSet, actor: Actor) -> Component:
    return Scheduler(clients, home, actor, SchedulerOptions())


def _tenant_controllers(home: str, clients: ClientSet, actor: Actor) -> Component:
    return TenantControllerManager(clients, home, actor)


def _resource_controllers(home: str, clients: ClientSet, actor: Actor) -> Component:
    return ResourceControllerManager(clients, home, actor)


def _hollow_nodes(
    home: str, nodes: Sequence[Object], options: HollowNodesOptions, clients: ClientSet, actor: Actor
) -> Component:
    return HollowNodes(clients, home, actor, nodes, options)


def _component_name(component: Component) -> str:
    if isinstance(component, Scheduler):
        return "scheduler"
    return "hollow-nodes" if isinstance(component, HollowNodes) else "controller-manager"
