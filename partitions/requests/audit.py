"""What became of every request: counted, laid open by phase, and kept for whoever asks which client this is.

    answered ──> metrics        histograms of the whole, and of each phase
            ├──> RequestTable   by user, program, verb and resource: the last minute or two
            ├──> slow           the newest of those that took long, and a line in the log for each
            └──> AuditSink      one line a request, where somebody wants them

All of it is bounded: rows, slow ones, lines a second. A batch of writes is one request.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple, Protocol

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError
from ...proto.kinds import KindTable
from ..metrics import ApiMetrics
from ..pacing import Runtime, TokenBucket
from .request import Counts, Phase, Request
from .request_table import RequestTable, Split

# Kubernetes' objective for requests that read or write one object.
SLOW_SECONDS = 1.0
# What a person reads through. Older ones are in the log.
SLOW_KEPT_MAX = 256
# A disk that stands still makes every request slow: a log of it must not make it worse.
SLOW_LINES_PER_SECOND = 10.0
SLOW_LINES_BURST = 50.0
OK = 200
# As nginx calls it: the client went away before its answer.
CLIENT_GONE = 499
# Of what a client says of itself. Longer ones are cut.
TEXT_LENGTH_MAX = 128

log = logging.getLogger("ursa.requests")


class Answered(NamedTuple):
    """A request that is over. `counts`: how many operations by (verb, resource, code)."""

    time_ms: int
    trace: str
    user: str
    agent: str
    level: str
    verb: str
    counts: tuple[tuple[str, str, int, int], ...]
    seconds: float
    split: Split
    bytes_in: int
    bytes_out: int

    @property
    def code(self) -> int:
        """The worst."""
        return max((code for _, _, code, _ in self.counts), default=OK)


class AuditSink(Protocol):
    """Takes every request that is over. It must not wait."""

    def put(self, answered: Answered) -> None: ...


class RequestLog:
    """See the module. `sink` None: no audit."""

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        metrics: ApiMetrics,
        kinds: KindTable,
        *,
        sink: AuditSink | None = None,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        self._name = name
        self._runtime = runtime
        self._metrics = metrics
        self._kinds = kinds
        self._sink = sink
        self._slow_seconds = slow_seconds
        self._table = RequestTable(runtime.monotonic())
        self._slow: deque[Answered] = deque(maxlen=SLOW_KEPT_MAX)
        self._lines = TokenBucket(SLOW_LINES_PER_SECOND, SLOW_LINES_BURST, runtime.monotonic())
        self._lines_left_out = 0

    def answered(self, request: Request, counts: Counts) -> None:
        """The request is over: all of its answer has been taken. To be called once."""
        if not all(self._kinds.get(resource) for _, resource, _ in counts):
            counts = self._of_kinds(counts)
        request.enter(Phase.WRITE)
        now = self._runtime.monotonic()
        seconds = now - request.arrived_at
        split = tuple(request.seconds)
        self._metrics.count_requests(counts, seconds)
        self._metrics.count_phases(request.verb, split)
        caller = request.caller
        user, agent = caller.user[:TEXT_LENGTH_MAX], caller.agent[:TEXT_LENGTH_MAX]
        self._table.add(now, user, agent, request.level, counts, seconds, split, request.bytes_in, request.bytes_out)
        slow = seconds >= self._slow_seconds
        if not slow and self._sink is None:
            return
        answered = Answered(
            self._runtime.wall_ms(),
            request.trace[:TEXT_LENGTH_MAX],
            user,
            agent,
            request.level,
            request.verb,
            tuple((verb, resource, code, number) for (verb, resource, code), number in counts.items()),
            seconds,
            split,
            request.bytes_in,
            request.bytes_out,
        )
        if self._sink is not None:
            self._sink.put(answered)
        if slow:
            self._slow.append(answered)
            self._warn(answered, now)

    def _of_kinds(self, counts: Counts) -> Counts:
        """A client may call a resource whatever it likes: what there is not has one name in all tables, and none."""
        if all(self._kinds.get(resource) is not None for _, resource, _ in counts):
            return counts
        known: Counts = {}
        for (verb, resource, code), number in counts.items():
            what = verb, resource if self._kinds.get(resource) else "", code
            known[what] = known.get(what, 0) + number
        return known

    def refused(self, request: Request, error: ApiError, resource: str = "") -> None:
        """Like `answered`, of a request that was answered with an error alone."""
        self.answered(request, {(request.verb, resource, error.code): 1})

    def abandoned(self, request: Request, counts: Counts) -> None:
        """Like `answered`, of a request whose client went away before the end of the answer."""
        gone: Counts = {}
        for (verb, resource, _), number in counts.items():
            what = verb, resource, CLIENT_GONE
            gone[what] = gone.get(what, 0) + number
        self.answered(request, gone)

    def reply(self, request: pb.RequestsRequest) -> pb.RequestsReply:
        """Who asks for what."""
        seconds, rows = self._table.rows(self._runtime.monotonic())
        slow_max = request.slow_max or SLOW_KEPT_MAX
        return pb.RequestsReply(
            name=self._name,
            seconds=seconds,
            rows=rows,
            slow=[_slow_request(each) for each in islice(reversed(self._slow), slow_max)],
            slow_seconds=self._slow_seconds,
        )

    def _warn(self, answered: Answered, now: float) -> None:
        if not self._lines.take(now):
            self._lines_left_out += 1
            return
        if self._lines_left_out:
            log.warning("%s: %d more slow requests had no line here", self._name, self._lines_left_out)
            self._lines_left_out = 0
        log.warning("%s: slow request: %s", self._name, described(answered))


def described(answered: Answered) -> str:
    """In a line, for people."""
    phases = ", ".join(f"{phase.name.lower()} {answered.split[phase]:.3f}" for phase in Phase)
    level = f" at {answered.level}" if answered.level else ""
    trace = f", trace {answered.trace}" if answered.trace else ""
    return (
        f"{answered.seconds:.3f} s for {_counted(answered.counts)} by {answered.user or 'nobody'} "
        f"({answered.agent or 'unnamed program'}){level}: {phases}; "
        f"{answered.bytes_in} bytes in, {answered.bytes_out} out{trace}"
    )


def _counted(counts: Iterable[tuple[str, str, int, int]]) -> str:
    parts = [f"{number} x {verb} {resource} ({code})" for verb, resource, code, number in counts]
    return ", ".join(parts) or "nothing"


def _slow_request(answered: Answered) -> pb.SlowRequest:
    return pb.SlowRequest(
        time_ms=answered.time_ms,
        trace=answered.trace,
        user=answered.user,
        agent=answered.agent,
        level=answered.level,
        counts=[
            pb.RequestCount(verb=verb, resource=resource, code=code, count=number)
            for verb, resource, code, number in answered.counts
        ],
        seconds=answered.seconds,
        split=pb.PhaseSeconds(**{phase.name.lower(): answered.split[phase] for phase in Phase}),
        bytes_in=answered.bytes_in,
        bytes_out=answered.bytes_out,
    )
