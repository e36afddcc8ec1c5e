"""Deletes the Leases by which components of removed partitions were elected, or kept their terms.

A component is elected by a Lease in its home, and keeps one of the same name in each partition that it writes to
(`fencing.py`). When its home has been removed nobody needs the others; but a process of it may not have noticed yet,
and they are what refuses its late writes. So one goes only when the registry here says that the partition is Removed,
and after it was not seen to change for a time in which whoever ran it has stopped it. A Lease is named
`component-home`; of several partitions whose names its own ends with it is the longest one's. What the registry does
not know stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import UrsaError
from ...proto.kinds import SYSTEM_TENANT
from ...proto.leases import LEADER_NAMESPACE, LEASES
from ...proto.objects import Object
from ..actor import Actor
from ..client import PartitionClient
from ..operations import delete_operation
from ..registry_core import REMOVED, RESOURCE_OF, Entry, Registry, read_entry

LOOK_SECONDS = 300.0
# As long as the Leases of nodes that are gone are kept.
KEEP_SECONDS = 600.0


class _Seen(NamedTuple):
    uid: str
    revision: int
    since: float


class LeaderLeasesCore:
    """Of one partition. Times are trio's, in seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}  # Those that are nobody's, by name.

    def stale(self, leases: Iterable[Object], entries: Mapping[str, Entry], now: float) -> list[pb.Operation]:
        """Deletes, each of the revision that has stood still. `leases`, `entries`: as the partition has them now."""
        seen, operations = self._seen, []
        self._seen = {}
        for lease in leases:
            home = home_of(lease.name, entries)
            if home is None or home.state != REMOVED:
                continue
            known = seen.get(lease.name)
            if known is None or known[:2] != (lease.uid, lease.resource_version):
                known = _Seen(lease.uid, lease.resource_version, now)
            self._seen[lease.name] = known
            if now - known.since >= KEEP_SECONDS:
                operations.append(delete_operation(LEASES, lease.key, uid=known.uid, resource_version=known.revision))
        return operations


def home_of(lease: str, entries: Mapping[str, Entry]) -> Entry | None:
    """None: its name is not of a component of any partition."""
    homes = [entry for name, entry in entries.items() if lease.endswith(f"-{name}")]
    return max(homes, key=lambda entry: len(entry.name), default=None)


class LeaderLeasesController:
    """Of one partition, of either role."""

    def __init__(self, client: PartitionClient, actor: Actor) -> None:
        self._client = client
        self._log = actor.log
        self._core = LeaderLeasesCore()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except UrsaError as error:
                self._log.info("leases of removed partitions are not looked for: %s; it will be tried again", error)

    async def _look(self) -> None:
        registry = Registry()
        for resource in RESOURCE_OF.values():
            for obj in (await self._client.list(resource)).items:
                registry.learn(read_entry(obj))
        if all(entry.state != REMOVED for entry in registry.entries.values()):
            return
        leases: Sequence[Object] = (
            await self._client.list(LEASES, tenant=SYSTEM_TENANT, namespace=LEADER_NAMESPACE)
        ).items
        operations = self._core.stale(leases, registry.entries, trio.current_time())
        if operations:
            names = ", ".join(operation.delete.target.name for operation in operations)
            self._log.info("leases of removed partitions are deleted: %s", names)
            await self._client.mutate(operations)  # One that was renewed is refused, and looked at anew.
