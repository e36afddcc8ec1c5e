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

from ..clients.actor import Actor
from ..clients.client import ClientSet, PartitionClient
from ..clients.kubelet.options import Delay
from ..clients.nurseries import open_background, run_all
from ..proto.errors import InputError, UrsaError
from ..proto.objects import Object
from .applying import apply_object
from .bootstrap import DEFAULT_TENANT, ensure_default_tenant, register_partitions
from .clocks import running_clock
from .endpoints import require_not_running
from .nodes import NodeOptions, deregister, make_nodes, spread
from .one_box import NODES_PER_PROCESS, OneBoxOptions, Topology, open_one_box
from .processes import ProcessInfo
from .tenants import TenantDirectory
from .usage import Usage
from .waiting import wait_for_nodes, wait_for_pods

if TYPE_CHECKING:
    from .blocking import BlockingCluster

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
    def usage(self) -> dict[str, Usage]: ...
    def open_clients(self, actor: Actor) -> AbstractAsyncContextManager[ClientSet]: ...
    async def start_partitions(self) -> None: ...
    async def start_components(self, nodes: Sequence[Object]) -> None: ...
    async def set_nodes(self, nodes: Sequence[Object]) -> None: ...
    async def wait_ready(self, timeout_seconds: float) -> None: ...
    def kill(self, name: str) -> None: ...
    def kill_all(self) -> None: ...


class Cluster:
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

    Raises:
        InputError: the arguments contradict one another; the message says which.
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
    ) -> None:
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

    # ------------------------------------------------------------------------------------------------------- tenants

    async def create_tenant(self, name: str, partition: str | None = None) -> str:
        """Create a tenant, with its namespace "default"; returns its partition. None: the one with fewest tenants.

        Raises:
            AlreadyExists, Invalid, NotFound (no such partition), LinkError.
        """
        tenants = self._open_tenants
        partition = partition or tenants.least_loaded()
        await tenants.create(name, partition)
        return partition

    def tenant_client(self, tenant: str) -> PartitionClient:
        """The client of the partition in which a tenant lives. Raises NotFound."""
        return self._open_tenants.client_of(tenant)

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
        before, kept, gone = self._nodes, self._nodes[:count], self._nodes[count:]
        self._nodes = [*kept, *make_nodes(count - len(kept), self._node_options, first=len(kept) + 1)]
        await runtime.set_nodes(self._nodes)
        # A process that has no nodes any more is gone and could not deregister its last ones.
        names = dict.fromkeys(node.name for node in gone)
        for partition, nodes in spread(before, list(self.clients.resource_clients)).items():
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
            actor = self._actor()
            async with runtime.open_clients(actor) as clients, open_background() as serving:
                self._clients = clients
                self._tenants = TenantDirectory(clients)
                serving.start_soon(self._tenants.run)
                await run_all([partial(runtime.start_components, self._nodes), partial(self._bootstrap, runtime)])
                await runtime.wait_ready(self._ready_seconds)
                await self._wait_for_nodes(clients)
                self._runtime = runtime
                try:
                    yield
                finally:
                    self._runtime = None
            nursery.cancel_scope.cancel()

    async def _bootstrap(self, runtime: Runtime) -> None:
        assert self._tenants is not None
        assert self._clients is not None
        await register_partitions(self._clients, runtime.tenant_addresses, runtime.resource_addresses)
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
        )
        try:
            async with open_one_box(box_options, data_dir) as box:
                yield box
        finally:
            if self._data_dir is None:
                shutil.rmtree(data_dir, ignore_errors=True)
