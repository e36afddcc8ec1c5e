"""What lists, watches and informers promise, held against what they should have seen (followed.py).

etcd's words for watches, in ours: Ordered, Unique, Atomic, Reliable, Resumable, Bookmarkable, and Filter for the
selection. They are judged together, in one walk over each watch, because what breaks one shows as the difference
between two sequences; `_name` says which promise it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from math import inf

from ..recording.records import OK, Event, Item, Listed, Selection, View
from .followed import Followed, State, follow
from .recorded import History, HistoryName, Recording, describe
from .violations import Violation
from .watch_lanes import Given

LISTED = "Listed"
INFORMER = "Informer equals server"
ORDERED, UNIQUE, RELIABLE, RESUMABLE = "Ordered", "Unique and atomic", "Reliable", "Resumable"
BOOKMARKABLE, FILTER, FAITHFUL, INITIAL = "Bookmarkable", "Filter", "Faithful", "Initial"

_Asked = dict[Selection, Followed]


def watches_lists_and_informers(recording: Recording) -> Iterator[Violation]:
    """**Ordered**: events come in the order of revisions. **Unique**, **atomic**: no event comes twice, and what one
    revision changed is told at once. **Reliable**: between where a watch began and its last bookmark nothing of what it
    selects is missing. **Resumable**: a watch behind a revision goes on with the very next change, or is refused.
    **Bookmarkable**: when a bookmark has come, nothing older will. **Filter**: it is told of what it selects and of
    nothing else; what enters the selection is ADDED, what leaves it DELETED. **Initial**: the objects at the beginning
    are just those there were at one revision, and that is not older than what anybody knew before.

    **A list has just what its selection held at its revision**, in the order of keys. **An informer holds just what
    the partition held at its revision**, whatever was lost on the way.

    (partitions/watches/lane.py, partitions/reads/listing.py, clients/informer.py)
    """
    found: list[Violation] = []
    by_history: dict[HistoryName, list[Given]] = {}
    for given in recording.watches:
        found += given.violations
        if given.history is not None:
            by_history.setdefault(given.history.name, []).append(given)
    for name, history in recording.histories.items():
        watches = by_history.get(name, [])
        lists = [each for each in recording.lists if each.code == OK and _is_of(each, history)]
        views = [each for each in recording.views if _is_of(each, history)]
        wanted = [_plain(each.selection) for each in lists]
        wanted += [_plain(each.selection) for each in views]
        wanted += [_plain(given.started.selection) for given in watches]
        asked = follow(history, wanted)
        for listed in lists:
            _ask_list(listed, asked, found)
        for view in views:
            _ask_view(view, history, asked, found)
        for given in watches:
            followed = asked.get(_plain(given.started.selection))
            if followed is not None:
                _Walk(given, followed, history, found).check()
        for followed in asked.values():
            followed.answer()
    yield from found


def _is_of(record: Listed | View, history: History) -> bool:
    return (record.partition, record.store, record.incarnation) == history.name


def _plain(selection: Selection) -> Selection:
    return selection._replace(metadata_only=False) if selection.metadata_only else selection


# --------------------------------------------------------------------------------------------------- lists and views


def _ask_list(listed: Listed, asked: _Asked, found: list[Violation]) -> None:
    followed = asked.get(_plain(listed.selection))
    if followed is None or not followed.after <= listed.revision <= followed.to:
        return

    def answer(state: State) -> None:
        keys = [key for key, _, _ in listed.items]
        if any(before >= after for before, after in pairwise(keys)):
            found.append(_of_list(listed, "its keys are not in order"))
        elif difference := _difference(listed.items, state, complete=listed.complete):
            found.append(_of_list(listed, *difference))

    followed.ask(listed.revision, answer)


def _of_list(listed: Listed, text: str, key: str = "") -> Violation:
    what = f"the list of {listed.selection.resource} by {listed.client} at revision {listed.revision} of"
    return Violation(LISTED, f"{what} {listed.partition}: {text}", key, listed.ret)


def _ask_view(view: View, history: History, asked: _Asked, found: list[Violation]) -> None:
    followed = asked.get(_plain(view.selection))
    what = f"{view.client} holds {view.selection.resource} of {view.partition} at revision {view.revision}"
    if history.never_reached(view.revision):
        found.append(Violation(INFORMER, f"{what}, which the log never reached", "", view.time))
    if followed is None or not followed.after <= view.revision <= followed.to:
        return

    def answer(state: State) -> None:
        if difference := _difference(view.items, state, complete=True):
            found.append(Violation(INFORMER, f"{what}, but {difference[0]}", difference[1], view.time))

    followed.ask(view.revision, answer)


def _difference(items: tuple[Item, ...], state: State, *, complete: bool) -> tuple[str, str] | None:
    """Between what was told and what was so: a text, and the key concerned."""
    get = state.get
    for key, revision, crc in items:
        there = get(key)
        if there is None:
            return f"{key} should not be there", key
        if there[0] != revision:
            return f"{key} is at revision {revision} instead of {there[0]}", key
        if crc and there[1] and crc != there[1]:
            return f"{key} has other bytes than the log at revision {revision}", key
    told = dict.fromkeys(key for key, _, _ in items)
    if complete and len(told) == len(state):
        return None
    # Of some pages: nothing between the first and the last.
    first, last = (items[0][0], items[-1][0]) if items else ("", "")
    missing = [key for key in state if key not in told and (complete or first < key < last)]
    return (f"{missing[0]} is missing, and {len(missing) - 1} more", missing[0]) if missing else None


# ----------------------------------------------------------------------------------------------------------- watches


class _Walk:
    """One watch beside what it should have seen."""

    def __init__(self, given: Given, followed: Followed, history: History, found: list[Violation]) -> None:
        self._given = given
        self._followed = followed
        self._history = history
        self._found = found
        self._whole = not given.started.selection.metadata_only

    def check(self) -> None:
        if not self._bookmarks_hold():
            return
        if not self._history.whole or self._history.kept_up_to < inf:
            self._cut(self._followed.to)
        begin = self._begin()
        if begin is not None:
            self._compare(begin)

    def _cut(self, to: int) -> None:
        """What came behind is not known to the log, which does not make it wrong."""
        given = self._given
        given.covered = min(given.covered, to)
        while given.events and given.events[-1][3] > to:
            given.events.pop()

    def _bookmarks_hold(self) -> bool:
        covered = self._given.covered
        if self._history.never_reached(covered):
            text = f"{self._title()}: it was given the bookmark {covered}, which the log never reached"
            self._found.append(Violation(BOOKMARKABLE, text, "", self._given.time))
            return False
        for event, bookmark in self._given.late:
            self._broken(BOOKMARKABLE, f"revision {event[3]} came behind the bookmark {bookmark}", event)
        return not self._given.late

    def _begin(self) -> int | None:
        """The place of the first event that it should be told of. None: it cannot be told, or need not be asked."""
        given, followed = self._given, self._followed
        started = given.started
        behind = started.after or (given.events[0][3] - 1 if given.events else 0)
        if started.initial:
            behind = given.view_revision if given.initial_end else 0
        if not behind or behind < followed.after:
            return None
        if started.initial and behind <= followed.to:
            followed.ask(behind, partial(self._check_initial, behind))
        return followed.behind(behind)

    def _check_initial(self, revision: int, state: State) -> None:
        given = self._given
        difference = _difference(tuple(given.initial), state, complete=True)
        if difference is not None:
            self._found.append(
                Violation(
                    INITIAL, f"{self._title()} at revision {revision}: {difference[0]}", difference[1], given.time
                )
            )

    def _compare(self, begin: int) -> None:
        given, followed = self._given, self._followed
        events = given.events
        end = followed.behind(given.covered) if given.covered else begin
        expected = followed.events[begin : max(end, begin + len(events))]
        told = events if self._whole else [_without_crc(event) for event in events]
        wanted = expected if self._whole else [_without_crc(event) for event in expected]
        if told == wanted[: len(told)] and len(told) >= end - begin:
            return
        at = next((place for place, pair in enumerate(zip(told, wanted, strict=False)) if pair[0] != pair[1]), None)
        if at is None:
            at = min(len(told), len(wanted))
        self._name(at, expected[at] if at < len(expected) else None)

    def _name(self, at: int, wanted: Event | None) -> None:
        """Say which promise the difference at this place breaks."""
        events = self._given.events
        if at == len(events):
            assert wanted is not None
            text = f"revision {wanted[3]} never came, but the bookmark {self._given.covered}"
            self._broken(RELIABLE, text, wanted)
            return
        event = events[at]
        if (back := self._goes_back()) is not None:
            before, event = back
            again = any(event[3] == other[3] for other in events[: events.index(event)]) or before[3] == event[3]
            text = f"revision {event[3]} came {'again ' if again else ''}behind {before[3]}"
            self._broken(UNIQUE if again else ORDERED, text, event)
        elif event[3] <= self._given.started.after:
            self._broken(RESUMABLE, f"begun behind {self._given.started.after}, it was told of {event[3]}", event)
        elif wanted is not None and wanted[3] < event[3]:
            name = RESUMABLE if not at and self._given.started.after else RELIABLE
            self._broken(name, f"it was told of revision {event[3]} and not of {wanted[3]}", wanted)
        elif wanted is not None and wanted[3] == event[3]:
            name = FILTER if wanted[0] != event[0] and wanted[1] == event[1] else FAITHFUL
            self._broken(name, f"it was told {_shown(event)}, where it should be {_shown(wanted)}", event)
        else:
            change = self._history.by_revision.get(event[3])
            name = FILTER if change is not None and change.key == event[1] else FAITHFUL
            self._broken(name, f"it was told {_shown(event)}, which it does not select, or which never was", event)

    def _goes_back(self) -> tuple[Event, Event] | None:
        """The first event whose revision is not above that of the one before it, and this one."""
        return next(((before, event) for before, event in pairwise(self._given.events) if event[3] <= before[3]), None)

    def _broken(self, promise: str, text: str, event: Event) -> None:
        time = self._given.time_of(event)
        self._found.append(Violation(promise, f"{self._title()}: {text}", event[1], time))

    def _title(self) -> str:
        started = self._given.started
        what = f"the watch {started.watch} of {started.selection.resource} by {started.client}"
        return f"{what} at {describe(self._history)}"


def _without_crc(event: Event) -> Event:
    kind, key, object_revision, revision, _ = event
    return kind, key, object_revision, revision, 0


def _shown(event: Event) -> str:
    kind, key, object_revision, revision, _ = event
    return f"{('ADDED', 'MODIFIED', 'DELETED')[kind]} {key} of revision {object_revision} at {revision}"
