"""A partition reduced to what a controller's core sees of it, for property tests of cores.

Objects, revisions, a log of changes, and a view that lags behind it as an informer's cache does. The shells are tested
against the real apiserver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ursa.clients.informer import Event, EventType
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, ObjectKey, encode


def make(
    kind: str, name: str, *, api_version: str = "v1", tenant: str = "acme", namespace: str = "default", **fields: Any
):
    """An object from keywords: spec, status, rest as values; the rest are fields of its metadata."""
    contents = {part: encode(fields.pop(part)) for part in ("spec", "status", "rest") if part in fields}
    metadata = pb.ObjectMeta(name=name, tenant=tenant, namespace=namespace, **fields)
    return Object(pb.Object(api_version=api_version, kind=kind, metadata=metadata, **contents))


def copy_of(obj: Object) -> Object:
    return Object(pb.Object.FromString(obj.message.SerializeToString()))


class ModelPartition:
    """Pods, or any one kind: creates, deletes and status updates with the server's answers."""

    def __init__(self) -> None:
        self.revision = 0
        self.objects: dict[ObjectKey, Object] = {}
        self.log: list[tuple[int, EventType, Object]] = []
        self._uids = 0

    def put(self, obj: Object) -> Object:
        """Write an object as it stands, whoever wrote it."""
        kind = EventType.MODIFIED if obj.key in self.objects else EventType.ADDED
        obj = copy_of(obj)
        if not obj.uid:
            self._uids += 1
            obj.message.metadata.uid = f"uid-{self._uids}"
        self.revision += 1
        obj.message.metadata.resource_version = self.revision
        self.objects[obj.key] = obj
        self.log.append((self.revision, kind, obj))
        return obj

    def remove(self, key: ObjectKey) -> None:
        self.revision += 1
        self.log.append((self.revision, EventType.DELETED, self.objects.pop(key)))

    def apply(self, operation: pb.Operation) -> pb.Result:
        verb = operation.WhichOneof("verb")
        if verb == "create":
            return self._create(operation)
        if verb == "delete":
            return self._delete(operation.delete, operation.dry_run)
        assert verb == "update"
        assert operation.update.subresource == "status"
        return pb.Result(resource_version=self.revision)

    def _create(self, operation: pb.Operation) -> pb.Result:
        obj = Object(operation.create.object)
        if obj.key in self.objects:
            return _refusal("AlreadyExists", self.objects[obj.key].resource_version)
        if operation.dry_run:
            return pb.Result()
        obj.message.status = encode({"phase": "Pending"})
        return pb.Result(resource_version=self.put(obj).resource_version)

    def _delete(self, request: pb.Delete, dry_run: bool) -> pb.Result:
        target = request.target
        found = self.objects.get(ObjectKey(target.tenant, target.namespace, target.name))
        if found is None:
            return _refusal("NotFound")
        if request.preconditions.uid and request.preconditions.uid != found.uid:
            return _refusal("Conflict", found.resource_version)
        if dry_run:
            return pb.Result()
        if found.spec.get("nodeName") and not found.deletion_ms:
            marked = copy_of(found)
            marked.message.metadata.deletion_ms = 1
            self.put(marked)
        elif not found.deletion_ms:
            self.remove(found.key)
        return pb.Result(resource_version=self.revision)


def _refusal(reason: str, revision: int = 0) -> pb.Result:
    return pb.Result(error=pb.Status(reason=reason, message=f"refused: {reason}", resource_version=revision))


def refused(reason: str) -> pb.Result:
    return _refusal(reason)


class ModelView:
    """An informer's cache over a model partition, as far behind as the test wants."""

    def __init__(
        self,
        partition: ModelPartition,
        handler: Callable[[Event], None],
        selects: Callable[[Object], bool] = lambda _: True,
    ) -> None:
        self.objects: dict[ObjectKey, Object] = {}
        self.revision = 0
        self._partition = partition
        self._handler = handler
        self._selects = selects
        self._position = 0

    def attach(self, handler: Callable[[Event], None]) -> None:
        self._handler = handler

    def deliver(self, count: int = 1_000_000) -> None:
        """The next events in order."""
        for revision, kind, obj in self._partition.log[self._position : self._position + count]:
            self._show(kind, obj)
            self.revision = revision
            self._position += 1

    def relist(self) -> None:
        """Jump to the present: what came and went meanwhile is never seen."""
        present = {key: obj for key, obj in self._partition.objects.items() if self._selects(obj)}
        for key in list(self.objects):
            if key not in present:
                self._show(EventType.DELETED, self.objects[key])
        for key, obj in present.items():
            known = self.objects.get(key)
            if known is None or known.resource_version != obj.resource_version:
                self._show(EventType.ADDED, obj)
        self._position = len(self._partition.log)
        self.revision = self._partition.revision

    def _show(self, kind: EventType, obj: Object) -> None:
        old = self.objects.pop(obj.key, None)
        if old is not None and (kind is EventType.DELETED or old.uid != obj.uid):
            self._handler(Event(EventType.DELETED, old, old))
            old = None
        if kind is EventType.DELETED or not self._selects(obj):
            return
        self.objects[obj.key] = obj
        self._handler(Event(EventType.ADDED if old is None else EventType.MODIFIED, obj, old))
