"""All writes of a client, on one Mutate stream.

`mutate` puts its operations into a line; whenever no batch is in flight the front of the line, up to 256 operations,
goes out as one message. So many tasks that write at once share messages, and what arrives while a batch is on its way
is the next batch. There is no timer: the partition paces its commits, and clients fall into the same rhythm (measured:
one batch in flight is cheaper than two).

A batch that had no turn at a partition with too much to do waits as long as it is told to, then goes out again.

When the link is lost, the batch in flight may or may not have been applied: its calls get OutcomeUnknown. What still
stands in the line was sent nowhere and waits for the next stream, up to `WRITE_SECONDS_MAX`, then gets Unreachable.
A stream can be opened, and swallow a message, before there is a link under it; so a new one is tried with an empty
batch first, and nobody's writes become uncertain because a partition is down.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from ..proto import ursa_pb2 as pb
from ..proto.errors import LinkError, OutcomeUnknown, Unreachable, UrsaError, had_no_turn
from .actor import Actor
from .links import OPEN_SECONDS_MAX, Link
from .metrics import BATCH_BUCKETS, histogram
from .transport.interface import Transport

# The contract's limit. Larger batches were measured to gain nothing.
BATCH_OPERATIONS_MAX = 256

# So that 256 large objects do not make a message that links refuse. One operation above it travels alone.
BATCH_BYTES_MAX = 1024 * 1024

# A partition that was killed is back within seconds. A caller that waits longer than this wants to know.
WRITE_SECONDS_MAX = 30.0


class _Call:
    """One `mutate`, and how far it has got. `sent` counts operations taken out of the line."""

    __slots__ = ("abandoned", "done", "error", "give_up_at", "operations", "results", "sent")

    def __init__(self, operations: Sequence[pb.Operation], give_up_at: float) -> None:
        self.operations = operations
        self.give_up_at = give_up_at
        self.sent = 0
        self.results: list[pb.Result] = []
        self.error: LinkError | None = None
        self.abandoned = False
        self.done = trio.Event()

    def answer(self, results: Sequence[pb.Result]) -> None:
        self.results.extend(results)
        if len(self.results) == len(self.operations):
            self.done.set()

    def fail(self, error: LinkError) -> None:
        self.error = error
        self.done.set()


@dataclass(frozen=True, slots=True)
class _Part:
    """The operations of a batch that belong to one call."""

    call: _Call
    count: int


class Mutations(Link):
    """See the module. `mutate` may be called by any task while `run` runs."""

    method = "Mutate"

    def __init__(self, transport: Transport, actor: Actor) -> None:
        super().__init__(transport, actor)
        # Its length is bounded by the callers: each waits for its own answer.
        self._line: deque[_Call] = deque()
        self._batch = 0  # The newest sent.
        self._awaited = False  # Its answer is still to come; these are its operations.
        self._in_flight: list[_Part] = []
        self._proven = False  # The stream has answered something.
        self._closed = False
        self._batch_operations = histogram(
            actor.registry,
            "ursa_client_batch_operations",
            "Operations in a batch of writes.",
            ["host"],
            BATCH_BUCKETS,
        ).labels(self.partition)

    async def mutate(self, operations: Sequence[pb.Operation]) -> list[pb.Result]:
        """Write. A caller that is cancelled before its operations were sent takes them out of the line.

        Raises:
            Unreachable, OutcomeUnknown: see the module.
        """
        if self._closed:
            raise Unreachable(self.partition, "the client has been closed")
        if not operations:
            await trio.lowlevel.checkpoint()
            return []
        call = _Call(operations, trio.current_time() + WRITE_SECONDS_MAX)
        self._line.append(call)
        self._wake()
        try:
            await call.done.wait()
        except BaseException:
            call.abandoned = True
            raise
        if call.error is not None:
            raise call.error
        return call.results

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self._close()

    # ----------------------------------------------------------------------------------------------- what links ask

    def _wanted(self) -> bool:
        self._drop_abandoned()
        return bool(self._line)

    def _next_message(self) -> pb.MutateRequest | None:
        self._drop_abandoned()
        if self._awaited or not self._line:
            return None
        now = trio.current_time()
        if now < self._wake_at < math.inf:
            return None
        self._wake_at = math.inf
        self._awaited = True
        self._batch += 1
        request = pb.MutateRequest(batch=self._batch)
        if not self._proven:
            self._expect_by(min(now + OPEN_SECONDS_MAX, self._give_up_at()))
            return request
        self._take_batch(request)
        self._expect_by(now + WRITE_SECONDS_MAX)
        self._batch_operations.observe(len(request.operations))
        return request

    def _receive(self, message: pb.MutateReply) -> None:
        parts, results = self._in_flight, message.results
        if not self._awaited or message.batch != self._batch or len(results) != sum(part.count for part in parts):
            raise Unreachable(
                self.partition,
                f"answered batch {message.batch} with {len(results)} results where {self._batch} was the newest sent: "
                "client and partition are of different versions",
            )
        self._expect_by(math.inf)
        self._proven, self._awaited, self._in_flight = True, False, []
        if results and had_no_turn(results[0].error) and self._may_wait(parts, results[0].error.retry_after_ms / 1000):
            return
        position = 0
        for part in parts:
            part.call.answer(results[position : position + part.count])
            position += part.count
        if self._line:
            self._wake()

    def _lost(self, error: UrsaError) -> None:
        parts, self._in_flight = self._in_flight, []
        self._proven = self._awaited = False
        for part in parts:
            part.call.fail(OutcomeUnknown(self.partition, f"the link was lost before the answer to a write ({error})"))
        # The rest of a call that was cut into batches goes with its beginning.
        while self._line and self._line[0].error is not None:
            self._line.popleft()

    def _give_up_at(self) -> float:
        return self._line[0].give_up_at if self._line else math.inf

    def _give_up(self, error: UrsaError) -> None:
        now = trio.current_time()
        while self._line and self._line[0].give_up_at <= now:
            self._fail_waiting(self._line.popleft(), f"no link within {WRITE_SECONDS_MAX:g} s ({error})")

    # ------------------------------------------------------------------------------------------------------ details

    def _drop_abandoned(self) -> None:
        while self._line and self._line[0].abandoned:
            self._line.popleft()

    def _may_wait(self, parts: list[_Part], seconds: float) -> bool:
        """A batch that had no turn goes to the front of the line again, if its callers can wait so long."""
        again_at = trio.current_time() + seconds
        if any(again_at >= part.call.give_up_at for part in parts):
            return False
        for part in reversed(parts):
            part.call.sent -= part.count
            if not self._line or self._line[0] is not part.call:
                self._line.appendleft(part.call)
        self._wake_at = again_at
        self._wake()  # For the writer to hear of it.
        return True

    def _take_batch(self, request: pb.MutateRequest) -> None:
        """The front of the line, which is not empty, becomes the batch in flight."""
        room, room_bytes = BATCH_OPERATIONS_MAX, BATCH_BYTES_MAX
        while self._line and room and room_bytes > 0:
            call = self._line[0]
            if call.abandoned:
                self._line.popleft()
                continue
            chunk = call.operations[call.sent : call.sent + room]
            count = 0
            for operation in chunk:
                room_bytes -= operation.ByteSize()
                if room_bytes < 0 and (count or self._in_flight):
                    break
                count += 1
            if not count:
                break
            request.operations.extend(chunk[:count])
            self._in_flight.append(_Part(call, count))
            call.sent += count
            room -= count
            if call.sent == len(call.operations):
                self._line.popleft()

    def _fail_waiting(self, call: _Call, why: str) -> None:
        if call.sent:
            call.fail(
                OutcomeUnknown(self.partition, f"only {call.sent} of {len(call.operations)} writes went out: {why}")
            )
        else:
            call.fail(Unreachable(self.partition, why))

    def _close(self) -> None:
        self._closed = True
        self._lost(Unreachable(self.partition, "the client has been closed"))
        while self._line:
            self._fail_waiting(self._line.popleft(), "the client has been closed")
