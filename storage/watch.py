"""A watch is a position in the log: it reads on from there when asked to, and keeps nothing else."""

from __future__ import annotations

from collections.abc import Callable

from ..proto.errors import StoreError
from .store import Record, Store, StoreWatch

# Changes one call looks at, of any key: about five milliseconds of the loop.
LOOK_RECORDS = 1024
# Values one call returns, in bytes, but for the last: what a watch can make a process hold.
TAKE_BYTES = 4 << 20


class LogWatch(StoreWatch):
    """A watch over any store that has a log.

    Args:
        wake: called by the store, after its commits.
        closed: called once with this watch, when it is closed.
    """

    def __init__(
        self, store: Store, prefix: str, after: int, wake: Callable[[], None], closed: Callable[[LogWatch], None]
    ) -> None:
        self.wake = wake
        self._store = store
        self._prefix = prefix
        self._revision = after
        self._closed = closed
        self._is_closed = False

    @property
    def revision(self) -> int:
        return self._revision

    def take(self, limit: int) -> list[Record]:
        if limit < 1:
            raise ValueError(f"a watch takes at least one change at a time, not {limit}")
        if self._is_closed:
            raise StoreError("the watch is closed")
        taken: list[Record] = []
        size = 0
        for record in self._store.log(self._revision, limit=LOOK_RECORDS):
            self._revision = record.revision
            if record.key.startswith(self._prefix):
                taken.append(record)
                size += len(record.value)
                if len(taken) == limit or size >= TAKE_BYTES:
                    break
        return taken

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._closed(self)
