"""Writes: from batches and their answers, on however many streams, to one record for each operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, had_no_turn
from ...proto.kinds import EVENTS_STORE, MAIN_STORE
from ...proto.leases import LEASES
from .notes import Direction, Link
from .objects import Texts, crc_of, store_of
from .records import OK, UNKNOWN, Fence, Record, Write


class _Pending:
    """An operation on its way. `lost`: a stream ended without its answer, so it may have been carried out.

    `refused`: the last answer was that it had no turn; the client may send it again.
    """

    __slots__ = ("lost", "refused", "scaled", "write")

    def __init__(self, write: Write, *, scaled: bool) -> None:
        self.write = write
        self.lost = False
        self.refused: Write | None = None
        self.scaled = scaled  # What comes back is a Scale, not the object.


class Batches:
    """The writes of all clients. Feed it notes of Mutate streams, and of unary writes, in their order."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        # Those with an id, by client, partition and id; and what each stream waits for, by the number of the batch.
        self._pending: dict[tuple[str, str, bytes], _Pending] = {}
        self._streams: dict[int, dict[int, list[_Pending]]] = {}

    def read(self, time: float, link: Link, direction: Direction, what: Any) -> Iterator[Record]:
        batches = self._streams.setdefault(link.number, {})
        if direction is Direction.SENT:
            number, request = what
            fence = self._fence_of(request)
            batches[number] = [self._sent(time, link, operation, fence) for operation in request.operations]
        elif direction is Direction.RECEIVED:
            for reply in what:
                yield from self._answered(time, batches.pop(reply.batch, []), reply)
        elif direction is Direction.REFUSED and link.method == "Write" and isinstance(what, ApiError):
            del self._streams[link.number]
            for pending in (each for batch in batches.values() for each in batch):
                yield self._done(pending, _refused(pending.write, time, what.status))
        elif direction is Direction.CLOSED:
            del self._streams[link.number]
            for pending in (each for batch in batches.values() for each in batch):
                pending.lost = True
                if not pending.write.request_id:
                    yield _unknown(pending.write)

    def close(self) -> Iterator[Record]:
        for pending in self._pending.values():
            yield pending.refused if pending.refused is not None and not pending.lost else _unknown(pending.write)
        for batches in self._streams.values():
            for pending in (each for batch in batches.values() for each in batch if not each.write.request_id):
                yield _unknown(pending.write)
        self._pending.clear()
        self._streams.clear()

    def _fence_of(self, request: pb.MutateRequest) -> Fence | None:
        if not request.HasField("fence"):
            return None
        fence, shared = request.fence, self._texts.shared
        key = self._texts.key(LEASES, fence.tenant, fence.namespace, fence.name)
        return key, shared(fence.uid), fence.term, shared(fence.holder)

    def _sent(self, time: float, link: Link, operation: pb.Operation, fence: Fence | None) -> _Pending:
        name = link.client, link.partition, operation.request_id
        known = self._pending.get(name) if operation.request_id else None
        if known is not None:
            return known
        write = self._write(time, link, operation)
        pending = _Pending(write if fence is None else write._replace(fence=fence), scaled=_is_scaled(operation))
        if operation.request_id:
            self._pending[name] = pending
        return pending

    def _write(self, time: float, link: Link, operation: pb.Operation) -> Write:
        verb = operation.WhichOneof("verb") or ""
        resource = self._texts.shared(operation.resource)
        write = Write(
            link.client,
            link.partition,
            time,
            inf,
            verb,
            resource,
            "",
            operation.request_id,
            dry_run=operation.dry_run,
            store=store_of(resource),
        )
        if verb in ("create", "update"):
            metadata = (operation.create if verb == "create" else operation.update).object.metadata
            asked = (metadata.uid, metadata.resource_version) if verb == "update" else ("", 0)
            key = self._texts.key(resource, metadata.tenant, metadata.namespace, metadata.name)
            return write._replace(key=key, uid_asked=asked[0], revision_asked=asked[1])
        if verb == "transfer":
            metadata = operation.transfer.object.metadata
            return write._replace(key=self._texts.key(resource, metadata.tenant, metadata.namespace, metadata.name))
        if verb in ("patch", "delete", "bind", "evict"):
            request = getattr(operation, verb)
            target = request.target
            key = self._texts.key(resource, target.tenant, target.namespace, target.name)
            if verb == "patch":
                return write._replace(key=key)
            asked_of = request.preconditions
            return write._replace(key=key, uid_asked=asked_of.uid, revision_asked=asked_of.resource_version)
        return write

    def _answered(self, time: float, batch: Sequence[_Pending], reply: pb.MutateReply) -> Iterator[Record]:
        if reply.forgotten:
            for pending in batch:
                yield self._done(pending, _unknown(pending.write))
            return
        incarnations = _incarnations(reply.position)
        for pending, result in zip(batch, reply.results, strict=False):
            error = result.error if result.HasField("error") else None
            write = pending.write
            if error is not None and had_no_turn(error) and write.request_id:
                pending.refused = _refused(write, time, error)
                continue
            incarnation = self._texts.shared(incarnations.get(write.store, ""))
            if error is not None:
                yield self._done(pending, _refused(write._replace(incarnation=incarnation), time, error))
                continue
            crc = crc_of(result.object) if result.HasField("object") and not pending.scaled else 0
            key = write.key + self._texts.shared(result.name) if write.key.endswith("/") else write.key
            revision, uid = result.resource_version, result.uid
            yield self._done(
                pending,
                write._replace(
                    incarnation=incarnation, ret=time, code=OK, key=key, revision=revision, uid=uid, crc=crc
                ),
            )

    def _done(self, pending: _Pending, write: Write) -> Write:
        self._pending.pop((write.client, write.partition, write.request_id), None)
        return write


def _refused(write: Write, time: float, error: pb.Status) -> Write:
    return write._replace(
        ret=time, code=error.code, reason=error.reason, found=error.resource_version, found_key=error.key
    )


def _unknown(write: Write) -> Write:
    return write._replace(ret=inf, code=UNKNOWN)


def _is_scaled(operation: pb.Operation) -> bool:
    verb = operation.WhichOneof("verb")
    return verb in ("update", "patch") and getattr(operation, verb).subresource == "scale"


def _incarnations(position: str) -> dict[str, str]:
    """Which store has answered. A client must not look into a position; a judge may (partitions/writes/outcomes.py)."""
    parts = [part.rpartition(":")[0] for part in position.split(" ")] if position else []
    return dict(zip((MAIN_STORE, EVENTS_STORE), parts, strict=False)) if len(parts) > 1 else _of_one(parts)


def _of_one(parts: list[str]) -> dict[str, str]:
    """A partition that keeps everything in its main store."""
    return {MAIN_STORE: parts[0], EVENTS_STORE: parts[0]} if parts else {}
