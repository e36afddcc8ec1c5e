"""What a new cluster is told about itself: its partitions, and a tenant to begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ..clients import operations
from ..clients.client import ClientSet, PartitionClient
from ..clients.nurseries import run_all
from ..proto.errors import AlreadyExists, from_status
from ..proto.kinds import URSA_GROUP
from ..proto.objects import Object

DEFAULT_TENANT = "default"
_API_VERSION = f"{URSA_GROUP}/v1"


async def register_partitions(
    clients: ClientSet, tenant_partitions: Mapping[str, str], resource_partitions: Mapping[str, str]
) -> None:
    """Let every partition hold a TenantPartition or ResourcePartition object, with its address, for each of them."""
    wanted = [
        *(_partition_object("TenantPartition", *item) for item in tenant_partitions.items()),
        *(_partition_object("ResourcePartition", *item) for item in resource_partitions.items()),
    ]
    every = [*clients.tenant_clients.values(), *clients.resource_clients.values()]
    await run_all([partial(_put, client, wanted) for client in every])


async def ensure_default_tenant(clients: ClientSet) -> None:
    """Create the tenant "default" in the first tenant partition, unless one of them has it."""
    for client in clients.tenant_clients.values():
        tenants = await client.list("tenants.ursa.dev")
        if any(tenant.name == DEFAULT_TENANT for tenant in tenants.items):
            return
    first = next(iter(clients.tenant_clients.values()))
    await first.create(tenant_object(DEFAULT_TENANT))


def tenant_object(name: str) -> Object:
    return Object.from_dict({"apiVersion": _API_VERSION, "kind": "Tenant", "metadata": {"name": name}, "spec": {}})


def _partition_object(kind: str, name: str, address: str) -> Object:
    return Object.from_dict(
        {"apiVersion": _API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": {"address": address}}
    )


async def _put(client: PartitionClient, objects: Sequence[Object]) -> None:
    created = await client.mutate([operations.create_operation(obj) for obj in objects])
    present = []
    for obj, result in zip(objects, created, strict=True):
        if not result.HasField("error"):
            continue
        if result.error.reason != AlreadyExists.reason:
            raise from_status(result.error)
        present.append(obj)
    updates = [operations.update_operation(obj) for obj in present]
    for result in await client.mutate(updates) if updates else []:
        operations.raise_for_error(result)
