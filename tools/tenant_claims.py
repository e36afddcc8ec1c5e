"""Creating a tenant whose name no other partition has, without anybody who would decide.

    1. ask all tenant partitions: none has the name
    2. create it where it shall live, Pending: nobody can use it
    3. ask all the others again. Of two claims the one with the smaller uid goes first:
         nobody has it                   -> 4
         another has it                  -> give up the own claim
         another claims it, goes first   -> give up the own claim
         another claims it, goes second  -> take its claim away, then ask again
    4. make it Active, if the claim is still there and nobody has changed it

Why there are never two: say both become Active, and the claim of A was there before that of B. B asked A's partition
after its own claim was there, so it saw A's claim, or A's tenant. It can have gone on only by taking the claim away,
and A's step 4 finds it gone. Whoever stops in between leaves a claim that nobody can use; the controllers of its
partition take it away (`clients/controllers/tenants.py`).

A partition that does not answer may have the name. So without its answer nothing is created, unless the caller takes
it upon himself; should it turn out to have one, that is a tenant in two partitions, which is named and left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from ..clients.client import ClientSet, PartitionClient
from ..clients.operations import create_operation, delete_operation, raise_for_error
from ..clients.registry_core import REMOVED
from ..clients.tenants.whereabouts import Sight
from ..proto.errors import AlreadyExists, Conflict, LinkError, NotFound, Unreachable, UrsaError
from ..proto.kinds import Role
from ..proto.objects import Object, ObjectKey
from ..proto.tenants import ACTIVE, MOVED, PENDING, TENANTS, Record, with_record
from .bootstrap import read_registry
from .objects.directory import ask_all

# For taking a claim back, also when the caller is cancelled.
GIVE_UP_SECONDS = 5.0


async def claim_tenant(clients: ClientSet, tenant: Object, partition: str, *, unreachable_ok: bool = False) -> Object:
    """Create the tenant in this partition, Active; returns it.

    Raises:
        AlreadyExists: another partition has one of this name, or is just getting one.
        LinkError: a partition that does not answer may have one.
        ApiError: as the partition says.
    """
    home = clients.tenant_clients[partition]
    for sight in await look(clients, tenant.name, unreachable_ok=unreachable_ok):
        _require_free(sight, mine=False)
    own = await _claim(home, tenant)
    try:
        while rivals := await _rivals(clients, own, partition, unreachable_ok=unreachable_ok):
            for rival in rivals:
                _require_free(rival, mine=own.uid < rival.tenant.uid)
                await _take_away(clients.tenant_clients[rival.partition], rival.tenant)
        return await _make_active(home, own)
    except BaseException:
        with trio.move_on_after(GIVE_UP_SECONDS, shield=True), suppress(UrsaError):
            await _take_away(home, own)
        raise


async def look(
    clients: ClientSet,
    name: str,
    *,
    unreachable_ok: bool = False,
    still: Callable[[str], bool] = lambda _: True,
) -> list[Sight]:
    """What all tenant partitions say of a tenant now, of those that `still` is true of.

    Raises:
        LinkError: one that there is does not answer, and it is not `unreachable_ok`.
    """
    key = ObjectKey("", "", name)
    asked = {each: client for each, client in clients.tenant_clients.items() if still(each)}

    async def ask(client: PartitionClient) -> Object | None:
        try:
            return await client.get(TENANTS, key)
        except NotFound:
            return None

    answers, missing = await ask_all(asked, ask)
    missing += await _unknown(clients)
    if missing and not unreachable_ok:
        raise Unreachable(
            missing[0].partition,
            f"it does not answer, and may have a tenant {name!r}: start it, or create the tenant all the same with "
            "--unreachable-ok",
        )
    return [Sight(partition, found) for partition, found in answers.items() if found is not None]


async def _unknown(clients: ClientSet) -> list[LinkError]:
    """Partitions that somebody has added, and of which we have no client yet."""
    registry = await read_registry(clients)
    return [
        Unreachable(entry.name, "it was added just now")
        for entry in registry.entries.values()
        if entry.role is Role.TENANT and entry.state != REMOVED and entry.name not in clients.tenant_clients
    ]


async def _claim(home: PartitionClient, tenant: Object) -> Object:
    """In the place of a signpost, if that is there: its tenant is no more, or another partition would have it."""
    operations = [create_operation(with_record(tenant, Record(PENDING)), return_object=True)]
    with suppress(NotFound):
        there = await home.get(TENANTS, tenant.key)
        if Sight(home.partition, there).record.state == MOVED:
            gone = delete_operation(TENANTS, there.key, uid=there.uid, resource_version=there.resource_version)
            operations.insert(0, gone)
    results = await home.mutate(operations)
    for result in results:
        raise_for_error(result)
    return Object(results[-1].object, home.partition)


async def _rivals(clients: ClientSet, own: Object, partition: str, *, unreachable_ok: bool) -> list[Sight]:
    sights = await look(clients, own.name, unreachable_ok=unreachable_ok, still=lambda each: each != partition)
    return [sight for sight in sights if sight.record.present]


def _require_free(sight: Sight, *, mine: bool) -> None:
    """Raises AlreadyExists: the name is another's. `mine`: of two claims ours goes first."""
    record, name = sight.record, sight.tenant.name
    if record.state == PENDING and not mine:
        raise AlreadyExists(f"tenant {name!r} is being created in {sight.partition}")
    if record.present and record.state != PENDING:
        raise AlreadyExists(f"tenant {name!r} exists already, in {sight.partition}")


async def _make_active(home: PartitionClient, own: Object) -> Object:
    try:
        return await home.update(with_record(own, Record(ACTIVE)))
    except (NotFound, Conflict):
        raise AlreadyExists(f"tenant {own.name!r} is being created by somebody else: try again") from None


async def _take_away(client: PartitionClient, claim: Object) -> None:
    """Unless it is no mere claim any more."""
    with suppress(NotFound, Conflict):
        await client.delete(TENANTS, claim.key, uid=claim.uid, resource_version=claim.resource_version)
