"""Promises of the store's log itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .changes import Change
from .recorded import History, Recording, describe
from .violations import Violation

LOG = "Log"
RESTORED = "Restored"


def logs_are_whole(recording: Recording) -> Iterator[Violation]:
    """**Every change of a key gets the next revision, revisions have no gaps**, and a record says truly which change of
    its key came before it, and with which its life began. (storage/store.py)"""
    for history in recording.histories.values():
        yield from _revisions(history)
        yield from _lives(history)


def _revisions(history: History) -> Iterator[Violation]:
    seen: dict[int, Change] = {}
    for change in history.logged:
        known = seen.setdefault(change.revision, change)
        if known is not change and known[:-1] != change[:-1]:
            text = f"revision {change.revision} of {describe(history)} is of {known.key} and of {change.key}"
            yield Violation(LOG, text, change.key)
    whole = history.whole
    if whole is None:
        return
    for revision in range(whole[0] + 1, whole[1] + 1):
        if revision not in seen:
            yield Violation(LOG, f"{describe(history)} has no revision {revision}, but {whole[1]} is its newest")


def _lives(history: History) -> Iterator[Violation]:
    newest: dict[str, Change] = {}
    for change in history.changes:
        before = newest.get(change.key)
        newest[change.key] = change
        if before is None:
            continue  # The first that is known need not be the first that was.
        begins = before.deleted
        previous, create = (0, change.revision) if begins else (before.revision, before.create_revision)
        if (change.previous_revision, change.create_revision) != (previous, create) or (begins and change.deleted):
            yield Violation(
                LOG,
                f"revision {change.revision} of {describe(history)} says that it follows {change.previous_revision} in "
                f"a life begun at {change.create_revision}: it follows {previous}, in one begun at {create}",
                change.key,
                change.time,
            )


def restores_keep_the_snapshot(recording: Recording) -> Iterator[Violation]:
    """**A restored store is another history that holds what the snapshot held.** What was acknowledged behind the
    snapshot may be gone; nothing before it is, and nothing of it has changed."""
    for histories in recording.incarnations.values():
        for number, after in enumerate(histories):
            if after.snapshot and number and after.whole:
                yield from _of_no_snapshot(histories[:number], after)


def _of_no_snapshot(earlier: Sequence[History], after: History) -> Iterator[Violation]:
    """A snapshot may be of any of the histories before, of which the same revision may be in several."""
    known = [(before, before.whole) for before in reversed(earlier) if before.whole is not None]
    if not known:
        return
    found: list[Violation] = []
    for before, (first, last) in known:
        if first <= after.snapshot <= last:
            found = list(_differences(before, after, after.snapshot))
            if not found:
                return
    before, (_, last) = known[0]
    yield from found or [
        Violation(RESTORED, f"{describe(after)} begins at {after.snapshot}, but {describe(before)} had only {last}")
    ]


def _differences(before: History, after: History, snapshot: int) -> Iterator[Violation]:
    """A restored store may have forgotten what was compacted, but not what lived at the snapshot."""
    for change in after.changes:
        if change.revision > snapshot:
            break
        if before.by_revision.get(change.revision, change)[:-1] != change[:-1]:
            yield Violation(
                RESTORED, f"revision {change.revision} is another one in {describe(after)} than before", change.key
            )
    for change in before.changes:
        alive = not change.deleted and before.replay.at(change.key, snapshot) is change
        if alive and change.revision <= snapshot and change.revision not in after.by_revision:
            yield Violation(
                RESTORED,
                f"{change.key} lived at revision {snapshot}, of which {describe(after)} was restored, and is lost",
                change.key,
            )
