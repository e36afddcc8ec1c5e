"""Whose turn it is: every request asks here before it runs.

A request whose seats are free, and before which nobody waits, runs at once, in the call that brought it. Others wait in
the queue of their flow, and are started from the loop when seats are given back; or refused, with TooManyRequests, when
their queue is full or their time is up.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client.core import Metric

from ...proto.errors import (
    CONCURRENCY_LIMIT,
    QUEUE_FULL,
    TIME_OUT,
    ApiError,
    Cause,
    InternalError,
    TooManyRequests,
)
from ..pacing import Runtime
from ..requests.request import Request
from .fair_queues import OVER, RUNNING, WAITING, FairQueues, Flow, Ticket
from .levels import FlowOptions
from .tallies import Tally, metrics

log = logging.getLogger("ursa.flow")

# Flows that are remembered, so that a request is not classified anew each time. Those that are idle are forgotten when
# there are more: users come and go.
FLOWS_MAX = 4096
# Seats that a list or a watch holds while its client reads are given back after this time, whether it has read or not.
# Clients give up after half of it.
HELD_SECONDS_MAX = 60.0
# A time that is over but for the rounding of a clock is over.
ROUNDING_SECONDS = 1e-6

# Why else a request had no turn, as Kubernetes' metrics say it.
CANCELLED = "cancelled"

_Key = tuple[str, str, str]


class FlowControl:
    """See the module. `runtime` has the clock of the requests."""

    def __init__(self, runtime: Runtime, options: FlowOptions | None = None) -> None:
        self._runtime = runtime
        self._monotonic = runtime.monotonic
        self._options = options or FlowOptions()
        self._queues = {level.name: FairQueues(level) for level in self._options.levels}
        self._tallies: dict[str, Tally] = {}  # By schema.
        self._flows: dict[_Key, Flow] = {}  # By user, verb and resource; several of these may be one flow.
        self._by_user: dict[tuple[str, str], Flow] = {}  # By schema and user.
        self._due: dict[str, None] = {}  # Levels that will be looked at soon.
        self._dispatching: dict[str, None] = {}  # Levels whose requests are being started.
        self._timed: dict[str, None] = {}  # Levels with a timer for those who wait.
        self._held: dict[Ticket, tuple[float, Callable[[], None]]] = {}  # Which must come back in time, oldest first.
        self._taking_back = False  # There is a timer for it.
        self._stopped: ApiError | None = None

    def submit(
        self,
        request: Request,
        seats: int,
        start: Callable[[Ticket], None],
        refuse: Callable[[ApiError], None],
        *,
        resource: str = "",
    ) -> Ticket:
        """Call `start`, now or when it is this request's turn; or `refuse`, with TooManyRequests.

        What `start` raises now is the caller's. Raised later it is what `refuse` is called with.
        """
        key = (request.caller.user, request.verb, resource)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._classified(key)
        queues = flow.queues
        request.level = queues.level.name
        if seats > queues.flow_seats:
            seats = int(queues.flow_seats)
        ticket = Ticket(self, flow, seats, request.arrived_at, start, refuse)
        if not queues.admit(ticket):
            self._wait(ticket)
            return ticket
        flow.tally.at_once += 1
        try:
            start(ticket)
        except BaseException:
            ticket.release()
            raise
        return ticket

    def give_back(self, ticket: Ticket) -> None:
        """The seats of a ticket, or its place in the queue."""
        queues = ticket.flow.queues
        if ticket.state == WAITING:
            self._leave(ticket, CANCELLED)
        elif ticket.state == RUNNING:
            seconds = self._monotonic() - ticket.started_at
            queues.end(ticket, seconds)
            ticket.flow.tally.ran.observe(seconds)
            if self._held:
                self._held.pop(ticket, None)
        if queues.contenders:
            self._dispatch_soon(queues)

    def expect_back(self, ticket: Ticket, overdue: Callable[[], None]) -> None:
        """It runs for as long as its client likes, but not for ever: then its seats are taken back, and `overdue` is
        called."""
        if not self._taking_back:
            self._taking_back = True
            self._runtime.call_later(HELD_SECONDS_MAX, self._take_back)
        self._held[ticket] = (self._runtime.monotonic() + HELD_SECONDS_MAX, overdue)

    def others_run(self, ticket: Ticket) -> bool:
        """Whether other requests are under way."""
        own = ticket.flow.queues
        return any(queues.in_use > (ticket.seats if queues is own else 0) for queues in self._queues.values())

    def stop(self, error: ApiError) -> None:
        """Refuse all who wait, and who come."""
        self._stopped = error
        for queues in self._queues.values():
            for ticket in list(queues.waiting):
                self._leave(ticket, CANCELLED)
                ticket.refuse(error)

    def metrics(self) -> Iterable[Metric]:
        levels = [(name, queues.seats) for name, queues in self._queues.items()]
        in_use = Counter[str]()
        for flow in self._by_user.values():
            in_use[flow.tally.schema] += flow.in_use
        return metrics(list(self._tallies.values()), in_use, levels)

    def _take_back(self) -> None:
        now = self._runtime.monotonic() + ROUNDING_SECONDS
        while self._held:
            ticket = next(iter(self._held))
            until, overdue = self._held[ticket]
            if until > now:
                self._runtime.call_later(until - now, self._take_back)
                return
            ticket.release()
            overdue()
        self._taking_back = False

    # ------------------------------------------------------------------------------------------------ classification

    def _classified(self, key: _Key) -> Flow:
        if len(self._flows) >= FLOWS_MAX:
            self._flows = {each: flow for each, flow in self._flows.items() if not flow.idle}
            self._by_user = {each: flow for each, flow in self._by_user.items() if not flow.idle}
        schema = self._options.schema_of(*key)
        of_user = (schema.name, key[0])
        flow = self._by_user.get(of_user)
        if flow is None:
            tally = self._tallies.get(schema.name)
            if tally is None:
                tally = self._tallies[schema.name] = Tally(schema.name, schema.level)
            flow = self._by_user[of_user] = Flow(self._queues[schema.level], tally)
        self._flows[key] = flow
        return flow

    # ------------------------------------------------------------------------------------------------------- waiting

    def _wait(self, ticket: Ticket) -> None:
        queues, tally = ticket.flow.queues, ticket.flow.tally
        if self._stopped is not None:
            ticket.state = OVER
            ticket.refuse(self._stopped)
            return
        ticket.arrived_at = self._runtime.monotonic()  # A list may have waited for its revision before.
        if not queues.wait(ticket):
            ticket.state = OVER
            reason = QUEUE_FULL if queues.level.queue_length else CONCURRENCY_LIMIT
            tally.rejected[reason] += 1
            ticket.refuse(self._refusal(queues, reason))
            return
        tally.waiting += 1
        self._set_timer(queues)
        if queues.level.name in self._due:
            # Seats have just been given back, and who waits for them only had not been started yet.
            self._dispatch(queues)

    def _leave(self, ticket: Ticket, reason: str) -> None:
        """It has waited in vain."""
        tally = ticket.flow.tally
        ticket.flow.queues.withdraw(ticket)
        tally.waiting -= 1
        tally.rejected[reason] += 1
        tally.waited_in_vain.observe(self._runtime.monotonic() - ticket.arrived_at)

    def _refusal(self, queues: FairQueues, reason: str) -> TooManyRequests:
        why = {
            QUEUE_FULL: "as many requests of yours wait as may",
            CONCURRENCY_LIMIT: "all its seats are taken",
            TIME_OUT: f"your turn did not come within {self._options.wait_seconds_max:g} s",
        }[reason]
        message = f"too many requests in priority level {queues.level.name}: {why}: ask again later, or less often"
        retry_after_ms = self._options.retry_after_ms
        return TooManyRequests(message, causes=[Cause("", message, reason)], retry_after_ms=retry_after_ms)

    def _set_timer(self, queues: FairQueues) -> None:
        name = queues.level.name
        if queues.waiting and name not in self._timed:
            self._timed[name] = None
            oldest = next(iter(queues.waiting)).arrived_at
            seconds = oldest + self._options.wait_seconds_max - self._runtime.monotonic()
            self._runtime.call_later(max(0.0, seconds), partial(self._on_timer, queues))

    def _on_timer(self, queues: FairQueues) -> None:
        del self._timed[queues.level.name]
        since = self._runtime.monotonic() - self._options.wait_seconds_max + ROUNDING_SECONDS
        while queues.waiting and (oldest := next(iter(queues.waiting))).arrived_at <= since:
            self._leave(oldest, TIME_OUT)
            oldest.refuse(self._refusal(queues, TIME_OUT))
        self._set_timer(queues)
        if queues.contenders:
            self._dispatch_soon(queues)

    # --------------------------------------------------------------------------------------------------------- turns

    def _dispatch_soon(self, queues: FairQueues) -> None:
        """From the loop: not in the middle of what the request does that has just ended."""
        if queues.level.name not in self._due:
            self._due[queues.level.name] = None
            self._runtime.call_later(0.0, partial(self._dispatch, queues))

    def _dispatch(self, queues: FairQueues) -> None:
        name = queues.level.name
        self._due.pop(name, None)
        if name in self._dispatching:
            return  # Whoever does so goes on until nobody fits.
        self._dispatching[name] = None
        try:
            while (ticket := queues.next()) is not None:
                self._start(ticket)
        finally:
            del self._dispatching[name]

    def _start(self, ticket: Ticket) -> None:
        now = self._runtime.monotonic()
        tally = ticket.flow.tally
        tally.waiting -= 1
        tally.waited.observe(now - ticket.arrived_at)
        ticket.started_at = now
        try:
            ticket.start(ticket)
        except ApiError as error:
            ticket.release()
            ticket.refuse(error)
        except Exception as error:
            log.exception("a request failed whose turn had come")
            ticket.release()
            ticket.refuse(InternalError(f"the partition failed on this request: {error!r}"))
