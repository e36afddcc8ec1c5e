"""The store's contract: a log of revisions, with every backend behind one interface.

A store is one partition's truth. Every change of a key gets the next revision, revisions have no gaps, and a change is
first *staged* (applied in memory, ordered, not yet durable) and then *committed* (durable, readable, never lost).
Staging is synchronous and never waits; committing happens beside the loop, one commit at a time, and whatever is staged
meanwhile is the next commit. What has not been committed is seen by nobody but the writer: `get`, `range` and `log`
read committed state only.

    stage: put a=1 (revision 1), put b=1 (2), delete a (3)      staged_head = 3, head = 0
    commit, done                                                head = 3
    range("") at 2 -> a=1, b=1        range("") at 3 -> b=1     log(after=1) -> b=1 (2), a deleted (3)
    compact(3): revision 2 can no longer be read; a is gone from the log altogether
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ..proto.errors import StoreError
from .committer import Done

# The caller of `stage` may leave the making of a value until its revision is known: an object carries its own revision
# and is still encoded once.
Value = bytes | Callable[[int], bytes]


class Record(NamedTuple):
    """One change of one key."""

    revision: int
    key: str
    value: bytes  # Of a deletion: what the deleter says about it (the apiserver: the object's last state).
    deleted: bool
    create_revision: int  # The revision at which this life of the key began.
    previous_revision: int  # The key's change before this one; 0: this one creates it.


class Change(NamedTuple):
    """A change asked for. `expected_revision`: the key's newest change must be this one (0: it must not exist)."""

    key: str
    value: Value
    deleted: bool = False
    expected_revision: int | None = None
    # Goes through although the store is over its quota, as deletions do: for what must go on, or leads to a deletion.
    reserve: bool = False
    # The key goes when this lease ends. 0: it stays; a key that had a lease has none from here on.
    lease: int = 0


# Under it lie the store's own keys, which only the store changes: the leases (leases.py). They have revisions like any
# other, so `range`, `log`, `digest` and watches that ask for all keys meet them.
RESERVED_PREFIX = "\0ursa/"
# Characters of a key that an error shows.
KEY_SHOWN = 80
# The alarm of a store that refused something for space.
NOSPACE = "NOSPACE"


class Guard(NamedTuple):
    """What must be true of a key, that need not be changed, for a batch to be staged.

    revision: its newest change must be this one (0: it must not exist).
    create_revision: its life must have begun with this change (0: it must not exist). That is what a uid stands for,
        and a leader's term where the leader's key goes with a lease: whoever lost it finds another life there.
    Neither: it must exist.
    """

    key: str
    revision: int | None = None
    create_revision: int | None = None


class StageConflict(StoreError):
    """A precondition of `stage` does not hold; nothing of the batch was applied.

    `expected` None: that it exists. `found` 0: it does not exist. Both are revisions of the key's newest change, or,
    if `of_life`, of the change with which its life began.
    """

    def __init__(self, key: str, expected: int | None, found: int, *, of_life: bool = False) -> None:
        what = "a life begun at revision" if of_life else "revision"
        wanted = "it to exist" if expected is None else f"{what} {expected}" if expected else "it not to exist"
        there = f"{what} {found}" if found else "nothing"
        super().__init__(f"{key}: expected {wanted}, found {there}: read it again, then decide")
        self.key, self.expected, self.found, self.of_life = key, expected, found, of_life


class InvalidKey(StoreError, ValueError):
    """No change of this key can be stored. `why` says which rule it breaks."""

    def __init__(self, key: str, why: str) -> None:
        shown = repr(key) if len(key) <= KEY_SHOWN else f"{key[:KEY_SHOWN]!r}..."
        super().__init__(f"{shown} cannot be a key: {why}")
        self.key, self.why = key, why


class ValueTooLarge(StoreError, ValueError):
    """A value has more bytes than a store takes."""

    def __init__(self, key: str, size: int, bytes_max: int) -> None:
        super().__init__(f"{key}: the value has {size} bytes, at most {bytes_max} are stored: split it")
        self.key, self.bytes, self.bytes_max = key, size, bytes_max


