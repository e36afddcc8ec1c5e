"""Finding an object whose tenant may have moved since it was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...proto.errors import NotFound, Unreachable
from ...proto.objects import Object, ObjectKey
from ...proto.tenants import ARRIVING, MOVED, TENANTS, Record, record_of
from ..partition_client import PartitionClient

# More moves than that while it is followed are none that happen.
HOPS_MAX = 8


class Found(NamedTuple):
    """The object, and the partition that has it; or None, and the partition that says so."""

    partition: str
    object: Object | None


async def find(clients: Mapping[str, PartitionClient], partition: str, resource: str, key: ObjectKey) -> Found:
    """Ask this partition, and where it says that the tenant has moved, that one.

    That there is none is believed only of a partition that had all of the tenant before it was asked, and has still.

    Raises:
        LinkError: one of them does not answer, is not known here, or does not have all of the tenant at the moment.
    """
    epoch = -1
    for _ in range(HOPS_MAX):
        client = clients.get(partition)
        if client is None:
            raise Unreachable(partition, f"tenant {key.tenant!r} has moved there, and there is no client of it")
        before = after = await _record(client, key.tenant)
        if before is None or before.state != MOVED:  # Else it may just not have forgotten it yet.
            try:
                return Found(partition, await client.get(resource, key))
            except NotFound:
                after = await _record(client, key.tenant)
        if after is not None and after.state == MOVED and after.epoch > epoch:
            partition, epoch = after.partition, after.epoch
        elif after is not None and after.state == MOVED:
            return Found(partition, None)  # It was set back to before the tenant came: what it had is gone.
        elif before == after and (after is None or after.state != ARRIVING):
            return Found(partition, None)
        else:
            raise Unreachable(partition, f"tenant {key.tenant!r} is being moved: ask again")
    raise Unreachable(partition, f"tenant {key.tenant!r} moves faster than it is followed: ask again")


async def _record(client: PartitionClient, tenant: str) -> Record | None:
    try:
        return record_of(await client.get(TENANTS, ObjectKey("", "", tenant)))
    except NotFound:
        return None
