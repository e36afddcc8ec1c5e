"""Were the writes of recorded clients carried out as they were told, and did their reads tell what was?

As in linearizability.py, the judge of bare stores, the order is known: every acknowledged write names its revision,
every read the one at which it was made, and the log has them all. So it is enough that nobody was told anything else
than the log says, and that the order of the revisions never contradicts the order in time (real_time.py).

Objects carry the id of the request that wrote them, so a write is found in the log by it: once if it was acknowledged,
at most once if nobody knows, never if it was refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from ...clients.mutations import COUNTER_BYTES
from ..recording.records import NOT_OLDER, OK, UNKNOWN, Get, Write
from .changes import Change, resource_of
from .recorded import History, Recording, describe
from .violations import Violation, title

WRITES = "Writes"
READS = "Reads"
DURABLE = "Durable"

# Of these several objects may change, or none.
COLLECTIONS = ("delete_collection", "")
# A create of these that finds what it would make is no refusal.
_IDEMPOTENT_CREATES = ("placements.ursa.dev",)


def writes_happen_once(recording: Recording) -> Iterator[Violation]:
    """**A write that was acknowledged is in the log, once, at its revision; one that was refused is not; of one whose
    answer was lost nobody knows, but it was not carried out twice.** What a write presupposed was so when it was
    carried out. What bears the name of a recorded writer, it has asked for. (partitions/writes/outcomes.py,
    clients/mutations.py)"""
    for write in recording.writes:
        if write.verb in COLLECTIONS:
            continue
        for history in _histories_of(write, recording):
            found = history.by_request_id.get(write.request_id, ()) if write.request_id else ()
            yield from _check_write(write, history, found)

    yield from _nobody_wrote(recording)


def _nobody_wrote(recording: Recording) -> Iterator[Violation]:
    """Of the writers that were recorded, whose name their ids begin with."""
    asked = dict.fromkeys(write.request_id for write in recording.writes)
    writers = dict.fromkeys(request_id[:-COUNTER_BYTES] for request_id in asked if len(request_id) > COUNTER_BYTES)
    for history in recording.histories.values():
        for request_id, revisions in history.by_request_id.items():
            if request_id not in asked and request_id[:-COUNTER_BYTES] in writers:
                change = history.by_revision[revisions[0]]
                text = f"revision {change.revision} of {describe(history)} bears an id that its writer never sent"
                yield Violation(WRITES, text, change.key, change.time)


def _histories_of(write: Write, recording: Recording) -> Sequence[History]:
    history = recording.history(write.partition, write.store, write.incarnation)
    if history is not None:
        return (history,)
    return recording.incarnations.get((write.partition, write.store), ()) if not write.incarnation else ()


def _check_write(write: Write, history: History, found: Sequence[int]) -> Iterator[Violation]:
    def broken(text: str) -> Violation:
        return Violation(WRITES, f"{title(write)} {text}", write.key, write.ret if write.ret < inf else write.call)

    if len(found) > 1:
        yield broken(f"was carried out at revisions {', '.join(map(str, found))} of {describe(history)}")
    if write.code not in (OK, UNKNOWN) and found:
        yield broken(f"was refused ({write.reason or write.code}), and carried out at revision {found[0]}")
    if write.dry_run:
        if found:
            yield broken(f"was a dry run, and carried out at revision {found[0]}")
        return
    if found:
        yield from map(broken, _wrong_of(write, history.by_revision[found[0]]))
    known = history.knows(write.resource, write.revision) or history.never_reached(write.revision)
    if write.code == OK and write.revision and known:
        yield from map(broken, _acknowledged(write, history, found))


def _acknowledged(write: Write, history: History, found: Sequence[int]) -> Iterator[str]:
    revision = write.revision
    change = history.by_revision.get(revision)
    if found and found[0] != revision:
        yield f"was acknowledged with revision {revision}, and the log of {describe(history)} has it at {found[0]}"
    elif change is None:
        if revision > history.known(write.resource)[0]:  # Else it was compacted, or a no-op on what was.
            yield f"was acknowledged with revision {revision}, which the log of {describe(history)} does not have"
    elif change.key != write.key:
        yield f"was acknowledged with revision {revision}, which is of {change.key}"
    elif not found and write.request_id:
        # It changed nothing: then the object was as it wanted.
        if write.verb == "create" and write.resource not in _IDEMPOTENT_CREATES:
            yield f"was acknowledged with revision {revision}, which another request wrote"
        elif change.deleted:
            yield f"was acknowledged with revision {revision}, which is a deletion by another request"
    elif write.uid and write.uid != change.uid:
        yield f"was told uid {write.uid}, the log has {change.uid}"
    if change is not None and write.crc and write.crc != change.crc:
        yield f"was told another object than the log has at revision {revision}"


def _wrong_of(write: Write, change: Change) -> Iterator[str]:
    """Preconditions, where it was carried out."""
    if change.key != write.key and not write.key.endswith("/"):
        yield f"is in the log as {change.key}"
    creates = change.previous_revision == 0
    if write.verb == "create" and not creates:
        yield f"was carried out at {change.revision} over revision {change.previous_revision}, which was there"
    if write.verb in ("update", "delete", "bind", "evict") and creates:
        yield f"was carried out at {change.revision} on an object that was not there"
    if write.uid_asked and write.uid_asked != change.uid:
        yield f"was for uid {write.uid_asked}, and carried out on {change.uid}"
    if write.revision_asked and write.revision_asked != change.previous_revision:
        yield f"was for revision {write.revision_asked}, and carried out on {change.previous_revision}"


def reads_tell_what_was(recording: Recording) -> Iterator[Violation]:
    """**A get tells the object as it was at the revision of the answer**, which is not older than was asked for; a list
    is of just the revision that was asked for, or of one not older, as its options say. (partitions/reads/listing.py;
    for the items of a list see `watch_promises`.)"""
    for get in recording.gets:
        history = recording.history(get.partition, get.store, get.incarnation)
        if get.code not in (OK, 404) or history is None:
            continue
        if wrong := _wrong_with_get(get, history):
            yield Violation(READS, f"{get.client} was told of {get.key}: {wrong}", get.key, get.ret)
    for listed in recording.lists:
        if listed.code != OK:
            continue
        wrong = _wrong_revision(listed.match, listed.asked, listed.revision)
        history = recording.history(listed.partition, listed.store, listed.incarnation)
        if history is not None and history.never_reached(listed.revision):
            wrong = f"at revision {listed.revision}, which the log never reached"
        if wrong:
            yield Violation(READS, f"{listed.client} listed {listed.selection.resource}: {wrong}", "", listed.ret)


def _wrong_with_get(get: Get, history: History) -> str:
    revision = get.revision
    if not revision:
        return ""
    if wrong := _wrong_revision(get.match, get.asked, revision):
        return wrong
    if history.never_reached(revision):
        return f"at revision {revision}, which the log never reached"
    if not history.knows(resource_of(get.key), revision):
        return ""
    there = history.replay.at(get.key, revision)
    if there is None:
        return f"at revision {revision} it was there, but it was not" if get.code == OK else ""
    if get.code != OK:
        return f"at revision {revision} it was not there, but it was, since {there.revision}"
    if there.revision != get.object_revision:
        return f"at revision {revision} it was at {get.object_revision}, but it was at {there.revision}"
    return f"other bytes than the log has at {there.revision}" if get.crc not in (0, there.crc) else ""


def _wrong_revision(match: str, asked: int, revision: int) -> str:
    if match == NOT_OLDER and revision < asked:
        return f"asked for not older than {asked}, it was answered with {revision}"
    if match == "exact" and asked and revision != asked:
        return f"asked for exactly {asked}, it was answered with {revision}"
    return ""


def nothing_is_told_before_it_is_durable(recording: Recording) -> Iterator[Violation]:
    """**Nobody sees a change before it is committed; after that nobody can lose it.** (docs/architecture.md, 1.) For
    stores whose commits were followed while they were made."""
    told: list[tuple[Write | Get, int]] = [
        *((write, write.revision) for write in recording.writes if write.code == OK and write.revision),
        *((get, get.object_revision) for get in recording.gets if get.code == OK),
    ]
    for answered, revision in told:
        history = recording.history(answered.partition, answered.store, answered.incarnation)
        change = history.by_revision.get(revision) if history is not None else None
        if change is not None and answered.ret < change.time:
            yield _too_early(title(answered), change, answered.key, answered.ret)
    for watched, history, _ in recording.shown:
        time, by_revision = watched.time, history.by_revision
        for event in watched.events:
            change = by_revision.get(event[3])
            if change is not None and time < change.time:
                yield _too_early(f"the watch {watched.watch} of {watched.client}", change, event[1], time)


def _too_early(who: str, change: Change, key: str, time: float) -> Violation:
    text = f"{who} was told of revision {change.revision}, committed at {change.time:.6f} s"
    return Violation(DURABLE, text, key, time)
