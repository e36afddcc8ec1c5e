"""A cluster on one machine: a process for every part of it, and a supervisor over them.

    tp-1, tp-2, rp-1 ...                the apiservers, first: everything else needs their addresses
    scheduler-tp-1 ...                  one a tenant partition        \\
    controller-manager-tp-1, -rp-1 ...  one a partition                | all at once: none waits for another
    hollow-nodes-rp-1-1 ...             one per 1,000 nodes of an RP  /

There may be more replicas of the schedulers and controller managers (scheduler-tp-1-2 ...), of which one works. The
data directory keeps what must survive (a directory for each partition), and beside it what describes this run: `logs/`,
the manifests of the nodes in `nodes/`, and `cluster.json` (endpoints.py).
"""

from __future__ import annotations

import logging
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..clients.actor import Actor
from ..clients.client import ClientSet
from ..clients.kubelet.options import Delay
from ..proto.errors import InputError
from ..proto.kinds import Role
from ..proto.objects import Object
from .components import open_grpc_clients, replica_names
from .endpoints import FILE_NAME, ClusterFile, cluster_path, cluster_processes
from .faults.file import FILE_NAME as FAULTS_NAME
from .faults.file import write_faults
from .faults.processes import FaultsOfProcesses
from .nodes import save_nodes, split, spread
from .processes import URSA_COMMAND, ProcessInfo, ProcessSpec, Supervisor, open_supervisor
from .readiness import wait_ready
from .usage import Usage

if TYPE_CHECKING:
    from .recording import Recorder

log = logging.getLogger("ursa.one_box")

# One process hosts so many hollow nodes: with 10,000 pods it uses about a third of a core while they are created.
NODES_PER_PROCESS = 1000


@dataclass(frozen=True)
class Topology:
    """How many partitions of each role; they are called tp-1 and on, rp-1 and on.

    Raises:
        InputError: there must be at least one of each.
    """

    tenant_partitions: int = 2
    resource_partitions: int = 2

    def __post_init__(self) -> None:
        if self.tenant_partitions < 1 or self.resource_partitions < 1:
            raise InputError("a cluster needs at least one tenant partition and one resource partition")

    @property
    def tenant_names(self) -> list[str]:
        return [f"tp-{number}" for number in range(1, self.tenant_partitions + 1)]

    @property
    def resource_names(self) -> list[str]:
        return [f"rp-{number}" for number in range(1, self.resource_partitions + 1)]


@dataclass(frozen=True)
class OneBoxOptions:
    """How the processes are run. `name`: under which the `ursa` command finds them; empty: under none."""

    topology: Topology = field(default_factory=Topology)
    name: str = ""
    nodes_per_process: int = NODES_PER_PROCESS
    start_delay_seconds: Delay = 0.0
    commits_per_second: float | None = None
    log_level: str = "warning"
    recorder: Recorder | None = None  # Of what the cluster's own clients ask and are told.
    controller_replicas: int = 1  # Of each scheduler and controller manager; several elect the one that works.
    static_pods: str = ""  # A file of them, or a directory: each node runs them.
    scheduler_config: str = ""  # A KubeSchedulerConfiguration.
    scheduler_plugins: Sequence[str] = ()  # As module:Class.


