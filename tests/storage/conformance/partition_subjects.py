"""A partition as a subject: a key is a ConfigMap (of the namespace before the slash), its value is in the data.

Who reads, writes and watches is one of the contract's own subjects (tests/partitions/contract/subjects.py): the
apiserver's core, whose reads and watches are its watch cache's, or a `PartitionClient` over one of its links.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

from ursa.clients import reads
from ursa.clients.administration import Administration
from ursa.clients.operations import create_operation, delete_operation, raise_for_error, update_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Compacted,
    Conflict,
    Expired,
    FutureRevision,
    NotFound,
    StoreError,
    Timeout,
    Unreachable,
)
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import Record, StageConflict

from ...partitions.contract.objects import config, namespace
from ...partitions.contract.subjects import OpenSubject
from ...partitions.contract.subjects import Subject as Partition
from ...partitions.contract.subjects import Watching as PartitionWatching
from .subject import GROUPS, Delete, Event, Item, Page, Subject, Watching, Write

CONFIGMAPS = "configmaps"
SYSTEM = "system"


def _conflict(expected: int, error: ApiError) -> StoreError:
    return StageConflict(error.key, expected, error.resource_version)


def _compacted(asked: int, error: ApiError) -> StoreError:
    return Compacted(asked, error.resource_version)


def _future(asked: int, error: ApiError) -> StoreError:
    return FutureRevision(asked, error.resource_version)


def _compacted_or_future(asked: int, error: ApiError) -> StoreError:
    """A watch must list again for either reason. The revision told is the floor, or else the newest."""
    return (_compacted if asked < error.resource_version else _future)(asked, error)


# What an apiserver answers, and what the store's contract calls it.
REFUSALS: dict[tuple[str, type[ApiError]], Callable[[int, ApiError], StoreError]] = {
    ("create", AlreadyExists): _conflict,
    ("update", Conflict): _conflict,
    ("update", NotFound): _conflict,
    ("delete", Conflict): _conflict,
    ("delete", NotFound): _conflict,
    ("list", Expired): _compacted,
    ("list", Timeout): _future,  # "Too large resource version": it was waited for.
    ("watch", Expired): _compacted_or_future,
    ("compact", Expired): _compacted,
    ("compact", BadRequest): _future,
    ("digest", Expired): _compacted,
    ("digest", BadRequest): _future,
}


@contextmanager
def refusals(verb: str, asked: int | None) -> Iterator[None]:
    """In the store's words. What is not in the table is no refusal that the contract knows."""
    try:
        yield
    except ApiError as error:
        if (verb, type(error)) not in REFUSALS:
            raise
        raise REFUSALS[verb, type(error)](asked or 0, error) from error


def item_of(obj: Object) -> Item:
    return Item(f"{obj.namespace}/{obj.name}", obj.rest["data"]["payload"], obj.resource_version, obj.uid)


def _place(key: str) -> ObjectKey:
    group, name = key.split("/")
    return ObjectKey(SYSTEM, group, name)


def _scope(prefix: str) -> dict[str, str]:
    return {"tenant": SYSTEM, "namespace": prefix.removesuffix("/")} if prefix else {}


