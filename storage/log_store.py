"""What every backend has in common: staging, publication, the floor and the sweep. A backend only keeps records.

    stage     preconditions and quota are checked against the index, then revisions are given out; nothing waits
    commit    one piece of work on the committer writes the staged records; its end publishes them (head moves, `done`)
    compact   moves the floor at once: what is older answers Compacted from then on
    sweep     looks through the index in bounded steps for what nobody can ask for any more, then erases it, oldest
              first, in bounded transactions. The floor is durable no later than the first thing erased under it.

Garbage leaves the index when the sweep looks at its key, and the log when its step is committed. A crash in between is
harmless: the index is rebuilt from the log, with the garbage that lies there, and the next sweep finds it again.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..proto.errors import Compacted, FutureRevision, StoreCorrupt, StoreError, StoreFull
from .committer import Committer
from .digest import RecordsDigest, digest_of
from .index import KeyIndex
from .leases import LEASE_PREFIX, Leases, lease_key, parse_key
from .records import checked_record_bytes, record_bytes
from .store import NOSPACE, RESERVED_PREFIX, Change, CopyUnderWay, Guard, Record, StageConflict, Store, StoreStatus
from .sweep import Sweep
from .watch import LogWatch

# The largest quota etcd recommends.
BYTES_MAX = 8 << 30
# Records read from the backend at a time: one short read transaction, about a quarter of a millisecond.
READ_RECORDS = 128
# Unless their values are large: then a read stops early.
READ_BYTES = 4 << 20


# All reserved keys are below it, and hardly any other.
_RESERVED_END = RESERVED_PREFIX[:-1] + chr(ord(RESERVED_PREFIX[-1]) + 1)


# What Record() does, in half the time.
_new_record = tuple.__new__


def raise_error(error: BaseException) -> None:
    """The default of `on_fatal`: let the error end whatever runs the loop."""
    raise error


class LogStore(Store):
    """A Store over any keeper of records.

    Args:
        on_fatal: called, on the loop, with the StoreError of a commit that failed. Its `done` is never called; every
            later call that would change something raises the same error. The process should end.
    """

    backend: str

    def __init__(
        self,
        committer: Committer,
        *,
        incarnation: str,
        bytes_max: int = BYTES_MAX,
        on_fatal: Callable[[BaseException], None] = raise_error,
    ) -> None:
        self.incarnation = incarnation
        self._committer = committer
        self._bytes_max = bytes_max
        self._on_fatal = on_fatal
        self._failure: StoreError | None = None
        self._closed = False
        self._index = KeyIndex()
        self._head = 0
        self._staged_head = 0
        self._staged: list[Record] = []
        self._newest: Sequence[Record] = ()  # What was committed last.
        # By how many the staged changes will change the number of keys.
        self._staged_keys = 0
        self._committing = False
        self._keys = 0
        self._bytes = 0
        self._floor = 0
        self._durable_floor = 0
        self._sweep: Sweep | None = None
        self._swept_floor = 0
        self._erasing = False
        self._copying = False
        self._watches: dict[LogWatch, None] = {}
        self._nospace = False
        # None until the first use: then they are looked up in the index, however that came to be.
        self._leases: Leases | None = None

    # --- the backend -------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _write(self, batch: Sequence[Record], floor: int | None) -> None:
        """On the committer: make these records durable, and the floor if it moved, all or nothing."""

    @abc.abstractmethod
    def _erase(self, revisions: Sequence[int], floor: int) -> int:
        """On the committer: make the floor durable and drop these records, all or nothing. Returns the bytes freed."""

    @abc.abstractmethod
    def _read(self, revisions: Sequence[int]) -> list[Record]:
        """The committed records of these revisions, all of which exist; fewer, but one, if they exceed READ_BYTES."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Let go of files and memory. The committer has stopped."""

    def _bytes_on_disk(self) -> int:
        return 0

    # --- writing -----------------------------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        return self._head

    @property
    def staged_head(self) -> int:
        return self._staged_head

    @property
    def compacted(self) -> int:
        return self._floor

    def stage(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> list[Record]:
        if guards:
            self._check_usable()
            self._check_guards(guards)
        if len(changes) == 1:
            record = self._stage_plain(changes[0])
            if record is not None:
                return [record]
        return self._stage(changes, ())

    def _stage_plain(self, change: Change) -> Record | None:
        """Stage a change that nothing speaks against and no lease is concerned with, as nearly all are.

        Takes half the time of `_stage`. For any other None, and nothing was done: `_stage` knows all the rules.
        """
        key, value, deleted, expected, _, lease = change
        leases = self._leases
        if lease or leases is None or key in leases.attached or key < _RESERVED_END:
            return None
        if self._bytes >= self._bytes_max or self._failure is not None:
            return None
        revision = self._staged_head + 1
        if not isinstance(value, bytes):
            newest, _ = self._index.newest(key)
            if (expected is not None and expected != newest) or (deleted and not newest):
                return None
            value = value(revision)
        size = checked_record_bytes(key, value)
        before = self._index.change(key, revision, deleted, expected)
        if before is None:
            return None
        # Nothing can fail from here on.
        previous, created = before
        record = _new_record(Record, (revision, key, value, deleted, created, previous))
        self._staged.append(record)
        self._staged_head = revision
        self._bytes += size
        if deleted:
            self._staged_keys -= 1
        elif not previous:
            self._staged_keys += 1
        return record

    def _stage(self, changes: Sequence[Change], own: Sequence[Change]) -> list[Record]:
        """Stage changes, those of their leases that follow from them, and the store's own."""
        if self._failure is not None:
            raise self._failure
        asked = len(changes)
        leases = self._leases or self._load_leases()
        before, special = self._check_preconditions(changes, leases.attached)
        if special or own:
            own = [*leases.attachments(changes), *own]
            changes = [*changes, *own]
            before += self._check_preconditions(own, leases.attached)[0]
        if self._bytes >= self._bytes_max:
            self._check_quota(changes)
        revision = self._staged_head
        size = keys = 0
        records: list[Record] = []
        for (key, value, deleted, _, _, _), (previous, created) in zip(changes, before):  # noqa: B905  Equal by making.
            revision += 1
            if not isinstance(value, bytes):
                value = value(revision)  # noqa: PLW2901  A callable becomes what it makes.
            size += checked_record_bytes(key, value)
            keys += (not previous) - deleted
            records.append(Record(revision, key, value, deleted, created or revision, previous))
        # Nothing can fail from here on.
        append = self._index.append
        for revision, key, _, deleted, created, _ in records:
            append(key, revision, deleted, created)
        self._bytes += size
        self._staged += records
        self._staged_head = revision
        self._staged_keys += keys
        if own:
            for record in records[asked:]:
                leases.learn(record.key, record.value, record.deleted)
            del records[asked:]
        return records

    def _check_guards(self, guards: Sequence[Guard]) -> None:
        for key, revision, create_revision in guards:
            newest, created = self._index.newest(key)
            if revision is not None and revision != newest:
                raise StageConflict(key, revision, newest)
            if create_revision is not None and create_revision != created:
                raise StageConflict(key, create_revision, created, of_life=True)
            if revision is create_revision is None and not newest:
                raise StageConflict(key, None, 0)

    def _check_preconditions(
        self, changes: Sequence[Change], attached: Mapping[str, int]
    ) -> tuple[list[tuple[int, int]], bool]:
        """Each key's newest change and the beginning of its life, as the change asked for will find them.

        And whether there is one that has to do with a lease, or with a reserved key.
        """
        before: list[tuple[int, int]] = []
        of_batch: dict[str, tuple[int, int]] = {}
        revision = self._staged_head
        special = False
        for key, _, deleted, expected, _, lease in changes:
            revision += 1
            newest = of_batch.get(key) or self._index.newest(key)
            if expected is not None and expected != newest[0]:
                raise StageConflict(key, expected, newest[0])
            if deleted and not newest[0]:
                raise StageConflict(key, None, 0)
            if lease or key in attached or key < _RESERVED_END:
                special = True
            before.append(newest)
            of_batch[key] = (0, 0) if deleted else (revision, newest[1] or revision)
        return before, special

    def _check_quota(self, changes: Sequence[Change]) -> None:
        if any(not (change.deleted or change.reserve) for change in changes):
            self._nospace = True
            raise StoreFull(
                f"the store holds {self._bytes} bytes of the {self._bytes_max} it may: "
                "delete objects and compact, or raise the quota"
            )

    # --- leases ------------------------------------------------------------------------------------------------------

    def grant(self, lease: int, ttl_seconds: float, now: float) -> int:
        self._check_usable()
        leases = self._leases or self._load_leases()
        # A free number: one that no lease of this history was given, unless by its caller.
        lease = lease or leases.unused(self._staged_head + 1)
        leases.check_new(lease, ttl_seconds)
        self._stage((), [Change(lease_key(lease), repr(float(ttl_seconds)).encode())])
        leases.keep_alive(lease, now)
        return lease

    def keep_alive(self, lease: int, now: float) -> float:
        self._check_usable()
        return (self._leases or self._load_leases()).keep_alive(lease, now)

    def revoke(self, lease: int) -> None:
        self._check_usable()
        self._stage(*(self._leases or self._load_leases()).end_of([lease]))

    def expire(self, now: float) -> int:
        self._check_usable()
        leases = self._leases or self._load_leases()
        ended = leases.ended(now)
        if ended:
            self._stage(*leases.end_of(ended))
        return len(ended)

    def _load_leases(self) -> Leases:
        self._leases = leases = Leases()
        assert self._staged_head == self._head, "leases are loaded before anything is staged"
        # A lease comes before its keys.
        for key, revision in self._index.scan(LEASE_PREFIX, self._head, "", sys.maxsize):
            of_a_lease = parse_key(key)[1] is None
            leases.learn(key, self._read([revision])[0].value if of_a_lease else b"", deleted=False)
        return leases

    # --- committing --------------------------------------------------------------------------------------------------

    def commit(self, done: Callable[[Sequence[Record]], None]) -> None:
        self._check_usable()
        assert not self._committing, "at most one commit may be in flight"
        self._committing = True
        batch, keys, floor = self._staged, self._staged_keys, self._floor
        moved = floor if floor != self._durable_floor else None
        self._staged, self._staged_keys = [], 0

        def write() -> None:
            if batch or moved is not None:
                self._write(batch, moved)

        def written(error: BaseException | None) -> None:
            self._committing = False
            if error is not None:
                self._fail("writing the commit", error)
                return
            self._durable_floor = floor
            if batch:
                assert batch[0].revision == self._head + 1, "commits are published in the order they were staged"
                self._head = batch[-1].revision
                self._newest = batch
                self._keys += keys
            done(batch)
            if batch:
                self._wake_watches()

        self._committer.submit(write, written)

    def _wake_watches(self) -> None:
        for watch in list(self._watches):
            if watch in self._watches:  # Another one's wake may have closed it.
                watch.wake()

    def _fail(self, what: str, error: BaseException) -> None:
        self._failure = StoreError(
            f"{what} failed, nothing behind revision {self._head} is certain to be kept: {error}: "
            "look after the disk, then start again"
        )
        self._failure.__cause__ = error
        self._on_fatal(self._failure)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, key: str, revision: int | None = None) -> Record | None:
        at = self._check_readable(revision)
        holds = self._index.at(key, at)
        return self._read([holds])[0] if holds else None

    def range(self, prefix: str, *, revision: int | None = None, start: str = "", limit: int = 0) -> Iterator[Record]:
        return self._range(prefix, self._check_readable(revision), start, limit)

    def _range(self, prefix: str, revision: int, start: str, limit: int) -> Iterator[Record]:
        left = limit or sys.maxsize
        while left > 0:
            self._check_readable(revision)  # Time has passed since the last slice: the floor may have moved.
            found = self._index.scan(prefix, revision, start, min(left, READ_RECORDS))
            if not found:
                return
            records = self._read([holds for _, holds in found])
            yield from records
            left -= len(records)
            start = records[-1].key + "\0"

    def log(self, after: int, *, limit: int = 0) -> Iterator[Record]:
        self._check_readable(after)
        return self._log(after, min(self._head, after + limit) if limit else self._head)

    def _log(self, after: int, last: int) -> Iterator[Record]:
        while after < last:
            self._check_readable(after)
            until = min(last, after + READ_RECORDS)
            records = self._newest_behind(after, until) or self._read(range(after + 1, until + 1))
            yield from records
            after = records[-1].revision

    def _newest_behind(self, after: int, last: int) -> Sequence[Record]:
        """From the newest commit, which all watches that keep up are about to ask for. Empty: more is asked for."""
        first = self._newest[0].revision if self._newest else self._head + 1
        return self._newest[after + 1 - first : last + 1 - first] if first <= after + 1 else ()

    def digest(self, revision: int | None = None) -> str:
        return digest_of(self.range("", revision=revision))

    def digest_steps(self, revision: int | None = None) -> RecordsDigest:
        at = self._check_readable(revision)
        return RecordsDigest(self._range("", at, "", 0), at)

    def watch(self, prefix: str, after: int, wake: Callable[[], None]) -> LogWatch:
        self._check_readable(after)
        watch = LogWatch(self, prefix, after, wake, self._forget_watch)
        self._watches[watch] = None
        return watch

    def _forget_watch(self, watch: LogWatch) -> None:
        self._watches.pop(watch, None)

    def _check_readable(self, revision: int | None) -> int:
        if self._closed:
            raise StoreError("the store is closed")
        if revision is None:
            return self._head
        if revision > self._head:
            raise FutureRevision(revision, self._head)
        if revision < self._floor:
            raise Compacted(revision, self._floor)
        return revision

    # --- compaction --------------------------------------------------------------------------------------------------

    def compact(self, revision: int) -> None:
        self._check_usable()
        self._check_readable(revision)
        self._floor = revision

    def sweep_step(self) -> bool:
        self._check_usable()
        if self._copying:  # A copy needs what lies above the floor it began with. The sweep goes on behind it.
            return False
        if not self._erasing:
            if self._sweep is None and self._swept_floor < self._floor:
                self._sweep = Sweep(self._index, self._floor)
            if self._sweep is not None and self._sweep.look():
                self._erase_some(self._sweep)
        return self._erasing or self._sweep is not None or self._swept_floor < self._floor

    def _erase_some(self, sweep: Sweep) -> None:
        revisions = sweep.take()
        if not revisions:
            self._sweep = None
            self._swept_floor = sweep.floor
            if sweep.floor <= self._durable_floor:
                return
        floor = self._floor
        freed: list[int] = []

        def erased(error: BaseException | None) -> None:
            self._erasing = False
            if error is not None:
                self._fail("erasing compacted revisions", error)
                return
            self._durable_floor = floor
            self._bytes -= freed[0]
            if self._bytes < self._bytes_max:
                self._nospace = False

        self._erasing = True
        self._committer.submit(lambda: freed.append(self._erase(revisions, floor)), erased)

    # --- copies ------------------------------------------------------------------------------------------------------

    def _check_copying(self) -> None:
        self._check_usable()
        if self._copying:
            raise CopyUnderWay

    # --- opening -----------------------------------------------------------------------------------------------------

    def _restore(self, records: Iterable[Record], floor: int) -> None:
        """Rebuild the index from the log, whose every record above the floor must be there and fit the ones before."""
        self._floor = self._durable_floor = self._head = floor
        for record in records:
            previous, _ = self._index.newest(record.key)
            if record.revision > floor:
                self._head += 1
                if record.revision != self._head:
                    raise StoreCorrupt(f"revision {self._head} is missing from the log: restore a copy")
                if record.previous_revision != previous:
                    raise StoreCorrupt(
                        f"revision {record.revision} follows {record.previous_revision} of its key, "
                        f"but the log has {previous} there: restore a copy"
                    )
            self._index.append(record.key, record.revision, record.deleted, record.create_revision)
            self._keys += (not record.deleted) - bool(previous)
            self._bytes += record_bytes(record.key, record.value)
        self._staged_head = self._head

    # --- the rest ----------------------------------------------------------------------------------------------------

    def status(self) -> StoreStatus:
        return StoreStatus(
            backend=self.backend,
            incarnation=self.incarnation,
            head=self._head,
            compacted=self._floor,
            keys=self._keys,
            bytes=self._bytes,
            bytes_max=self._bytes_max,
            bytes_on_disk=self._bytes_on_disk(),
            alarms=(NOSPACE,) if self._nospace else (),
            leases=len(self._leases or self._load_leases()),
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._watches.clear()
            self._failure = StoreError("the store is closed")
            try:
                self._committer.close()
            finally:
                self._release()