class OneBox:
    """Use `open_one_box`."""

    def __init__(self, options: OneBoxOptions, data_dir: Path, supervisor: Supervisor) -> None:
        self._data_dir = data_dir
        self._options = options
        self._supervisor = supervisor
        self._roles = dict.fromkeys(options.topology.tenant_names, Role.TENANT)
        self._roles |= dict.fromkeys(options.topology.resource_names, Role.RESOURCE)
        self._homes: dict[str, str] = {}  # The partition that each component's process works for.
        self._nodes: dict[str, list[Object]] = {}  # by resource partition
        self._node_processes: dict[str, Sequence[Object]] = {}
        self._published = False

    # --------------------------------------------------------------------------------------------------- what it has

    @property
    def data_dir(self) -> Path:
        return self._data_dir

    @property
    def processes(self) -> dict[str, ProcessInfo]:
        return self._supervisor.processes

    @property
    def tenant_addresses(self) -> dict[str, str]:
        return self._addresses(Role.TENANT)

    @property
    def resource_addresses(self) -> dict[str, str]:
        return self._addresses(Role.RESOURCE)

    @property
    def partitions(self) -> dict[str, Role]:
        """All whose apiserver is run here."""
        return dict(self._roles)

    def _addresses(self, role: Role) -> dict[str, str]:
        processes = self.processes
        return {name: processes[name].address for name, its in self._roles.items() if its is role}

    @property
    def nodes(self) -> dict[str, list[Object]]:
        """By resource partition."""
        return dict(self._nodes)

    @property
    def faults(self) -> FaultsOfProcesses:
        """Of the links between its processes. They end with it."""
        return FaultsOfProcesses(self._faults_file, lambda: list(self.processes.values()))

    def usage(self) -> dict[str, Usage]:
        return self._supervisor.usage()

    def open_clients(self, actor: Actor, home: str | None = "") -> AbstractAsyncContextManager[ClientSet]:
        """Clients of all partitions, for one actor, over gRPC. `home`: see `open_grpc_clients`."""
        partitions = self.tenant_addresses, self.resource_addresses
        return open_grpc_clients(*partitions, actor, self._options.recorder, home=home)

    # ------------------------------------------------------------------------------------------------- start and stop

    async def start_partitions(self) -> None:
        """Raises ProcessFailed; the message is the first one's own."""
        await self._supervisor.start([self._apiserver(name, role) for name, role in self._roles.items()])

    async def start_components(self, nodes: Sequence[Object]) -> None:
        """Everything else. Raises ProcessFailed."""
        self._node_processes = self._plan(nodes)
        self._save_nodes(self._node_processes)
        write_faults(self._faults_file, [])  # Those of a run that was killed.
        await self._supervisor.start(
            [
                *(spec for name in self._roles for spec in self._components_of(name)),
                *(self._hollow_nodes(name) for name in self._node_processes),
            ]
        )
        self._published = True
        self.publish()

    async def stop_components(self) -> None:
        """So that the apiservers, which stop last, see everyone leave in order."""
        await self._supervisor.stop([name for name in self.processes if name not in self._roles])

    # ----------------------------------------------------------------------------------------------------- partitions

    async def add_partition(self, name: str, role: Role) -> str:
        """Start the apiserver of one more partition; returns its address. Raises ProcessFailed."""
        await self._supervisor.start([self._apiserver(name, role)])
        self._roles[name] = role
        self.publish()
        return self.processes[name].address

    async def start_components_of(self, partition: str) -> None:
        """What works for a partition, once it is in the registry. Raises ProcessFailed."""
        await self._supervisor.start(self._components_of(partition))
        self.publish()

    async def remove_partition(self, name: str) -> None:
        """Stop all that runs for a partition, its nodes too. Its data is put aside: nobody takes it for a partition's
        that there is."""
        del self._roles[name]
        left = self._nodes.pop(name, [])
        theirs = [each for each in self.processes if self._homes.get(each) == name]
        self._node_processes = {each: part for each, part in self._node_processes.items() if each not in theirs}
        await self._supervisor.stop(theirs)
        await self._supervisor.stop([name])
        if left:
            log.warning("%d nodes have gone with %s", len(left), name)
        aside = self.data_dir / f"removed-{name}-{time.time_ns() // 1_000_000}"
        try:
            (self.data_dir / name).rename(aside)
        except OSError as error:
            log.warning("the data of %s stays where it is: %s", name, error.strerror)
        self.publish()

    async def wait_ready(self, timeout_seconds: float) -> None:
        """Raises WaitTimeout, which names a process that is not ready and why."""

        def address_of(name: str) -> Callable[[], str]:
            return lambda: self.processes[name].metrics

        await wait_ready({name: address_of(name) for name in self.processes}, timeout_seconds)

    def kill(self, name: str) -> None:
        """SIGKILL: the process dies as in a crash, and is started again. Raises UrsaError if there is none."""
        self._supervisor.signal(name, signal.SIGKILL)

    def kill_all(self) -> None:
        """For a stop that must not take its time."""
        self._supervisor.kill_all()

    # ---------------------------------------------------------------------------------------------------------- nodes

    async def set_nodes(self, nodes: Sequence[Object]) -> None:
        """Host exactly these nodes from now on, in as few changes as possible. Raises ProcessFailed."""
        plan = self._plan(nodes)
        before = self._node_processes
        self._node_processes = plan
        self._save_nodes({name: part for name, part in plan.items() if part != before.get(name)})
        await self._supervisor.stop([name for name in before if name not in plan])
        for name, part in plan.items():
            if name in before and part != before[name]:
                self._supervisor.signal(name, signal.SIGHUP)
        await self._supervisor.start([self._hollow_nodes(name) for name in plan if name not in before])
        self.publish()

    def _plan(self, nodes: Sequence[Object]) -> dict[str, Sequence[Object]]:
        """Which process hosts which nodes."""
        return {
            f"hollow-nodes-{partition}-{number}": part
            for partition, its_nodes in self._deal(nodes).items()
            for number, part in enumerate(split(its_nodes, self._options.nodes_per_process), 1)
        }

    def _deal(self, nodes: Sequence[Object]) -> dict[str, list[Object]]:
        self._nodes = spread(nodes, list(self.resource_addresses), self._nodes)
        return self._nodes

    def _save_nodes(self, plan: Mapping[str, Sequence[Object]]) -> None:
        for name, part in plan.items():
            save_nodes(self._nodes_file(name), part)

    def _nodes_file(self, name: str) -> Path:
        return self.data_dir / "nodes" / f"{name}.msgpack"

    @property
    def _faults_file(self) -> Path:
        return self.data_dir / FAULTS_NAME

    # ------------------------------------------------------------------------------------------------------- processes

    def _apiserver(self, name: str, role: Role) -> ProcessSpec:
        arguments = ["--name", name, "--role", role.value, "--data-dir", str(self.data_dir / name)]
        if self._options.commits_per_second is not None:
            arguments += ["--commits-per-second", f"{self._options.commits_per_second:g}"]
        return self._spec(name, "apiserver", arguments, listen_flag="--listen")

    def _components_of(self, partition: str) -> list[ProcessSpec]:
        """Its scheduler, where it is a tenant partition, and its controllers."""
        schedules = self._roles[partition] is Role.TENANT
        return [
            *(self._replicas("scheduler", partition) if schedules else []),
            *self._replicas("controller-manager", partition),
        ]

    def _replicas(self, component: str, home: str) -> list[ProcessSpec]:
        """One that is alone is not elected: after a crash it would have to wait until its own lease has run out."""
        names = replica_names(f"{component}-{home}", self._options.controller_replicas)
        elect = "--leader-elect" if names[1:] else "--no-leader-elect"
        self._homes |= dict.fromkeys(names, home)
        flags = [elect, *(self._scheduler_flags() if component == "scheduler" else ()), *self._endpoint_flags()]
        return [self._spec(name, component, ["--name", name, "--home", home, *flags]) for name in names]

    def _scheduler_flags(self) -> list[str]:
        config, plugins = self._options.scheduler_config, self._options.scheduler_plugins
        flags = ["--config", config] if config else []
        return [*flags, *(f"--plugin={plugin}" for plugin in plugins)]

    def _hollow_nodes(self, name: str) -> ProcessSpec:
        home = self._homes[name] = name.removeprefix("hollow-nodes-").rpartition("-")[0]
        delay = self._options.start_delay_seconds
        low, high = delay if isinstance(delay, tuple) else (delay, delay)
        arguments = ["--name", name, "--home", home, "--nodes-file", str(self._nodes_file(name))]
        arguments += ["--start-delay", f"{low:f}" if low == high else f"{low:f}-{high:f}"]
        if self._options.static_pods:
            arguments += ["--static-pods", self._options.static_pods]
        return self._spec(name, "hollow-nodes", [*arguments, *self._endpoint_flags()])

    def _endpoint_flags(self) -> list[str]:
        flags = ["--faults-file", str(self._faults_file)]
        for name, address in self.tenant_addresses.items():
            flags += ["--tenant-partition", f"{name}={address}"]
        for name, address in self.resource_addresses.items():
            flags += ["--resource-partition", f"{name}={address}"]
        return flags

    def _spec(self, name: str, component: str, arguments: Sequence[str], listen_flag: str = "") -> ProcessSpec:
        command = [*URSA_COMMAND, component, *arguments, "--log-level", self._options.log_level, "--parent-pipe"]
        return ProcessSpec(name, component, command, listen_flag, "--metrics-address")

    # ---------------------------------------------------------------------------------------------------- cluster.json

    def publish(self) -> None:
        """Write cluster.json as things are now; before everything has started, and after the end, nothing."""
        if not self._published:
            return
        cluster = ClusterFile(
            self._options.name,
            str(self.data_dir),
            self.tenant_addresses,
            self.resource_addresses,
            cluster_processes(self.processes.values()),
            self._options.scheduler_config,
            list(self._options.scheduler_plugins),
        )
        for path in self._cluster_files():
            cluster.save(path)

    def withdraw(self) -> None:
        """Remove cluster.json again."""
        if self._published:
            self._published = False
            write_faults(self._faults_file, [])
            for path in self._cluster_files():
                path.unlink(missing_ok=True)

    def _cluster_files(self) -> list[Path]:
        name = self._options.name
        return [self.data_dir / FILE_NAME, *([cluster_path(name)] if name else [])]


