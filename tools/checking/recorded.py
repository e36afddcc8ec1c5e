"""A recording, put in order for the judges: each store's histories, and by kind what clients were told.

A partition may have several stores, and a store several incarnations, one after another: each is a history of its own,
with revisions of its own. What is known of a history is its log, or a part of it: from a revision on, or of some kinds
only. Where it is not known, nothing is judged.

A restored store carries on what its snapshot holds, so the histories of one store have a common beginning. Where the
log of an older one was not kept, that beginning stands for it, and what it had beyond was lost with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from math import inf
from typing import Any

from ...clients.registry_core import REMOVED, RESOURCE_OF
from ...proto.kinds import MAIN_STORE
from ...proto.objects import Object, decode
from ...storage.snapshot import REVISIONS_FORWARD
from ..recording.records import (
    Complete,
    Finished,
    Get,
    Happened,
    Instance,
    Listed,
    Logged,
    Opened,
    Record,
    View,
    Watched,
    WatchEnded,
    WatchStarted,
    Write,
)
from .changes import OBJECTS_PREFIX, Change, change_of, resource_of
from .pods import PodFacts, read_pods
from .replay import Replay
from .watch_lanes import Given, watches_of

StoreName = tuple[str, str]  # partition, store
HistoryName = tuple[str, str, str]  # partition, store, incarnation


class History:
    """One incarnation of a store."""

    def __init__(self, name: HistoryName) -> None:
        self.name = name
        self.partition, self.store, self.incarnation = name
        self.opened: list[Opened] = []
        self.logged: list[Change] = []  # As they were recorded.
        self.complete: list[Complete] = []
        # Acknowledged revisions above may have been lost; infinity: none is.
        self.kept_up_to: float = inf
        self._known: dict[str, tuple[int, int]] = {}  # By resource: it is asked for with every write and read.

    @cached_property
    def changes(self) -> list[Change]:
        """In the order of revisions. What was read again when a store was opened again was known before."""
        by_revision: dict[int, Change] = {}
        for change in self.logged:
            by_revision.setdefault(change.revision, change)
        return [by_revision[revision] for revision in sorted(by_revision)]

    @cached_property
    def by_revision(self) -> Mapping[int, Change]:
        return {change.revision: change for change in self.changes}

    @cached_property
    def by_request_id(self) -> Mapping[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for change in self.changes:
            if change.request_id:
                found.setdefault(change.request_id, []).append(change.revision)
        return found

    @cached_property
    def replay(self) -> Replay[Change]:
        return Replay(self.changes)

    @cached_property
    def by_resource(self) -> Mapping[str, list[Change]]:
        found: dict[str, list[Change]] = {}
        for change in self.changes:
            if change.key.startswith(OBJECTS_PREFIX):
                found.setdefault(resource_of(change.key), []).append(change)
        return found

    @cached_property
    def pods(self) -> Mapping[int, PodFacts]:
        """What the changes of pods say, by revision."""
        return read_pods(self.by_resource.get("pods", ()))

    def known(self, resource: str) -> tuple[int, int]:
        """Of this kind all changes behind the first revision, up to the second, are known; and the state at the first.

        (1, 0): nothing is.
        """
        span = self._known.get(resource)
        if span is None:
            spans = [each for each in self.complete if not each.resources or resource in each.resources]
            span = (min(each.after for each in spans), max(each.to for each in spans)) if spans else (1, 0)
            self._known[resource] = span
        return span

    def knows(self, resource: str, revision: int) -> bool:
        after, to = self.known(resource)
        return after <= revision <= to

    @cached_property
    def whole(self) -> tuple[int, int] | None:
        """All changes of all kinds are known behind the first revision, up to the second."""
        spans = [each for each in self.complete if not each.resources]
        return (min(each.after for each in spans), max(each.to for each in spans)) if spans else None

    def never_reached(self, revision: int) -> bool:
        """The log is known to have ended before, and nothing of it was lost."""
        return self.whole is not None and revision > self.whole[1] and self.kept_up_to == inf

    @property
    def snapshot(self) -> int:
        """The revision of the snapshot that this was restored from; 0: it was not. A restored store goes on far ahead
        of its snapshot, so that nobody takes its revisions for old ones (storage/snapshot.py)."""
        head = self.opened[0].head if self.opened else 0
        return head - REVISIONS_FORWARD if head >= REVISIONS_FORWARD else head

    def last_state(self) -> list[Change]:
        """What lives at the end."""
        newest = {change.key: change for change in self.changes}
        return [change for change in newest.values() if not change.deleted and change.key.startswith(OBJECTS_PREFIX)]

    def __repr__(self) -> str:
        return f"<{describe(self)}>"


class Recording:
    """See the module. `records` in the order in which they were written."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records: Sequence[Record] = records if isinstance(records, Sequence) else list(records)
        self.writes: list[Write] = []
        self.gets: list[Get] = []
        self.lists: list[Listed] = []
        self.watch_records: list[WatchStarted | Watched | WatchEnded] = []
        self.views: list[View] = []
        self.instances: list[Instance] = []
        self.happened: list[Happened] = []
        self.finished: Finished | None = None
        self.histories: dict[HistoryName, History] = {}
        self._sort()
        self._link_incarnations()

    def history(self, partition: str, store: str, incarnation: str) -> History | None:
        """None: nothing is known of it; or, without an incarnation, it is not clear which is meant.

        A partition may keep its Events in its main store: then the incarnation tells.
        """
        if incarnation:
            found = self.histories.get((partition, store, incarnation))
            return found or self.histories.get((partition, MAIN_STORE, incarnation))
        of_store = self.incarnations.get((partition, store), ())
        return of_store[0] if len(of_store) == 1 else None

    @cached_property
    def incarnations(self) -> Mapping[StoreName, list[History]]:
        """Of each store, one after another."""
        found: dict[StoreName, list[History]] = {}
        for history in sorted(self.histories.values(), key=_opened_at):
            found.setdefault((history.partition, history.store), []).append(history)
        return found

    @cached_property
    def shown(self) -> list[tuple[Watched, History, int]]:
        """What watches were given of histories that are known, with the newest revision of the events; 0: none."""
        found: list[tuple[Watched, History, int]] = []
        for told in self.watch_records:
            if isinstance(told, Watched):
                history = self.history(told.partition, told.store, told.incarnation)
                if history is not None:
                    found.append((told, history, max(event[3] for event in told.events) if told.events else 0))
        return found

    @cached_property
    def watches(self) -> list[Given]:
        """Each with all it was given."""
        return watches_of(self)

    @cached_property
    def removed(self) -> Mapping[str, float]:
        """The partitions that were taken out of the registry, and when somebody first said so."""
        found: dict[str, float] = {}
        for history in self.histories.values():
            for resource in RESOURCE_OF.values():
                for change in history.by_resource.get(resource, ()):
                    name = change.key.rpartition("/")[2]
                    if not change.deleted and decode(change.message.spec).get("state") == REMOVED:
                        found[name] = min(change.time, found.get(name, inf))
        return found

    @property
    def last_histories(self) -> list[History]:
        """Those that every store has at the end, of the partitions that there are then."""
        return [histories[-1] for (name, _), histories in self.incarnations.items() if name not in self.removed]

    @property
    def healed(self) -> bool:
        return self.finished is not None and self.finished.healed

    def _sort(self) -> None:
        lists: dict[type, list[Any]] = {
            Write: self.writes,
            Get: self.gets,
            Listed: self.lists,
            WatchStarted: self.watch_records,
            Watched: self.watch_records,
            WatchEnded: self.watch_records,
            View: self.views,
            Instance: self.instances,
            Happened: self.happened,
        }
        for record in self.records:
            place = lists.get(type(record))
            if place is not None:
                place.append(record)
            elif isinstance(record, Logged):
                self._history(record).logged.append(change_of(record))
            elif isinstance(record, Complete):
                self._history(record).complete.append(record)
            elif isinstance(record, Opened):
                self._history(record).opened.append(record)
            elif isinstance(record, Finished):
                self.finished = record

    def _history(self, record: Logged | Complete | Opened) -> History:
        name = record.partition, record.store, record.incarnation
        history = self.histories.get(name)
        if history is None:
            history = self.histories[name] = History(name)
        return history

    def _link_incarnations(self) -> None:
        for histories in self.incarnations.values():
            for before, after in pairwise(histories):
                if not before.complete:
                    _stand_in(before, after, after.snapshot)


def _stand_in(before: History, after: History, snapshot: int) -> None:
    """The log of `before` was not kept: what its successor has of it stands for it."""
    before.logged = [change for change in after.logged if change.revision <= snapshot]
    before.complete = [
        Complete(*before.name, each.after, min(each.to, snapshot), each.resources) for each in after.complete
    ]
    before.kept_up_to = snapshot


def _opened_at(history: History) -> float:
    return history.opened[0].time if history.opened else 0.0


def object_of(change: Change, partition: str) -> Object:
    return Object(change.message, partition)


def describe(history: History) -> str:
    """How a person calls it."""
    store = "" if history.store == "main" else f" ({history.store})"
    return f"{history.partition}{store}, incarnation {history.incarnation[:8]}"
