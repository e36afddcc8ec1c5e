"""The tenant directory: which tenant partition a tenant lives in, from a watch over the Tenants of all of them."""

from __future__ import annotations

import trio

from ..clients.client import ClientSet, PartitionClient
from ..clients.informer import Informer
from ..clients.nurseries import run_all
from ..proto.errors import AlreadyExists, NotFound
from ..proto.kinds import SYSTEM_TENANT
from ..proto.objects import ObjectKey
from .bootstrap import tenant_object

TENANTS = "tenants.ursa.dev"


class TenantDirectory:
    """`run` keeps it up to date; until then it is empty."""

    def __init__(self, clients: ClientSet) -> None:
        self._tenant_clients = clients.tenant_clients
        self._informers = {name: Informer(client, TENANTS) for name, client in clients.tenant_clients.items()}
        # Those created here, so that they are found before the watch has told of them.
        self._created: dict[str, str] = {}
        self._changed = trio.Event()
        for informer in self._informers.values():
            informer.add_burst_handler(self._announce)

    async def run(self) -> None:
        """Until cancelled."""
        await run_all([informer.run for informer in self._informers.values()])

    async def wait_for(self, tenant: str) -> None:
        """Wait until all partitions have told of their tenants, and this one is among them."""
        while not (self.partition_of(tenant) and all(informer.synced for informer in self._informers.values())):
            await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def partition_of(self, tenant: str) -> str:
        """The tenant partition it lives in; empty if there is no such tenant."""
        for partition, informer in self._informers.items():
            if ObjectKey("", "", tenant) in informer.objects:
                return partition
        return self._created.get(tenant, "")

    def client_of(self, tenant: str) -> PartitionClient:
        """The client of the partition it lives in.

        Raises:
            NotFound: there is no such tenant.
        """
        partition = self.partition_of(tenant)
        if not partition:
            raise NotFound(f"there is no tenant {tenant!r}: create it first, in a tenant partition")
        return self._tenant_clients[partition]

    def least_loaded(self) -> str:
        """The tenant partition with the fewest tenants; the first by name of several."""
        return min(self._informers, key=self._load)

    async def create(self, tenant: str, partition: str) -> None:
        """Create a tenant, with its namespace "default".

        Raises:
            AlreadyExists: there is one, in whichever partition.
            NotFound: there is no such tenant partition.
        """
        if home := self.partition_of(tenant):
            raise AlreadyExists(f"tenant {tenant!r} exists already, in {home}")
        if partition not in self._tenant_clients:
            raise NotFound(f"there is no tenant partition {partition!r}; known are {', '.join(self._tenant_clients)}")
        await self._tenant_clients[partition].create(tenant_object(tenant))
        self._created[tenant] = partition

    def _load(self, partition: str) -> int:
        seen = [key.name for key in self._informers[partition].objects]
        made = [tenant for tenant, home in self._created.items() if home == partition and tenant not in seen]
        return len([name for name in seen if name != SYSTEM_TENANT]) + len(made)
