"""What an informer keeps, without its I/O: objects by key, indexes, and the rules of taking a full view again.

A *view* is a complete set of objects, sent as ADDED one by one and then ended. Taking a view when there is a cache
already must come out as if no event had been missed: objects not in it have vanished and are reported DELETED, objects
that came back with another uid are reported DELETED and ADDED. Between views, events follow one another by revision.

A client's view never goes back: an event that is not newer than the cached object is dropped. Revisions compare only
within one history of one partition, its incarnation. When a view of another incarnation begins, cached objects that it
has not confirmed yet are of another history, and are replaced whatever their revision.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..proto import ursa_pb2 as pb
from ..proto.objects import Object, ObjectKey

# Superseded objects that may stay in memory, beyond twice the cached ones. See `_detach`.
GARBAGE_OBJECTS_MIN = 1024


class EventType(enum.Enum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Event(NamedTuple):
    """`old` is the cached object before the event; None for ADDED. `object` of DELETED is the last state known.

    `vanished`: DELETED, and all that is known of it is that a view of another history does not show it. Its partition
    was set back, so the object may live and just not be selected any more, as a pod whose binding was undone.
    `missing`: DELETED, and all that is known of it is that a full view does not show it: how it went was not told.
    """

    type: EventType
    object: Object
    old: Object | None
    vanished: bool = False
    missing: bool = False


_ADDED, _MODIFIED, _DELETED = EventType.ADDED, EventType.MODIFIED, EventType.DELETED


class ObjectIndex:
    """Objects by strings computed from each."""

    def __init__(self, values: Callable[[Object], Iterable[str]]) -> None:
        self._values = values
        self._values_of: dict[ObjectKey, tuple[str, ...]] = {}
        self._buckets: dict[str, dict[ObjectKey, Object]] = {}

    def put(self, key: ObjectKey, obj: Object) -> None:
        new = tuple(self._values(obj))
        old = self._values_of.get(key, ())
        if new != old:
            for value in old:
                if value not in new:
                    self._remove(value, key)
            self._values_of[key] = new
        for value in new:
            bucket = self._buckets.get(value)
            if bucket is None:
                bucket = self._buckets[value] = {}
            bucket[key] = obj

    def drop(self, key: ObjectKey) -> None:
        for value in self._values_of.pop(key, ()):
            self._remove(value, key)

    def get(self, value: str) -> Sequence[Object]:
        bucket = self._buckets.get(value)
        return list(bucket.values()) if bucket else ()

    def _remove(self, value: str, key: ObjectKey) -> None:
        bucket = self._buckets.get(value)
        if bucket is not None and bucket.pop(key, None) is not None and not bucket:
            del self._buckets[value]


class ObjectCache:
    """See the module. `emit` is called for every change, after the cache has changed."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.objects: dict[ObjectKey, Object] = {}
        self.incarnation = ""
        self._emit = emit
        self._indexes: dict[str, ObjectIndex] = {}
        # While a view is taken: cached objects it has not confirmed.
        self._unconfirmed: dict[ObjectKey, Object] = {}
        # There are cached objects of another history; all of them are among the unconfirmed.
        self._mixed = False
        self._attached: dict[ObjectKey, None] = {}
        self._garbage = 0

    def add_index(self, name: str, values: Callable[[Object], Iterable[str]]) -> None:
        self._indexes[name] = ObjectIndex(values)

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        return self._indexes[name].get(value)

    def begin_view(self, incarnation: str) -> None:
        """A full view begins; one that had begun and not ended is forgotten."""
        self._unconfirmed = dict(self.objects)
        if incarnation != self.incarnation:
            self.forget_history()
            self.incarnation = incarnation

    def forget_history(self) -> None:
        """The cached objects are of no history that goes on: the next view replaces them all."""
        self.incarnation = ""
        self._mixed = bool(self.objects)

    def end_view(self) -> bool:
        """The view is complete: what it has not confirmed is gone. Whether it has replaced that of another history."""
        vanished, self._unconfirmed = self._unconfirmed, {}
        other_history, self._mixed = self._mixed, False
        for key, old in vanished.items():
            self._remove(key)
            self._emit(Event(_DELETED, old, old, other_history, True))
        return other_history

    def apply(self, kind: pb.WatchEvent.Type, obj: Object, revision: int) -> None:
        """An event of a view, or of what follows it."""
        key = obj.key
        old = self.objects.get(key)
        unconfirmed = self._unconfirmed.pop(key, None) if self._unconfirmed else None
        if old is None:
            if kind != pb.WatchEvent.DELETED:
                self._put(key, obj)
                self._emit(Event(_ADDED, obj, None))
            return
        comparable = not self._mixed or unconfirmed is None
        if comparable and revision <= old.resource_version:
            return
        same = obj.uid == old.uid
        if kind == pb.WatchEvent.DELETED:
            self._remove(key)
            self._emit(Event(_DELETED, obj if same else old, old))
        elif same:
            self._put(key, obj)
            self._garbage += 1
            self._emit(Event(_MODIFIED, obj, old))
        else:
            self._remove(key)
            self._emit(Event(_DELETED, old, old))
            self._put(key, obj)
            self._emit(Event(_ADDED, obj, None))

    def tidy(self) -> None:
        """Between events: free the memory of superseded objects once there is much of it."""
        if self._garbage > max(GARBAGE_OBJECTS_MIN, 2 * len(self.objects)):
            self._detach()

    # ------------------------------------------------------------------------------------------------------ details

    def _put(self, key: ObjectKey, obj: Object) -> None:
        self.objects[key] = obj
        self._attached[key] = None
        for index in self._indexes.values():
            index.put(key, obj)

    def _remove(self, key: ObjectKey) -> None:
        del self.objects[key]
        self._attached.pop(key, None)
        self._garbage += 2  # Itself, and the event's.
        for index in self._indexes.values():
            index.drop(key)

    def _detach(self) -> None:
        """Give long-lived objects memory of their own.

        An object as received is a part of its message, and keeps all of the message in memory: one old pod could hold
        on to a hundred that are long gone (measured: 127 KB for a kept object instead of 3). Copying each when it
        comes costs 1.5 us; most are superseded soon, so only those are copied that have outlived twice their number.
        """
        for key in self._attached:
            obj = self.objects[key]
            own = pb.Object()
            own.CopyFrom(obj.message)
            obj.message = own
        self._attached.clear()
        self._garbage = 0
