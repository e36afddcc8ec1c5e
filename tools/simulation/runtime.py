"""The loop that a simulated apiserver lives on: timers of the run, until it dies."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ...clients.transport.timers import running_timers


class SimulatedRuntime:
    """A Runtime. `wall_offset_seconds`: wall time minus trio's; it may be changed at any time."""

    def __init__(self, wall_offset_seconds: float) -> None:
        self.wall_offset_seconds = wall_offset_seconds
        self._timers = running_timers()
        self.monotonic = trio.lowlevel.current_clock().current_time
        self._stopped = False
        self._error: BaseException | None = None
        self._failed = trio.Event()

    def wall_ms(self) -> int:
        return round((self.monotonic() + self.wall_offset_seconds) * 1000)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        def call() -> None:
            if self._stopped:
                return
            try:
                callback()
            except BaseException as error:  # noqa: BLE001 - the timers are everybody's; `run` raises it
                self._error = error
                self._failed.set()
                self.stop()

        self._timers.call_at(self.monotonic() + seconds, call)

    def stop(self) -> None:
        """Nothing is called any more."""
        self._stopped = True

    async def run(self) -> None:
        """Until cancelled. Raises what a callback has raised."""
        try:
            await self._failed.wait()
            assert self._error is not None
            raise self._error
        finally:
            self.stop()