class PartitionSubject(Subject):
    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._host = partition.host
        self._administration = Administration(partition)
        self._keys: dict[str, None] = {}  # Those that exist, as far as we have written.
        self._held = False

    async def write(self, *writes: Write) -> list[int]:
        keys = dict(self._keys)
        operations = [self._operation(write, keys) for write in writes]
        if all(write.expected is None for write in writes):
            self._keys = keys  # They cannot be refused, and the next write may come before the answer.
        results = await self._partition.mutate(*operations)
        for write, operation, result in zip(writes, operations, results, strict=True):
            with refusals(operation.WhichOneof("verb"), write.expected):
                raise_for_error(result)
        self._keys = keys
        return [result.resource_version for result in results]

    @staticmethod
    def _operation(write: Write, keys: dict[str, None]) -> pb.Operation:
        place = _place(write.key)
        if isinstance(write, Delete):
            keys.pop(write.key, None)
            return delete_operation(CONFIGMAPS, place, resource_version=write.expected or 0)
        creates = write.key not in keys if write.expected is None else not write.expected
        keys[write.key] = None
        precondition = {"resourceVersion": str(write.expected)} if write.expected else {}
        obj = Object.from_dict(config(place.name, write.value, namespace=place.namespace, **precondition))
        return create_operation(obj) if creates else update_operation(obj)

    async def get(self, key: str, revision: int | None = None) -> Item | None:
        place = _place(key)
        if revision is None:
            try:
                return item_of(await self._read(self._partition.get, CONFIGMAPS, place.name, *place[:2]))
            except NotFound:
                return None
        # As with Kubernetes: of one object, too, an older state is got by a list.
        listed = await self._list(key.partition("/")[0] + "/", revision, field_selector=f"metadata.name={place.name}")
        return next(map(item_of, listed.items), None)

    async def range(
        self, prefix: str = "", *, revision: int | None = None, limit: int = 0, following: Any = None
    ) -> Page:
        options = {"continue_token": following} if following else {}
        listed = await self._list(prefix, revision, limit=limit, **options)
        return Page([item_of(obj) for obj in listed.items], listed.resource_version, listed.continue_token or None)

    async def _list(self, prefix: str, revision: int | None, **options: Any) -> Any:
        if revision is not None:
            options |= {"resource_version": str(revision), "exact": True}
        with refusals("list", revision):
            if revision is not None and revision > self._host.head():
                return await self._ask_once(CONFIGMAPS, **_scope(prefix), **options)
            # What the cache has not got is read from the store, in steps with pauses.
            pauses = revision is not None or "continue_token" in options
            return await self._read(self._partition.list, CONFIGMAPS, pauses=pauses, **_scope(prefix), **options)

    async def _ask_once(self, resource: str, **options: Any) -> Any:
        """A client asks again for a revision that is to come, half a minute long: that is not what is tested here."""
        # More than an answer takes, and less than an answer and a pause.
        once = 1.0 if self._partition.turn_seconds < 0.1 else 4.0
        with mock.patch.object(reads, "UNARY_TIMEOUT_SECONDS", once):
            while True:
                try:
                    return await self._partition.while_time_passes(self._partition.list, resource, **options)
                except Unreachable:  # The machine is busy.
                    continue

    async def _read(self, read: Callable[..., Any], *arguments: Any, pauses: bool = False, **options: Any) -> Any:
        """One that pauses, or has to wait for a commit that is held, needs somebody to move the clock."""
        if pauses or self._held:
            return await self._partition.while_time_passes(read, *arguments, **options)
        return await read(*arguments, **options)

    def watch(self, prefix: str, after: int) -> Watching:
        watching = self._partition.watch(CONFIGMAPS, resource_version=after, **_scope(prefix))
        return _PartitionWatching(self._partition, watching, prefix, after)

    async def compact(self, revision: int) -> None:
        with refusals("compact", revision):
            await self._partition.while_time_passes(self._administration.compact, resource_version=revision)

    async def forget(self, revision: int) -> None:
        await self.compact(revision)
        self._host.forget(revision)

    async def digest(self, revision: int | None = None) -> str:
        with refusals("digest", revision):
            reply = await self._partition.while_time_passes(self._administration.digest, resource_version=revision or 0)
        return reply.digest

    def log(self) -> list[Record]:
        return self._host.log()

    def hold_commits(self) -> None:
        self._host.hold_commits()
        self._held = True

    def release_commits(self) -> None:
        self._held = False
        self._host.release_commits()

    def staged_head(self) -> int:
        return self._host.staged_head()

    async def turn(self) -> None:
        await self._partition.turn()


class _PartitionWatching(Watching):
    def __init__(self, partition: Partition, watching: PartitionWatching, prefix: str, after: int) -> None:
        super().__init__(prefix, after)
        self._partition = partition
        self._watching = watching
        self._stopped = False

    @property
    def deliveries(self) -> list[tuple[list[Event], int]]:
        """With a bookmark each: that of its last event, if no other came with it."""
        deliveries, bookmark = [], self.after
        for told, revision in self._watching.deliveries:
            # The object of an event, also that of a deletion, has the event's own revision.
            assert all(event.revision == event.object.resource_version for event in told)
            events = [Event(event.type, *item_of(event.object)) for event in told]
            bookmark = revision or (events[-1].revision if events else bookmark)
            deliveries.append((events, bookmark))
        return deliveries

    async def settle(self) -> None:
        if self._stopped:
            await self._partition.turn()
            return
        await self._partition.settled(self._watching)
        if self._watching.error is not None:
            with refusals("watch", self.after):
                raise self._watching.error

    def stop(self) -> None:
        self._stopped = True
        self._watching.stop()


@asynccontextmanager
async def open_partition(open_subject: OpenSubject, role: Role) -> AsyncIterator[PartitionSubject]:
    async with open_subject(role) as partition:
        for group in GROUPS:
            await partition.create(namespace(group))
        yield PartitionSubject(partition)
