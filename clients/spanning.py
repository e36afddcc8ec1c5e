"""One kind of objects over all partitions of a role: an informer for each, which come and go with the partitions.

Revisions of different partitions are never compared, and absence is concluded only from a view that is complete and
fresh, of the very partition concerned: so this is a mapping of informers by partition, and no union of objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from ..proto.objects import Object
from .client_set import Members
from .informer import Event, Informer
from .partition_client import PartitionClient


class SpanningInformer(Mapping[str, Informer]):
    """Informers of `resource` by partition name. Handlers are told which partition speaks; add them before `run`."""

    def __init__(self, members: Members, resource: str, *, field_selector: str = "") -> None:
        self.resource = resource
        self._members = members
        self._field_selector = field_selector
        self._handlers: list[Callable[[str, Event], None]] = []
        self._burst_handlers: list[Callable[[str], None]] = []
        self._leave_handlers: list[Callable[[str], None]] = []
        self._indexes: list[tuple[str, Callable[[Object], Iterable[str]]]] = []
        self._informers: dict[str, Informer] = {}

    def __getitem__(self, partition: str) -> Informer:
        return self._informers[partition]

    def __iter__(self) -> Iterator[str]:
        return iter(self._informers)

    def __len__(self) -> int:
        return len(self._informers)

    def add_handler(self, handler: Callable[[str, Event], None]) -> None:
        """Called with the partition and each of its events."""
        self._handlers.append(handler)

    def add_burst_handler(self, handler: Callable[[str], None]) -> None:
        """Called after each burst of a partition's events, and at the end of its full view."""
        self._burst_handlers.append(handler)

    def add_leave_handler(self, handler: Callable[[str], None]) -> None:
        """Called when a partition is none any more: it was removed, not merely lost."""
        self._leave_handlers.append(handler)

    def add_index(self, name: str, values: Callable[[Object], Iterable[str]]) -> None:
        self._indexes.append((name, values))

    def fresh(self, staleness_seconds_max: float) -> dict[str, Informer]:
        """Those whose view is complete and not older than this: the only ones from which anything may be missing."""
        return {
            name: each
            for name, each in self._informers.items()
            if each.synced and each.staleness_seconds < staleness_seconds_max
        }

    def showing(self, obj: Object) -> dict[str, Object]:
        """This object, by name and uid, as the views of partitions show it: several do while its tenant moves."""
        key, uid = obj.key, obj.uid
        return {
            name: shown
            for name, each in self._informers.items()
            if (shown := each.objects.get(key)) is not None and shown.uid == uid
        }

    @property
    def removed(self) -> list[str]:
        """Partitions that are none any more: there is nothing of theirs, and nobody to ask about it."""
        return list(self._members.removed)

    @property
    def synced(self) -> dict[str, bool]:
        """Of every partition, whether its first full view has been taken."""
        return {name: name in self._informers and self._informers[name].synced for name in self._members}

    async def run(self) -> None:
        """Until cancelled."""
        await self._members.serve_each(self._follow)

    async def _follow(self, client: PartitionClient) -> None:
        name = client.partition
        informer = Informer(client, self.resource, field_selector=self._field_selector)
        for handler in self._handlers:
            informer.add_handler(partial(handler, name))
        for burst_handler in self._burst_handlers:
            informer.add_burst_handler(partial(burst_handler, name))
        for index, values in self._indexes:
            informer.add_index(index, values)
        self._informers[name] = informer
        try:
            await informer.run()
        finally:
            del self._informers[name]
            if name in self._members.removed:
                for leave_handler in self._leave_handlers:
                    leave_handler(name)
