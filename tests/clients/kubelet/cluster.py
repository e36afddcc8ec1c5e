"""Two tenant partitions, one resource partition and the hollow nodes of a process, all in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import ClientSet, PartitionClient, open_clients
from ursa.clients.kubelet import HollowNodes, HollowNodesOptions, hollow_node
from ursa.clients.kubelet.hollow import InstanceObserver
from ursa.clients.operations import bind_operation, create_operation, raise_for_error
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.kinds import NODE_LEASE_NAMESPACE, SYSTEM_TENANT, Role
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import MemoryStore

WALL_OFFSET_SECONDS = 1_790_000_000.0
HOME = "rp-1"
ROLES = {"tp-1": Role.TENANT, "tp-2": Role.TENANT, HOME: Role.RESOURCE}


def pod(
    name: str, *, cpu: str = "100m", gpu_milli: int = 0, annotations: dict[str, str] | None = None, **spec: Any
) -> Object:
    requests = {"cpu": cpu, "memory": "64Mi", **({"ursa.dev/gpu-milli": gpu_milli} if gpu_milli else {})}
    container = {"name": "main", "image": "app:1", "resources": {"requests": requests}}
    metadata = {"name": name, "namespace": "default", "tenant": "system", "annotations": annotations or {}}
    return Object.from_dict(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}
    )


def pod_key(name: str) -> ObjectKey:
    return ObjectKey("system", "default", name)


def node_key(name: str) -> ObjectKey:
    return ObjectKey("", "", name)


def lease_key(name: str) -> ObjectKey:
    return ObjectKey(SYSTEM_TENANT, NODE_LEASE_NAMESPACE, name)


class Cluster:
    """`observer` has clients of its own, whose links are never cut nor slow."""

    def __init__(self, latency_seconds: tuple[float, float] = (0.0, 0.0)) -> None:
        self.latency_seconds = latency_seconds
        self.stores = {name: MemoryStore(incarnation=f"{name}-first") for name in ROLES}
        self.servers: dict[str, Any] = {}
        self.transports: dict[str, MemoryTransport] = {}
        self.clients: ClientSet
        self.observer: ClientSet
        self.nursery: trio.Nursery
        self._observers: dict[str, MemoryTransport] = {}
        self._scopes: dict[str, trio.CancelScope] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Cluster]:
        async with trio.open_nursery() as self.nursery, AsyncExitStack() as stack:
            for name in ROLES:
                await self.nursery.start(self._serve, name)
            self.transports = self._links("hollow", self.latency_seconds)
            self._observers = self._links("observer", (0.0, 0.0))
            self.clients = await self._open(stack, self.transports)
            self.observer = await self._open(stack, self._observers)
            yield self
            self.nursery.cancel_scope.cancel()

    async def restart(self, name: str, store: MemoryStore | None = None) -> None:
        """Kill a partition's apiserver and start another, on the same store unless another is given."""
        links = (self.transports[name], self._observers[name])
        for link in links:
            link.cut()
        self._scopes[name].cancel()
        self.stores[name] = store or self.stores[name]
        await self.nursery.start(self._serve, name)
        for link in links:
            link.heal(self.servers[name])

    def host(
        self,
        nodes: int = 1,
        options: HollowNodesOptions | None = None,
        *,
        name: str = "hollow",
        observer: InstanceObserver | None = None,
        static_pods: Sequence[Object] = (),
        gpus: int = 0,
    ) -> HollowNodes:
        """Run hollow nodes node-0, node-1, ... until the cluster closes."""
        extended = {"ursa.dev/gpu-milli": 1000 * gpus} if gpus else {}
        manifests = [hollow_node(f"node-{number}", extended=extended) for number in range(nodes)]
        hollow = HollowNodes(self.clients, HOME, actor(name), manifests, options, observer, static_pods)
        self.nursery.start_soon(hollow.run)
        return hollow

    @property
    def resource_client(self) -> PartitionClient:
        return self.observer.resource_clients[HOME]

    async def create(
        self, partition: str, *pods: Object, node: str = "node-0", devices: Sequence[int] = ()
    ) -> list[str]:
        """Create pods and bind them; returns their uids."""
        client = self.observer.tenant_clients[partition]
        created = await client.mutate([create_operation(pod) for pod in pods])
        uids = [result.uid for result in created]
        bound = await client.mutate(
            [
                bind_operation(pod.key, uid=uid, resource_partition=HOME, node=node, devices=devices)
                for pod, uid in zip(pods, uids, strict=True)
            ]
        )
        for result in (*created, *bound):
            raise_for_error(result)
        return uids

    async def pods(self, partition: str) -> dict[str, Object]:
        listed = await self.observer.tenant_clients[partition].list("pods")
        return {pod.name: pod for pod in listed.items}

    async def phases(self, partition: str) -> dict[str, str]:
        return {name: pod.status["phase"] for name, pod in (await self.pods(partition)).items()}

    def _links(self, user: str, latency_seconds: tuple[float, float]) -> dict[str, MemoryTransport]:
        return {
            name: MemoryTransport(name, server, random=Random(2), user=user, latency_seconds=latency_seconds)
            for name, server in self.servers.items()
        }

    async def _open(self, stack: AsyncExitStack, transports: dict[str, MemoryTransport]) -> ClientSet:
        tenant = {name: transports[name] for name, role in ROLES.items() if role is Role.TENANT}
        resource = {name: transports[name] for name, role in ROLES.items() if role is Role.RESOURCE}
        return await stack.enter_async_context(open_clients(tenant, resource, actor("clients")))

    async def _serve(self, name: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.CancelScope() as self._scopes[name]:
            async with open_local_partition(
                name,
                ROLES[name],
                self.stores[name],
                Random(f"{name} {self.stores[name].incarnation}"),
                wall_offset_seconds=WALL_OFFSET_SECONDS,
            ) as self.servers[name]:
                task_status.started()
                await trio.sleep_forever()


def actor(name: str) -> Actor:
    return Actor(name, Clock(WALL_OFFSET_SECONDS), Random(1))


async def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds; a test that waits in vain fails."""
    with trio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110  (it is asked for conditions that nobody announces)
            await trio.sleep(0.05)


async def seconds_pass(seconds: float = 1.0) -> None:
    await trio.sleep(seconds)
