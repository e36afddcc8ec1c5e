"""Batches of writes: applied at once, answered when they are durable."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, BadRequest
from .history import Histories, History
from .metrics import ApiMetrics
from .pacing import Runtime
from .requests import parse_request
from .state import State

OPERATIONS_PER_BATCH_MAX = 256


class Answer:
    """A reply that waits until what it says is durable: each of some histories up to a revision, the main one first."""

    __slots__ = ("_awaited", "counts", "received_at", "reply")

    def __init__(
        self,
        awaited: Sequence[tuple[History, int]],
        reply: bytes,
        counts: Counter[tuple[str, str, int]],
        received_at: float,
    ) -> None:
        self._awaited = awaited
        self.reply = reply
        self.counts = counts  # Operations by (verb, resource, code).
        self.received_at = received_at

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
        metrics: ApiMetrics,
    ) -> None:
        self._state = state
        self._histories = histories
        self._runtime = runtime
        self._metrics = metrics

    def apply(self, data: bytes) -> Answer:
        """Raises BadRequest: no batch, or too large a one; nothing was applied."""
        received_at = self._runtime.monotonic()
        request = parse_request(pb.MutateRequest, data)
        if len(request.operations) > OPERATIONS_PER_BATCH_MAX:
            raise BadRequest(f"a batch takes at most {OPERATIONS_PER_BATCH_MAX} operations, send them in several")
        now_ms = self._runtime.wall_ms()
        counts: Counter[tuple[str, str, int]] = Counter()
        results = []
        for operation in request.operations:
            code = 200
            try:
                result = self._state.apply(operation, now_ms)
            except ApiError as error:
                result = pb.Result(error=error.status)
                code = error.code
            results.append(result)
            counts[operation.WhichOneof("verb") or "", operation.resource, code] += 1
        reply = pb.MutateReply(results=results, batch=request.batch).SerializeToString(deterministic=True)
        awaited = self._concerned(counts)
        for history in awaited:
            history.poke()
        # Even a refusal waits: it may rest on a change that is not durable yet.
        staged = [(history, history.store.staged_head) for history in awaited]
        return Answer(staged, reply, counts, received_at)

    def _concerned(self, counts: Counter[tuple[str, str, int]]) -> list[History]:
        """What a batch rests on: the main history (of Events, their namespaces), and others that it wrote to."""
        others = {self._histories.of_resource(resource): None for _, resource, _ in counts}
        others.pop(self._histories.main, None)
        return [self._histories.main, *others]

    def sent(self, answer: Answer) -> None:
        """The answer is on its way: count its operations."""
        self._metrics.count_requests(answer.counts, self._runtime.monotonic() - answer.received_at)


class MutateSession:
    """The server's end of one Mutate stream: a `sessions.ServerStream`."""

    def __init__(
        self,
        mutator: Mutator,
        wake: Callable[[], None],
        on_close: Callable[[MutateSession], object],
    ) -> None:
        self._mutator = mutator
        self._wake = wake
        self._on_close = on_close
        self._answers: deque[Answer] = deque()
        self._requests_ended = False
        self._closed = False

    def receive(self, data: bytes) -> None:
        self._answers.append(self._mutator.apply(data))
        self.wake_if_durable()

    def end_requests(self) -> None:
        self._requests_ended = True
        self._wake()

    def wake_if_durable(self) -> None:
        if self._answers and self._answers[0].durable:
            self._wake()

    def take(self) -> bytes | None:
        if not self._answers or not self._answers[0].durable:
            return None
        answer = self._answers.popleft()
        self._mutator.sent(answer)
        return answer.reply

    @property
    def finished(self) -> bool:
        return self._closed or (self._requests_ended and not self._answers)

    def close(self) -> None:
        """The client is gone; what it asked for stays applied."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
