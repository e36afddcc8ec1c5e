"""The order of revisions beside the order of time.

A write at revision r has the place 2 r, a read at R the place 2 R + 1; a sweep through time keeps the highest place
that anybody was told of, and nothing that is asked later may have a lower one. A write that found everything as it
wanted it changed nothing: it is a read of the object that it names, and so is a refusal that says what it found. Such a
one takes the lowest place at which what it was told was true; that leaves the most room for all that follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from ..recording.records import CONSISTENT, OK, Get, Listed, Watched, WatchStarted, Write
from .linearizable import COLLECTIONS
from .recorded import History, Recording, describe
from .violations import Violation, title

REAL_TIME = "Linearizable"


def real_time_order(recording: Recording) -> Iterator[Violation]:
    """**What was told before something else was asked comes before it**: a write has a higher revision than anything
    that anybody was told of before it was asked for, and a consistent read misses nothing of that. (Strict
    serializability, of one store.)"""
    sweeps = {name: _Sweep(history) for name, history in recording.histories.items()}

    def sweep_of(record: Get | Listed | Write) -> _Sweep | None:
        history = recording.history(record.partition, record.store, record.incarnation)
        return None if history is None else sweeps[history.name]

    for write in recording.writes:
        if (sweep := sweep_of(write)) is not None and write.verb not in COLLECTIONS and not write.dry_run:
            sweep.add_write(write)
    reads: list[Get | Listed] = [*recording.gets, *recording.lists]
    for read in reads:
        if (sweep := sweep_of(read)) is not None:
            sweep.add_read(read)
    for given in recording.watches:
        if given.started.initial and given.initial_end and given.history is not None:
            sweeps[given.history.name].add_view(given.started, given.view_revision)
    for told, history, newest in recording.shown:
        sweeps[history.name].add_watched(told, newest)
    for sweep in sweeps.values():
        yield from sweep.run()


_Operation = Write | Get | Listed | WatchStarted | None

# Where something stands is found when its turn comes.
_TO_BE_FOUND = -1
# Whatever was told before, it may stand anywhere.
_ANYWHERE = inf


class _Sweep:
    """Through the time of one history. Each operation: when it was asked and answered, its place, and the highest place
    that its answer tells of."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._operations: list[tuple[_Operation, float, float, float]] = []
        self._told: list[int] = []

    def _add(self, operation: _Operation, call: float, ret: float, place: float, told: int) -> None:
        self._operations.append((operation, call, ret, place))
        self._told.append(told)

    def add_write(self, write: Write) -> None:
        found = self._history.by_request_id.get(write.request_id, ()) if write.request_id else ()
        revision = found[0] if found else write.revision if write.code == OK else 0
        if not found and write.code == OK and revision not in self._history.by_revision and write.verb != "create":
            # Nobody knows whether it changed anything: all that it tells of is that this revision was there.
            self._add(write, write.call, write.ret, _ANYWHERE, 2 * revision)
        elif found or (write.code == OK and revision and self._is_its_own(write)):
            self._add(write, write.call, write.ret, 2 * revision, 2 * revision)
        elif write.code == OK or _tells_of_its_key(write):
            self._add(write, write.call, write.ret, _TO_BE_FOUND, 0)

    def _is_its_own(self, write: Write) -> bool:
        """Whether this revision is the write's, as far as one can tell: else it changed nothing.

        A change that bears no id is of nobody who gave one: an eviction's, of its budget; or the partition's own.
        """
        return not write.request_id or write.revision not in self._history.by_revision

    def add_read(self, read: Get | Listed) -> None:
        if read.code == OK or (read.code == 404 and read.revision and isinstance(read, Get)):
            place = 2 * read.revision + 1
            self._add(read, read.call, read.ret, place if read.match == CONSISTENT else _ANYWHERE, place)

    def add_view(self, started: WatchStarted, revision: int) -> None:
        """The objects at the beginning of a watch, as of no revision above this one."""
        if revision:
            self._add(started, started.time, inf, 2 * revision + 1, 0)

    def add_watched(self, told: Watched, newest: int) -> None:
        """`newest`: the highest revision of its events."""
        place = max(2 * newest, 2 * told.bookmark + 1 if told.bookmark else 0)
        if place:
            self._add(None, told.time, told.time, _ANYWHERE, place)

    def run(self) -> Iterator[Violation]:
        operations, told = self._operations, self._told
        calls = [call for _, call, _, _ in operations]
        returns = [ret for _, _, ret, _ in operations]
        numbers = range(len(operations))
        by_return = sorted((number for number in numbers if returns[number] < inf), key=returns.__getitem__)
        answered, done = 0, 0
        for number in sorted(numbers, key=calls.__getitem__):
            operation, call, _, place = operations[number]
            # What returns at the very instant of a call may have been behind it.
            while done < len(by_return) and returns[by_return[done]] < call:
                answered = max(answered, told[by_return[done]])
                done += 1
            if place == _TO_BE_FOUND:
                yield from self._find(number, answered)
            elif place < answered:
                assert operation is not None
                yield Violation(
                    REAL_TIME,
                    f"{title(operation)} is of revision {int(place) // 2} of {describe(self._history)}, but revision "
                    f"{answered // 2} was told to somebody before it was asked",
                    getattr(operation, "key", ""),
                    call,
                )

    def _find(self, number: int, answered: int) -> Iterator[Violation]:
        """Of a write that changed nothing: the lowest place from here on at which what it was told was true."""
        write = self._operations[number][0]
        assert isinstance(write, Write)
        missing = write.reason == "NotFound"
        holds = write.revision if write.code == OK else 0 if missing else write.found
        key = write.key
        revision = answered // 2
        if write.code != OK and not holds and not missing:
            return
        known = self._history.knows(write.resource, max(holds, revision)) or self._history.never_reached(holds)
        if not (known and key):
            return
        holder = self._history.by_revision.get(holds)
        if write.code == OK and holder is not None and holder.key != key:
            return  # `writes_happen_once` says so.
        first = self._history.replay.first_with(key, holds, revision)
        if first is None:
            what = f"revision {holds} of it" if holds else "that it is not there"
            yield Violation(
                REAL_TIME,
                f"{title(write)} was told {what}, which was so at no revision from {revision} of "
                f"{describe(self._history)} on, which somebody knew before it was asked",
                key,
                write.call,
            )
        else:
            self._told[number] = 2 * first + 1


def _tells_of_its_key(write: Write) -> bool:
    """Whether its refusal says how it found the object."""
    return write.found_key == write.key and (
        write.reason == "NotFound" or (write.reason in ("AlreadyExists", "Conflict") and write.found > 0)
    )
