"""Whose turn it is: every request asks here before it runs."""

from __future__ import annotations

from collections.abc import Callable

from ..proto.errors import ApiError
from .requests import Request


class Ticket:
    """The seats of one request. Given back once, when it is answered, or when nobody waits for it any more."""

    def release(self) -> None:
        """May be called twice, and while the request still waits for its turn: then it never runs."""


class FlowControl:
    """Everybody's turn is now."""

    def submit(
        self,
        request: Request,
        seats: int,
        start: Callable[[], None],
        refuse: Callable[[ApiError], None],
    ) -> Ticket:
        """Call `start`, now or when it is this request's turn; or `refuse`, with TooManyRequests."""
        start()
        return Ticket()
