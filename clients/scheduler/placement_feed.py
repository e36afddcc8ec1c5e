"""The placements of a resource partition, as they come: every scheduler follows all of them, in every partition.

So what one costs here is paid for each pod as often as there are tenant partitions. Nothing is kept beside the ledger:
with a cache of objects, as an informer has, an event costs 26 us instead of 16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...proto import ursa_pb2 as pb
from ..feed import Feed, FeedKeeper
from ..placements import PLACEMENTS
from ..revisions import Revision
from .core import SchedulingCore

_DELETED: Final = pb.WatchEvent.DELETED


class PlacementFeed(Feed):
    """Tells the core; `settle` is called after each batch."""

    __slots__ = ("_core", "_partition", "_settle", "_unconfirmed")

    def __init__(self, keeper: FeedKeeper, core: SchedulingCore, settle: Callable[[], None]) -> None:
        super().__init__(keeper, pb.Selection(resource=PLACEMENTS))
        self._core, self._settle = core, settle
        self._partition = keeper.client.partition
        # Held as far as is known, and not in the full view that is being taken.
        self._unconfirmed: dict[str, None] = {}

    @property
    def seen_up_to(self) -> Revision:
        """Everything up to here has been told."""
        return Revision(self._partition, self.revision, self.incarnation)

    def view_started(self) -> None:
        self._unconfirmed = dict.fromkeys(self._core.views[self._partition].ledger.observed)

    def view_complete(self) -> None:
        for pod_uid in self._unconfirmed:
            self._core.placement_gone(self._partition, pod_uid)
        self._unconfirmed = {}

    def take(self, batch: pb.WatchBatch) -> None:
        core, partition, unconfirmed = self._core, self._partition, self._unconfirmed
        for event in batch.events:
            if event.type == _DELETED:
                core.placement_gone(partition, event.object.metadata.name)
            else:
                core.placement_seen(partition, event.object)
            if unconfirmed:
                unconfirmed.pop(event.object.metadata.name, None)

    def settled(self) -> None:
        self._settle()
