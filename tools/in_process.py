"""A cluster in one trio program: every part of it as tasks of the caller's loop, over links in memory.

No port, no thread, no process. With a mock clock and a seed it is deterministic: every part draws its randomness from
the seed and its own name, so that none depends on what the others do.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import trio

from ..clients.actor import Actor, Clock
from ..clients.client import ClientSet, open_clients
from ..clients.contact import Contacts
from ..clients.kubelet.hollow import HollowNodes
from ..clients.kubelet.options import Delay, HollowNodesOptions
from ..clients.nurseries import open_background, run_all
from ..clients.registry import RegistryFollower
from ..clients.scheduler import SchedulerOptions
from ..clients.transport.interface import Transport
from ..clients.transport.memory import MemoryTransport
from ..partitions.frontends.local import open_local_partition
from ..partitions.pacing import COMMITS_PER_SECOND
from ..partitions.stores import open_stores
from ..proto.errors import UrsaError
from ..proto.kinds import EVENTS_STORE, MAIN_STORE, Role
from ..proto.objects import Object
from ..proto.sessions import Service
from ..storage import InlineCommitter, MemoryStore, Store
from . import makers
from .components import Component, elected, replica_names
from .faults.memory import FaultsInMemory
from .faults.rules import Names
from .nodes import host_nodes, spread
from .one_box import Topology
from .processes import ProcessInfo
from .recording import LogTap, Recorder
from .usage import Usage, UsageMeter
from .waiting import WaitTimeout

# Of the loop's own clock: real time, or a mock clock's.
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class InProcessOptions:
    """`data_dir` None: stores in memory. `latency_seconds`: bounds of a message's one way.

    `trace` is called with a line for each message of every link (see MemoryTransport). `recorder` is given every link,
    every store's log and every instance of a pod. With several `controller_replicas` these elect their leaders.
    `scheduler_options`: of the schedulers of all tenant partitions.
    """

    topology: Topology = field(default_factory=Topology)
    seed: int = 0
    data_dir: Path | None = None
    start_delay_seconds: Delay = 0.0
    commits_per_second: float | None = None
    latency_seconds: tuple[float, float] = (0.0, 0.0)
    trace: Callable[[str], None] | None = None
    recorder: Recorder | None = None
    controller_replicas: int = 1
    scheduler_options: SchedulerOptions = field(default_factory=SchedulerOptions)
    static_pods: Sequence[Object] = ()  # Of each node.


class _Life(NamedTuple):
    """Of a part that works for the partition `home`, or is its apiserver."""

    home: str
    scope: trio.CancelScope
    ended: trio.Event

    async def end(self) -> None:
        self.scope.cancel()
        await self.ended.wait()


class InProcess:
    """Use `open_in_process`."""

    def __init__(
        self, options: InProcessOptions, clock: Clock, services: Mapping[str, Service], nursery: trio.Nursery
    ) -> None:
        self._options = options
        self._clock = clock
        self._services = dict(services)
        self._links: dict[str, list[MemoryTransport]] = {}  # by partition
        self._nursery = nursery
        self.faults = FaultsInMemory(lambda: Names(list(self._components), list(self._services)), nursery)
        self._roles = dict.fromkeys(options.topology.tenant_names, Role.TENANT)
        self._roles |= dict.fromkeys(options.topology.resource_names, Role.RESOURCE)
        self._nodes: dict[str, list[Object]] = {}
        self._components: dict[str, Component] = {}
        self.contacts: dict[str, Contacts] = {}  # By component: when it last heard of each partition.
        self._lives: dict[str, _Life] = {}
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
        parts |= {name: _component_name(name) for name in self._components}
        return {name: ProcessInfo(name, part, os.getpid(), "", "", True, 0) for name, part in parts.items()}

    @property
    def components(self) -> dict[str, Component]:
        """The parts that are no apiservers, by name; an elected one stands behind its election."""
        return dict(self._components)

    @property
    def tenant_addresses(self) -> dict[str, str]:
        return {name: f"memory:{name}" for name, role in self._roles.items() if role is Role.TENANT}

    @property
    def resource_addresses(self) -> dict[str, str]:
        return {name: f"memory:{name}" for name, role in self._roles.items() if role is Role.RESOURCE}

    @property
    def partitions(self) -> dict[str, Role]:
        return dict(self._roles)

    @property
    def nodes(self) -> dict[str, list[Object]]:
        """By resource partition."""
        return dict(self._nodes)

    def usage(self) -> dict[str, Usage]:
        """Of this process, since the cluster was opened: its parts cannot be told apart."""
        self._meter.sample()
        usage = self._meter.usage
        return {"this-process": Usage(usage.cpu_seconds - self._cpu_seconds_before, usage.resident_bytes_max)}

    def actor(self, name: str) -> Actor:
        return Actor(name, self._clock, Random(f"{self._options.seed}/{name}"))

    @asynccontextmanager
    async def open_clients(self, actor: Actor, home: str | None = "") -> AsyncIterator[ClientSet]:
        """Clients of all partitions, for one actor. `home`: whose registry they follow; empty: all, None: none."""
        recorder = self._options.recorder
        client = actor.name if recorder is None else recorder.life_of(actor.name)

        def transports(addresses: Mapping[str, str]) -> dict[str, Transport]:
            return {name: self._transport(name, actor, client) for name in addresses}

        tenant, resource = self.tenant_addresses, self.resource_addresses
        async with open_clients(transports(tenant), transports(resource), actor) as clients:
            addresses = {**tenant, **resource}
            follower = RegistryFollower(
                clients, home or "", addresses, lambda entry: self._transport(entry.name, actor, client), actor
            )
            async with open_background() as nursery:
                if home is not None:
                    nursery.start_soon(follower.run)
                yield clients

    async def start_partitions(self) -> None:
        """They live as long as this object does."""

    async def start_components(self, nodes: Sequence[Object]) -> None:
        self._nodes = spread(nodes, list(self.resource_addresses))
        for partition in self._roles:
            await self.start_components_of(partition)

    async def start_components_of(self, partition: str) -> None:
        """What works for a partition, once it is in the registry; of a resource partition, its nodes too."""
        if self._roles[partition] is Role.TENANT:
            scheduler = makers.scheduler(partition, self._options.scheduler_options)
            await self._start_replicas(f"scheduler-{partition}", scheduler, partition)
            controllers = makers.tenant_controllers(partition)
            await self._start_replicas(f"controller-manager-{partition}", controllers, partition)
            return
        controllers = makers.resource_controllers(partition)
        await self._start_replicas(f"controller-manager-{partition}", controllers, partition)
        name, recorder = f"hollow-nodes-{partition}", self._options.recorder
        options = HollowNodesOptions(start_delay_seconds=self._options.start_delay_seconds)
        observer = None if recorder is None else recorder.instances(f"{name}#1")
        nodes = self._nodes.get(partition, [])
        make = makers.hollow_nodes(partition, nodes, options, observer, self._options.static_pods)
        await self._start(name, make, partition)

    async def add_partition(self, name: str, role: Role) -> str:
        """Serve one more partition; returns its address."""
        await self._nursery.start(self._serve, name, role)
        self._roles[name] = role
        return f"memory:{name}"

    async def remove_partition(self, name: str) -> None:
        """Stop all that runs for a partition, its nodes too."""
        del self._roles[name]
        self._nodes.pop(name, None)
        del self._services[name]
        for link in self._links.pop(name, []):
            link.cut()
        self.faults.partition_removed(name)
        for each in [each for each, life in self._lives.items() if life.home == name]:
            await self._lives.pop(each).end()
            self._components.pop(each, None)
            self.contacts.pop(each, None)
        self._hosts.pop(name, None)

    async def set_nodes(self, nodes: Sequence[Object]) -> None:
        """Host exactly these nodes from now on."""
        self._nodes = spread(nodes, list(self.resource_addresses), self._nodes)
        await run_all(
            [
                partial(host_nodes, host, clients.resource_clients[home], self._nodes[home])
                for home, (host, clients) in self._hosts.items()
            ]
        )

    def conditions(self) -> dict[str, Mapping[str, bool]]:
        """Of each component, as its `/readyz` would say."""
        return {name: component.ready() for name, component in self._components.items()}

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

    def _transport(self, name: str, actor: Actor, client: str) -> Transport:
        options = self._options
        transport = MemoryTransport(
            name,
            self._services.get(name) or next(iter(self._services.values())),
            random=Random(actor.random.getrandbits(64)),
            latency_seconds=options.latency_seconds,
            user=actor.name,
            trace=options.trace,
        )
        if name not in self._services:
            transport.cut()  # It has been removed, and who asks for it has yet to learn of that.
        self._links.setdefault(name, []).append(transport)
        self.faults.add(actor.name, transport)
        return transport if options.recorder is None else options.recorder.wrap(transport, client)

    async def _start_replicas(self, name: str, make: makers.Make, home: str) -> None:
        replicas = replica_names(name, self._options.controller_replicas)
        for replica in replicas:
            await self._start(replica, elected(home, name, make) if len(replicas) > 1 else make, home)

    async def _start(self, name: str, make: makers.Make, home: str) -> None:
        await self._nursery.start(self._run, name, make, home, name=name)

    async def _run(self, name: str, make: makers.Make, home: str, *, task_status: trio.TaskStatus[None]) -> None:
        actor = self.actor(name)
        with self._living(name, home):
            async with self.open_clients(actor, home) as clients:
                component = self._components[name] = make(clients, actor)
                self.contacts[name] = clients.contacts
                if isinstance(component, HollowNodes):
                    self._hosts[component.home] = (component, clients)
                task_status.started()
                await component.run()

    async def _serve(self, name: str, role: Role, *, task_status: trio.TaskStatus[None]) -> None:
        with self._living(name, name):
            async with _open_partition(name, role, self._options, self._clock) as self._services[name]:
                task_status.started()
                await trio.sleep_forever()

    @contextmanager
    def _living(self, name: str, home: str) -> Iterator[None]:
        life = self._lives[name] = _Life(home, trio.CancelScope(), trio.Event())
        try:
            with life.scope:
                yield
        finally:
            life.ended.set()

    def _not_ready(self) -> str:
        for name, conditions in self.conditions().items():
            failing = [condition for condition, holds in conditions.items() if not holds]
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
    with _open_stores(name, options) as (store, events_store), _recorded(name, options, store, events_store):
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


@contextmanager
def _recorded(name: str, options: InProcessOptions, main: Store, events: Store) -> Iterator[None]:
    if options.recorder is None:
        yield
        return
    with (
        closing(LogTap(options.recorder, name, MAIN_STORE, main)),
        closing(LogTap(options.recorder, name, EVENTS_STORE, events)),
    ):
        yield


def _component_name(name: str) -> str:
    return next(part for part in ("scheduler", "controller-manager", "hollow-nodes") if name.startswith(part))
