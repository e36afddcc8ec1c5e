"""What a new cluster is told about itself: its partitions, and a tenant to begin with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import trio

from ..clients import operations
from ..clients.client import ClientSet, PartitionClient
from ..clients.nurseries import run_all
from ..clients.registry_core import ACTIVE, RESOURCE_OF, Entry, Registry, entry_object, read_entry
from ..proto.errors import LinkError, Unreachable
from ..proto.kinds import URSA_GROUP, Role
from ..proto.objects import Object

DEFAULT_TENANT = "default"
# The registry need not be told to all at once, so nobody waits for a partition that is away.
ANSWER_SECONDS_MAX = 10.0
_API_VERSION = f"{URSA_GROUP}/v1"


async def register_partitions(
    clients: ClientSet, tenant_partitions: Mapping[str, str], resource_partitions: Mapping[str, str]
) -> None:
    """Let every partition have an entry for each of them, with its address, newer than all there were."""
    registry = await read_registry(clients)
    for role, addresses in ((Role.TENANT, tenant_partitions), (Role.RESOURCE, resource_partitions)):
        for name, address in addresses.items():
            known = registry.entries.get(name)
            if known is None:
                registry.learn(Entry(1, ACTIVE, address, role, name))
            elif (known.address, known.state) != (address, ACTIVE):
                registry.learn(known.changed(state=ACTIVE, address=address))
    await write_entries(clients, list(registry.entries.values()))


async def read_registry(clients: ClientSet) -> Registry:
    """The newest of all entries, as far as partitions answer. Raises LinkError: none does."""
    registry = Registry()

    async def read(client: PartitionClient) -> None:
        for resource in RESOURCE_OF.values():
            for obj in (await client.list(resource)).items:
                registry.learn(read_entry(obj))

    await _for_each(clients, read)
    return registry


async def write_entries(clients: ClientSet, entries: Sequence[Entry]) -> None:
    """Let every partition that answers have these entries; their controllers tell the others, once they are back.

    Raises:
        LinkError: none answers. ApiError.
    """
    wanted = [entry_object(entry) for entry in entries]
    if wanted:
        await _for_each(clients, partial(_put, wanted))


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


async def _for_each(clients: ClientSet, act: Callable[[PartitionClient], Awaitable[None]]) -> None:
    """At every partition that answers in time. Raises LinkError: none does."""
    errors: list[LinkError] = []
    every = [*clients.tenant_clients.values(), *clients.resource_clients.values()]

    async def try_one(client: PartitionClient) -> None:
        try:
            with trio.move_on_after(ANSWER_SECONDS_MAX) as scope:
                await act(client)
            if scope.cancelled_caught:
                raise Unreachable(client.partition, f"no answer within {ANSWER_SECONDS_MAX:g} s")
        except LinkError as error:
            errors.append(error)

    await run_all([partial(try_one, client) for client in every])
    if errors and len(errors) == len(every):
        raise errors[0]


async def _put(objects: Sequence[Object], client: PartitionClient) -> None:
    """Create what is not there, and change what is older."""
    present = {
        (obj.message.kind, obj.name): obj
        for resource in RESOURCE_OF.values()
        for obj in (await client.list(resource)).items
    }
    writes = []
    for obj in objects:
        there = present.get((obj.message.kind, obj.name))
        if there is None:
            writes.append(operations.create_operation(obj))
        elif read_entry(obj).supersedes(read_entry(there)):
            changed = Object.from_dict(obj.to_dict())
            changed.message.metadata.resource_version = there.resource_version
            writes.append(operations.update_operation(changed))
    for result in await client.mutate(writes) if writes else []:
        # AlreadyExists, Conflict: a controller, or another like us, was faster; the newer of both wins everywhere.
        if not result.HasField("error") or result.error.reason not in ("AlreadyExists", "Conflict"):
            operations.raise_for_error(result)
