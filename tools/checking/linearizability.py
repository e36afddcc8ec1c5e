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

A batch has a place for each of its writes, one behind the other, and nothing but a read that asked for such a revision
may stand between them. A watch gives what the log has, and all of it, at a pace of its own; but what it gave is known
from then on. A store's own changes, with which leases come and go, are judged by lease_rules.py.

The cost is O(n log n), and for a range or a watch as much as there are keys, or changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from math import inf

from . import lease_rules
from .histories import (
    Batch,
    Compaction,
    Delivery,
    Demand,
    Entry,
    Grant,
    Operation,
    Part,
    Read,
    Renewal,
    Revocation,
    TooOld,
    Write,
)
from .replay import Replay

__all__ = ["Batch", "Demand", "Entry", "Operation", "Part", "Read", "Write", "violations"]

# The lowest and the highest place of an operation.
Places = tuple[int, int]


def violations(history: Sequence[Operation], log: Sequence[Entry]) -> list[str]:
    """What shows that the history is not linearizable, one line each; empty: it is.

    Args:
        history: every operation of every client, in any order, those without an answer included.
        log: all changes from revision 1 on, as they were read when all was over, or by a watch since the beginning.

    Raises:
        ValueError: the history breaks its own rules: two writes of one value, a range that names no revision, an end
            before the beginning.
    """
    _check_rules(history)
    for number, entry in enumerate(log, 1):
        if entry.revision != number:
            # Nothing below can be trusted on a log with holes.
            return [f"the log has revision {entry.revision} where {number} should be"]
    replay = Replay(log)
    revisions, found = _attribute(history, log)
    for operation in history:
        if isinstance(operation, Batch):
            found += _join(operation, revisions, replay)
    for operation in history:
        if isinstance(operation, Write | Batch):
            found += _check_write(operation, revisions, replay)
        elif isinstance(operation, Read):
            found += _check_read(operation, replay)
        elif isinstance(operation, Delivery):
            found += _check_delivery(operation, replay)
    found += lease_rules.check_log(log, {part.value: part.lease for part in _all_parts(history)})
    if found:
        return found
    sweep = _Sweep(history, revisions, replay)
    found += sweep.run()
    return found or list(lease_rules.check_time(history, replay, sweep.known_at))


def _check_rules(history: Sequence[Operation]) -> None:
    values: dict[bytes, None] = {}
    for operation in history:
        if operation.ret < operation.call:
            raise ValueError(f"it ends before it begins: {operation}")
        if isinstance(operation, Read):
            if operation.revision is None and (operation.prefix or operation.exact):
                raise ValueError(f"a range, and an exact read, must name a revision: {operation}")
        elif isinstance(operation, Write | Batch):
            parts = _parts(operation)
            if any(part.value in values or not part.value for part in parts):
                raise ValueError(f"another write has this value, or it has none: {operation}")
            if len({part.key for part in parts}) < len(parts) or not parts:
                raise ValueError(f"a batch writes each key once, and at least one: {operation}")
            if operation.revision == 0 and operation.found is None and operation.ret != inf:
                raise ValueError(f"a write of unknown outcome has no end: {operation}")
            values.update(dict.fromkeys(part.value for part in parts))


def _parts(operation: Write | Batch) -> tuple[Part, ...]:
    if isinstance(operation, Batch):
        return operation.parts
    return (Part(operation.key, operation.value, operation.deleted, operation.expected, operation.lease),)


def _all_parts(history: Sequence[Operation]) -> Iterator[Part]:
    for operation in history:
        if isinstance(operation, Write | Batch):
            yield from _parts(operation)


def _attribute(history: Sequence[Operation], log: Sequence[Entry]) -> tuple[dict[bytes, int], list[str]]:
    """The revision of each value that is in the log, and which entries no client can have written."""
    writes = {part.value: part for part in _all_parts(history)}
    revisions: dict[bytes, int] = {}
    wrong = []
    for entry in log:
        if lease_rules.is_of_the_store(entry):
            continue
        write = writes.get(entry.value)
        if write is None or (write.key, write.deleted) != (entry.key, entry.deleted):
            wrong.append(f"nobody wrote what the log has: {entry}")
        elif entry.value in revisions:
            wrong.append(f"it was done twice, at revisions {revisions[entry.value]} and {entry.revision}: {write}")
        revisions[entry.value] = entry.revision
    return revisions, wrong


