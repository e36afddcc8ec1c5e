"""How a controller that plans from whole views writes what it has planned: the shell under StatefulSets and DaemonSets.

A plan is made only when all views show one moment, and one that contains all that was written for this object before:
the revision of the last write is kept, and after an answer that was lost the partition is asked how far it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import AlreadyExists, Conflict, LinkError, NotFound, from_status
from ...proto.kinds import BY_KIND, Kind
from ...proto.objects import Object, ObjectKey
from ..client import PartitionClient
from ..events import EventRecorder
from ..informer import Informer
from .adoption import adopt, may_adopt
from .awaited import Awaited
from .controller_revisions import REVISION
from .job_core import one_moment
from .job_status import status_operation

# Why a node's ledger refuses a pod. Of all that is created nothing else is in conflict with what is there.
_NO_ROOM = Conflict.reason
# What is wrong with one create, and says nothing of the next.
_OF_ONE = (_NO_ROOM, AlreadyExists.reason)


class Refusal(NamedTuple):
    """A pod that its node has no room for."""

    wanted: Object
    message: str


class PlanWriter:
    """Of one kind of objects in one partition. `pods` and `others` are what their plans are made from, besides them.

    `writes_max`: pods that one plan creates.
    """

    def __init__(
        self,
        kind: Kind,
        client: PartitionClient,
        objects: Informer,
        pods: Informer,
        others: Sequence[Informer],
        events: EventRecorder,
        writes_max: int,
    ) -> None:
        self._kind = kind
        self._client = client
        self._pods, self._others = pods, (objects, *others)
        self._events = events
        self._writes_max = writes_max
        self._awaited = Awaited(client, objects.resource)
        # How many pods the next plan may create: after a refusal one, then twice as many with each success.
        self._bursts: dict[ObjectKey, int] = {}

    def history(self) -> str:
        """That all views are of. Empty, while there is none."""
        history = self._pods.history
        return history if all(each.history == history for each in self._others) else ""

    async def seen(self, key: ObjectKey, history: str) -> bool:
        """Whether the view of pods contains all that was written. Raises ApiError or LinkError: it cannot be told."""
        return bool(history) and await self._awaited.seen(key, history, self._pods.resource_version)

    def is_one_moment(self, obj: Object, history: str) -> bool:
        """Whether what is shown of the object, of its pods and of the others is how all were when the pods were so."""
        known = min(each.resource_version for each in self._others)
        return one_moment(obj, known, self._pods.resource_version) and history == self.history()

    def creates_max(self, key: ObjectKey) -> int:
        return self._bursts.get(key, self._writes_max)

    def forget(self, key: ObjectKey) -> None:
        """There is no such object any more."""
        self._bursts.pop(key, None)

    async def write(self, obj: Object, operations: Sequence[pb.Operation], history: str) -> list[Refusal]:
        """Returns what could not be created because a node has no room for it.

        Raises ApiError: a write was refused, or something else bears the name of a pod; LinkError: no answer.
        """
        if not operations:
            return []
        try:
            results = await self._client.mutate(operations, history=history)
        except LinkError:
            self._awaited.lost(obj.key, history)
            raise
        self._awaited.wrote(obj.key, history, results)
        refusals = [
            (operation, result.error)
            for operation, result in zip(operations, results, strict=True)
            if result.HasField("error") and not _is_outdated(operation, result.error.reason)
        ]
        others = [(operation, error) for operation, error in refusals if error.reason not in _OF_ONE]
        if not others:
            self._widen(obj.key)
            created = [(Object(operation.create.object), error) for operation, error in refusals]
            for wanted, error in created:
                if error.reason == AlreadyExists.reason and not await self._is_of(obj, wanted):
                    await self._name_is_taken(obj, wanted, history)
            return [Refusal(wanted, error.message) for wanted, error in created if error.reason == _NO_ROOM]
        operation, error = others[-1]
        if operation.HasField("create"):
            self._bursts[obj.key] = 1
            self._events.event(obj, "Warning", "FailedCreate", f"Error creating: {error.message}")
        raise from_status(error)

    def _widen(self, key: ObjectKey) -> None:
        if key in self._bursts:
            self._bursts[key] *= 2
            if self._bursts[key] >= self._writes_max:
                del self._bursts[key]

    async def _is_of(self, obj: Object, wanted: Object) -> bool:
        """Whether what bears the name is the object's own: made before, by an answer that was lost; or adopted."""
        try:
            found = await self._client.get(BY_KIND[wanted.kind].resource, wanted.key)
        except NotFound:
            return True  # It has gone meanwhile: the view will show it.
        controller = found.controller
        if controller is None and may_adopt(obj, found, wanted):
            return await adopt(self._client, self._kind, obj, found)
        return controller is not None and controller.uid == obj.uid

    async def _name_is_taken(self, obj: Object, wanted: Object, history: str) -> None:
        """Of a revision another name can be made; of a pod not.

        Raises AlreadyExists: whoever has the name must go.
        """
        if wanted.kind == REVISION.kind:
            collisions = (obj.status.get("collisionCount") or 0) + 1
            status = {**obj.status, "collisionCount": collisions}
            await self.write(obj, [status_operation(self._kind, obj, status)], history)
            return
        told = f"pod {wanted.name} exists, and is not of this {self._kind.kind}: delete it"
        self._events.event(obj, "Warning", "FailedCreate", f"Error creating: {told}")
        raise AlreadyExists(told)


def _is_outdated(operation: pb.Operation, reason: str) -> bool:
    """What has changed or gone since it was seen is looked at again when the view shows it."""
    return reason == NotFound.reason or (reason == Conflict.reason and not operation.HasField("create"))
