"""Real partitions in memory and clients of all of them, for tests of the controllers' shells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import trio
import trio.testing
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import ClientSet, PartitionClient, open_clients
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.errors import NotFound
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import InlineCommitter, LmdbStore, MemoryStore, Store
from ursa.storage.snapshot import restore

WALL_OFFSET_SECONDS = 1_790_000_000.0
TENANT = "acme"
NAMESPACE = "default"


def run(main: Callable[[], Any]) -> None:
    async def bounded() -> None:
        with trio.fail_after(100_000):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def actor(name: str = "controllers", seed: int = 1) -> Actor:
    return Actor(name, Clock(WALL_OFFSET_SECONDS), Random(seed))


def key(name: str, namespace: str = NAMESPACE, tenant: str = TENANT) -> ObjectKey:
    return ObjectKey(tenant, namespace, name)


def manifest(kind: str, name: str, *, api_version: str = "v1", namespace: str = NAMESPACE, **fields: Any) -> Object:
    metadata = {"name": name, "tenant": TENANT, "namespace": namespace, **fields.pop("metadata", {})}
    return Object.from_dict({"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields})


def pod_template(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "app:1"}], **spec}}


def replicaset(name: str, replicas: int, **spec: Any) -> Object:
    selector = {"matchLabels": {"app": "web"}}
    fields = {"replicas": replicas, "selector": selector, "template": pod_template(), **spec}
    return manifest("ReplicaSet", name, api_version="apps/v1", spec=fields)


def node(name: str) -> Object:
    status = {
        "capacity": {"cpu": "8", "memory": "32Gi", "pods": 110},
        "allocatable": {"cpu": "8", "memory": "32Gi", "pods": 110},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    }
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
    return Object.from_dict({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}, "status": status})


class Region:
    """Tenant and resource partitions; `user` is a client set over links that stay up.

    `links` are the links of the component under test, by partition, to be cut and healed.
    """

    def __init__(self) -> None:
        self.user: ClientSet
        self.clients: ClientSet
        self.links: dict[str, MemoryTransport] = {}
        self.steady: dict[str, MemoryTransport] = {}  # The user's.
        self.trace: list[str] = []  # What travels over `links`.

    def tenant_client(self, partition: str = "tp-1") -> PartitionClient:
        return self.user.tenant_clients[partition]

    def resource_client(self, partition: str = "rp-1") -> PartitionClient:
        return self.user.resource_clients[partition]

    async def pods(self, partition: str = "tp-1", **selection: str) -> list[Object]:
        return (await self.tenant_client(partition).list("pods", **selection)).items

    async def bind(self, pod: Object, node_name: str, resource_partition: str = "rp-1", tp: str = "tp-1") -> None:
        await self.tenant_client(tp).bind(pod.key, uid=pod.uid, resource_partition=resource_partition, node=node_name)

    async def set_status(self, pod: Object, tp: str = "tp-1", **status: Any) -> None:
        current = await self.tenant_client(tp).get("pods", pod.key)
        await self.tenant_client(tp).update_status(current.with_status(status))

    async def run_pod(self, pod: Object, node_name: str = "n1", tp: str = "tp-1") -> None:
        """What a scheduler and a kubelet would do."""
        if not pod.spec.get("nodeName"):
            await self.bind(pod, node_name, tp=tp)
        await self.set_status(pod, tp, phase="Running", conditions=[{"type": "Ready", "status": "True"}])

    async def run_all_pods(self) -> None:
        for pod in await self.pods():
            if pod.status.get("phase") == "Pending":
                await self.run_pod(pod)

    async def confirm_deletions(self) -> None:
        """The kubelet has stopped what is being deleted."""
        for pod in await self.pods():
            if pod.deletion_ms:
                await self.tenant_client().delete("pods", pod.key, uid=pod.uid, grace_seconds=0)

    async def place(self, pod: Object, node_name: str, *, tp: str = "tp-1", rp: str = "rp-1", cpu: int = 100) -> Object:
        """What a scheduler claims."""
        node_object = await self.resource_client(rp).get("nodes", ObjectKey("", "", node_name))
        spec = {
            "node": node_name,
            "nodeUID": node_object.uid,
            "tenantPartition": tp,
            "pod": {"tenant": pod.tenant, "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "requests": {"cpu": cpu, "pods": 1},
        }
        placement = {"apiVersion": "ursa.dev/v1", "kind": "Placement", "metadata": {"name": pod.uid}, "spec": spec}
        return await self.resource_client(rp).create(Object.from_dict(placement))

    async def exists(self, client: PartitionClient, resource: str, name: ObjectKey) -> bool:
        try:
            await client.get(resource, name)
        except NotFound:
            return False
        return True


@asynccontextmanager
async def open_region(
    tenant_partitions: int = 1, resource_partitions: int = 1, stores: Mapping[str, Store] | None = None
) -> AsyncIterator[Region]:
    """Partitions tp-1, ... and rp-1, ..., each tenant partition with the tenant `acme`. `stores`: of those that shall
    have others than new ones in memory."""
    region = Region()
    roles = {f"tp-{n + 1}": Role.TENANT for n in range(tenant_partitions)}
    roles |= {f"rp-{n + 1}": Role.RESOURCE for n in range(resource_partitions)}
    async with AsyncExitStack() as stack:
        steady = region.steady
        for name, role in roles.items():
            store = (stores or {}).get(name) or MemoryStore(incarnation=name)
            server = await stack.enter_async_context(
                open_local_partition(name, role, store, Random(name), wall_offset_seconds=WALL_OFFSET_SECONDS)
            )
            region.links[name] = MemoryTransport(name, server, random=Random(2), trace=region.trace.append)
            steady[name] = MemoryTransport(name, server, random=Random(3))

        def of(role: Role, links: dict[str, MemoryTransport]) -> dict[str, MemoryTransport]:
            return {name: link for name, link in links.items() if roles[name] is role}

        region.user = await stack.enter_async_context(
            open_clients(of(Role.TENANT, steady), of(Role.RESOURCE, steady), actor("user", 5))
        )
        region.clients = await stack.enter_async_context(
            open_clients(of(Role.TENANT, region.links), of(Role.RESOURCE, region.links), actor())
        )
        tenant = Object.from_dict({"apiVersion": "ursa.dev/v1", "kind": "Tenant", "metadata": {"name": TENANT}})
        for client in region.user.tenant_clients.values():
            await client.create(tenant)
        yield region


class Backup:
    """The store of a partition, on disk, which can be copied; and another partition of its name made of the copy."""

    def __init__(self, partition: str, role: Role, folder: Path) -> None:
        self._partition, self._role, self._folder = partition, role, folder
        self._store = LmdbStore.open(folder / "first", InlineCommitter(), incarnation_random=Random(1))

    @property
    def stores(self) -> Mapping[str, Store]:
        return {self._partition: self._store}

    def take(self) -> None:
        done: list[object] = []
        self._store.snapshot(self._folder / "copy", done.append)
        assert done == [None]

    @asynccontextmanager
    async def restored(self, region: Region) -> AsyncIterator[Store]:
        """From here on the partition is what it was when the copy was taken. Yields its store."""
        name, second = self._partition, self._folder / "second"
        restore(self._folder / "copy", second, Random(2))
        links = region.links[name], region.steady[name]
        for link in links:
            link.cut()
        with closing(LmdbStore.open(second, InlineCommitter(), incarnation_random=Random(3))) as store:
            async with open_local_partition(
                name, self._role, store, Random(4), wall_offset_seconds=WALL_OFFSET_SECONDS
            ) as server:
                for link in links:
                    link.heal(server)
                yield store
