"""What a `Cluster` does with tenants."""

from __future__ import annotations

import abc

from ..clients.client import ClientSet, PartitionClient
from ..clients.tenants.moving import Moved
from . import tenant_acts
from .tenants import TenantDirectory


class ClusterTenants(abc.ABC):
    """A part of `Cluster`."""

    @property
    @abc.abstractmethod
    def clients(self) -> ClientSet: ...

    @property
    @abc.abstractmethod
    def _open_tenants(self) -> TenantDirectory: ...

    async def create_tenant(self, name: str, partition: str | None = None, *, unreachable_ok: bool = False) -> str:
        """Create a tenant, with its namespace "default"; returns its partition. None: the one with fewest tenants.

        Raises:
            AlreadyExists: there is one, in whichever partition. Invalid, NotFound (no such partition).
            LinkError: a partition that does not answer may have one, and it is not `unreachable_ok`.
        """
        tenants = self._open_tenants
        partition = partition or tenants.least_loaded()
        await tenants.create(name, partition, unreachable_ok=unreachable_ok)
        return partition

    async def move_tenant(self, name: str, partition: str) -> Moved | None:
        """Move a tenant to another tenant partition, while its pods run on; says how long nothing could be written.

        The same again goes on with a move that was interrupted. Events stay behind. None: it is there already.

        Raises:
            InputError, Conflict, LinkError: see `tools.tenant_acts.move_tenant`.
        """
        moved = await tenant_acts.move_tenant(self.clients, name, partition)
        self._open_tenants.moved(name, partition)
        return moved

    async def delete_tenant(self, name: str, *, timeout_seconds: float = 120.0) -> str:
        """Delete a tenant with all that it holds, and wait until nothing is left; returns where it was.

        Raises:
            InputError, LinkError, WaitTimeout: see `tools.tenant_acts.delete_tenant`.
        """
        partition = await tenant_acts.delete_tenant(self.clients, name, timeout_seconds=timeout_seconds)
        self._open_tenants.deleted(name)
        return partition

    async def tenants(self) -> tenant_acts.Listing:
        """All tenants, where they live and what they hold; and the partitions that did not answer."""
        return await tenant_acts.list_tenants(self.clients)

    def tenant_client(self, tenant: str) -> PartitionClient:
        """The client of the partition in which a tenant lives. Raises NotFound; Conflict: it is in several."""
        return self._open_tenants.client_of(tenant)
