"""Each watch of a recording with all it was given, and the bookmarks of the streams that carry several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..recording.records import Event, Item, Watched, WatchEnded, WatchStarted
from .violations import Violation

if TYPE_CHECKING:
    from .recorded import History, Recording


class Given:
    """What one watch was given. `covered`: the newest bookmark that holds for it; 0: none does."""

    def __init__(self, started: WatchStarted) -> None:
        self.started = started
        self.history: History | None = None
        self.initial: list[Item] = []
        self.initial_end = not started.initial
        self.events: list[Event] = []
        self.late: list[tuple[Event, int]] = []  # Behind a bookmark that should have been the last word.
        self.covered = 0
        self.violations: list[Violation] = []
        self.time = started.time
        self._times: list[tuple[int, float]] = []  # How many events there were, and when.
        self._accepted: int | None = None  # How many bookmarks its lane had had.

    def take(self, told: Watched, lane: _Lane) -> None:
        if self._accepted is None:
            self._accepted = lane.count
        bookmark = lane.bookmark if lane.count > self._accepted else 0
        self.time = told.time
        if not self.initial_end:
            self.initial.extend((event[1], event[2], event[4]) for event in told.events)
            self.initial_end = told.initial_end
            return
        if bookmark:
            self.late.extend((event, bookmark) for event in told.events if event[3] <= bookmark)
        self.events.extend(told.events)
        self._times.append((len(self.events), told.time))

    def end(self, lane: _Lane | None) -> None:
        if lane is not None and self._accepted is not None and lane.count > self._accepted and self.initial_end:
            self.covered = lane.bookmark

    @property
    def view_revision(self) -> int:
        """Of one with initial objects: these are as of a revision not above this one. 0: it is not known."""
        return min(event[3] for event in self.events) - 1 if self.events else self.covered

    def time_of(self, event: Event) -> float:
        for count, time in self._times:
            if event in self.events[:count]:
                return time
        return self.time


class _Lane:
    """The watches of one stream on one store."""

    def __init__(self) -> None:
        self.count = 0
        self.bookmark = 0


class _Lanes:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._lanes: dict[tuple[int, str], _Lane] = {}
        self._of_watch: dict[int, _Lane] = {}
        self._open: dict[int, Given] = {}
        self.found: list[Violation] = []

    def started(self, started: WatchStarted) -> Given:
        given = self._open[started.watch] = Given(started)
        return given

    def told(self, told: Watched) -> None:
        lane = self._lanes.setdefault((told.stream, told.store), _Lane())
        given = self._open.get(told.watch)
        if given is not None:
            self._identify(given, told, lane)
            given.take(told, lane)
        if told.bookmark:
            if told.bookmark < lane.bookmark:
                text = f"a stream of {told.client} was given the bookmark {told.bookmark} behind {lane.bookmark}"
                self.found.append(Violation("Bookmarkable", f"{text} by {told.partition}", "", told.time))
            lane.bookmark = told.bookmark
            lane.count += 1

    def _identify(self, given: Given, told: Watched, lane: _Lane) -> None:
        self._of_watch[told.watch] = lane
        if given.history is None:
            given.history = self._recording.history(told.partition, told.store, told.incarnation)
        asked = given.started.incarnation
        if asked and asked != told.incarnation and told.events:
            text = (
                f"a watch of {told.client} behind a revision of another incarnation of {told.partition} was not refused"
            )
            self.found.append(Violation("Resumable", text, told.events[0][1], told.time))

    def ended(self, watch: int) -> None:
        given = self._open.pop(watch, None)
        if given is not None:
            given.end(self._of_watch.get(watch))

    def close(self) -> None:
        for watch in list(self._open):
            self.ended(watch)


def watches_of(recording: Recording) -> list[Given]:
    """All of them, with what was seen to be wrong of their bookmarks."""
    lanes = _Lanes(recording)
    all_given: list[Given] = []
    for record in recording.watch_records:
        if isinstance(record, WatchStarted):
            all_given.append(lanes.started(record))
        elif isinstance(record, Watched):
            lanes.told(record)
        else:
            assert isinstance(record, WatchEnded)
            lanes.ended(record.watch)
    lanes.close()
    if all_given:
        all_given[0].violations += lanes.found
    return all_given
