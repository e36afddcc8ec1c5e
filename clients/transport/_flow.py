"""What both transports share: how much may be on its way, and how a task waits for news."""

from __future__ import annotations

import trio

# Received and not yet taken by `receive`, per stream. Four chunks of a list: enough to keep a reader busy while the
# next ones arrive, and 200 stalled streams still fit in 200 MB. One message above it may be held.
INBOUND_BYTES_MAX = 1024 * 1024
# Sent and not yet handed to the link, per stream. A full batch of 256 pods is about 250 KB, so four of them.
OUTBOUND_BYTES_MAX = 1024 * 1024


class Signal:
    """Wakes the tasks that wait; a ring while nobody waits is kept for the next one. Trio's thread only."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        if self._event.is_set():
            self._event = trio.Event()
