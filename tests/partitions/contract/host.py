"""One partition under test, whose clock, commits and crashes move only when a test says so.

It lives in the test's own process, or (serve.py) in another one behind gRPC; a test drives both by the same methods,
whose arguments and results can therefore be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from ursa.partitions import ApiServer
from ursa.partitions.cache.window import Window
from ursa.proto.errors import ApiError, ServiceUnavailable
from ursa.proto.kinds import Role
from ursa.proto.sessions import Caller, ServerStream
from ursa.storage import MemoryStore, Record

# No commit waits for the pace: each look at the clock is worth a thousand tokens.
COMMITS_PER_SECOND = 1e9
LOOK_SECONDS = 1e-6


class HandClock:
    """Time that moves when told to, and a microsecond at every look."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def monotonic(self) -> float:
        self.now += LOOK_SECONDS
        return self.now

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + round(self.now * 1000)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._count += 1
        self._timers.append((self.now + seconds, self._count, callback))

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self._timers if timer[0] <= until]:
            timer = min(due)
            self._timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[2]()
        self.now = max(self.now, until)

    def stop(self) -> None:
        self._timers.clear()


class HandCommitter:
    """Commits at once, or when told to; what it has not done is forgotten by a crash."""

    def __init__(self) -> None:
        self.held = False
        self._waiting: list[tuple[Callable[[], None], Callable[[BaseException | None], None]]] = []

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        self._waiting.append((work, done))
        if not self.held:
            self.finish()

    def finish(self) -> None:
        while self._waiting:
            work, done = self._waiting.pop(0)
            work()
            done(None)

    def close(self) -> None:
        self._waiting.clear()


class Host:
    """The controls of one partition, and the `sessions.Service` that front ends are given."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._random = Random(7)  # Of all its apiservers: no two of them give the same uid.
        self._committer = HandCommitter()
        self._store = MemoryStore(self._committer, incarnation="one")
        self._streams: dict[_Stream, None] = {}
        self._calls: dict[_Call, None] = {}
        self.clock = HandClock()
        self._start()

    def _start(self) -> None:
        self.server = ApiServer(
            "p-1", self._role, self._store, self.clock, self._random, commits_per_second=COMMITS_PER_SECOND
        )

    # -------------------------------------------------------------------------------------------------- controls

    def advance(self, seconds: float) -> None:
        """Let time pass: timers fire in their order."""
        self.clock.advance(seconds)

    def hold_commits(self) -> None:
        """From now on nothing becomes durable."""
        self._committer.held = True

    def release_commits(self) -> None:
        self._committer.held = False
        self._committer.finish()

    def head(self) -> int:
        return self._store.head

    def staged_head(self) -> int:
        return self._store.staged_head

    def floor(self) -> int:
        return self._store.compacted

    def log(self) -> list[Record]:
        """All that is durable and not compacted away."""
        return list(self._store.log(self._store.compacted))

    def compact(self, revision: int) -> None:
        """Forget everything that only older revisions need, to the end."""
        self._store.compact(revision)
        while self._store.sweep_step():
            pass

    def forget(self, revision: int) -> None:
        """Let the window of recent changes begin behind this revision, as so much newer traffic would."""
        cache = self.server._histories.main.cache
        changes = [change for page in cache._window._pages for change in page.changes if change.revision > revision]
        cache._window = Window()
        cache.load_window(changes, revision)

    def compact_in_part(self, revision: int, steps: int) -> bool:
        """Begin, go so many steps of the sweep, and be killed. False: it had ended before."""
        self._store.compact(revision)
        unfinished = all(self._store.sweep_step() for _ in range(steps))
        self.crash()
        return unfinished

    def stored(self) -> dict[str, bytes]:
        """All objects, as the store has them."""
        return {record.key: record.value for record in self._store.range("/registry/")}

    def crash(self) -> None:
        """Kill the apiserver; another one opens what was durable. The clients' streams are gone."""
        self._stop()
        self._store = self._copy(self._store.head)
        self._start()

    def fall_behind(self, revision: int) -> None:
        """Another apiserver takes over, of the same store, that has got no further than this revision."""
        self._stop()
        self._ahead = self._store
        self._store = self._copy(revision)
        self._start()

    def catch_up(self) -> None:
        """Undo `fall_behind`."""
        self._stop()
        self._store = self._ahead
        self._store = self._copy(self._store.head)
        self._start()

    def _copy(self, revision: int) -> MemoryStore:
        """A store with what is durable, up to a revision."""
        before, self._committer = self._store, HandCommitter()
        store = MemoryStore(self._committer, incarnation=before.incarnation)
        store._records = {number: record for number, record in before._records.items() if number <= revision}
        store._restore(store._records.values(), before._durable_floor)
        return store

    def replace_store(self, incarnation: str) -> None:
        """The partition is set up anew: another incarnation, nothing in it."""
        self._stop()
        self._committer = HandCommitter()
        self._store = MemoryStore(self._committer, incarnation=incarnation)
        self._start()

    def close(self) -> None:
        self._stop()
        self._store.close()

    def _stop(self) -> None:
        """As dead: it is not closed, which would tell its clients something."""
        self._committer.close()
        self.clock.stop()
        for each in [*self._streams, *self._calls]:
            each.die()

    # --------------------------------------------------------------------------------------------------- service

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[[bytes | ApiError], None]) -> None:
        call = _Call(reply, lambda ended: self._calls.pop(ended, None))
        self._calls[call] = None
        self.server.call(method, request, caller, call.answer)

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> ServerStream:
        stream = _Stream(self.server.open(method, caller, wake), wake, lambda closed: self._streams.pop(closed, None))
        self._streams[stream] = None
        return stream


_GONE = ServiceUnavailable("the apiserver has been killed")


class _Call:
    """A unary call that can die with its server."""

    def __init__(self, reply: Callable[[bytes | ApiError], None], ended: Callable[[_Call], Any]) -> None:
        self._reply = reply
        self._ended = ended
        self._over = False

    def answer(self, answer: bytes | ApiError) -> None:
        if not self._over:  # A dead server's answer comes too late.
            self._over = True
            self._ended(self)
            self._reply(answer)

    def die(self) -> None:
        self.answer(_GONE)


class _Stream:
    """A stream that can die with its server."""

    def __init__(self, stream: ServerStream, wake: Callable[[], None], closed: Callable[[_Stream], Any]) -> None:
        self._stream = stream
        self._wake = wake
        self._closed = closed
        self._dead = False

    def receive(self, data: bytes) -> None:
        if self._dead:
            raise _GONE
        self._stream.receive(data)

    def end_requests(self) -> None:
        if not self._dead:
            self._stream.end_requests()

    def take(self) -> bytes | None:
        if self._dead:
            raise _GONE
        return self._stream.take()

    @property
    def finished(self) -> bool:
        return self._stream.finished and not self._dead

    def close(self) -> None:
        self._stream.close()
        self._closed(self)

    def die(self) -> None:
        self._dead = True
        self._closed(self)
        self._wake()
