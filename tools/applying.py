"""Where an object belongs, and putting it there."""

from __future__ import annotations

from ..clients.client import ClientSet, PartitionClient
from ..proto.errors import AlreadyExists, BadRequest, NotFound
from ..proto.kinds import RESOURCE_ONLY, Kind, Scope, kind_of
from ..proto.objects import Object, ObjectKey
from .bootstrap import DEFAULT_TENANT
from .tenants import TENANTS, TenantDirectory

DEFAULT_NAMESPACE = "default"


async def apply_object(obj: Object, clients: ClientSet, tenants: TenantDirectory) -> Object:
    """Create it, or merge it into the one that is there.

    Raises:
        BadRequest: its kind is unknown, or served by both roles of partition without saying where.
        ApiError, LinkError: as the partition says.
    """
    kind = kind_of(obj.api_version, obj.kind)
    obj = with_defaults(obj, kind)
    client = await _client_for(obj, kind, clients, tenants)
    manifest = obj.to_dict()
    manifest.pop("status", None)
    # The change first: a manifest that is complete enough to change an object may not be enough to create one.
    try:
        return await client.patch(kind.resource, obj.key, manifest)
    except NotFound:
        try:
            return await client.create(obj)
        except AlreadyExists:
            return await client.patch(kind.resource, obj.key, manifest)


def with_defaults(obj: Object, kind: Kind) -> Object:
    """A copy with the tenant and namespace that its scope demands, "default" where none is given."""
    copy = obj.with_metadata()
    metadata = copy.message.metadata
    if kind.scope is not Scope.CLUSTER:
        metadata.tenant = metadata.tenant or DEFAULT_TENANT
    if kind.scope is Scope.NAMESPACE:
        metadata.namespace = metadata.namespace or DEFAULT_NAMESPACE
    return copy


async def _client_for(obj: Object, kind: Kind, clients: ClientSet, tenants: TenantDirectory) -> PartitionClient:
    if kind.resource == TENANTS:
        home = tenants.partition_of(obj.name) or tenants.least_loaded()
        return clients.tenant_clients[home]
    if kind.scope is not Scope.CLUSTER:
        return tenants.client_of(obj.tenant)
    if kind.roles == RESOURCE_ONLY:
        return await _holder(kind.resource, obj.key, clients) or next(iter(clients.resource_clients.values()))
    raise BadRequest(f"every partition has its own {kind.plural}: use cluster.clients to say which one is meant")


async def _holder(resource: str, key: ObjectKey, clients: ClientSet) -> PartitionClient | None:
    for client in clients.resource_clients.values():
        try:
            await client.get(resource, key)
        except NotFound:
            continue
        return client
    return None
