"""All writes of a client, on one Mutate stream.

`mutate` puts its operations into a line; whenever no batch is in flight the front of the line, up to 256 operations,
goes out as one message. So many tasks that write at once share messages, and what arrives while a batch is on its way
is the next batch. There is no timer: the partition paces its commits, and clients fall into the same rhythm (measured:
one batch in flight is cheaper than two).

A batch that had no turn at a partition with too much to do waits as long as it is told to, then goes out again.

When the link is lost, the batch in flight may or may not have been applied. It is sent again on the next stream, just
as it was: each of its operations has an id, by which the partition knows what it has done already, and answers that
again instead of doing it again. So it happens once. Only when there is no answer within `WRITE_SECONDS_MAX`, or when
the partition says that it was too long ago for it to know, its calls get OutcomeUnknown. What still stands in the line
was sent nowhere and waits for the next stream, up to `WRITE_SECONDS_MAX`, then gets Unreachable.
A write may name the history that it was decided on. A partition that was set back to an older snapshot has begun
another one by the time it is reached again, and such a write would be about things that are not so any more: it is not
sent, and gets Unreachable.
A write may bear the term of the leader that asks for it (fencing.py). It goes with its batch, so writes of different
terms do not share one; sent again, it is in the term in which it was sent first.
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
from .contact import Contact
from .links import OPEN_SECONDS_MAX, Link
from .metrics import BATCH_BUCKETS, histogram
from .transport.interface import Transport

# The contract's limit. Larger batches were measured to gain nothing.
BATCH_OPERATIONS_MAX = 256

# So that 256 large objects do not make a message that links refuse. One operation above it travels alone.
BATCH_BYTES_MAX = 1024 * 1024

# A partition that was killed is back within seconds. A caller that waits longer than this wants to know.
WRITE_SECONDS_MAX = 30.0

# An operation's id is the name of its writer, which no other writer has, and its number. It is stored with the object.
COUNTER_BYTES = 5
# Of a trace id: as much of the writer as tells those of one partition apart.
TRACE_LENGTH = 8


class _Call:
    """One `mutate`, and how far it has got. `sent` counts operations taken out of the line."""

    __slots__ = ("abandoned", "done", "error", "fence", "give_up_at", "history", "operations", "results", "sent")

    def __init__(
        self, operations: Sequence[pb.Operation], give_up_at: float, history: str, fence: pb.Fence | None
    ) -> None:
        self.operations = operations
        self.history = history  # The incarnation that it is for; empty: any.
        self.fence = fence  # The term that it is of; those of one batch share it.
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


@dataclass(slots=True)
class _Unanswered:
    """A batch that was sent, perhaps more than once. `behind`: where the partition was when it was sent first."""

    request: pb.MutateRequest
    parts: list[_Part]
    behind: str
    give_up_at: float


class Mutations(Link):
    """See the module. `mutate` may be called by any task while `run` runs."""

    method = "Mutate"

    def __init__(self, transport: Transport, actor: Actor, contact: Contact | None = None) -> None:
        super().__init__(transport, actor, contact)
        # Its length is bounded by the callers: each waits for its own answer.
        self._line: deque[_Call] = deque()
        self._batch = 0  # The newest sent.
        self._awaited = False  # Its answer is still to come.
        self._unanswered: _Unanswered | None = None
        self._writer = b""  # Our name, as the partition gave it to us.
        self._streams = 0  # How many have been tried.
        self._operations = 0  # How many have been sent, for their ids.
        self._position = ""  # Of the partition, by its newest answer.
        self._proven = False  # The stream has answered something.
        self._closed = False
        self._batch_operations = histogram(
            actor.registry,
            "ursa_client_batch_operations",
            "Operations in a batch of writes.",
            ["host"],
            BATCH_BUCKETS,
        ).labels(self.partition)

    async def mutate(
        self,
        operations: Sequence[pb.Operation],
        *,
        history: str = "",
        fence: pb.Fence | None = None,
        unsent_seconds_max: float = WRITE_SECONDS_MAX,
    ) -> list[pb.Result]:
        """Write. A caller that is cancelled before its operations were sent takes them out of the line.

        `unsent_seconds_max`: while there is no link they wait for one no longer than this.

        Raises:
            Unreachable, OutcomeUnknown: see the module.
        """
        if self._closed:
            raise Unreachable(self.partition, "the client has been closed")
        if not operations:
            await trio.lowlevel.checkpoint()
            return []
        call = _Call(operations, self._now() + unsent_seconds_max, history, fence)
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
        return bool(self._line or self._unanswered)

    def _next_message(self) -> pb.MutateRequest | None:
        self._drop_abandoned()
        if self._awaited or not (self._line or self._unanswered):
            return None
        now = self._now()
        if now < self._wake_at < math.inf:
            return None
        self._wake_at = math.inf
        if self._proven and self._unanswered is None:
            self._drop_foreign()
            if not self._line:
                return None
        self._awaited = True
        self._batch += 1
        if not self._proven:
            self._streams += 1
            self._expect_by(min(now + OPEN_SECONDS_MAX, self._give_up_at()))
            return pb.MutateRequest(batch=self._batch, writer=self._writer, stream=self._streams)
        unanswered = self._unanswered
        if unanswered is None:
            unanswered = self._unanswered = self._next_batch(now)
        unanswered.request.batch = self._batch
        self._expect_by(unanswered.give_up_at)
        return unanswered.request

    def _receive(self, message: pb.MutateReply) -> None:
        unanswered = self._unanswered if self._proven else None  # Else it is the answer to the first, empty one.
        parts, results = [] if unanswered is None else unanswered.parts, message.results
        expected = 0 if message.forgotten else sum(part.count for part in parts)
        if not self._awaited or message.batch != self._batch or len(results) != expected:
            raise Unreachable(
                self.partition,
                f"answered batch {message.batch} with {len(results)} results where {self._batch} was the newest sent: "
                "client and partition are of different versions",
            )
        self._expect_by(math.inf)
        self._proven, self._awaited, self._position = True, False, message.position
        self._writer = message.writer or self._writer
        if unanswered is not None:
            self._answered(unanswered, message)
        if self._line or self._unanswered:
            self._wake()

    def _lost(self, error: UrsaError) -> None:
        self._proven = self._awaited = False
        self._wake_at = math.inf
        unanswered = self._unanswered
        if unanswered is None:
            return
        if not (unanswered.behind and self._writer):
            self._fail_unanswered(f"the link was lost before the answer to a write ({error})")
        elif all(part.call.abandoned for part in unanswered.parts):
            self._fail_unanswered("nobody waits for it any more")
        else:
            unanswered.request.resent_behind = unanswered.behind

    def _give_up_at(self) -> float:
        waiting = min((call.give_up_at for call in self._line), default=math.inf)
        return waiting if self._unanswered is None else min(waiting, self._unanswered.give_up_at)

    def _give_up(self, error: UrsaError) -> None:
        now = trio.current_time()
        if self._unanswered is not None and self._unanswered.give_up_at <= now:
            self._fail_unanswered(f"no answer to a write within {WRITE_SECONDS_MAX:g} s ({error})")
        for call in [each for each in self._line if each.give_up_at <= now]:
            self._line.remove(call)
            self._fail_waiting(call, f"no link in time ({error})")

    # ------------------------------------------------------------------------------------------------------ details

    def _drop_abandoned(self) -> None:
        while self._line and self._line[0].abandoned:
            self._line.popleft()

    def _drop_foreign(self) -> None:
        """What is for another history than this stream's."""
        histories = [part.rpartition(":")[0] for part in self._position.split(" ")]
        for call in [each for each in self._line if each.history and each.history not in histories]:
            self._line.remove(call)
            self._fail_waiting(call, "the partition has begun another history than the one it was for")

    def _answered(self, unanswered: _Unanswered, message: pb.MutateReply) -> None:
        results = message.results
        no_turn = bool(results) and had_no_turn(results[0].error)
        if no_turn and self._may_wait(unanswered, results[0].error.retry_after_ms / 1000):
            return
        if message.forgotten:
            self._fail_unanswered("the link was lost before the answer to a write, too long ago for the partition")
            return
        if no_turn and unanswered.request.resent_behind:
            self._fail_unanswered("the link was lost before the answer to a write, and the partition is busy since")
            return
        self._unanswered = None
        position = 0
        for part in unanswered.parts:
            part.call.answer(results[position : position + part.count])
            position += part.count

    def _may_wait(self, unanswered: _Unanswered, seconds: float) -> bool:
        """A batch that had no turn goes out again, if its callers can wait so long."""
        again_at = trio.current_time() + seconds
        if again_at >= unanswered.give_up_at:
            return False
        self._wake_at = again_at
        return True

    def _fail_unanswered(self, why: str) -> None:
        if self._unanswered is None:
            return
        parts, self._unanswered = self._unanswered.parts, None
        for part in parts:
            part.call.fail(OutcomeUnknown(self.partition, why))
        # The rest of a call that was cut into batches goes with its beginning.
        while self._line and self._line[0].error is not None:
            self._line.popleft()

    def _next_batch(self, now: float) -> _Unanswered:
        request = pb.MutateRequest(trace=f"{self._writer.hex()[:TRACE_LENGTH]}-{self._batch}")
        parts = self._take_batch(request)
        for operation in request.operations:
            if self._writer and not operation.request_id:
                self._operations += 1
                operation.request_id = self._writer + self._operations.to_bytes(COUNTER_BYTES, "big")
        self._batch_operations.observe(len(request.operations))
        return _Unanswered(request, parts, self._position, now + WRITE_SECONDS_MAX)

    def _take_batch(self, request: pb.MutateRequest) -> list[_Part]:
        """The front of the line, which is not empty, becomes the batch in flight."""
        parts: list[_Part] = []
        room, room_bytes = BATCH_OPERATIONS_MAX, BATCH_BYTES_MAX
        while self._line and room and room_bytes > 0:
            call = self._line[0]
            if call.abandoned:
                self._line.popleft()
                continue
            if parts and call.fence is not parts[0].call.fence:
                break
            chunk = call.operations[call.sent : call.sent + room]
            count = 0
            for operation in chunk:
                room_bytes -= operation.ByteSize()
                if room_bytes < 0 and (count or parts):
                    break
                count += 1
            if not count:
                break
            if call.fence is not None and not parts:
                request.fence.CopyFrom(call.fence)
            request.operations.extend(chunk[:count])
            parts.append(_Part(call, count))
            call.sent += count
            room -= count
            if call.sent == len(call.operations):
                self._line.popleft()
        return parts

    def _fail_waiting(self, call: _Call, why: str) -> None:
        if call.sent:
            call.fail(
                OutcomeUnknown(self.partition, f"only {call.sent} of {len(call.operations)} writes went out: {why}")
            )
        else:
            call.fail(Unreachable(self.partition, why))

    def _close(self) -> None:
        self._closed = True
        self._fail_unanswered("the client has been closed before the answer to a write")
        while self._line:
            self._fail_waiting(self._line.popleft(), "the client has been closed")
