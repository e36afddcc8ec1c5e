"""An informer: a partition's objects of one kind, kept in memory by list and watch.

It opens a watch with initial events; after a lost link it resumes behind the last revision it has seen, and where the
partition says Expired (compacted, or another incarnation) it takes the initial events again and reports what vanished
meanwhile as DELETED. Handlers are plain functions, called in order, after the cache has changed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..proto.objects import Object, ObjectKey
from .client import PartitionClient


class EventType(enum.Enum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Event(NamedTuple):
    """`old` is the cached object before the event; None for ADDED."""

    type: EventType
    object: Object
    old: Object | None


class Informer:
    """Objects read are shared: never change them."""

    def __init__(
        self,
        client: PartitionClient,
        resource: str,
        *,
        tenant: str = "",
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> None: ...

    partition: str
    resource: str
    objects: Mapping[ObjectKey, Object]  # the cache itself, ordered by arrival
    resource_version: int  # the cache is complete up to here

    @property
    def synced(self) -> bool:
        """The first full view has been taken. It stays true over lost links; see `staleness_seconds`."""
        raise NotImplementedError

    async def wait_synced(self) -> None:
        raise NotImplementedError

    @property
    def staleness_seconds(self) -> float:
        """Since the partition last said anything on this informer's stream; infinity before it ever did."""
        raise NotImplementedError

    def add_handler(self, handler: Callable[[Event], None]) -> None:
        """Called for every event from now on; before `run` only."""

    def add_burst_handler(self, handler: Callable[[], None]) -> None:
        """Called once after each burst of events (one message's worth)."""

    def add_index(self, name: str, values: Callable[[Object], Iterable[str]]) -> None:
        """An index by strings computed from each object; before `run` only."""

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        """The objects that have this value, ordered by arrival."""
        raise NotImplementedError

    async def run(self) -> None:
        """Until cancelled. Never raises for a lost or refusing partition: it retries with backoff (100 ms to 5 s)."""
