"""What a person does with the partitions of a running cluster: the acts behind `ursa partition` and the library."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import trio

from ..clients.client import ClientSet, PartitionClient
from ..clients.registry_core import ACTIVE, DRAINING, REMOVED, Entry, Registry
from ..proto.errors import ApiError, InputError, LinkError, TooManyRequests, UrsaError
from ..proto.kinds import BY_KIND, SYSTEM_TENANT, Role
from ..proto.objects import Object, ObjectKey
from ..proto.tenants import TENANTS, record_of
from .applying import FIELD_MANAGER
from .bootstrap import read_registry, write_entries
from .objects.directory import PARTITION_SECONDS
from .waiting import WaitTimeout

POLL_SECONDS = 0.25
# An eviction that a budget refuses is asked for again after this.
EVICT_AGAIN_SECONDS = 1.0
_DAEMONSETS = BY_KIND["DaemonSet"].resource
_PREFIX = {Role.TENANT: "tp", Role.RESOURCE: "rp"}


class Row(NamedTuple):
    """What is seen of one partition. Counts are None where it cannot be asked."""

    entry: Entry
    reachable: bool
    holds: int | None  # Tenants of a tenant partition, nodes of a resource partition.
    pods: int | None  # Its tenants', or those on its nodes.


async def list_partitions(clients: ClientSet) -> list[Row]:
    """All that were ever there, by role and name. What cannot be reached is left out of the counts, and said so."""
    registry = await read_registry(clients)
    rows = []
    pods = await _pods_of(clients)
    for entry in sorted(registry.entries.values(), key=lambda each: (each.role is Role.RESOURCE, each.name)):
        client = clients.of_role(entry.role).get(entry.name)
        held = None if client is None else await _held_by(client, entry.role)
        rows.append(Row(entry, held is not None, held, pods.get(entry.name) if held is not None else None))
    return rows


async def add_partition(clients: ClientSet, role: Role, *, address: str = "", name: str = "") -> Entry:
    """Write the entry of a new partition, everywhere; returns it.

    Args:
        address: where its apiserver runs already; empty: whoever runs the cluster starts one.
        name: empty: the next that was never used.

    Raises:
        InputError: the name is used, or was. LinkError: no partition can be told.
    """
    registry = await read_registry(clients)
    name = name or _next_name(registry, role)
    known = registry.entries.get(name)
    if known is not None and known.state != REMOVED:
        raise InputError(f"there is a partition {name!r} already: leave out the name, or take another")
    if known is not None and known.role is not role:
        raise InputError(f"{name!r} was a {known.role.title}: take another name")
    entry = Entry(1, ACTIVE, address, role, name) if known is None else known.changed(state=ACTIVE, address=address)
    await write_entries(clients, [entry])
    return entry


async def give_daemons(clients: ClientSet, name: str) -> list[str]:
    """Make in a new resource partition the DaemonSets that all the others have, as far as they answer: they are meant
    for all nodes. Returns their names.

    Raises:
        LinkError, ApiError: as the new partition says.
    """
    found = [
        listed
        for other, client in clients.resource_clients.items()
        if other != name
        if (listed := await _daemonsets_of(client)) is not None
    ]
    everywhere = [obj for key, obj in (found[0] if found else {}).items() if all(key in each for each in found)]
    for obj in everywhere:
        body = {
            "apiVersion": obj.api_version,
            "kind": obj.kind,
            "metadata": {**obj.key._asdict(), "labels": dict(obj.labels), "annotations": dict(obj.annotations)},
            "spec": obj.spec,
        }
        client = clients.resource_clients[name]
        await client.apply(_DAEMONSETS, obj.key, body, field_manager=FIELD_MANAGER, force=True)
    return [obj.name for obj in everywhere]


async def set_state(clients: ClientSet, name: str, state: str) -> Entry:
    """Raises InputError: there is no such partition. LinkError: no partition can be told."""
    entry = await _present(clients, name)
    if entry.state != state:
        entry = entry.changed(state=state)
        await write_entries(clients, [entry])
    return entry


async def remove_partition(clients: ClientSet, name: str, *, force: bool = False) -> Entry:
    """Say everywhere that it is a partition no more. `force`: whatever it still holds.

    Raises:
        InputError: there is no such partition, it is the last of its role, or it holds something.
        LinkError: no partition can be told; or, without `force`, that it holds nothing cannot be seen.
    """
    entry = await _present(clients, name)
    members = clients.of_role(entry.role)
    if len(members) < 2:
        raise InputError(f"{name} is the last {entry.role.title}: a cluster needs one of each")
    if not force:
        await _require_empty(clients, entry)
    removed = entry.changed(state=REMOVED)
    await write_entries(clients, [removed])
    return removed


async def drain(clients: ClientSet, name: str, *, force: bool = False, timeout_seconds: float = 120.0) -> int:
    """Empty a resource partition: nothing new goes to its nodes, and the pods there are evicted, as budgets allow.

    Returns how many pods were evicted. `force`: also those that no controller makes again elsewhere.

    Raises:
        InputError: no such resource partition, or pods there that only `force` takes.
        WaitTimeout: pods are left; it goes on draining, and the same again waits on.
    """
    entry = await _present(clients, name)
    if entry.role is not Role.RESOURCE:
        raise InputError(f"{name} is a tenant partition: move its tenants, then remove it")
    if not force and (bare := [pod for pod in await _pods_on(clients, name) if not _is_controlled(pod)]):
        raise InputError(
            f"{len(bare)} pods on {name} would not be made again elsewhere, {bare[0].key} among them: use force"
        )
    await set_state(clients, name, DRAINING)
    evicted: dict[str, None] = {}
    with trio.move_on_after(timeout_seconds):
        while pods := await _pods_on(clients, name):
            for pod in pods:
                if not pod.deletion_ms and await _evict(clients, pod):
                    evicted[pod.uid] = None
            await trio.sleep(EVICT_AGAIN_SECONDS)
        return len(evicted)
    left = await _pods_on(clients, name)
    raise WaitTimeout(f"after {timeout_seconds:g} s {len(left)} pods are still on {name}, {left[0].key} among them")


async def wait_for_member(clients: ClientSet, name: str, timeout_seconds: float) -> PartitionClient:
    """Until it is among the clients, and answers. Raises WaitTimeout."""
    with trio.move_on_after(timeout_seconds):
        while True:
            client = clients.tenant_clients.get(name) or clients.resource_clients.get(name)
            if client is not None:
                try:
                    await client.status()
                    return client
                except LinkError:
                    pass
            await trio.sleep(POLL_SECONDS)
    raise WaitTimeout(f"{name} does not answer after {timeout_seconds:g} s: see the logs of who runs the cluster")


# ------------------------------------------------------------------------------------------------------------- details


async def _daemonsets_of(client: PartitionClient) -> dict[ObjectKey, Object] | None:
    """None: it does not answer."""
    with trio.move_on_after(PARTITION_SECONDS):
        with suppress(LinkError):
            return {obj.key: obj for obj in (await client.list(_DAEMONSETS)).items if not obj.deletion_ms}
    return None


def _is_controlled(pod: Object) -> bool:
    return any(owner.controller for owner in pod.message.metadata.owner_references)


async def _evict(clients: ClientSet, pod: Object) -> bool:
    try:
        await clients.tenant_clients[pod.partition].evict(pod.key, uid=pod.uid)
    except TooManyRequests:
        return False  # Its budget does not allow it yet.
    except ApiError:
        return False  # It has gone by itself.
    return True


async def _present(clients: ClientSet, name: str) -> Entry:
    registry = await read_registry(clients)
    entry = registry.entries.get(name)
    if entry is None or entry.state == REMOVED:
        known = [each.name for each in registry.entries.values() if each.state != REMOVED]
        raise InputError(f"there is no partition {name!r}: there are {', '.join(sorted(known))}")
    return entry


async def _require_empty(clients: ClientSet, entry: Entry) -> None:
    name = entry.name
    if entry.role is Role.RESOURCE:
        left = await _pods_on(clients, name)
        if left:
            raise InputError(f"{len(left)} pods are on the nodes of {name}: drain it first, or use force")
        return
    seen = (await clients.tenant_clients[name].list(TENANTS)).items
    tenants = [each.name for each in seen if record_of(each).present]
    if others := [each for each in tenants if each != SYSTEM_TENANT]:
        raise InputError(f"{name} holds {len(others)} tenants, {others[0]} among them: move them first, or use force")


async def _pods_on(clients: ClientSet, name: str) -> list[Object]:
    """Unfinished pods of all tenants on the nodes of a resource partition. Raises LinkError."""
    selector = f"spec.resourcePartition={name},status.phase!=Succeeded,status.phase!=Failed"
    return [
        pod
        for client in clients.tenant_clients.values()
        for pod in (await client.list("pods", field_selector=selector)).items
    ]


async def _pods_of(clients: ClientSet) -> Mapping[str, int]:
    """By partition of either role, as far as tenant partitions answer."""
    counts: dict[str, int] = {}
    for name, client in clients.tenant_clients.items():
        try:
            pods = (await client.list("pods")).items
        except UrsaError:
            continue
        counts[name] = len(pods)
        for pod in pods:
            where = str(pod.spec.get("resourcePartition") or "")
            counts[where] = counts.get(where, 0) + 1
    return {**dict.fromkeys(clients.resource_clients, 0), **counts}


async def _held_by(client: PartitionClient, role: Role) -> int | None:
    try:
        resource = "tenants.ursa.dev" if role is Role.TENANT else "nodes"
        return len((await client.list(resource, metadata_only=True)).items)
    except UrsaError:
        return None


def _next_name(registry: Registry, role: Role) -> str:
    prefix = f"{_PREFIX[role]}-"
    numbers = [int(name.removeprefix(prefix)) for name in registry.entries if name.removeprefix(prefix).isdigit()]
    return f"{prefix}{max(numbers, default=0) + 1}"