@asynccontextmanager
async def open_one_box(options: OneBoxOptions, data_dir: Path) -> AsyncIterator[OneBox]:
    """A one box with nothing started yet. At the end of the block all is stopped, components before apiservers.

    Raises:
        InputError: the data directory cannot be used.
    """
    _prepare(data_dir, options.topology)
    boxes: list[OneBox] = []

    def on_change() -> None:
        for box in boxes:
            box.publish()

    async with open_supervisor(data_dir / "logs", on_change) as supervisor:
        box = OneBox(options, data_dir, supervisor)
        boxes.append(box)
        try:
            yield box
        finally:
            box.withdraw()
            with trio.CancelScope(shield=True):
                await box.stop_components()


def _prepare(data_dir: Path, topology: Topology) -> None:
    try:
        for directory in (data_dir / "logs", data_dir / "nodes"):
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the data directory {data_dir} cannot be made: {error.strerror}") from None
    known = [*topology.tenant_names, *topology.resource_names]
    for path in sorted(data_dir.iterdir()):
        if re.fullmatch(r"[tr]p-\d+", path.name) and path.name not in known:
            flag = "--tenant-partitions" if path.name.startswith("tp-") else "--resource-partitions"
            number = path.name.partition("-")[2]
            what = f"the data directory {data_dir} holds partition {path.name}"
            raise InputError(f"{what}: use {flag} {number} or more, or another directory")
