"""Is what concurrent clients saw of a store the work of one store that does one thing at a time?

In general that question is exponential. Here it is not, for the order is known: every acknowledged write names its
revision, every read names the one it was made at, and the whole log can be read afterwards. What is left to check is
that the log is the clients' own doing, that nobody saw anything else than the log says, and that the order of the
revisions never contradicts the order in time: what was answered before something else was asked comes before it.

    a: put k=1  call 0 .... ret 2, revision 1
    b:     get k        call 3 .. ret 4, nothing there        wrong: it was asked after revision 1 was acknowledged
    c: put k=2  call 1 ........ never answered                right either way: in the log as revision 2, or nowhere

Each operation gets a place: a write at revision r the place 2 r, a read at revision R the place 2 R + 1, between R and
its successor. A sweep through time keeps the highest place among the operations answered so far; none may be asked
later and have a lower one. What does not name its revision (a get, a write that was refused) takes the lowest place at
which what it was told was true; that leaves the most room for all that follow, so if it does not fit, nothing does.

The cost is O(n log n), and for a range as much as there are keys. Times may come from any one clock; at the same
instant operations count as concurrent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple


class Entry(NamedTuple):
    """One change in the log, and one item of what a read was told (then never `deleted`)."""

    revision: int
    key: str
    value: bytes
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A put or a deletion of one key. No two writes of a history have the same value, deletions included.

    `expected`: its precondition, as in `storage.Change`. How it ended: `revision` is that of the acknowledgement;
    `found` is the newest revision of the key (0: it does not exist) with which it was refused; neither: nobody knows,
    and `ret` is infinite: it may have happened or not.
    """

    client: str
    call: float
    ret: float
    key: str
    value: bytes
    deleted: bool = False
    expected: int | None = None
    revision: int = 0
    found: int | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A get of `key`, or with `prefix` a range of all keys that begin with it, that was answered.

    `revision`: at which it was made; None if the answer did not say (a get). `exact`: the client had asked for this
    very revision, however old.
    """

    client: str
    call: float
    ret: float
    key: str
    result: tuple[Entry, ...]
    prefix: bool = False
    revision: int | None = None
    exact: bool = False


Operation = Write | Read


def violations(history: Sequence[Operation], log: Sequence[Entry]) -> list[str]:
    """What shows that the history is not linearizable, one line each; empty: it is.

    Args:
        history: every operation of every client, in any order, those without an answer included.
        log: all changes from revision 1 on, as they were read when all was over.

    Raises:
        ValueError: the history breaks its own rules: two writes of one value, a range that names no revision, an end
            before the beginning.
    """
    _check_rules(history)
    found: list[str] = []
    for number, entry in enumerate(log, 1):
        if entry.revision != number:
            # Nothing below can be trusted on a log with holes.
            return [f"the log has revision {entry.revision} where {number} should be"]
    replay = _Replay(log)
    revisions, wrong = _attribute(history, log)
    found += wrong
    for operation in history:
        if isinstance(operation, Write):
            found += _check_write(operation, revisions.get(operation.value, 0), replay)
        else:
            found += _check_read(operation, replay)
    return found or list(_check_order(history, revisions, replay))


def _check_rules(history: Sequence[Operation]) -> None:
    values: dict[bytes, None] = {}
    for operation in history:
        if operation.ret < operation.call:
            raise ValueError(f"it ends before it begins: {operation}")
        if isinstance(operation, Read):
            if operation.revision is None and (operation.prefix or operation.exact):
                raise ValueError(f"a range, and an exact read, must name a revision: {operation}")
        elif operation.value in values:
            raise ValueError(f"another write has this value: {operation}")
        elif operation.revision == 0 and operation.found is None and operation.ret != inf:
            raise ValueError(f"a write of unknown outcome has no end: {operation}")
        else:
            values[operation.value] = None


class _Replay:
    """The state at every revision of the log."""

    def __init__(self, log: Sequence[Entry]) -> None:
        self.log = log
        self._changes: dict[str, list[int]] = {}
        self._deletions: dict[str, list[int]] = {}
        for entry in log:
            self._changes.setdefault(entry.key, []).append(entry.revision)
            if entry.deleted:
                self._deletions.setdefault(entry.key, []).append(entry.revision)
        self._keys = sorted(self._changes)

    def at(self, key: str, revision: int) -> Entry | None:
        changes = self._changes.get(key, [])
        position = bisect_right(changes, revision)
        entry = self.log[changes[position - 1] - 1] if position else None
        return None if entry is None or entry.deleted else entry

    def range(self, prefix: str, revision: int) -> Iterator[Entry]:
        for position in range(bisect_left(self._keys, prefix), len(self._keys)):
            key = self._keys[position]
            if not key.startswith(prefix):
                return
            if (entry := self.at(key, revision)) is not None:
                yield entry

    def first_with(self, key: str, holds: int, at_least: int) -> int | None:
        """The lowest revision from `at_least` on at which the change of this revision holds (0: none exists)."""
        first = max(at_least, holds)
        entry = self.at(key, first)
        if (entry.revision if entry else 0) == holds:
            return first
        if holds:
            return None  # It was overwritten before.
        deletions = self._deletions.get(key, [])
        position = bisect_left(deletions, at_least)
        return deletions[position] if position < len(deletions) else None


def _attribute(history: Sequence[Operation], log: Sequence[Entry]) -> tuple[dict[bytes, int], list[str]]:
    """The revision of each value that is in the log, and which entries no client can have written."""
    writes = {operation.value: operation for operation in history if isinstance(operation, Write)}
    revisions: dict[bytes, int] = {}
    wrong = []
    for entry in log:
        write = writes.get(entry.value)
        if write is None or (write.key, write.deleted) != (entry.key, entry.deleted):
            wrong.append(f"nobody wrote what the log has: {entry}")
        elif entry.value in revisions:
            wrong.append(f"it was done twice, at revisions {revisions[entry.value]} and {entry.revision}: {write}")
        revisions[entry.value] = entry.revision
    return revisions, wrong


def _check_write(write: Write, revision: int, replay: _Replay) -> Iterator[str]:
    if write.revision and revision != write.revision:
        yield f"acknowledged, but the log has it at {revision or 'no revision'}: {write}"
    if write.found is not None:
        if revision:
            yield f"refused, but the log has it at {revision}: {write}"
        if write.expected in (None, write.found) and (write.found or not write.deleted):
            yield f"refused without a reason: {write}"
    elif revision:
        before = replay.at(write.key, revision - 1)
        newest = before.revision if before else 0
        if write.expected is not None and write.expected != newest:
            yield f"done at {revision} although the key's newest change was {newest}: {write}"
        if write.deleted and before is None:
            yield f"deleted at {revision} what did not exist: {write}"


def _check_read(read: Read, replay: _Replay) -> Iterator[str]:
    if read.revision is None:
        return  # Its revision is looked for when its turn comes.
    if read.revision > len(replay.log):
        yield f"read at revision {read.revision}, but the log ends at {len(replay.log)}: {read}"
        return
    if read.prefix:
        there = tuple(replay.range(read.key, read.revision))
    else:
        entry = replay.at(read.key, read.revision)
        there = () if entry is None else (entry,)
    if there != read.result:
        wrong = next((pair for pair in zip(there, read.result, strict=False) if pair[0] != pair[1]), None)
        difference = f"{wrong[1]} instead of {wrong[0]}" if wrong else f"{len(read.result)} of {len(there)} items"
        yield f"at revision {read.revision} it was told {difference}: {read}"


def _check_order(history: Sequence[Operation], revisions: dict[bytes, int], replay: _Replay) -> Iterator[str]:
    """The sweep through time. Calls come before returns of the same instant."""
    moments = [(operation.call, 0, number) for number, operation in enumerate(history)]
    moments += [(operation.ret, 1, number) for number, operation in enumerate(history) if operation.ret < inf]
    places: dict[int, int] = {}
    answered = 0
    for _, is_return, number in sorted(moments):
        operation = history[number]
        if is_return:
            answered = max(answered, places.get(number, 0))
            continue
        place = _place(operation, answered, revisions, replay)
        if place is None:
            yield f"true at no revision from {answered // 2} on, which was known before it was asked: {operation}"
        elif place < answered:
            yield f"at revision {place // 2}, but {answered // 2} was known before it was asked: {operation}"
        else:
            places[number] = place


def _place(operation: Operation, answered: int, revisions: dict[bytes, int], replay: _Replay) -> int | None:
    """Where it belongs; None: nowhere. What never happened stands nowhere in the way."""
    if isinstance(operation, Write) and operation.found is None:
        revision = revisions.get(operation.value, 0)
        return 2 * revision if revision else answered
    if isinstance(operation, Read) and operation.revision is not None:
        place = 2 * operation.revision + 1
        # As old as it likes; but that its revision was there is known from here on.
        return max(place, answered) if operation.exact else place
    if isinstance(operation, Write):
        holds = operation.found or 0
    else:
        holds = operation.result[0].revision if operation.result else 0
        if operation.result and (replay.at(operation.key, holds),) != operation.result:
            return None
    first = replay.first_with(operation.key, holds, answered // 2)
    return None if first is None else 2 * first + 1
