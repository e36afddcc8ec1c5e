"""The clients of one component: one per partition, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from ..proto.errors import NotFound
from .actor import Actor
from .partition_client import PartitionClient, open_client
from .throttling import RateLimit
from .transport.interface import Transport


class ClientSet:
    """The clients of one component, by partition name and role. Static in a run for now; the order is by name."""

    tenant_clients: dict[str, PartitionClient]
    resource_clients: dict[str, PartitionClient]

    def __init__(
        self, tenant_clients: Mapping[str, PartitionClient], resource_clients: Mapping[str, PartitionClient]
    ) -> None:
        self.tenant_clients = dict(sorted(tenant_clients.items()))
        self.resource_clients = dict(sorted(resource_clients.items()))

    def for_partition(self, partition: str) -> PartitionClient:
        """The client of a partition of either role.

        Raises:
            NotFound: the component was not given this partition.
        """
        client = self.tenant_clients.get(partition) or self.resource_clients.get(partition)
        if client is None:
            known = ", ".join([*self.tenant_clients, *self.resource_clients]) or "none"
            raise NotFound(f"no client for partition {partition!r}; there are clients for: {known}")
        return client


@asynccontextmanager
async def open_clients(
    tenant_transports: Mapping[str, Transport],
    resource_transports: Mapping[str, Transport],
    actor: Actor,
    *,
    rate_limit: RateLimit | None = None,
) -> AsyncIterator[ClientSet]:
    """A client for each transport, by partition name, each with the rate limit. Opening waits for no partition."""
    async with AsyncExitStack() as stack:

        async def opened(transports: Mapping[str, Transport]) -> dict[str, PartitionClient]:
            return {
                name: await stack.enter_async_context(open_client(transport, actor, rate_limit=rate_limit))
                for name, transport in sorted(transports.items())
            }

        yield ClientSet(await opened(tenant_transports), await opened(resource_transports))
