"""Two loops, two threads: trio owns the process, and one background thread runs asyncio, in which grpc.aio lives.

Each thread leaves callbacks in the other's mailbox. The first one in wakes the other thread, those that follow until
it has looked ride along: one wake-up (a system call, and a turn of the interpreter lock) a burst, not a message.

The rule for everything shared between the threads: a field has one writer, and who is about to sleep announces it
first and then looks once more. With the interpreter lock that leaves no wake-up to be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

import trio
import uvloop

from ._grpc_detour import Detours
from .conditions import Conditions

# How long the background thread may take to end: its calls are cancelled and its sockets closed, nothing is waited for.
STOP_SECONDS = 5.0

Callback = Callable[[], object]


class Mailbox:
    """Callbacks for another thread, run there in order. One thread puts."""

    def __init__(self, wake: Callable[[Callback], object]) -> None:
        self._wake = wake
        self._callbacks: deque[Callback] = deque()
        self._woken = False

    def put(self, callback: Callback) -> None:
        self._callbacks.append(callback)
        if not self._woken:
            self._woken = True
            self._wake(self._run)

    def _run(self) -> None:
        self._woken = False  # before looking, not after: what is put meanwhile wakes again, at worst for nothing
        while self._callbacks:
            self._callbacks.popleft()()


class GrpcBridge:
    """The asyncio thread that all gRPC transports of a process share: `async with GrpcBridge() as bridge:`.

    The thread lives in the block. At its end what is still in flight fails with Unreachable.
    """

    def __init__(self) -> None:
        self.running = False
        self._thread: threading.Thread | None = None
        self._stopped = trio.Event()
        self._closers: dict[object, Callable[[], Awaitable[None]]] = {}
        # asyncio's
        self.detours = Detours()
        self._settings: dict[asyncio.Task[None], None] = {}

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("a GrpcBridge opens once: make another")
        self._to_trio = Mailbox(_to_trio(trio.lowlevel.current_trio_token()))
        started = trio.Event()
        self._thread = threading.Thread(target=self._run_thread, args=(started,), name="ursa-grpc", daemon=True)
        self._thread.start()
        with trio.fail_after(STOP_SECONDS) as scope:
            scope.shield = True
            await started.wait()
        self.running = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        self.call_asyncio(self._stopping.set)
        self.running = False
        with trio.fail_after(STOP_SECONDS) as scope:
            scope.shield = True
            await self._stopped.wait()
        self._thread.join(STOP_SECONDS)  # it has said its last word, so this is a matter of microseconds

    def call_asyncio(self, callback: Callback) -> None:
        """From trio: run `callback` on the asyncio thread. After the end there is nothing left to be told."""
        if self.running:
            self._to_asyncio.put(callback)

    def call_trio(self, callback: Callback) -> None:
        """From asyncio: run `callback` on the trio thread."""
        self._to_trio.put(callback)

    async def set_conditions(self, conditions: Mapping[str, Conditions]) -> None:
        """Disturb the links of this process, by partition; those that are not named are undisturbed. Returns when it
        is so; a link that is disturbed for the first time is lost and comes back before (`_grpc_detour`)."""
        if not self.running:
            await trio.lowlevel.checkpoint()
            return
        done = trio.Event()

        def start() -> None:
            setting = asyncio.create_task(self.detours.set_conditions(conditions))
            self._settings[setting] = None
            setting.add_done_callback(self._settings.pop)
            setting.add_done_callback(lambda _: self.call_trio(done.set))

        self.call_asyncio(start)
        await done.wait()

    def before_stop(self, owner: object, close: Callable[[], Awaitable[None]] | None) -> None:
        """From asyncio: what to await before the loop ends; None takes it back."""
        if close is None:
            self._closers.pop(owner, None)
        else:
            self._closers[owner] = close

    def _run_thread(self, started: trio.Event) -> None:
        try:
            # Its turns cost less: 2 to 5 % of a scheduler's CPU at a hundred pods a second.
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main(started))
        finally:
            self._to_trio.put(self._stopped.set)

    async def _main(self, started: trio.Event) -> None:
        self._to_asyncio = Mailbox(asyncio.get_running_loop().call_soon_threadsafe)
        self._stopping = asyncio.Event()
        self._to_trio.put(started.set)
        await self._stopping.wait()
        while self._closers:
            await self._closers.popitem()[1]()
        await self.detours.close()
        # gRPC's own tasks end when its core has answered everything; answers to a loop that is gone would be errors.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=STOP_SECONDS / 2)


def _to_trio(token: trio.lowlevel.TrioToken) -> Callable[[Callback], None]:
    def wake(callback: Callback) -> None:
        with contextlib.suppress(trio.RunFinishedError):  # then nobody is left to be woken
            token.run_sync_soon(callback)

    return wake
