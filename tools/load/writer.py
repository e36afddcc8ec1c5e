"""Writes on a schedule that never looks at how the partition fares (an open loop), and keeps what was acknowledged.

A load generator that is itself late measures itself: how late each write was sent is kept, and reported. One batch is
on its way at a time; what becomes due meanwhile is the next. A write that was not answered is repeated until it is: all
of them are of named objects, so that the second time says "there already" or "gone already".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import trio

from ...clients.backoff import Backoff
from ...clients.client import PartitionClient
from ...clients.mutations import BATCH_OPERATIONS_MAX
from ...proto import ursa_pb2 as pb
from ...proto.errors import (
    AlreadyExists,
    InternalError,
    LinkError,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    from_status,
)
from ..report.figures import percentile

# The partition's fault, or its state of the moment: the same write may succeed later.
_RETRIED = tuple(kind.reason for kind in (TooManyRequests, ServiceUnavailable, InternalError, Timeout))
# What a write is told that was done before, but not answered.
_DONE_BEFORE = {"create": AlreadyExists.reason, "delete": NotFound.reason}

Item = TypeVar("Item")


class PacedWriter(Generic[Item]):
    """Writes to one partition.

    Args:
        items: what to write, in order of `due_seconds`, which counts from the start given to `run`.
        make: the operation of an item, made when it is due.
        on_written: called with each item that the partition acknowledged, and its result.
    """

    def __init__(
        self,
        partition_client: PartitionClient,
        items: Sequence[Item],
        due_seconds: Callable[[Item], float],
        make: Callable[[Item], pb.Operation],
        on_written: Callable[[Item, pb.Result], None],
    ) -> None:
        self.late_ms: list[float] = []
        self._client = partition_client
        self._items = items
        self._due_seconds = due_seconds
        self._make = make
        self._on_written = on_written

    async def run(self, start: float) -> None:
        """Until everything has been acknowledged. `start` is in trio's time.

        Raises:
            ApiError: a write was refused for good.
        """
        written = 0
        while written < len(self._items):
            await trio.sleep_until(start + self._due_seconds(self._items[written]))
            now = trio.current_time()
            due = []
            for item in self._items[written : written + BATCH_OPERATIONS_MAX]:
                # The very sum that was slept until: the difference may be a rounding error below zero, for ever.
                due_at = start + self._due_seconds(item)
                if due_at > now:
                    break
                self.late_ms.append((now - due_at) * 1000)
                due.append(item)
            await self._write(due)
            written += len(due)

    async def _write(self, items: Sequence[Item]) -> None:
        backoff = Backoff(self._client.actor.random)
        while items:
            operations = [self._make(item) for item in items]
            try:
                results = await self._client.mutate(operations)
            except LinkError as error:
                self._client.actor.log.info("writing again: %s", error)
            else:
                answered = zip(items, operations, results, strict=True)
                items = [item for item, operation, result in answered if not self._settle(item, operation, result)]
            if items:
                await trio.sleep(backoff.next_seconds())

    def _settle(self, item: Item, operation: pb.Operation, result: pb.Result) -> bool:
        if not result.HasField("error"):
            self._on_written(item, result)
            return True
        if result.error.reason in _RETRIED:
            return False
        if result.error.reason == _DONE_BEFORE.get(operation.WhichOneof("verb") or ""):
            return True
        raise from_status(result.error)


def lateness_figures(late_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(late_ms)
    return {name: round(percentile(ordered, p), 3) for name, p in (("p50", 50), ("p99", 99), ("max", 100))}
