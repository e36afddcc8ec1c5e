"""Batches of writes: applied at once, answered when they are durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, BadRequest, Conflict, Expired, TooManyRequests
from ...proto.sessions import Caller
from ..admission import Admission, Session, Unanswered, Webhooks
from ..admission.webhook_calls import CALLS_AT_ONCE_MAX
from ..admission.webhooks import Answer as WebhookAnswer
from ..admission.webhooks import Answers, Ask
from ..flow import FlowControl, Ticket, seats_of_operations
from ..history import Histories, History
from ..pacing import Runtime
from ..requests.audit import RequestLog
from ..requests.request import Counts, Phase, Request, parse_request
from ..state import State
from .outcomes import Writers
from .ownership import Writer

OPERATIONS_PER_BATCH_MAX = 256
# Ursa's own clients have one in flight; what is beyond this would only wait here, in memory.
BATCHES_PER_STREAM_MAX = 64
# Mutating webhooks are asked one after the other; and some more times, should the object change meanwhile.
WEBHOOK_ROUNDS_MAX = 5


class Answer:
    """A reply that waits until what it says is durable: each of some histories up to a revision, the main one first."""

    __slots__ = ("_awaited", "counts", "reply")

    def __init__(self, awaited: Sequence[tuple[History, int]], reply: bytes, counts: Counts) -> None:
        self._awaited = awaited
        self.reply = reply
        self.counts = counts

    @property
    def durable(self) -> bool:
        for history, revision in self._awaited:  # noqa: SIM110 - asked of every stream at every commit
            if history.cache.head < revision:
                return False
        return True

    @property
    def last_awaited(self) -> History:
        """Answers with the same one become durable in the order in which they were made."""
        return self._awaited[-1][0]


class _Run:
    """A batch that is being applied, up to where it is."""

    __slots__ = ("answers", "batch", "counts", "done", "encode_seconds", "reply", "request", "rounds", "writer")

    def __init__(self, batch: pb.MutateRequest, request: Request, now_ms: int, done: Callable[[Answer], None]) -> None:
        self.batch = batch
        self.request = request
        fence = batch.fence if batch.HasField("fence") else None
        # Of operations that say no more of theirs.
        self.writer = Writer(now_ms=now_ms, agent=request.caller.agent, fence=fence)
        self.done = done
        self.reply = pb.MutateReply(batch=batch.batch, writer=batch.writer)  # Has the results so far.
        self.counts: Counts = {}
        self.answers: Answers = {}
        self.rounds = 0  # Of asking about one write.
        self.encode_seconds = 0.0


class Mutator:
    """Applies batches to the newest state."""

    def __init__(
        self,
        state: State,
        histories: Histories,
        runtime: Runtime,
        admission: Admission,
        webhooks: Webhooks,
        writers: Writers,
    ) -> None:
        self._state = state
        self._histories = histories
        self._runtime = runtime
        self._admission = admission
        self._webhooks = webhooks
        self._writers = writers

    def apply(self, batch: pb.MutateRequest, request: Request, done: Callable[[Answer], None]) -> None:
        """Carry out the operations, in order, each on its own.

        `done` gets the answer, at once but where webhooks must be asked. What comes before the write that they are
        asked about is not held up by it.
        """
        request.enter(Phase.ADMISSION)
        if batch.resent_behind and not self._state.outcomes.knows_behind(batch.resent_behind):
            done(self._forgotten(batch))
            return
        self._go_on(_Run(batch, request, self._runtime.wall_ms(), done))

    def _go_on(self, run: _Run) -> None:
        try:
            # It may have waited, for its turn or for webhooks.
            self._writers.require_newest(run.batch.writer, run.batch.stream)
        except Conflict as error:
            run.done(self.refused(run.batch, error))
            return
        encoding = self._state.encoding
        encoded_before = encoding.seconds
        request = run.request
        asks = self._apply(run)
        self._state.settle()
        run.encode_seconds += encoding.seconds - encoded_before
        if asks:
            for history in self._concerned(run.counts):
                history.poke()
            self._ask(run, asks)
            return
        request.enter(Phase.ENCODE)
        request.move(run.encode_seconds, Phase.ADMISSION, Phase.ENCODE)
        run.reply.position = self._state.outcomes.position
        reply = run.reply.SerializeToString(deterministic=True)
        awaited = self._concerned(run.counts)
        request.enter(Phase.STORE)
        for history in awaited:
            history.poke()
        # Even a refusal waits: it may rest on a change that is not durable yet.
        run.done(Answer([(history, history.store.staged_head) for history in awaited], reply, run.counts))

    def _apply(self, run: _Run) -> Sequence[Ask]:
        """Carry out the operations from where the run is: all, or up to one about which these must be asked first."""
        operations, results, counts = run.batch.operations, run.reply.results, run.counts
        done = len(results)
        for operation in operations[done:] if done else operations:
            code = 200
            result = results.add()
            try:
                self._attempt(run, operation, result)
            except ApiError as error:
                error.trace = run.request.trace
                result.Clear()
                result.error.CopyFrom(error.status)
                code = error.code
            except Unanswered as missing:
                del results[-1]
                return missing.asks
            run.rounds = 0
            what = operation.WhichOneof("verb") or "", operation.resource, code
            counts[what] = counts.get(what, 0) + 1
        return ()

    def _resume(self, run: _Run) -> None:
        if not self._webhooks.closed:
            self._go_on(run)

    def _attempt(self, run: _Run, operation: pb.Operation, result: pb.Result, *, dry_run: bool = False) -> None:
        """Raises ApiError: refused. Unanswered: webhooks must be asked first."""
        if not self._admission.active:
            self._state.apply(operation, run.writer, result)
            return
        session = Session(self._admission, operation, run.request.caller, run.answers)
        # Planning changes what it is given, and it may have to be planned again.
        self._state.give_name(operation)
        attempt = pb.Operation()
        attempt.CopyFrom(operation)
        attempt.dry_run = attempt.dry_run or dry_run
        self._state.apply(attempt, run.writer, result, session)

    def _ask(self, run: _Run, asks: Sequence[Ask]) -> None:
        """Ask what stands in the way of the next write, and with it what the writes behind it would ask now."""
        run.rounds += 1
        wanted = {ask.key: ask for ask in asks}
        if run.rounds > WEBHOOK_ROUNDS_MAX + self._admission.hooks.count:
            refusal = Conflict("the object changed again and again while webhooks were asked about it: try again")
            run.answers.update({key: WebhookAnswer(refusal) for key in wanted})
            self._go_on(run)
            return
        behind = len(run.reply.results) + 1
        subjects = {_subject(run.batch.operations[behind - 1]): None}
        for operation in run.batch.operations[behind : behind + CALLS_AT_ONCE_MAX]:
            subject = _subject(operation)
            if subject in subjects:
                continue  # It will be another object by then.
            subjects[subject] = None
            try:
                self._attempt(run, operation, pb.Result(), dry_run=True)
            except Unanswered as missing:
                wanted.update((ask.key, ask) for ask in missing.asks)
            except ApiError:
                continue  # It is refused, or rests on what comes before it: seen when it is its turn.
        waiting = dict.fromkeys(wanted)

        def answered(key: str, answer: WebhookAnswer) -> None:
            run.answers[key] = answer
            del waiting[key]
            if not waiting:
                # Not from here: a caller may answer at once, and one write after the other would go ever deeper.
                self._runtime.call_later(0.0, lambda: self._resume(run))

        for key, ask in wanted.items():
            self._webhooks.ask(ask, partial(answered, key))

    def _forgotten(self, batch: pb.MutateRequest) -> Answer:
        """Part of it may have been carried out before, too long ago to tell. Nothing is now."""
        reply = pb.MutateReply(batch=batch.batch, position=self._state.outcomes.position, forgotten=True)
        return Answer([(self._histories.main, 0)], reply.SerializeToString(), counts_of(batch, Expired.code))

    def refused(self, batch: pb.MutateRequest, error: ApiError) -> Answer:
        """The answer to a batch that did not get its turn: nothing was applied."""
        counts = counts_of(batch, error.code)
        results = [pb.Result(error=error.status) for _ in batch.operations]
        position = self._state.outcomes.position
        reply = pb.MutateReply(results=results, batch=batch.batch, position=position).SerializeToString()
        return Answer([(self._histories.main, 0)], reply, counts)

    def _concerned(self, counts: Counts) -> list[History]:
        """What a batch rests on: the main history (of Events, their namespaces), and others that it wrote to."""
        others = {self._histories.of_resource(resource): None for _, resource, _ in counts}
        others.pop(self._histories.main, None)
        return [self._histories.main, *others]


def _subject(operation: pb.Operation) -> tuple[str, ...]:
    """The object that an operation is about."""
    verb = operation.WhichOneof("verb")
    if verb is None or verb == "delete_collection":
        return (operation.resource,)
    request = getattr(operation, verb)
    names = request.object.metadata if verb in ("create", "update", "transfer") else request.target
    return operation.resource, names.tenant, names.namespace, names.name


def counts_of(batch: pb.MutateRequest, code: int) -> Counts:
    """As if all of its operations had come to the same."""
    counts: Counts = {}
    for operation in batch.operations:
        what = operation.WhichOneof("verb") or "", operation.resource, code
        counts[what] = counts.get(what, 0) + 1
    return counts


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


class BatchWriter:
    """Takes batches through flow control to the mutator."""

    def __init__(
        self, mutator: Mutator, flow: FlowControl, clock: Callable[[], float], log: RequestLog, writers: Writers
    ) -> None:
        self._mutator = mutator
        self._flow = flow
        self._clock = clock
        self._log = log
        self._writers = writers

    def opened(self, message: pb.MutateRequest) -> None:
        """A stream says whose it is, or asks to be named. Raises BadRequest, Conflict: see `Writers`."""
        if not message.writer:
            message.writer = self._writers.new_name()
        self._writers.opened(message.writer, message.stream)

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
            self._mutator.apply(batch.message, batch.request, answered)

        def answered(answer: Answer) -> None:
            batch.answer = answer
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
        writer: BatchWriter,
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
        self._writer_name, self._stream = b"", 0

    def receive(self, data: bytes) -> None:
        if len(self._waiting) + len(self._batches) >= BATCHES_PER_STREAM_MAX:
            raise TooManyRequests(f"{BATCHES_PER_STREAM_MAX} batches of this stream have no answer yet: wait for one")
        batch = self._writer.parse(data, self._caller)
        if batch.message.stream:
            self._writer.opened(batch.message)
            self._writer_name, self._stream = batch.message.writer, batch.message.stream
        batch.message.writer, batch.message.stream = self._writer_name, self._stream
        self._waiting.append(batch)
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
