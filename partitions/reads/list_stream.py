"""The stream of a List: it may wait for a revision and then for its turn, and a long one is read in steps.

It holds its seats until its last chunk has been taken: that is what keeps a storm of lists from sharing the loop with
everybody else, all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, BadRequest, Timeout
from ..flow import FlowControl, Ticket, seats_of_objects
from ..requests.audit import CLIENT_GONE, OK, RequestLog
from ..requests.request import Phase, Request, parse_request
from . import listing
from .freshness import Waiting
from .listing import Lister, Query

# How long the loop is free between two steps of a list.
PAUSE_SECONDS = 0.001
# And between two chunks while other requests are under way. Measured beside one list after another of 20,000 pods: the
# p99 of a write is then less than twice what it is in quiet; with a pause of 1 ms it is 2.5 to 5 times, and 1.7 times
# as many lists are read.
GIVE_WAY_SECONDS = 0.005


class ListStream:
    """The server's end of one List: a `sessions.ServerStream`."""

    def __init__(
        self,
        lister: Lister,
        flow: FlowControl,
        log: RequestLog,
        request: Request,
        wake: Callable[[], None],
    ) -> None:
        self._lister = lister
        self._flow = flow
        self._log = log
        self._request = request
        self._logged = False
        self._ticket: Ticket | None = None
        self._wake = wake
        self._query: Query | None = None
        self._waiting: Waiting | None = None
        self._chunks: Iterator[bytes | None] | None = None
        self._refusal: ApiError | None = None
        self._pausing = False
        self._finished = False

    def receive(self, data: bytes) -> None:
        if self._query is not None:
            raise BadRequest("a List takes one request")
        self._request.bytes_in = len(data)
        self._request.enter(Phase.ADMISSION)
        try:
            self._begin(parse_request(pb.ListRequest, data))
        except ApiError as error:
            self._over(error.code)
            error.trace = self._request.trace
            raise

    def _begin(self, asked: pb.ListRequest) -> None:
        query = self._query = self._lister.query(asked)
        if query.history.cache.head < query.awaited:
            self._request.enter(Phase.STORE)
            self._waiting = query.history.freshness.wait(query.awaited, partial(self._reached, query))
            return
        self._ask_turn(query)
        self._wake()

    def end_requests(self) -> None:
        if self._query is None:
            self._finished = True
        self._wake()

    def take(self) -> bytes | None:
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self._fail(refusal)
            raise refusal
        if self._chunks is None or self._pausing:
            return None
        request = self._request
        request.enter(Phase.ENCODE)
        try:
            for chunk in self._chunks:
                request.enter(Phase.WRITE)
                if chunk is None:
                    self._pause(PAUSE_SECONDS)
                else:
                    request.bytes_out += len(chunk)
                    if len(chunk) >= listing.CHUNK_BYTES and self._others_run():
                        self._pause(GIVE_WAY_SECONDS)
                return chunk
        except ApiError as error:
            self._fail(error)
            raise
        self._over(OK)
        self.close()
        return None

    @property
    def finished(self) -> bool:
        return self._finished

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._ticket is not None:
            self._ticket.release()
            self._ticket = None
        self._chunks = None
        self._finished = True
        if self._query is not None:
            self._over(CLIENT_GONE)

    def _fail(self, error: ApiError) -> None:
        error.trace = self._request.trace
        self._over(error.code)
        self.close()

    def _over(self, code: int) -> None:
        """The first call tells how it ended."""
        if not self._logged:
            self._logged = True
            # A resource that is not served does not become a label of metrics.
            resource = "" if self._query is None else self._query.request.selection.resource
            self._log.answered(self._request, {("list", resource, code): 1})

    def _reached(self, query: Query, error: ApiError | None) -> None:
        """The wait is over."""
        self._waiting = None
        try:
            if error is not None:
                raise error
            self._ask_turn(query)
        except ApiError as refusal:
            self._refused(refusal)
        self._wake()

    def _ask_turn(self, query: Query) -> None:
        self._request.enter(Phase.QUEUE)
        seats = seats_of_objects(self._lister.objects(query))
        resource = query.request.selection.resource
        ticket = self._flow.submit(self._request, seats, partial(self._start, query), self._refused, resource=resource)
        if not self._finished:
            self._ticket = ticket

    def _start(self, query: Query, ticket: Ticket) -> None:
        self._request.enter(Phase.ENCODE)
        self._chunks = self._lister.read(query)
        self._request.enter(Phase.WRITE)
        ticket.expect_back(self._overdue)
        self._wake()

    def _overdue(self) -> None:
        self._chunks = None
        self._refused(Timeout("you read too slowly: list again, in pages with a limit"))

    def _refused(self, refusal: ApiError) -> None:
        self._refusal = refusal
        self._wake()

    def _others_run(self) -> bool:
        return self._ticket is not None and self._flow.others_run(self._ticket)

    def _pause(self, seconds: float) -> None:
        assert self._query is not None
        self._pausing = True
        self._query.history.runtime.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pausing = False
        if not self._finished:
            self._wake()
