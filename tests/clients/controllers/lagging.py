"""Views of a real apiserver that lag behind it, each by itself: what informers may show at some moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ursa.clients.object_cache import Event, ObjectCache
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object

from ...partitions.conftest import Partition


class View:
    """The events of one kind, in order, as late as it is told to deliver them."""

    def __init__(self, partition: Partition, resource: str, emit: Callable[[Event], None]) -> None:
        self.pending: deque[tuple[str, Object, int]] = deque()
        self._watching = partition.watch(resource, initial_events=True)
        self._gathered = 0
        self._cache = ObjectCache(emit)
        self.objects = self._cache.objects

    def gather(self) -> None:
        self._watching.read()
        events, objects = self._watching.events[self._gathered :], self._watching.objects[self._gathered :]
        self._gathered += len(events)
        for (kind, _, revision), message in zip(events, objects, strict=True):
            self.pending.append((kind, Object(message), revision))

    def deliver(self) -> None:
        kind, obj, revision = self.pending.popleft()
        self._cache.apply(pb.WatchEvent.Type.Value(kind), obj, revision)


def complete_up_to(partition: Partition, *views: View) -> int:
    """All of them contain all revisions up to here. Call it when they have gathered what there is."""
    newest = partition.server.status().stores[0].resource_version
    return min(view.pending[0][2] - 1 if view.pending else newest for view in views)
