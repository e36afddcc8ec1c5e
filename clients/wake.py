"""How one task waits until there is something to do."""

from __future__ import annotations

import trio


class Wake:
    """A ring while nobody waits is kept for the next wait."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = trio.Event()
