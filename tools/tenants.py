"""The tenant directory: which tenant partition a tenant lives in, from a watch over the Tenants of all of them."""

from __future__ import annotations

import trio

from ..clients.client import ClientSet, PartitionClient
from ..clients.spanning import SpanningInformer
from ..clients.tenants.whereabouts import Sight, Whereabouts, judge
from ..proto.errors import Conflict, NotFound
from ..proto.kinds import SYSTEM_TENANT
from ..proto.objects import ObjectKey
from ..proto.tenants import TENANTS, record_of
from .bootstrap import tenant_object
from .tenant_claims import claim_tenant

__all__ = ["TENANTS", "TenantDirectory"]


class TenantDirectory:
    """`run` keeps it up to date; until then it is empty."""

    def __init__(self, clients: ClientSet) -> None:
        self._clients = clients
        self._tenant_clients = clients.tenant_clients
        self._informers = SpanningInformer(clients.tenant_clients, TENANTS)
        # Those created or moved here, so that they are found before the watch has told of them.
        self._known: dict[str, str] = {}
        self._changed = trio.Event()
        self._informers.add_burst_handler(self._announce)

    async def run(self) -> None:
        """Until cancelled."""
        await self._informers.run()

    async def wait_for(self, tenant: str) -> None:
        """Wait until all partitions have told of their tenants, and this one is among them."""
        while not (self.partition_of(tenant) and all(self._informers.synced.values())):
            await self._changed.wait()

    def _announce(self, _: str) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def whereabouts(self, tenant: str) -> Whereabouts:
        """As far as the watches have told."""
        key = ObjectKey("", "", tenant)
        sights = [
            Sight(partition, informer.objects[key])
            for partition, informer in self._informers.items()
            if key in informer.objects
        ]
        return judge(sights)

    def partition_of(self, tenant: str) -> str:
        """The tenant partition it lives in; empty if there is no such tenant.

        Raises:
            Conflict: it is in several.
        """
        found = self.whereabouts(tenant)
        if found.problem:
            raise Conflict(found.problem)
        if found.home is not None:
            if self._known.get(tenant) == found.home.partition:
                del self._known[tenant]
            if tenant not in self._known:
                return found.home.partition
        return self._known.get(tenant, "")

    def client_of(self, tenant: str) -> PartitionClient:
        """The client of the partition it lives in.

        Raises:
            NotFound: there is no such tenant. Conflict: it is in several partitions.
        """
        partition = self.partition_of(tenant)
        if not partition or partition not in self._tenant_clients:
            raise NotFound(f"there is no tenant {tenant!r}: create it first, with `ursa tenant create {tenant}`")
        return self._tenant_clients[partition]

    def least_loaded(self) -> str:
        """The tenant partition with the fewest tenants; the first by name of several."""
        return min(self._tenant_clients, key=lambda partition: (self._load(partition), partition))

    async def create(self, tenant: str, partition: str, *, unreachable_ok: bool = False) -> None:
        """Create a tenant, with its namespace "default".

        Raises:
            AlreadyExists: there is one, in whichever partition.
            NotFound: there is no such tenant partition.
            LinkError: a partition that does not answer may have one. `unreachable_ok`: whatever those have.
        """
        if partition not in self._tenant_clients:
            raise NotFound(f"there is no tenant partition {partition!r}; known are {', '.join(self._tenant_clients)}")
        await claim_tenant(self._clients, tenant_object(tenant), partition, unreachable_ok=unreachable_ok)
        self._known[tenant] = partition

    def moved(self, tenant: str, partition: str) -> None:
        """It lives there now, whatever the watches have told yet."""
        self._known[tenant] = partition

    def deleted(self, tenant: str) -> None:
        self._known.pop(tenant, None)

    def _load(self, partition: str) -> int:
        informer = self._informers.get(partition)
        seen = [] if informer is None else [each for each in informer.objects.values() if record_of(each).present]
        names = [each.name for each in seen if each.name != SYSTEM_TENANT]
        return len(dict.fromkeys([*names, *(name for name, home in self._known.items() if home == partition)]))
