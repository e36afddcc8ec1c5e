"""The seats of one level, and who gets the next ones.

Each flow (a user's requests under one schema) has a queue of its own; there is no shuffle sharding, because a queue
is only a dict and those of flows that are idle are forgotten. Fairness is that of CPU schedulers. What a flow has been
served is counted in seat-seconds when a request ends; until then a request counts as one that takes HORIZON_SECONDS.
The next request is that of the flow that has been served least:

    flow    served (s)   in use     tag = served + HORIZON * in use    next?
    alice   4.0          16         20.0
    bob     4.5          1          5.5
    carol   4.5          0          4.5                                yes

Carol has just come: who comes is taken to have been served as much as others, for nobody saves up while he is away.

A request that needs more seats than are free holds up those behind it, or large ones would never run. A flow that
holds its share already (`Level.flow_seats`) stands aside until one of its requests has ended.

So of two flows that both wait all the time, and whose requests can fill their share, neither is ahead of the other by
more than that share, held for as long as the longest request takes, or for the horizon; and a request waits at most
until each other flow has been served as much. There is no clock in here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Protocol

from ...proto.errors import ApiError
from .levels import Level
from .tallies import Tally

# Longer than most requests take: a flow gets no further seats on the strength of requests that have just begun.
HORIZON_SECONDS = 1.0
# Entries of the heap that are out of date are cleared away when there are so many more than others.
STALE_MIN = 64


class Owner(Protocol):
    """To whom tickets are given back."""

    def give_back(self, ticket: Ticket) -> None: ...

    def expect_back(self, ticket: Ticket, overdue: Callable[[], None]) -> None: ...


class Flow:
    """One user's requests under one schema."""

    __slots__ = ("in_use", "queues", "serial", "served", "tally", "waiting")

    def __init__(self, queues: FairQueues, tally: Tally) -> None:
        self.queues = queues
        self.tally = tally
        self.in_use = 0
        self.served = 0.0  # Seat-seconds, or where others were when it began to wait.
        self.waiting: dict[Ticket, None] = {}  # First come, first served.
        self.serial = 0  # Of its entry in the heap; 0: it has none.

    @property
    def idle(self) -> bool:
        return not self.in_use and not self.waiting


# Where a ticket is. Plain numbers: these are looked at for every request.
WAITING, RUNNING, OVER = 0, 1, 2


class Ticket:
    """The seats of one request. Given back once, when it is answered, or when nobody waits for it any more."""

    __slots__ = ("_owner", "arrived_at", "flow", "refuse", "seats", "start", "started_at", "state")

    def __init__(
        self,
        owner: Owner,
        flow: Flow,
        seats: int,
        arrived_at: float,
        start: Callable[[Ticket], None],
        refuse: Callable[[ApiError], None],
    ) -> None:
        self._owner = owner
        self.flow = flow
        self.seats = seats
        self.arrived_at = arrived_at
        self.started_at = arrived_at
        self.start = start
        self.refuse = refuse
        self.state = WAITING

    def release(self) -> None:
        """May be called twice, and while the request still waits for its turn: then it never runs."""
        if self.state is not OVER:
            self._owner.give_back(self)

    def expect_back(self, overdue: Callable[[], None]) -> None:
        """It is the client who decides when this request ends. If it takes too long the seats are taken back, and
        `overdue` is called."""
        self._owner.expect_back(self, overdue)

    @property
    def waits(self) -> bool:
        """Its turn is still to come."""
        return self.state == WAITING

    @property
    def level(self) -> str:
        return self.flow.queues.level.name


class FairQueues:
    """See the module."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.seats = math.inf if level.seats is None else level.seats
        self.flow_seats = math.inf if level.flow_seats is None else level.flow_seats
        self.in_use = 0
        self.waiting: dict[Ticket, None] = {}  # Of all flows, in order of arrival.
        self.contenders = 0  # Flows that wait, and not for their own requests.
        self._virtual = 0.0  # What the flow had been served that was last given its turn.
        self._heap: list[tuple[float, int, Flow]] = []
        self._serial = 0

    def admit(self, ticket: Ticket) -> bool:
        """Let a new request run, if its seats are free and nobody waits for them."""
        flow, seats = ticket.flow, ticket.seats
        if self.contenders or flow.waiting:
            return False
        if self.in_use + seats > self.seats or flow.in_use + seats > self.flow_seats:
            return False
        self._seat(ticket, flow, seats)
        return True

    def wait(self, ticket: Ticket) -> bool:
        """Put it at the end of its flow's queue. False: there is no room."""
        flow = ticket.flow
        if len(flow.waiting) >= self.level.queue_length or len(self.waiting) >= self.level.waiting_max:
            return False
        first = not flow.waiting
        flow.waiting[ticket] = self.waiting[ticket] = None
        if first:
            flow.served = max(flow.served, self._virtual)
            self._contend(flow)
        return True

    def withdraw(self, ticket: Ticket) -> None:
        """It waits no more."""
        ticket.state = OVER
        flow = ticket.flow
        del flow.waiting[ticket], self.waiting[ticket]
        self._contend(flow)

    def end(self, ticket: Ticket, seconds: float) -> None:
        """It ran for so long."""
        ticket.state = OVER
        flow = ticket.flow
        self.in_use -= ticket.seats
        flow.in_use -= ticket.seats
        flow.served += ticket.seats * seconds
        if flow.waiting:
            self._contend(flow)
        elif not self.waiting and flow.served > self._virtual:
            self._virtual = flow.served  # Nobody wanted these seats: whoever comes next starts from here, too.

    def next(self) -> Ticket | None:
        """Whose turn it is, if there are seats for it; they are taken."""
        heap = self._heap
        while heap:
            _, serial, flow = heap[0]
            if serial != flow.serial:
                heappop(heap)
                continue
            ticket = next(iter(flow.waiting))
            if self.in_use + ticket.seats > self.seats:
                return None
            del flow.waiting[ticket], self.waiting[ticket]
            self._seat(ticket, flow, ticket.seats)
            self._contend(flow)
            return ticket
        return None

    def _seat(self, ticket: Ticket, flow: Flow, seats: int) -> None:
        ticket.state = RUNNING
        self.in_use += seats
        flow.in_use += seats
        if flow.served > self._virtual:
            self._virtual = flow.served

    def _contend(self, flow: Flow) -> None:
        """Put a flow where it belongs now."""
        if flow.serial:
            flow.serial = 0
            self.contenders -= 1
        if not flow.waiting or flow.in_use + next(iter(flow.waiting)).seats > self.flow_seats:
            return
        self._serial += 1
        flow.serial = self._serial
        self.contenders += 1
        heap = self._heap
        if len(heap) > 2 * self.contenders + STALE_MIN:
            heap[:] = [entry for entry in heap if entry[1] == entry[2].serial]
            heapify(heap)
        heappush(heap, (flow.served + HORIZON_SECONDS * flow.in_use, flow.serial, flow))
