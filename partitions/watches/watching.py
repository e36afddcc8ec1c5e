"""Watch streams: the server's end of one, its starts and stops, and whose turn it is to say something.

Each store of a partition has revisions of its own, so a stream carries the watches on each in a lane of its own
(`lane.py`): a reply speaks of one lane, and its bookmark is for that lane's watches.
"""

from __future__ import annotations

from collections.abc import Callable

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, BadRequest, NotFound, TooManyRequests
from ...proto.kinds import Role
from ...proto.sessions import Caller
from ..flow import FlowControl, Ticket
from ..history import Histories
from ..requests.audit import RequestLog
from ..requests.request import Phase, Request, parse_request
from ..selections import CompiledSelection, compile_selection
from .lane import UNREAD_ENDS_MAX, Lane

WATCHES_PER_STREAM_MAX = 100_000


class WatchSession:
    """The server's end of one Watch stream: a `sessions.ServerStream`."""

    def __init__(
        self,
        histories: Histories,
        role: Role,
        caller: Caller,
        log: RequestLog,
        flow: FlowControl,
        clock: Callable[[], float],
        wake: Callable[[], None],
        on_close: Callable[[WatchSession], object],
    ) -> None:
        self._caller = caller
        self._log = log
        self._flow = flow
        self._clock = clock
        # Watches with many initial objects that wait for their turn, by id.
        self._queued: dict[int, Ticket] = {}
        # Starts whose first events, of those with initial events all of them, have not been taken yet: as one request.
        self._starting: Request | None = None
        self._role = role
        self._wake = wake
        self._on_close = on_close
        self._histories = histories
        self._lanes = {history.name: Lane(history, wake) for history in histories}
        self._requests_ended = False
        self._closed = False

    # ---------------------------------------------------------------------------------------------- requests

    def receive(self, data: bytes) -> None:
        timed = self._starting or Request(self._caller, "watch", self._clock)
        timed.bytes_in += len(data)
        timed.enter(Phase.ADMISSION)
        try:
            request = parse_request(pb.WatchRequest, data)
            self._take_in(request, timed)
        except ApiError as error:
            self._starting = None
            self._log.refused(timed, error)
            raise
        timed.enter(Phase.WRITE)
        if timed.counts:
            self._starting = timed
        self._wake()

    def _take_in(self, request: pb.WatchRequest, timed: Request) -> None:
        for stop in request.stop:
            if (ticket := self._queued.pop(stop.id, None)) is not None:
                ticket.release()
            for lane in self._lanes.values():
                lane.drop(stop.id)
        for start in request.start:
            if not all(lane.is_read for lane in self._lanes.values()):
                raise TooManyRequests(f"{UNREAD_ENDS_MAX} watches have ended that you have not read of: read first")
            used = start.id in self._queued or any(start.id in lane.watches for lane in self._lanes.values())
            if not start.id or used:
                raise BadRequest(f"watch id {start.id} is zero or in use on this stream; choose another")
            code = self._start(start)
            what = "watch", start.selection.resource, code
            timed.counts[what] = timed.counts.get(what, 0) + 1

    def end_requests(self) -> None:
        self._requests_ended = True
        self._wake()

    def _start(self, start: pb.WatchStart) -> int:
        lane = self._lanes[self._histories.main.name]
        try:
            if len(self._queued) + sum(len(lane.watches) for lane in self._lanes.values()) >= WATCHES_PER_STREAM_MAX:
                raise BadRequest(f"a stream carries at most {WATCHES_PER_STREAM_MAX} watches; open another stream")
            selection = compile_selection(start.selection, self._role, self._histories.kinds)
            lane = self._lanes[self._histories.of(selection.kind).name]
            seats = lane.seats(start, selection)
            if seats:
                self._ask_turn(lane, start, selection, seats)
            else:
                lane.start(start, selection)
        except ApiError as error:
            lane.end(start.id, error)
            return error.code
        return 200

    def _ask_turn(self, lane: Lane, start: pb.WatchStart, selection: CompiledSelection, seats: int) -> None:
        """Start a watch with many initial objects when it is its turn. Raises as `Lane.start` does, if that is now."""

        def begin(ticket: Ticket) -> None:
            self._queued.pop(start.id, None)
            if not lane.serves(selection):
                raise NotFound(f"the kind {start.selection.resource} is no longer defined")
            lane.start(start, selection, ticket)
            self._wake()

        def refuse(error: ApiError) -> None:
            self._queued.pop(start.id, None)
            lane.end(start.id, error)
            self._wake()

        request = Request(self._caller, "watch", self._clock)
        ticket = self._flow.submit(request, seats, begin, refuse, resource=start.selection.resource)
        if ticket.waits:
            self._queued[start.id] = ticket

    # ----------------------------------------------------------------------------------------------- replies

    @property
    def has_news(self) -> bool:
        return any(lane.has_news for lane in self._lanes.values())

    def wake_if_news(self) -> None:
        if self.has_news:
            self._wake()

    def want_bookmark(self) -> None:
        """A quiet stream still learns, every few seconds, how far it is complete."""
        for lane in self._lanes.values():
            lane.want_bookmark()
        self.wake_if_news()

    def take(self) -> bytes | None:
        """The main store's news first: it is worth more than Events, and there is a bounded amount of it."""
        starting = self._starting
        if starting is not None:
            return self._take_first(starting)
        for lane in self._lanes.values():
            if (reply := lane.take()) is not None:
                return reply
        return None

    def _take_first(self, starting: Request) -> bytes | None:
        """What the watches that were just started are sent first is their request's answer."""
        starting.enter(Phase.ENCODE)
        for lane in self._lanes.values():
            if (reply := lane.take()) is not None:
                starting.bytes_out += len(reply)
                starting.enter(Phase.WRITE)
                return reply
        self._starting = None
        self._log.answered(starting, starting.counts)
        return None

    @property
    def finished(self) -> bool:
        return self._closed or (self._requests_ended and not self.has_news and not self._queued)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for ticket in self._queued.values():
                ticket.release()
            self._queued.clear()
            for lane in self._lanes.values():
                lane.drop_all()
            if self._starting is not None:
                self._log.abandoned(self._starting, self._starting.counts)
                self._starting = None
            self._on_close(self)

    def end(self, error: ApiError) -> None:
        """End every watch with an error, for instance when the server stops."""
        for lane in self._lanes.values():
            lane.end_all(error)
        self._wake()
