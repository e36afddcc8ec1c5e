"""An apiserver whose watch cache stands still, beside the one that writes: for clients that are moved between the two.

Both look at the same store. What is written reaches it through the first, and the frozen one never publishes it: its
cache is as old as itself, as that of an apiserver that has lost its watch of etcd. Writes go on to the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

from ...partitions.apiserver import ApiServer
from ...partitions.pacing import Runtime
from ...partitions.stores import Stores
from ...proto.errors import ApiError
from ...proto.sessions import Caller, ServerStream
from ...storage import Store


class FrozenReads:
    """A partition's service: reads are answered by an apiserver that stands still from now on."""

    def __init__(self, first: ApiServer, stores: Stores, runtime: Runtime, random: Random) -> None:
        self._first = first
        timers = _TimersOfRequests(runtime)
        self._frozen = ApiServer(
            first.name,
            first.role,
            _read_only(stores.main),
            timers,
            random,
            events_store=_read_only(stores.events) if stores.events is not None else None,
        )
        timers.opened = True

    def call(self, method: str, request: bytes, caller: Caller, reply: Callable[[bytes | ApiError], None]) -> None:
        server = self._frozen if method == "Get" else self._first
        server.call(method, request, caller, reply)

    def open(self, method: str, caller: Caller, wake: Callable[[], None]) -> ServerStream:
        server = self._frozen if method in ("List", "Watch") else self._first
        return server.open(method, caller, wake)


class _TimersOfRequests:
    """A Runtime that knows nothing of what an apiserver does by itself, which it asks for when it is made."""

    def __init__(self, runtime: Runtime) -> None:
        self.opened = False
        self._runtime = runtime

    def monotonic(self) -> float:
        return self._runtime.monotonic()

    def wall_ms(self) -> int:
        return self._runtime.wall_ms()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        if self.opened:
            self._runtime.call_later(seconds, callback)


class _ReadOnly:
    """A store as it is seen by who writes nothing: what others have staged is not his to commit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def staged_head(self) -> int:
        return self._store.head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _read_only(store: Store) -> Store:
    return cast("Store", _ReadOnly(store))
