"""A whole cluster in a `with` block: the library's front door.

    async with ursa.Cluster(tenant_partitions=2, resource_partitions=2, nodes=10) as cluster:
        await cluster.apply({"apiVersion": "v1", "kind": "Pod", ...})
        await cluster.wait_for_pods(1)

`processes=True` runs it as a one box (one_box.py): real processes, gRPC, stores on disk. `processes=False` keeps all of
it in the caller's own trio loop over links in memory (in_process.py): no ports, no threads, and on a mock clock
deterministic. Everything else is the same code.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, overload

import trio

from ..clients.actor import Actor
from ..clients.client import ClientSet
from ..clients.kubelet.options import Delay
from ..clients.nurseries import open_background, run_all
from ..clients.scheduler.explanation import Explanation
from ..proto.errors import InputError, UrsaError
from ..proto.kinds import Role
from ..proto.objects import Object
from . import partitions
from .applying import apply_object
from .bootstrap import DEFAULT_TENANT, ensure_default_tenant, register_partitions
from .clocks import running_clock
from .cluster_tenants import ClusterTenants
from .endpoints import require_not_running
from .explaining import explain_pod
from .faults.control import Enforcer, Faults
from .nodes import NodeOptions, deregister, make_nodes
from .one_box import NODES_PER_PROCESS, OneBoxOptions, Topology, open_one_box
from .partition_keeper import PartitionKeeper
from .processes import ProcessInfo
from .scheduler_config import read_scheduler_config
from .static_pods import read_static_pods
from .tenants import TenantDirectory
from .usage import Usage
from .waiting import WaitTimeout, wait_for_nodes, wait_for_pods

if TYPE_CHECKING:
    from .blocking import BlockingCluster
    from .recording import Recorder

# A start takes two seconds on an idle pair of cores; ten thousand nodes take longer to register.
READY_SECONDS = 60.0
READY_SECONDS_PER_NODE = 0.01

USER = "user"


class Runtime(Protocol):
    """What runs the parts of a cluster: `OneBox` or `InProcess`."""

    @property
    def data_dir(self) -> Path | None: ...
    @property
    def processes(self) -> dict[str, ProcessInfo]: ...
    @property
    def tenant_addresses(self) -> dict[str, str]: ...
    @property
    def resource_addresses(self) -> dict[str, str]: ...
    @property
    def partitions(self) -> dict[str, Role]: ...
    @property
    def nodes(self) -> dict[str, list[Object]]: ...
    def usage(self) -> dict[str, Usage]: ...
    async def add_partition(self, name: str, role: Role) -> str: ...
    async def start_components_of(self, partition: str) -> None: ...
    async def remove_partition(self, name: str) -> None: ...
    @property
    def faults(self) -> Enforcer: ...
    def open_clients(self, actor: Actor, home: str | None = "") -> AbstractAsyncContextManager[ClientSet]: ...
    async def start_partitions(self) -> None: ...
    async def start_components(self, nodes: Sequence[Object]) -> None: ...
    async def set_nodes(self, nodes: Sequence[Object]) -> None: ...
    async def wait_ready(self, timeout_seconds: float) -> None: ...
    def kill(self, name: str) -> None: ...
    def kill_all(self) -> None: ...


class Cluster(ClusterTenants):
    """Tenant partitions, resource partitions and hollow nodes, for as long as a block lasts.

    `async with` gives it to a trio program; a plain `with` gives its blocking twin (`BlockingCluster`), the loop in a
    thread of its own. When the block ends everything is stopped and nothing is left but the data directory, if given.

    Args:
        nodes: how many hollow nodes, dealt to the resource partitions.
        processes: False keeps all in this process, and then `data_dir` None means in memory.
        data_dir: where the stores are; None: a temporary directory. A directory that has been used is continued.
        seed: of everything random, with processes=False.
        node_objects: Node manifests, instead of `nodes` made-up ones.
        node_options: what a made-up node has.
        start_delay_seconds: what a container takes to start; a number or a (low, high) range.
        commits_per_second: the pace of each partition's commits under load; None: the apiserver's own.
        nodes_per_process: how many hollow nodes share a process.
        name: under which the `ursa` command finds the cluster (with processes); None: under none.
        log_level: of the processes' logs, which are in `data_dir`/logs.
        latency_seconds, trace: of the links in memory, with processes=False; see MemoryTransport.
        controller_replicas: how many schedulers and controller managers each partition has; of several one works, and
            another takes over when it is gone.
        recorder: is given what the cluster's own clients ask and are told; with processes=False what all parts do.
        static_pods: a file of pods, or a directory, that each node runs by itself, whatever any partition says.
        scheduler_config: a KubeSchedulerConfiguration, with the profiles of the schedulers.
        scheduler_plugins: plugins of one's own that the profiles may name, as module:Class.

    Raises:
        InputError: the arguments contradict one another, or make no sense; the message says which.
    """

    def __init__(
        self,
        tenant_partitions: int = 2,
        resource_partitions: int = 2,
        nodes: int = 10,
        *,
        processes: bool = True,
        data_dir: str | os.PathLike[str] | None = None,
        seed: int = 0,
        node_objects: Sequence[Object] | None = None,
        node_options: NodeOptions | None = None,
        start_delay_seconds: Delay = 0.0,
        commits_per_second: float | None = None,
        nodes_per_process: int = NODES_PER_PROCESS,
        name: str | None = None,
        log_level: str = "warning",
        latency_seconds: tuple[float, float] = (0.0, 0.0),
        trace: Callable[[str], None] | None = None,
        recorder: Recorder | None = None,
        controller_replicas: int = 1,
        static_pods: str | os.PathLike[str] | None = None,
        scheduler_config: str | os.PathLike[str] | None = None,
        scheduler_plugins: Sequence[str] = (),
    ) -> None:
        if controller_replicas < 1:
            raise InputError(f"controllers cannot have {controller_replicas} replicas: use 1 or more")
        if nodes < 0:
            raise InputError(f"a cluster cannot have {nodes} nodes: use 0 or more")
        if processes and (trace is not None or latency_seconds != (0.0, 0.0)):
            raise InputError("trace and latency_seconds are of links in memory: use them with processes=False")
        if not processes and name is not None:
            raise InputError("a cluster inside a process cannot be found from outside: use name with processes=True")
        self._topology = Topology(tenant_partitions, resource_partitions)
        self._processes = processes
        self._data_dir = None if data_dir is None else Path(data_dir).absolute()
        self._seed = seed
        self._node_options = node_options or NodeOptions()
        self._nodes = list(node_objects) if node_objects is not None else make_nodes(nodes, self._node_options)
        self._start_delay_seconds = start_delay_seconds
        self._commits_per_second = commits_per_second
        self._nodes_per_process = nodes_per_process
        self._name = name
        self._log_level = log_level
        self._latency_seconds = latency_seconds
        self._trace = trace
        self._recorder = recorder
        self._controller_replicas = controller_replicas
        self._static_pods_file = "" if static_pods is None else os.path.abspath(static_pods)
        self._static_pods = read_static_pods([self._static_pods_file]) if self._static_pods_file else []
        self._scheduler_config = "" if scheduler_config is None else os.path.abspath(scheduler_config)
        self._scheduler_plugins = tuple(scheduler_plugins)
        self._scheduler_options = read_scheduler_config(scheduler_config, self._scheduler_plugins).options

        self._opening: AbstractAsyncContextManager[None] | None = None
        self._runtime: Runtime | None = None
        self._clients: ClientSet | None = None
        self._tenants: TenantDirectory | None = None
        self._blocking: BlockingCluster | None = None

    # ------------------------------------------------------------------------------------------------- open and close

    async def __aenter__(self) -> Self:
        """Raises UrsaError where it cannot start: one line, from the part that could not."""
        if self._opening is not None:
            raise UrsaError("this cluster has been opened before: make another Cluster")
        self._opening = self._open()
        await self._opening.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runtime is not None and self._opening is not None:
            self._runtime = None
            await self._opening.__aexit__(kind, error, trace)

    async def aclose(self) -> None:
        """End it before its block does; from the task that opened it. Idempotent."""
        await self.__aexit__(None, None, None)

    def __enter__(self) -> BlockingCluster:
        from .blocking import BlockingCluster

        self._blocking = BlockingCluster(self)
        return self._blocking.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._blocking is not None
        self._blocking.__exit__(kind, error, trace)

    # --------------------------------------------------------------------------------------------------- what it has

    @property
    def clients(self) -> ClientSet:
        """A client of each partition, for the caller's own use."""
        if self._clients is None or self._runtime is None:
            raise UrsaError("the cluster is not open: use it inside its `with` block")
        return self._clients

    @property
    def processes(self) -> dict[str, ProcessInfo]:
        """Every part by name: component, pid, addresses, restarts."""
        return self._open_runtime.processes

    @property
    def nodes(self) -> list[Object]:
        """The manifests of its nodes."""
        return list(self._nodes)

    @property
    def tenant_addresses(self) -> Mapping[str, str]:
        return self._open_runtime.tenant_addresses

    @property
    def resource_addresses(self) -> Mapping[str, str]:
        return self._open_runtime.resource_addresses

    @property
    def data_dir(self) -> Path | None:
        """Where the stores are, and the processes' `logs`; None: in memory."""
        return self._open_runtime.data_dir

    def usage(self) -> dict[str, Usage]:
        """CPU time and largest memory of each process by name, over all its lives."""
        return self._open_runtime.usage()

    # ---------------------------------------------------------------------------------------------------- partitions

    async def add_partition(self, role: Role | str) -> str:
        """Add a "tenant" or "resource" partition while all goes on; returns its name, once it answers.

        A resource partition has no nodes yet: those made next go to the emptiest (`scale_nodes`). It gets the
        DaemonSets that all others have.

        Raises:
            ValueError: no such role. WaitTimeout: it does not answer in time. LinkError: no partition can be told.
        """
        entry = await partitions.add_partition(self.clients, Role(role))
        await partitions.wait_for_member(self.clients, entry.name, READY_SECONDS)
        if entry.role is Role.RESOURCE:
            await partitions.give_daemons(self.clients, entry.name)
        return entry.name

    async def drain_partition(self, name: str, *, force: bool = False, timeout_seconds: float = 120.0) -> int:
        """Let nothing new go to the nodes of a resource partition, and evict what is there; returns how many pods.

        Raises:
            InputError, WaitTimeout, LinkError: see `tools.partitions.drain`.
        """
        return await partitions.drain(self.clients, name, force=force, timeout_seconds=timeout_seconds)

    async def remove_partition(self, name: str, *, force: bool = False) -> None:
        """Remove a partition that is empty, or with `force` whatever it holds, and stop what runs for it.

        Raises:
            InputError, LinkError: see `tools.partitions.remove_partition`. WaitTimeout: it does not stop.
        """
        await partitions.remove_partition(self.clients, name, force=force)
        with trio.move_on_after(READY_SECONDS):
            while name in self._open_runtime.partitions:  # noqa: ASYNC110 - its keeper stops it, and tells nobody
                await trio.sleep(partitions.POLL_SECONDS)
            return
        raise WaitTimeout(
            f"{name} is removed, but what ran for it has not stopped after {READY_SECONDS:g} s: see its log"
        )

    # ------------------------------------------------------------------------------------------------------- objects

    @overload
    async def apply(self, manifest: str | os.PathLike[str]) -> list[Object]: ...
    @overload
    async def apply(self, manifest: Mapping[str, Any] | Object) -> Object: ...
    async def apply(self, manifest: str | os.PathLike[str] | Mapping[str, Any] | Object) -> Object | list[Object]:
        """Create an object, or change the one of that name to it (a merge patch), wherever it belongs.

        A path stands for all manifests in that file, or directory of files, in order. A manifest without tenant or
        namespace means the tenant "default", the namespace "default".

        Raises:
            InputError: a file that cannot be used; the message says where.
            ApiError, LinkError: of the first object that failed; those before it are applied.
        """
        if isinstance(manifest, str | os.PathLike):
            from .objects.kinds import KnownKinds, learn_kinds
            from .objects.manifests import read_manifests

            kinds = KnownKinds(custom=await learn_kinds(self.clients))
            return [await self.apply(each.object) for each in read_manifests([os.fspath(manifest)], kinds)]
        obj = manifest if isinstance(manifest, Object) else Object.from_dict(manifest)
        return await apply_object(obj, self.clients, self._open_tenants)

    async def explain(self, pod: Object) -> Explanation:
        """Why a pod is on its node, or on none, by the plugins of its profile as things are now; see `explaining.py`.

        Raises:
            InputError: no profile is for this pod. UrsaError: a plugin fails. LinkError: a partition does not answer.
        """
        explanation, missing = await explain_pod(self.clients, pod, self._scheduler_options)
        if missing:
            raise missing[0]
        return explanation

    async def wait_for_pods(
        self,
        count: int | None = None,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        phase: str = "Running",
        timeout_seconds: float = 60.0,
    ) -> list[Object]:
        """Wait until so many pods (None: all there are, and at least one) are in a phase; returns those that are.

        Raises:
            WaitTimeout: not in time; the message says how far it got, and what keeps one of the others.
        """
        clients = [self.tenant_client(tenant)] if tenant else self.clients.tenant_clients.values()
        return await wait_for_pods(
            clients,
            count=count,
            phase=phase,
            timeout_seconds=timeout_seconds,
            tenant=tenant,
            namespace=namespace,
            label_selector=label_selector,
        )

    # --------------------------------------------------------------------------------------------------------- nodes

    async def scale_nodes(self, count: int) -> None:
        """Have so many nodes: the last ones are switched off and deregistered, new ones made up and registered.

        Raises:
            WaitTimeout: the nodes did not come, or go, in time.
        """
        if count < 0:
            raise InputError(f"a cluster cannot have {count} nodes: use 0 or more")
        runtime = self._open_runtime
        before, kept, gone = runtime.nodes, self._nodes[:count], self._nodes[count:]
        self._nodes = [*kept, *make_nodes(count - len(kept), self._node_options, first=len(kept) + 1)]
        await runtime.set_nodes(self._nodes)
        # A process that has no nodes any more is gone and could not deregister its last ones.
        names = dict.fromkeys(node.name for node in gone)
        for partition, nodes in before.items():
            left = [node.name for node in nodes if node.name in names]
            await deregister(self.clients.resource_clients[partition], left)
        await self._wait_for_nodes(self.clients, gone)

    async def _wait_for_nodes(self, clients: ClientSet, gone: Sequence[Object] = ()) -> None:
        await wait_for_nodes(
            clients.resource_clients.values(),
            [node.name for node in self._nodes],
            gone=[node.name for node in gone],
            timeout_seconds=self._ready_seconds,
        )

    # ---------------------------------------------------------------------------------------------------- for tests

    def kill(self, name: str) -> None:
        """Let a process die at once (SIGKILL), as in a crash; it is started again.

        Raises:
            UrsaError: there is no such process, or it is none of its own (processes=False).
        """
        self._open_runtime.kill(name)

    @property
    def faults(self) -> Faults:
        """Cuts, delays and freezes the links between its parts: `await cluster.faults.cut("scheduler-tp-1", "rp-2")`.

        They are written to the recorder, if there is one.
        """
        told = self._recorder.happened if self._recorder is not None else (lambda _: None)
        return Faults(self._open_runtime.faults, told)

    def kill_all(self) -> None:
        """Let every process die at once, when a stop must not take its time."""
        if self._runtime is not None:
            self._runtime.kill_all()

    # -------------------------------------------------------------------------------------------------------- details

    @property
    def _open_runtime(self) -> Runtime:
        if self._runtime is None:
            raise UrsaError("the cluster is not open: use it inside its `with` block")
        return self._runtime

    @property
    def _open_tenants(self) -> TenantDirectory:
        if self._tenants is None or self._runtime is None:
            raise UrsaError("the cluster is not open: use it inside its `with` block")
        return self._tenants

    @property
    def _ready_seconds(self) -> float:
        return READY_SECONDS + READY_SECONDS_PER_NODE * len(self._nodes)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        # The outermost block, so that an error inside comes out bare however many nurseries lie between.
        async with open_background() as nursery, self._open_parts() as runtime:
            await runtime.start_partitions()
            # Before anybody follows the registry, which may know of an earlier run and its addresses.
            async with runtime.open_clients(self._actor(), home=None) as clients:
                await register_partitions(clients, runtime.tenant_addresses, runtime.resource_addresses)
            async with runtime.open_clients(self._actor()) as clients, open_background() as serving:
                self._clients = clients
                self._tenants = TenantDirectory(clients)
                serving.start_soon(self._tenants.run)
                await run_all([partial(runtime.start_components, self._nodes), self._bootstrap])
                await runtime.wait_ready(self._ready_seconds)
                await self._wait_for_nodes(clients)
                self._runtime = runtime
                serving.start_soon(PartitionKeeper(clients, runtime, self._partition_removed).run)
                try:
                    yield
                finally:
                    self._runtime = None
            nursery.cancel_scope.cancel()

    def _partition_removed(self, name: str) -> None:
        """Its nodes go with it."""
        assert self._runtime is not None
        gone = dict.fromkeys(node.name for node in self._runtime.nodes.get(name, []))
        self._nodes = [node for node in self._nodes if node.name not in gone]

    async def _bootstrap(self) -> None:
        assert self._tenants is not None
        assert self._clients is not None
        await ensure_default_tenant(self._clients)
        await self._tenants.wait_for(DEFAULT_TENANT)

    def _actor(self) -> Actor:
        random = Random() if self._processes else Random(f"{self._seed}/{USER}")
        return Actor(USER, running_clock(), random)

    @asynccontextmanager
    async def _open_parts(self) -> AsyncIterator[Runtime]:
        if not self._processes:
            from .in_process import InProcessOptions, open_in_process

            options = InProcessOptions(
                self._topology,
                self._seed,
                self._data_dir,
                self._start_delay_seconds,
                self._commits_per_second,
                self._latency_seconds,
                self._trace,
                self._recorder,
                self._controller_replicas,
                scheduler_options=self._scheduler_options,
                static_pods=self._static_pods,
            )
            async with open_in_process(options, running_clock()) as parts:
                yield parts
            return
        if self._name:
            require_not_running(self._name)
        data_dir = self._data_dir or Path(tempfile.mkdtemp(prefix="ursa-"))
        box_options = OneBoxOptions(
            self._topology,
            self._name or "",
            self._nodes_per_process,
            self._start_delay_seconds,
            self._commits_per_second,
            self._log_level,
            self._recorder,
            self._controller_replicas,
            self._static_pods_file,
            self._scheduler_config,
            self._scheduler_plugins,
        )
        try:
            async with open_one_box(box_options, data_dir) as box:
                yield box
        finally:
            if self._data_dir is None:
                shutil.rmtree(data_dir, ignore_errors=True)
