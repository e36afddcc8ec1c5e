"""What LMDB asks of who uses it, as far as one thread can break it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from ursa.storage import LmdbStore, Record

from .bare_stores import USABLE, Churn
from .registry import Scenario


@contextmanager
def a_reader_stays() -> Iterator[None]:
    """The first read transaction of a store is never ended: it keeps every page that is freed behind it."""
    real = LmdbStore._read

    def read(self: LmdbStore, revisions: Sequence[int]) -> list[Record]:
        if "left_open" not in self.__dict__:
            self.__dict__["left_open"] = self._environment.begin()
        return real(self, revisions)

    with mock.patch.object(LmdbStore, "_read", read):
        yield


SCENARIOS = (
    Scenario(
        "S26",
        "a read transaction that stays open fills the store",
        "mozilla/rkv#47, PowerDNS/pdns#9888",
        "A store of bounded contents needs bounded room: no read transaction outlives a call.",
        Churn(),
        "the first read transaction of a store is never ended, so no page that is freed behind it is used again",
        a_reader_stays,
        (USABLE,),
        1,
    ),
)
