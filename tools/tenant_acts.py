"""What a person does with tenants: the acts behind `ursa tenant` and the library."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import trio

from ..clients.client import ClientSet, PartitionClient
from ..clients.tenants.moving import Moved, step, undo_move
from ..clients.tenants.moving import move_tenant as move
from ..clients.tenants.whereabouts import Sight, Whereabouts, judge
from ..proto.errors import Conflict, InputError, LinkError, NotFound, Unreachable, UrsaError
from ..proto.kinds import SYSTEM_TENANT
from ..proto.objects import Object, ObjectKey
from ..proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, PENDING, TENANTS, Record, with_record
from .bootstrap import tenant_object
from .objects.directory import ask, ask_all
from .tenant_claims import claim_tenant
from .waiting import WaitTimeout

POLL_SECONDS = 0.25


class Row(NamedTuple):
    """What is known of one tenant. Counts are None where the partition cannot be asked."""

    name: str
    whereabouts: Whereabouts
    namespaces: int | None
    pods: int | None


class Listing(NamedTuple):
    """`missing`: partitions that did not answer, which may have more."""

    rows: list[Row]
    missing: list[LinkError]


async def list_tenants(clients: ClientSet) -> Listing:
    """All tenants but the system's, by name, as far as partitions answer."""
    sights, missing = await survey(clients)
    rows = []
    for name in sorted(sights):
        found = judge(sights[name])
        if found.home is None and not found.problem and not found.others:
            continue  # Signposts are left of it.
        counts = (None, None) if found.home is None else await _counts(clients, found.home)
        rows.append(Row(name, found, *counts))
    return Listing(rows, missing)


async def survey(clients: ClientSet) -> tuple[dict[str, list[Sight]], list[LinkError]]:
    """By name, what each partition that answers says of its tenants; and which do not answer."""
    answers, missing = await ask_all(clients.tenant_clients, lambda client: client.list(TENANTS))
    sights: dict[str, list[Sight]] = {}
    for partition, found in answers.items():
        for tenant in found.items:
            if tenant.name != SYSTEM_TENANT:
                sights.setdefault(tenant.name, []).append(Sight(partition, tenant))
    return sights, missing


async def create_tenant(clients: ClientSet, name: str, partition: str = "", *, unreachable_ok: bool = False) -> str:
    """Create a tenant, with its namespace "default"; returns its partition. Empty: the one with the fewest tenants.

    Raises:
        AlreadyExists: some partition has one of this name.
        LinkError: a partition that does not answer may have one, and it is not `unreachable_ok`.
        InputError: no such partition.
    """
    if partition and partition not in clients.tenant_clients:
        raise InputError(f"there is no tenant partition {partition!r}: there are {', '.join(clients.tenant_clients)}")
    partition = partition or await emptiest(clients)
    await claim_tenant(clients, tenant_object(name), partition, unreachable_ok=unreachable_ok)
    return partition


async def whereabouts(clients: ClientSet, name: str) -> tuple[Whereabouts, list[Sight]]:
    """Of one tenant, with all that is said of it.

    Raises:
        InputError: there is none, or there are several. LinkError: it may be in a partition that does not answer.
    """
    if name == SYSTEM_TENANT:
        raise InputError(f"every tenant partition has its own tenant {name!r}, which stays as it is")
    sights, missing = await survey(clients)
    found = judge(sights.get(name, ()))
    if found.problem:
        raise InputError(found.problem)
    if found.home is None or found.home.record.state in (ARRIVING, PENDING):
        if missing:
            raise missing[0]
        if found.home is None and not found.others:
            raise InputError(f"there is no tenant {name!r}: `ursa tenant list` shows those there are")
    return found, sights[name]


async def move_tenant(clients: ClientSet, name: str, to: str) -> Moved | None:
    """Move a tenant to another tenant partition, or go on with a move there; to where it is leaving from: give that
    up. Returns None where there was nothing to bring: it is there.

    Its pods run on. For a second or two nothing of the tenant can be written. Events stay behind.

    Raises:
        InputError: it cannot be moved there, and nothing was begun.
        Conflict: somebody else has moved it meanwhile. LinkError: a partition does not answer.
    """
    if to not in clients.tenant_clients:
        raise InputError(f"there is no tenant partition {to!r}: there are {', '.join(clients.tenant_clients)}")
    found, sights = await whereabouts(clients, name)
    home = found.home
    if home is None:
        raise InputError(f"tenant {name!r} is just being created: wait a moment")
    target = clients.tenant_clients[to]
    if home.partition != to:
        return await move(clients.tenant_clients[home.partition], target, name)
    if home.record.state == LEFT:
        raise InputError(f"tenant {name!r} has left {to} for {home.record.partition}: move it there first, then back")
    if home.record.state == LEAVING:
        await undo_move(target, clients.tenant_clients.get(home.record.partition), home.tenant)
    for sight in sights:
        if sight.record.state == LEFT and sight.record.partition == to and home.record.state == ACTIVE:
            left = sight.record
            await step(clients.tenant_clients[sight.partition], sight.tenant, left, left._replace(state=MOVED))
    return None