class LeaseNotFound(StoreError):
    """There is no such lease: it has ended, or never was."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"there is no lease {lease}: it has ended, grant another one")
        self.lease = lease


class LeaseExists(StoreError):
    """A lease of this number is there already."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease} exists already: take another number, or 0 for a free one")
        self.lease = lease


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What a store says about itself.

    `keys` exist at `head`, the store's own included. `bytes` are those of the records kept, staged ones included: what
    the quota counts. `bytes_on_disk` are those of its files, which reuse room but never shrink; 0 in memory. `leases`
    are those granted, staged ones included.
    """

    backend: str
    incarnation: str
    head: int
    compacted: int
    keys: int
    bytes: int
    bytes_max: int
    bytes_on_disk: int = 0
    # NOSPACE: something was refused for space, and the bytes have not been below the quota since.
    alarms: tuple[str, ...] = ()
    leases: int = 0


class StoreWatch(abc.ABC):
    """What changes under a prefix, pulled by whoever watches. Made by `Store.watch`.

    The log itself is the queue: a watch is only a position in it, so one that falls behind costs no memory and slows
    nobody. It may fall below the floor, and is then told so.
    """

    @property
    @abc.abstractmethod
    def revision(self) -> int:
        """The bookmark: every change under the prefix up to here has been taken. A new watch can go on behind it."""

    @abc.abstractmethod
    def take(self, limit: int) -> list[Record]:
        """The next committed changes under the prefix, at most `limit`, in the order of their revisions.

        A call looks at a bounded part of the log, so it may return nothing, or less than the limit, although there is
        more: all has been taken once `revision` is the store's `head`. By then every batch of `stage` has been taken
        whole, for a commit never has only a part of one.

        Raises:
            Compacted: the position has fallen below the floor. Read the state with `range`, then watch behind it.
            StoreError: the watch, or its store, is closed.
            ValueError: the limit is not positive.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Be woken no more. May be called twice, and from within `wake`."""


class CopyUnderWay(StoreError):
    """A snapshot or a defragmentation is being made already; there is one at a time."""

    def __init__(self) -> None:
        super().__init__("a snapshot or a defragmentation is under way: wait for its end")


class StoreDigest(abc.ABC):
    """A digest in the making, so that nothing else need wait for it. Made by `Store.digest_steps`."""

    # The state at this one is hashed, whatever is written meanwhile.
    revision: int

    @abc.abstractmethod
    def step(self) -> str | None:
        """Take up some more records, a millisecond or two of the loop; the digest once all were taken up.

        Raises:
            Compacted: the floor has passed the revision in the meantime.
            StoreError: the store is closed.
        """


class Store(abc.ABC):
    """One partition's log of revisions. Not thread-safe: one loop owns it."""

    # Identifies this history. A restored or re-created store gets another one, so that no client can take its
    # revisions for those of the old.
    incarnation: str

    @property
    @abc.abstractmethod
    def head(self) -> int:
        """The newest committed revision; 0 for an empty store."""

    @property
    @abc.abstractmethod
    def staged_head(self) -> int:
        """The newest revision given out, committed or not."""

    @property
    @abc.abstractmethod
    def compacted(self) -> int:
        """The floor: the oldest revision at which `range` and after which `log` still answer."""

    @abc.abstractmethod
    def stage(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> list[Record]:
        """Apply a batch atomically to the newest state (committed or not) and give each change its revision.

        Guards are looked at first, and see the state before the batch; expected revisions see the changes before them.

        A batch may change one key several times; each change finds the one before it. Values that are callables are
        called once, in order, after every precondition and the quota were checked. Attaching a key to a lease, or
        taking it away, is a change of the store's own behind those of the batch: `commit` and `log` tell it, the answer
        of `stage` does not.

        Raises:
            StageConflict: a guard or an `expected_revision` does not hold, or a deletion of what does not exist;
                nothing was applied.
            StoreFull: over the quota, and not all changes are deletions or of the reserve; nothing was applied. This
                raises the alarm NOSPACE, which clears itself once a sweep has brought the bytes below the quota again.
            LeaseNotFound: a change names a lease that does not exist; nothing was applied.
            InvalidKey: a key that is empty, no UTF-8, longer than 65,535 bytes, or of the store's own; nothing was
                applied.
            ValueTooLarge: a value of more than 2 MiB; nothing was applied.
            ValueError: a value that is not bytes, a lease for a deletion; nothing was applied.
            StoreError: a commit has failed, or the store is closed. `commit`, `compact` and `sweep_step` raise it too.
        """

    @abc.abstractmethod
    def grant(self, lease: int, ttl_seconds: float, now: float) -> int:
        """Stage a lease, which ends `ttl_seconds` after its last renewal. Returns its number (asked for 0: a free one).

        It can be used at once, and is durable with the next commit, no later than any key attached to it.

        Args:
            now: here and below, seconds of a clock that does not go back while the store is open. There is none inside.

        Raises:
            LeaseExists: a lease has that number.
            StoreFull: over the quota.
            ValueError: the number is negative or has more than 63 bits; the time is not above 0, or above 9e9.
        """

    @abc.abstractmethod
    def keep_alive(self, lease: int, now: float) -> float:
        """Renew a lease. Returns the time before which it does not end now: `now` plus its time to live, or later.

        Writes nothing, so it is possible at any time, also when the store is full. A store that is opened again gives
        every lease its whole time from the first `expire` or `keep_alive` on: no lease ever ends before its last
        renewal plus its time to live.

        Raises:
            LeaseNotFound: it has ended.
        """

    @abc.abstractmethod
    def revoke(self, lease: int) -> None:
        """Stage the end of a lease: one batch that deletes its keys, with empty values, and the lease.

        Raises:
            LeaseNotFound: it has ended.
        """

    @abc.abstractmethod
    def expire(self, now: float) -> int:
        """Stage the end of leases whose time is over, as `revoke` would, all in one batch; returns how many.

        To be called about once a second. A lease whose time is over at `now` exactly ends; one that is renewed before
        it was ended goes on. The batch is bounded, so there may be more to end: call until nothing is.
        """

    @abc.abstractmethod
    def commit(self, done: Callable[[Sequence[Record]], None]) -> None:
        """Make everything staged so far durable in one step, then call `done` with it, in revision order.

        `done` runs on the thread that owns the store, and never inside `commit` unless the committer is inline. At
        most one commit may be in flight (asserted). A commit that fails is fatal: later revisions were built on it.
        Then `done` is not called but `on_fatal`, which every backend is constructed with.
        """

    @abc.abstractmethod
    def get(self, key: str, revision: int | None = None) -> Record | None:
        """The key's newest change at or below the revision (None: at `head`); None if it does not exist there.

        Raises:
            Compacted, FutureRevision: the revision is out of reach.
        """

    @abc.abstractmethod
    def range(self, prefix: str, *, revision: int | None = None, start: str = "", limit: int = 0) -> Iterator[Record]:
        """The keys under a prefix that exist at a revision, in key order, from `start` on, at most `limit` (0: all).

        Raises:
            Compacted, FutureRevision: the revision is out of reach.
        """

    @abc.abstractmethod
    def log(self, after: int, *, limit: int = 0) -> Iterator[Record]:
        """Every change behind a revision, in order, without gaps.

        Raises:
            Compacted: changes behind `after` are no longer all there.
            FutureRevision: `after` is above `head`.
        """

    @abc.abstractmethod
    def digest(self, revision: int | None = None) -> str:
        """A hash over all keys that exist at a revision (None: at `head`): of each its key, revisions and value.

        Stores that hold the same at that revision have the same digest, whatever their backends and whatever each has
        forgotten of its history. Reads every record: 10 us each, during which the loop waits.

        Raises:
            Compacted, FutureRevision: the revision is out of reach.
        """

    @abc.abstractmethod
    def digest_steps(self, revision: int | None = None) -> StoreDigest:
        """`digest`, in bounded steps, for a loop that has other things to do in between.

        Raises:
            Compacted, FutureRevision: the revision is out of reach.
        """

    @abc.abstractmethod
    def watch(self, prefix: str, after: int, wake: Callable[[], None]) -> StoreWatch:
        """Follow the changes of the keys under a prefix behind a revision, from the log on into the future.

        Args:
            wake: called after every commit that changed something, whatever it changed, behind its `done`. Never
                called inside `watch` or `take`, and not for what is there already: take that first.

        Raises:
            Compacted, FutureRevision: `after` is out of reach.
        """

    @abc.abstractmethod
    def compact(self, revision: int) -> None:
        """Forget what only revisions below this one need. Returns at once; `sweep_step` does the work.

        What is older is refused from here on, also to an iterator of `range` or `log` that is still being read. On
        disk the floor moves with the next commit or sweep step, whichever comes first.

        Raises:
            Compacted: below the floor already.
            FutureRevision: above `head`.
        """

    @abc.abstractmethod
    def sweep_step(self) -> bool:
        """Bring the sweep behind a compaction one bounded step forward; True while there is more to do.

        To be called once after every commit, and from time to time when nothing is written; it costs nothing when
        there is nothing to sweep. A step is a millisecond or less of the loop, or one short transaction on the
        committer, which a commit waits behind.
        """

    @abc.abstractmethod
    def snapshot(self, path: str | os.PathLike[str], done: Done) -> None:
        """Write a copy of the store as it is at `head` into a new file, while reading and writing go on.

        `done(None)` is called on the loop when the whole file is on the disk, `done(error)` with a StoreError when it
        will not be; then nothing of it is left, and the store goes on. A store made from it (`snapshot.restore`) has
        another incarnation and a later revision, and keeps its leases.

        Raises:
            CopyUnderWay: there is one at a time.
            StoreError: the file exists.
        """

    @abc.abstractmethod
    def open_snapshot(self, opened: Callable[[BinaryIO | BaseException], None]) -> None:
        """`snapshot` into a file without a name, to be read at once and sent elsewhere.

        `opened` is called on the loop with the whole file, at its beginning, or with the StoreError that prevented it.
        The file is gone when it is closed, which takes the disk half a second a gigabyte unless it was truncated step
        by step before; after a crash, when the store is opened again.

        Raises:
            CopyUnderWay: there is one at a time.
        """

    @abc.abstractmethod
    def defragment(self, done: Done) -> None:
        """Give the room that the store's files no longer need back, while reading and writing go on.

        `done` as in `snapshot`, but that a failure in the last step is that of a commit.

        Raises:
            CopyUnderWay: there is one at a time.
        """

    @abc.abstractmethod
    def status(self) -> StoreStatus: ...

    @abc.abstractmethod
    def close(self) -> None:
        """Wait for the commit in flight (its `done` is called), close the committer, then release everything.

        What was staged but never committed is lost.
        """
