"""No client goes back in time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ..recording.records import EXACT, OK, Get, Listed, Selection, View
from .recorded import History, HistoryName, Recording, describe
from .violations import Violation

MONOTONIC = "Monotonic"


class _Seen:
    """What one life of a client was told of one history, and when."""

    def __init__(self) -> None:
        self._told: list[tuple[float, int]] = []
        self._times: list[float] = []
        self._highest: list[int] = []
        self.reads: list[Get | Listed] = []

    def tell(self, time: float, revision: int) -> None:
        self._told.append((time, revision))

    def settle(self) -> None:
        highest = 0
        for time, revision in sorted(self._told):
            if revision > highest:
                highest = revision
                self._times.append(time)
                self._highest.append(highest)

    def before(self, time: float) -> int:
        """The newest revision it had been told of before."""
        place = bisect_left(self._times, time)
        return self._highest[place - 1] if place else 0


def clients_never_go_back(recording: Recording) -> Iterator[Violation]:
    """**A client never goes back in time, to whichever apiserver its link leads**: what it reads is not older than the
    newest revision that its reads, writes and watches had shown when it asked. A read that asks for an old revision on
    purpose may have it. An informer's view never falls. Each life of a client begins anew, and so does each incarnation
    of a store. (clients/sightings.py, clients/informer.py)"""
    seen: dict[tuple[str, HistoryName], _Seen] = {}

    def of(client: str, history: History) -> _Seen:
        of_client = seen.get((client, history.name))
        if of_client is None:
            of_client = seen[client, history.name] = _Seen()
        return of_client

    for told, history, newest in recording.shown:
        of(told.client, history).tell(told.time, max(told.bookmark, newest))
    for write in recording.writes:
        known = recording.history(write.partition, write.store, write.incarnation)
        if write.code == OK and write.revision and known is not None:
            of(write.client, known).tell(write.ret, write.revision)
    reads: list[Get | Listed] = [*recording.gets, *recording.lists]
    for read in reads:
        known = recording.history(read.partition, read.store, read.incarnation)
        if read.revision and read.code in (OK, 404) and known is not None:
            of_client = of(read.client, known)
            of_client.tell(read.ret, read.revision)
            if read.match != EXACT:
                of_client.reads.append(read)
    for (client, name), of_client in seen.items():
        of_client.settle()
        for read in of_client.reads:
            before = of_client.before(read.call)
            if read.revision < before:
                what = read.key if isinstance(read, Get) else read.selection.resource
                text = f"{client} read {what} at revision {read.revision} of {describe(recording.histories[name])}"
                key = read.key if isinstance(read, Get) else ""
                yield Violation(MONOTONIC, f"{text}, and had seen {before} before it asked", key, read.ret)
    yield from _views(recording)


def _views(recording: Recording) -> Iterator[Violation]:
    newest: dict[tuple[str, str, Selection, str], View] = {}
    for view in recording.views:
        name = view.client, view.partition, view.selection, view.incarnation
        before = newest.get(name)
        if before is not None and view.revision < before.revision:
            text = (
                f"the view of {view.selection.resource} of {view.partition} that {view.client} holds fell from revision"
            )
            yield Violation(MONOTONIC, f"{text} {before.revision} to {view.revision}", "", view.time)
        newest[name] = view