def _join(batch: Batch, revisions: Mapping[bytes, int], replay: Replay[Entry]) -> Iterator[str]:
    places = [revisions.get(part.value, 0) for part in batch.parts]
    if any(places):
        if places != list(range(places[0], places[0] + len(places))) or not places[0]:
            yield f"not done as one, but at {places}: {batch}"
        else:
            replay.join(places[0], places[-1])


def _check_write(write: Write | Batch, revisions: Mapping[bytes, int], replay: Replay[Entry]) -> Iterator[str]:
    parts = _parts(write)
    first = revisions.get(parts[0].value, 0)
    if write.revision and first != write.revision:
        yield f"acknowledged, but the log has it at {first or 'no revision'}: {write}"
    if write.found is not None:
        if first:
            yield f"refused, but the log has it at {first}: {write}"
        if not _has_reason(write, write.found):
            yield f"refused without a reason: {write}"
    elif first:
        for revision, part in enumerate(parts, first):
            newest, _ = replay.newest(part.key, revision - 1)
            if part.expected is not None and part.expected != newest:
                yield f"done at {revision} although the key's newest change was {newest}: {write}"
            if part.deleted and not newest:
                yield f"deleted at {revision} what did not exist: {write}"
        for demand in write.demands if isinstance(write, Batch) else ():
            if not _holds(demand, *replay.newest(demand.key, first - 1)):
                yield f"done at {first} although the guard {demand} did not hold: {write}"


def _has_reason(write: Write | Batch, found: int) -> bool:
    """Whether it had to be refused where it was told that it found this."""
    if isinstance(write, Write):
        key, of_life = write.key, False
    else:
        key, of_life = write.found_key, write.found_life
        for demand in write.demands:
            if demand.key == key and (demand.create_revision if of_life else demand.revision) not in (None, found):
                return True
            if demand == Demand(key) and not found and not of_life:
                return True
    return not of_life and any(
        part.key == key and (part.expected not in (None, found) or (part.deleted and not found))
        for part in _parts(write)
    )


def _holds(demand: Demand, newest: int, life: int) -> bool:
    if demand.revision is None and demand.create_revision is None:
        return newest > 0
    return demand.revision in (None, newest) and demand.create_revision in (None, life)


def _check_read(read: Read, replay: Replay[Entry]) -> Iterator[str]:
    if read.revision is None:
        return  # Its revision is looked for when its turn comes.
    if read.revision > len(replay.log):
        yield f"read at revision {read.revision}, but the log ends at {len(replay.log)}: {read}"
        return
    if not read.exact and replay.is_inner(read.revision):
        yield f"read at revision {read.revision}, in the middle of a batch: {read}"
    if read.prefix:
        there = tuple(replay.range(read.key, read.revision))
    else:
        entry = replay.at(read.key, read.revision)
        there = () if entry is None else (entry,)
    if there != read.result:
        wrong = next((pair for pair in zip(there, read.result, strict=False) if pair[0] != pair[1]), None)
        difference = f"{wrong[1]} instead of {wrong[0]}" if wrong else f"{len(read.result)} of {len(there)} items"
        yield f"at revision {read.revision} it was told {difference}: {read}"


