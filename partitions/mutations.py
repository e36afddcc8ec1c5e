"""Batches of writes: applied at once, answered when they are durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, BadRequest, TooManyRequests
from ..proto.sessions import Caller
from .audit import RequestLog
from .flow import FlowControl, Ticket, seats_of_operations
from .history import Histories, History
from .pacing import Runtime
from .requests import Counts, Phase, Request, parse_request
from .state import State

OPERATIONS_PER_BATCH_MAX = 256
# Ursa's own clients have one in flight; what is beyond this would only wait here, in memory.
BATCHES_PER_STREAM_MAX = 64


class Answer:
    """A reply that waits until what it says is durable: each of some histories up to a revision, the main one first."""

    __slots__ = ("_awaited", "counts", "reply")

    def __init__(self, awaited: Sequence[tuple[History, int]], reply: bytes, counts: Counts) -> None:
        self._awaited = awaited
        self.reply = reply
        self.counts = counts

    @property
    def durable(self) -> bool:
        return all(history.cache.head >= revision for history, revision in self._awaited)

    @property
    def last_awaited(self) -> History:
        """Answers with the same one become durable in the order in which they were made."""
        return self._awaited[-1][0]


class Mutator:
    """Applies batches to the newest state."""

    def __init__(
        self,
        state: State,
        histories: Histories,
        runtime: Runtime,
    ) -> None:
        self._state = state
        self._histories = histories
        self._runtime = runtime

    def apply(self, batch: pb.MutateRequest, request: Request) -> Answer:
        """Carry out the operations, in order, each on its own."""
        request.enter(Phase.ADMISSION)
        now_ms = self._runtime.wall_ms()
        encoding = self._state.encoding
        encoded_before = encoding.seconds
        counts: Counts = Counts()
        results = []
        for operation in batch.operations:
            code = 200
            try:
                result = self._state.apply(operation, now_ms, request.caller.agent)
            except ApiError as error:
                error.trace = request.trace
                result = pb.Result(error=error.status)
                code = error.code
            results.append(result)
            counts[operation.WhichOneof("verb") or "", operation.resource, code] += 1
        self._state.settle()
        request.enter(Phase.ENCODE)
        request.move(encoding.seconds - encoded_before, Phase.ADMISSION, Phase.ENCODE)
        reply = pb.MutateReply(results=results, batch=batch.batch).SerializeToString(deterministic=True)
        awaited = self._concerned(counts)
        request.enter(Phase.STORE)
        for history in awaited:
            history.poke()
        # Even a refusal waits: it may rest on a change that is not durable yet.
        return Answer([(history, history.store.staged_head) for history in awaited], reply, counts)

    def refused(self, batch: pb.MutateRequest, error: ApiError) -> Answer:
        """The answer to a batch that did not get its turn: nothing was applied."""
        counts = counts_of(batch, error.code)
        results = [pb.Result(error=error.status) for _ in batch.operations]
        reply = pb.MutateReply(results=results, batch=batch.batch).SerializeToString()
        return Answer([(self._histories.main, 0)], reply, counts)

    def _concerned(self, counts: Counts) -> list[History]:
        """What a batch rests on: the main history (of Events, their namespaces), and others that it wrote to."""
        others = {self._histories.of_resource(resource): None for _, resource, _ in counts}
        others.pop(self._histories.main, None)
        return [self._histories.main, *others]


def counts_of(batch: pb.MutateRequest, code: int) -> Counts:
    """As if all of its operations had come to the same."""
    return Counts((operation.WhichOneof("verb") or "", operation.resource, code) for operation in batch.operations)


class Batch:
    """A batch of writes from its arrival to its answer."""

    __slots__ = ("answer", "message", "refusal", "request", "ticket")

    def __init__(self, message: pb.MutateRequest, request: Request) -> None:
        self.message = message
        self.request = request
        self.answer: Answer | None = None
        self.refusal: ApiError | None = None  # It had no turn.
        self.ticket: Ticket | None = None

    @property
    def durable(self) -> bool:
        if self.answer is None or not self.answer.durable:
            return False
        if self.request.phase is Phase.STORE:
            self.request.enter(Phase.WRITE)
        return True

    def release(self) -> None:
        if self.ticket is not None:
            self.ticket.release()


class Writer:
    """Takes batches through flow control to the mutator."""

    def __init__(self, mutator: Mutator, flow: FlowControl, clock: Callable[[], float], log: RequestLog) -> None:
        self._mutator = mutator
        self._flow = flow
        self._clock = clock
        self._log = log

    def parse(self, data: bytes, caller: Caller) -> Batch:
        """Raises BadRequest: no batch, or too large a one."""
        request = Request(caller, "mutate", self._clock, len(data))
        try:
            message = parse_request(pb.MutateRequest, data)
            if len(message.operations) > OPERATIONS_PER_BATCH_MAX:
                raise BadRequest(f"a batch takes at most {OPERATIONS_PER_BATCH_MAX} operations, send them in several")
        except BadRequest as error:
            self._log.refused(request, error)
            raise
        request.trace = message.trace or caller.trace
        return Batch(message, request)

    def submit(self, batch: Batch, applied: Callable[[], None]) -> None:
        """`applied` is called, now or later, when the batch has its answer; that it is durable comes after."""

        def start(ticket: Ticket) -> None:
            batch.ticket = ticket  # Already: it may be durable, and answered, before this returns.
            batch.answer = self._mutator.apply(batch.message, batch.request)
            applied()

        def refuse(error: ApiError) -> None:
            batch.refusal = error
            batch.answer = self._mutator.refused(batch.message, error)
            applied()

        operations = batch.message.operations
        seats, resource = seats_of_operations(len(operations)), operations[0].resource if operations else ""
        batch.ticket = self._flow.submit(batch.request, seats, start, refuse, resource=resource)

    def answered(self, batch: Batch) -> bytes:
        """The reply, which is on its way."""
        answer = batch.answer
        assert answer is not None, "it is durable"
        batch.request.bytes_out = len(answer.reply)
        if batch.message.operations:  # One without any only asks whether the stream lives.
            self._log.answered(batch.request, answer.counts)
        batch.release()
        return answer.reply

    def abandon(self, batch: Batch) -> None:
        """Nobody waits for the answer any more."""
        batch.release()
        if batch.message.operations:
            self._log.abandoned(batch.request, counts_of(batch.message, 0))


class MutateSession:
    """The server's end of one Mutate stream: a `sessions.ServerStream`. Batches are applied in order, one by one."""

    def __init__(
        self,
        writer: Writer,
        caller: Caller,
        wake: Callable[[], None],
        on_close: Callable[[MutateSession], object],
    ) -> None:
        self._writer = writer
        self._caller = caller
        self._wake = wake
        self._on_close = on_close
        self._waiting: deque[Batch] = deque()  # Still to be submitted: the one before them has no answer yet.
        self._batches: deque[Batch] = deque()  # Submitted, and not yet answered.
        self._submitting = False
        self._requests_ended = False
        self._closed = False

    def receive(self, data: bytes) -> None:
        if len(self._waiting) + len(self._batches) >= BATCHES_PER_STREAM_MAX:
            raise TooManyRequests(f"{BATCHES_PER_STREAM_MAX} batches of this stream have no answer yet: wait for one")
        self._waiting.append(self._writer.parse(data, self._caller))
        self._submit()

    def end_requests(self) -> None:
        self._requests_ended = True
        self._wake()

    def wake_if_durable(self) -> None:
        if self._batches and self._batches[0].durable:
            self._wake()

    def take(self) -> bytes | None:
        if not self._batches or not self._batches[0].durable:
            return None
        return self._writer.answered(self._batches.popleft())

    @property
    def finished(self) -> bool:
        return self._closed or (self._requests_ended and not self._batches and not self._waiting)

    def close(self) -> None:
        """The client is gone; what was applied stays applied, what waits for its turn is not."""
        if not self._closed:
            self._closed = True
            waiting = [*self._batches, *self._waiting]
            self._batches.clear()
            self._waiting.clear()
            for batch in waiting:
                self._writer.abandon(batch)
            self._on_close(self)

    def _submit(self) -> None:
        if self._submitting or self._closed:
            return
        self._submitting = True
        while self._waiting and (not self._batches or self._batches[-1].answer is not None):
            batch = self._waiting.popleft()
            self._batches.append(batch)
            # When it has its answer it is the next one's turn; often that is at once, and this loop goes on.
            self._writer.submit(batch, self._submit)
        self._submitting = False
        self.wake_if_durable()