async def delete_tenant(clients: ClientSet, name: str, *, timeout_seconds: float = 120.0) -> str:
    """Delete a tenant with all that it holds, and wait until nothing is left; returns where it was.

    Raises:
        InputError: there is none, it is in several partitions, or is being moved. LinkError: see `whereabouts`.
        WaitTimeout: something is left; it goes on being deleted, and the same again waits on.
    """
    found, sights = await whereabouts(clients, name)
    home = found.home
    if home is None or home.record.state not in (ACTIVE, PENDING):
        state = home.record.state if home is not None else "claimed"
        raise InputError(f"tenant {name!r} is {state}: wait until it has been moved, or move it again")
    client = clients.tenant_clients[home.partition]
    with suppress(NotFound):
        await ask(client, lambda each: each.delete(TENANTS, home.tenant.key, uid=home.tenant.uid))
    with trio.move_on_after(timeout_seconds) as waiting:
        while await _is_there(client, home.tenant):  # noqa: ASYNC110 - it is asked for, nobody announces it
            await trio.sleep(POLL_SECONDS)
    if waiting.cancelled_caught:
        raise WaitTimeout(f"after {timeout_seconds:g} s tenant {name!r} is still being emptied in {home.partition}")
    await _remove_signposts(clients, home.tenant, sights)
    return home.partition


async def resolve_tenant(clients: ClientSet, name: str, keep: str) -> list[str]:
    """Of a tenant in several partitions keep the one in `keep`, and forget all others; returns where those were.

    What the others hold is forgotten by their partitions, its pods end.

    Raises:
        InputError: that partition has none. LinkError: a partition does not answer.
    """
    sights, missing = await survey(clients)
    if missing:
        raise missing[0]
    present = {each.partition: each for each in sights.get(name, ()) if each.record.present}
    if keep not in present:
        where = ", ".join(present) or "no partition"
        raise InputError(f"{keep} has no tenant {name!r}: it is in {where}")
    epoch = max(each.record.epoch for each in present.values()) + 1
    for partition, sight in present.items():
        if partition != keep:
            await _close(clients.tenant_clients[partition], sight, keep, epoch)
    kept = present[keep]
    if kept.record.state != ACTIVE or len(present) > 1:
        await clients.tenant_clients[keep].update(with_record(kept.tenant, await _opened(kept, epoch)))
    return [partition for partition in present if partition != keep]


# ------------------------------------------------------------------------------------------------------------- details


async def _opened(kept: Sight, epoch: int) -> Record:
    """Raises InputError: a claim is decided by who made it."""
    if kept.record.state == PENDING:
        raise InputError(f"tenant {kept.tenant.name!r} is just being created in {kept.partition}: wait a moment")
    return Record(ACTIVE, epoch)


async def _close(client: PartitionClient, sight: Sight, keep: str, epoch: int) -> None:
    """Step by step, as no tenant skips one."""
    tenant, state = sight.tenant, sight.record.state
    if state == PENDING:
        with suppress(NotFound, Conflict):
            await client.delete(TENANTS, tenant.key, uid=tenant.uid, resource_version=tenant.resource_version)
        return
    if state == LEAVING:
        tenant = await client.update(with_record(tenant, sight.record._replace(state=LEFT)))
    if state in (LEAVING, LEFT):
        await client.update(with_record(tenant, Record(MOVED, sight.record.epoch, keep)))
        return
    await client.update(with_record(tenant, Record(MOVED, epoch, keep)))


async def emptiest(clients: ClientSet) -> str:
    """Of those that answer. By pods, then by tenants: an empty tenant weighs little.

    Raises LinkError: none answers.
    """
    answers, missing = await ask_all(clients.tenant_clients, lambda client: client.status())
    if not answers:
        raise missing[0]
    return min(answers, key=lambda name: (answers[name].objects["pods"], answers[name].objects[TENANTS], name))


async def _counts(clients: ClientSet, home: Sight) -> tuple[int | None, int | None]:
    client, tenant = clients.tenant_clients[home.partition], home.tenant.name
    try:
        namespaces = await ask(client, lambda each: each.list("namespaces", tenant=tenant, metadata_only=True))
        pods = await ask(client, lambda each: each.list("pods", tenant=tenant, metadata_only=True))
    except UrsaError:
        return None, None
    return len(namespaces.items), len(pods.items)


async def _is_there(client: PartitionClient, tenant: Object) -> bool:
    try:
        return (await ask(client, lambda each: each.get(TENANTS, tenant.key))).uid == tenant.uid
    except NotFound:
        return False
    except Unreachable:
        return True  # Nobody says that it is gone.


async def _remove_signposts(clients: ClientSet, tenant: Object, sights: Sequence[Sight]) -> None:
    """Best effort: whoever claims the name next replaces what is left."""
    for sight in sights:
        if sight.record.state == MOVED and sight.tenant.uid == tenant.uid:
            key = ObjectKey("", "", tenant.name)
            with suppress(UrsaError):
                client = clients.tenant_clients[sight.partition]
                await client.delete(TENANTS, key, resource_version=sight.tenant.resource_version)
