"""Where an object belongs, and putting it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..clients.client import ClientSet, PartitionClient
from ..proto.errors import BadRequest, NotFound
from ..proto.kinds import RESOURCE_ONLY, Kind, KindTable, Scope, kind_of
from ..proto.objects import Object, ObjectKey
from .bootstrap import DEFAULT_TENANT
from .objects.directory import is_of_all_tenants, is_of_nodes, tenant_for
from .objects.kinds import learn_kinds
from .tenants import TENANTS, TenantDirectory

DEFAULT_NAMESPACE = "default"
# Who applies manifests, in managedFields.
FIELD_MANAGER = "ursa"


async def apply_object(obj: Object, clients: ClientSet, tenants: TenantDirectory) -> Object:
    """Create it, or give the one that is there what the manifest says; see `PartitionClient.apply`.

    A program that applies knows what it wants, so what others manage is taken over. An object without a name, for which
    one is made up, is created.

    Raises:
        BadRequest: its kind is unknown, or served by both roles of partition without saying where.
        ApiError, LinkError: as the partition says.
    """
    kind = await _kind_of(obj, clients)
    obj = with_defaults(obj, kind)
    if is_of_all_tenants(kind):
        return await _apply_in_all(kind, obj, clients.tenant_clients)  # A tenant may live in any of them.
    if is_of_nodes(kind):
        return await _apply_in_all(kind, obj, clients.resource_clients)  # Each has its own nodes.
    client = await _client_for(obj, kind, clients, tenants)
    if not obj.name:
        return await client.create(obj)
    return await client.apply(kind.resource, obj.key, configuration(obj), field_manager=FIELD_MANAGER, force=True)


async def _kind_of(obj: Object, clients: ClientSet) -> Kind:
    """Raises BadRequest: no partition serves it."""
    try:
        return kind_of(obj.api_version, obj.kind)
    except BadRequest:
        return KindTable(await learn_kinds(clients)).of(obj.api_version, obj.kind)


async def _apply_in_all(kind: Kind, obj: Object, among: Mapping[str, PartitionClient]) -> Object:
    """Returns the first of them."""
    key, body = obj.key, configuration(obj)
    applied = [
        await client.apply(kind.resource, key, body, field_manager=FIELD_MANAGER, force=True)
        for client in among.values()
    ]
    return applied[0]


def configuration(obj: Object) -> dict[str, Any]:
    """What a manifest says about an object: its status, and what the server counts, are not its to say."""
    body = obj.to_dict()
    body.pop("status", None)
    body["metadata"].pop("managedFields", None)
    return body


def with_defaults(obj: Object, kind: Kind) -> Object:
    """A copy with the tenant and namespace that its scope demands, "default" where none is given."""
    copy = obj.with_metadata()
    metadata = copy.message.metadata
    if kind.scope is not Scope.CLUSTER:
        metadata.tenant = metadata.tenant or tenant_for(kind, DEFAULT_TENANT)
    if kind.scope is Scope.NAMESPACE:
        metadata.namespace = metadata.namespace or DEFAULT_NAMESPACE
    return copy


async def _client_for(obj: Object, kind: Kind, clients: ClientSet, tenants: TenantDirectory) -> PartitionClient:
    if kind.resource == TENANTS:
        if not tenants.partition_of(obj.name):
            await tenants.create(obj.name, tenants.least_loaded())  # Nowhere else is one of this name.
        return tenants.client_of(obj.name)
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