def _check_delivery(given: Delivery, replay: Replay[Entry]) -> Iterator[str]:
    if not given.after <= given.bookmark <= len(replay.log):
        yield f"a watch came from {given.after} to {given.bookmark}, but the log ends at {len(replay.log)}: {given}"
        return
    passed = replay.log[given.after : given.bookmark]
    there = tuple(entry for entry in passed if entry.key.startswith(given.prefix))
    if there != given.entries:
        wrong = next((pair for pair in zip(there, given.entries, strict=False) if pair[0] != pair[1]), None)
        difference = f"{wrong[1]} instead of {wrong[0]}" if wrong else f"{len(given.entries)} of {len(there)} changes"
        yield f"from {given.after} to {given.bookmark} a watch gave {difference}: {given}"
    if given.caught_up and replay.is_inner(given.bookmark):
        yield f"a watch had caught up in the middle of a batch, at {given.bookmark}: {given}"


class _Sweep:
    """The sweep through time. Calls come before returns of the same instant."""

    def __init__(self, history: Sequence[Operation], revisions: Mapping[bytes, int], replay: Replay[Entry]) -> None:
        self._history = history
        self._revisions = revisions
        self._replay = replay
        # What was known from when on: (place, time), both ascending.
        self._known: list[tuple[int, float]] = [(0, 0.0)]
        self._compacted = 0

    def run(self) -> list[str]:
        history = self._history
        moments = [(operation.call, 0, number) for number, operation in enumerate(history)]
        moments += [(operation.ret, 1, number) for number, operation in enumerate(history) if operation.ret < inf]
        highest: dict[int, int] = {}
        wrong = []
        for time, is_return, number in sorted(moments):
            operation = history[number]
            answered = self._known[-1][0]
            if is_return:
                if isinstance(operation, TooOld) and not operation.revision < operation.floor <= self._compacted:
                    wrong.append(f"nobody had compacted so far, but at {self._compacted}: {operation}")
                if highest.get(number, 0) > answered:
                    self._known.append((highest[number], time))
                continue
            if isinstance(operation, Compaction):
                self._compacted = max(self._compacted, operation.revision)
            places = self._places(operation, answered)
            if places is None:
                before = f"from {answered // 2} on, which was known before it was asked"
                wrong.append(f"true at no revision {before}: {operation}")
            elif places[0] < answered:
                before = f"but {answered // 2} was known before it was asked"
                wrong.append(f"at revision {places[0] // 2}, {before}: {operation}")
            else:
                highest[number] = places[1]
        return wrong

    def known_at(self, revision: int) -> float:
        """The first time at which somebody had been told something that this revision came before; else infinite."""
        position = bisect_left(self._known, 2 * revision, key=lambda known: known[0])
        return self._known[position][1] if position < len(self._known) else inf

    def _places(self, operation: Operation, answered: int) -> Places | None:
        """Where it belongs; None: nowhere. What never happened stands nowhere in the way."""
        if isinstance(operation, Write | Batch) and operation.found is None:
            parts = _parts(operation)
            first = self._revisions.get(parts[0].value, 0)
            return (2 * first, 2 * (first + len(parts) - 1)) if first else (answered, answered)
        if isinstance(operation, Read) and operation.revision is not None:
            place = 2 * operation.revision + 1
            # As old as it likes; but that its revision was there is known from here on.
            return (max(place, answered), place) if operation.exact else (place, place)
        if isinstance(operation, Delivery):
            place = 2 * operation.bookmark + 1
            return (place if operation.caught_up else max(place, answered), place)
        if isinstance(operation, Compaction | TooOld):
            return answered, answered
        if isinstance(operation, Grant | Renewal | Revocation):
            return lease_rules.places(operation, answered, self._replay)
        return self._place_of_what_was_told(operation, answered)

    def _place_of_what_was_told(self, operation: Write | Batch | Read, answered: int) -> Places | None:
        key, of_life = operation.key if not isinstance(operation, Batch) else operation.found_key, False
        if isinstance(operation, Read):
            holds = operation.result[0].revision if operation.result else 0
            if operation.result and (self._replay.at(key, holds),) != operation.result:
                return None
        else:
            holds = operation.found or 0
            of_life = isinstance(operation, Batch) and operation.found_life and holds > 0
        find = self._replay.first_life if of_life else self._replay.first_with
        first = find(key, holds, answered // 2)
        return None if first is None else (2 * first + 1, 2 * first + 1)
