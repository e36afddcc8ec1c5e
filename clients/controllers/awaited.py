"""What a view must contain before the next plan is made from it: all that was written for the object before.

After an answer that was lost nobody knows what was written; so the partition is asked how far it is, and the view has
to get there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.objects import ObjectKey
from ..client import PartitionClient

# The event that ends a wait looks again at once; this is for an event that never comes.
WAIT_SECONDS = 1.0


class _Position(NamedTuple):
    """`revision` None: the partition must be asked."""

    incarnation: str
    revision: int | None


class Awaited:
    """By the key of the object that was written for. `resource` is any kind that the partition serves."""

    def __init__(self, client: PartitionClient, resource: str) -> None:
        self._client = client
        self._resource = resource
        self._positions: dict[ObjectKey, _Position] = {}

    async def seen(self, key: ObjectKey, incarnation: str, revision: int) -> bool:
        """Whether a view that is complete up to this revision of this history contains it all.

        Raises ApiError or LinkError: it cannot be told.
        """
        position = self._positions.get(key)
        if position is None:
            return True
        if position.incarnation == incarnation:
            wanted = position.revision
            if wanted is None:
                listed = await self._client.list(self._resource, tenant=key.tenant, namespace=key.namespace, limit=1)
                wanted = listed.resource_version
                self._positions[key] = _Position(incarnation, wanted)
            if revision < wanted:
                return False
        del self._positions[key]
        return True

    def wrote(self, key: ObjectKey, incarnation: str, results: Sequence[pb.Result]) -> None:
        """Also of what was refused, where it says at which revision the object is."""
        revision = max((result.resource_version or result.error.resource_version for result in results), default=0)
        if revision:
            self._positions[key] = _Position(incarnation, revision)

    def lost(self, key: ObjectKey, incarnation: str) -> None:
        """Something was written, or was not."""
        self._positions[key] = _Position(incarnation, None)

    def forget(self, key: ObjectKey) -> None:
        """There is no such object any more."""
        self._positions.pop(key, None)
