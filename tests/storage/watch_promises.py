"""What etcd promises of a watch (its API guarantees, "Watch APIs"), one validator a promise, for whatever can watch.

A validator gets what a watcher has seen, and the log as it really was. It knows nothing of how the watch is made, so it
holds for a store, for a cache in front of one, and for a client on the other side of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ursa.storage import Record


@dataclass
class Seen:
    """One watch as its watcher saw it. A watch that was resumed is several of these."""

    prefix: str
    after: int  # Where it was asked to begin.
    # One entry a delivery: the records, and the bookmark told with it.
    deliveries: list[tuple[list[Record], int]] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [record for records, _ in self.deliveries for record in records]

    @property
    def bookmark(self) -> int:
        return self.deliveries[-1][1] if self.deliveries else self.after


def ordered(seen: Seen, log: Sequence[Record]) -> None:
    """Ordered - events are ordered by revision; an event will never appear on a watch if it precedes an event in time
    that has already been posted."""
    revisions = [record.revision for record in seen.records]
    assert revisions == sorted(revisions), f"not in order: {revisions}"


def unique(seen: Seen, log: Sequence[Record]) -> None:
    """Unique - an event will never appear on a watch twice."""
    revisions = [record.revision for record in seen.records]
    assert len(revisions) == len(dict.fromkeys(revisions)), f"twice: {revisions}"


def reliable(seen: Seen, log: Sequence[Record]) -> None:
    """Reliable - a sequence of events will never drop any subsequence of events within the available history window;
    if there are events ordered in time as a < b < c, then if the watch receives events a and c, it is guaranteed to
    receive b."""
    if seen.records:
        last = seen.records[-1].revision
        due = [r for r in log if seen.after < r.revision <= last and r.key.startswith(seen.prefix)]
        missing = [record for record in due if record not in seen.records]
        assert not missing, f"dropped: {missing}"


def atomic(seen: Seen, log: Sequence[Record], batches: Sequence[Sequence[Record]]) -> None:
    """Atomic - a list of events is guaranteed to encompass complete revisions; updates in the same revision over
    multiple keys will not be split over several lists of events.

    Here a transaction is a batch, with a revision for each of its changes: it is whole once a watcher has caught up.
    `batches`: those committed when the watcher had caught up with the head.
    """
    for batch in batches:
        wanted = [r for r in batch if r.key.startswith(seen.prefix) and r.revision > seen.after]
        found = [record for record in wanted if record in seen.records]
        assert found in ([], wanted), f"of {wanted} only {found}"


def resumable(first: Seen, second: Seen, log: Sequence[Record]) -> None:
    """Resumable - a broken watch can be resumed by establishing a new watch starting after the last revision received
    in a watch event before the break, so long as the revision is in the history window."""
    assert second.after in (first.bookmark, first.records[-1].revision if first.records else first.after)
    both = Seen(first.prefix, first.after, first.deliveries + second.deliveries)
    for promise in (ordered, unique, reliable):
        promise(both, log)


def bookmarkable(seen: Seen, log: Sequence[Record]) -> None:
    """Bookmarkable - progress notification events guarantee that all events up to a revision have been already
    delivered."""
    so_far: list[Record] = []
    before = seen.after
    for records, bookmark in seen.deliveries:
        so_far += records
        assert bookmark >= before, f"the bookmark went back from {before} to {bookmark}"
        due = [r for r in log if seen.after < r.revision <= bookmark and r.key.startswith(seen.prefix)]
        assert so_far == due, f"bookmark {bookmark}, but {so_far} were delivered of {due}"
        before = bookmark


def filtered(seen: Seen, log: Sequence[Record]) -> None:
    """Filter - all events a watch receives match the request: its keys, its start, and what happened."""
    truth = {record.revision: record for record in log}
    for record in seen.records:
        assert record.key.startswith(seen.prefix), f"not under {seen.prefix!r}: {record}"
        assert record.revision > seen.after, f"not behind {seen.after}: {record}"
        assert truth.get(record.revision) == record, f"never happened: {record}"


# Those that need nothing but one watch and the log.
OF_ONE_WATCH: tuple[Callable[[Seen, Sequence[Record]], None], ...] = (
    ordered,
    unique,
    reliable,
    bookmarkable,
    filtered,
)
