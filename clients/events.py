"""Events: what components tell people about objects.

An event is worth little and must cost little: recording one never waits and never fails. Repeats of the same thing are
one Event with a count. What has gathered is written once a second, in few messages; what a partition does not take for
long is dropped, oldest first, and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import LinkError
from ..proto.kinds import SYSTEM_TENANT
from ..proto.objects import Object, ObjectKey, format_time
from .actor import Actor
from .backoff import Backoff
from .client import PartitionClient
from .metrics import counter
from .mutations import BATCH_OPERATIONS_MAX
from .operations import create_operation, patch_operation

EVENTS = "events"

# Ten seconds of a scheduler at its fastest; 1 KB each.
WAITING_EVENTS_MAX = 10_000
# Events are for people: a second late does not matter, a message for each would.
GATHER_SECONDS = 1.0
# Remembered so that a repeat raises the count of its Event instead of making another.
WRITTEN_EVENTS_MAX = 4096
# An object's name is up to 253 characters long, an event's is the same with a dot and 16 digits.
NAME_LENGTH_MAX = 253
_DIGITS = 16


class _Identity(NamedTuple):
    """Two events that agree in this are the same thing happening again."""

    uid: str
    type: str
    reason: str
    message: str
    key: ObjectKey
    kind: str


class _Record:
    """One Event to be, or to be updated."""

    __slots__ = ("count", "first_ms", "involved", "key", "last_ms", "written")

    def __init__(self, involved: pb.Object, key: ObjectKey, now_ms: int) -> None:
        self.involved = involved
        self.key = key
        self.count = 0
        self.first_ms = self.last_ms = now_ms
        self.written = False


class EventRecorder:
    """Records events at one partition. `component` says who tells: `default-scheduler`, `kubelet`."""

    def __init__(self, client: PartitionClient, actor: Actor, component: str) -> None:
        self._client = client
        self._actor = actor
        self._component = component
        self._waiting: OrderedDict[_Identity, _Record] = OrderedDict()
        self._written: OrderedDict[_Identity, _Record] = OrderedDict()
        self._news = trio.Event()
        self._dropped = counter(
            actor.registry, "ursa_client_events_dropped_total", "Events that were never written.", ["component"]
        ).labels(component)

    def event(self, involved: Object, type: str, reason: str, message: str) -> None:  # noqa: A002
        """Something has happened to an object. `type` is Normal or Warning."""
        identity = _Identity(involved.uid, type, reason, message, involved.key, involved.kind)
        now_ms = self._actor.clock.now_ms()
        record = self._waiting.get(identity)
        if record is None:
            record = self._written.pop(identity, None)
            if record is None:
                record = _Record(_reference(involved), self._new_key(involved), now_ms)
            self._waiting[identity] = record
            self._bound_waiting()
        record.count += 1
        record.last_ms = now_ms
        self._news.set()

    async def run(self) -> None:
        """Write events until cancelled."""
        backoff = Backoff(self._actor.random)
        while True:
            while not self._waiting:
                self._news = trio.Event()
                await self._news.wait()
            await trio.sleep(GATHER_SECONDS)
            try:
                for _ in range(ceil(len(self._waiting) / BATCH_OPERATIONS_MAX)):
                    await self._write_batch()
            except LinkError as error:
                self._actor.log.info("events wait for %s: %s", self._client.partition, error)
                await trio.sleep(backoff.next_seconds())
            else:
                backoff.reset()

    # ------------------------------------------------------------------------------------------------------ details

    async def _write_batch(self) -> None:
        waiting = self._waiting
        batch = [waiting.popitem(last=False) for _ in range(min(len(waiting), BATCH_OPERATIONS_MAX))]
        try:
            results = await self._client.mutate([self._operation(identity, record) for identity, record in batch])
        except LinkError:
            # Their names are given: writing them again makes no second one.
            self._put_back(batch)
            raise
        existing = []
        for (identity, record), result in zip(batch, results, strict=True):
            if not result.HasField("error"):
                self._remember(identity, record)
            elif result.error.reason == "AlreadyExists":
                # Written before, and the answer was lost. Its count may have risen since.
                existing.append((identity, record))
            else:
                self._dropped.inc()
                self._actor.log.debug("event not written: %s", result.error.message)
        for _, record in existing:
            record.written = True
        self._put_back(existing)

    def _operation(self, identity: _Identity, record: _Record) -> pb.Operation:
        changing = {"count": record.count, "lastTimestamp": format_time(record.last_ms)}
        if record.written:
            return patch_operation(EVENTS, record.key, changing)
        involved = record.involved
        event = Object.from_dict(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "involvedObject": {
                    "apiVersion": involved.api_version,
                    "kind": involved.kind,
                    "namespace": involved.metadata.namespace,
                    "name": involved.metadata.name,
                    "uid": involved.metadata.uid,
                },
                "type": identity.type,
                "reason": identity.reason,
                "message": identity.message,
                "firstTimestamp": format_time(record.first_ms),
                "source": {"component": self._component},
                **changing,
            }
        )
        metadata = event.message.metadata
        metadata.tenant, metadata.namespace, metadata.name = record.key
        return create_operation(event)

    def _put_back(self, batch: Sequence[tuple[_Identity, _Record]]) -> None:
        """To the front, in order; what has happened again meanwhile is added to the old record."""
        for identity, record in reversed(batch):
            again = self._waiting.get(identity)
            if again is not None:
                record.count += again.count
                record.last_ms = again.last_ms
            self._waiting[identity] = record
            self._waiting.move_to_end(identity, last=False)
        self._bound_waiting()

    def _bound_waiting(self) -> None:
        while len(self._waiting) > WAITING_EVENTS_MAX:
            self._waiting.popitem(last=False)
            self._dropped.inc()

    def _remember(self, identity: _Identity, record: _Record) -> None:
        record.written = True
        if identity in self._waiting:  # It has happened again meanwhile, as an Event of its own.
            return
        self._written[identity] = record
        if len(self._written) > WRITTEN_EVENTS_MAX:
            self._written.popitem(last=False)

    def _new_key(self, involved: Object) -> ObjectKey:
        name = involved.name[: NAME_LENGTH_MAX - _DIGITS - 1].rstrip(".-")
        # Events of nodes and other objects without a tenant, or without a namespace, have to live somewhere.
        return ObjectKey(
            involved.tenant or SYSTEM_TENANT,
            involved.namespace or "default",
            f"{name}.{self._actor.random.getrandbits(4 * _DIGITS):0{_DIGITS}x}",
        )


def _reference(obj: Object) -> pb.Object:
    """What an event keeps of its object: not the object, of which there may be many large ones."""
    return pb.Object(
        api_version=obj.api_version,
        kind=obj.kind,
        metadata=pb.ObjectMeta(namespace=obj.namespace, name=obj.name, uid=obj.uid),
    )
