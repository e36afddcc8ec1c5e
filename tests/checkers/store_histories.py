"""Histories of all that a store does: batches with guards, slow readers, watches, leases, compaction, over crashes.

The log is what a watch from the beginning saw, which survives every crash: nothing above it is compacted. What the
store still has at the end must be its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from random import Random

from ursa.proto.errors import Compacted
from ursa.storage import Change, Guard, LeaseNotFound, Record, StageConflict, Store, StoreWatch
from ursa.storage.leases import lease_key
from ursa.tools.checking.histories import (
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

from .histories import Log, Pending, Recorder, Reopen

PREFIXES = ("", "/0", "/1")


def entry_of(record: Record) -> Entry:
    return Entry(record.revision, record.key, record.value, record.deleted)


@dataclass
class Reading(Pending):
    """A range that is read a little at a time, at the revision that was the head when it began."""

    records: Iterator[Record] | None = None
    found: tuple[Entry, ...] = ()


class Watcher:
    """Takes when chance lets it, goes on behind its bookmark after a crash, and anew where it fell below the floor."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name, self.prefix = name, prefix
        self.after = 0
        self.restarts = 0
        self._watch: StoreWatch | None = None

    def crash(self) -> None:
        self._watch = None

    def take(self, store: Store, now: float, limit: int) -> Operation:
        try:
            if self._watch is None:
                self._watch = store.watch(self.prefix, self.after, lambda: None)
            records = self._watch.take(limit)
        except Compacted as refusal:
            asked, self.after, self._watch = self.after, store.head, None
            self.restarts += 1
            return TooOld(self.name, now, now, asked, refusal.floor)
        entries, after, self.after = tuple(map(entry_of, records)), self.after, self._watch.revision
        return Delivery(self.name, now, now, self.prefix, after, entries, self.after, self.after == store.head)


class StoreRecorder(Recorder):
    """Clients of every kind. `leases` and `compaction`: whether there are such things."""

    batch_part = 0.25
    ttls = (20.0, 150.0)

    def __init__(
        self,
        random: Random,
        reopen: Reopen,
        *,
        clients: int,
        keys: int,
        watchers: int = 3,
        leases: bool = True,
        compaction: bool = True,
    ) -> None:
        super().__init__(random, reopen, clients=clients, keys=keys)
        self.watchers = [Watcher(f"watcher-{number}", PREFIXES[number % 3]) for number in range(watchers)]
        self._with_leases, self._with_compaction = leases, compaction
        # Those whose grant was acknowledged; they may have ended since.
        self._granted: list[int] = []
        self._lease_count = 0
        self.log: Log = []

    def final_log(self) -> Log:
        return self.log

    # --- what happens beside the clients ---

    def _step(self, *, ask: bool) -> None:
        super()._step(ask=ask)
        random = self._random
        if self.watchers and random.random() < 0.3:
            self.history.append(self._take(random.choice(self.watchers)))
        if self._with_leases and random.random() < 0.1:
            self._expire()
        if self._with_compaction and not self._committer.waiting:
            if random.random() < 0.03:
                self._compact(random.randint(self.store.compacted, min(self.store.head, len(self.log))))
            self.store.sweep_step()

    def _take(self, watcher: Watcher) -> Operation:
        return watcher.take(self.store, self._now, self._random.randint(1, 4))

    def _expire(self) -> None:
        self.store.expire(self._now)

    def _compact(self, revision: int) -> None:
        self.history.append(Compaction("compactor", self._now, self._now, revision))
        self.store.compact(revision)

    def _commit(self) -> None:
        super()._commit()
        self._follow()

    def _follow(self) -> None:
        self.log += map(entry_of, self.store.log(len(self.log)))

    def _crash(self) -> None:
        super()._crash()
        self._follow()
        for watcher in self.watchers:
            watcher.crash()

    # --- what clients ask ---

    def _ask(self, client: str) -> Operation:
        random = self._random
        if self._with_leases and random.random() < 0.2:
            return self._ask_about_lease(client)
        if random.random() < self.batch_part:
            return self._ask_batch(client)
        asked = super()._ask(client)
        if isinstance(asked, Write) and not asked.deleted and self._granted and random.random() < 0.4:
            return replace(asked, lease=random.choice(self._granted[-4:]))
        return asked

    def _ask_about_lease(self, client: str) -> Operation:
        random = self._random
        if not self._granted or random.random() < 0.4:
            self._lease_count += 1
            return Grant(client, self._now, inf, self._lease_count, random.uniform(*self.ttls))
        lease = random.choice(self._granted[-4:])
        if random.random() < 0.1:
            return Revocation(client, self._now, inf, lease, None)
        return Renewal(client, self._now, inf, lease, None)

    def _ask_batch(self, client: str) -> Batch:
        random = self._random
        parts, demands = [], []
        for number, key in enumerate(random.sample(self._keys, random.randint(1, min(3, len(self._keys))))):
            revision = self._known(key)
            expected = revision if random.random() < 0.6 else None
            deleted = revision > 0 and random.random() < 0.2
            parts.append(Part(key, b"value-%d/%d" % (self._count, number), deleted, expected))
        for key in random.sample(self._keys, random.choice((0, 0, 1))):
            record = self.store.get(key)
            kind = random.randrange(3)
            demands.append(
                Demand(
                    key,
                    self._known(key) if kind == 0 else None,
                    (record.create_revision if record else 0) if kind == 1 else None,
                )
            )
        return Batch(client, self._now, inf, tuple(parts), tuple(demands))

    def _known(self, key: str) -> int:
        """The newest revision, mostly."""
        record = self.store.get(key)
        return record.revision if record and self._random.random() < 0.9 else 0

    # --- what they are told ---

    def _apply(self, client: str, pending: Pending) -> None:
        operation = pending.operation
        if isinstance(pending, Reading):
            self._read_on(pending)
            return
        if isinstance(operation, Read):
            self._apply_read(client, pending, operation)
            return
        if isinstance(operation, Grant):
            ttl, now = operation.ends_at, self._now
            self.store.grant(operation.lease, ttl, now)
            pending.answer = replace(operation, ends_at=now + ttl)
        elif isinstance(operation, Renewal):
            self._renew(pending, operation)
            return
        elif isinstance(operation, Revocation):
            try:
                self.store.revoke(operation.lease)
                pending.answer = replace(operation, done=True)
            except LeaseNotFound:
                pending.answer = replace(operation, done=False)
        elif isinstance(operation, Batch):
            pending.answer = self._stage_batch(operation)
        else:
            pending.answer = self._stage_write(operation)
        pending.durable = self.store.staged_head

    def _renew(self, pending: Pending, renewal: Renewal) -> None:
        """It may be told at once that a lease goes on: that it was granted is known. That it ended may be lost yet."""
        try:
            ends_at = self.store.keep_alive(renewal.lease, self._now)
        except LeaseNotFound:
            pending.answer, pending.durable = renewal, self.store.staged_head
        else:
            pending.answer = replace(renewal, ends_at=ends_at)

    def _stage_write(self, write: Write) -> Operation:
        change = Change(write.key, write.value, write.deleted, write.expected, lease=write.lease)
        try:
            [record] = self.store.stage([change])
        except StageConflict as conflict:
            return replace(write, found=conflict.found)
        except LeaseNotFound:
            return Renewal(write.client, write.call, inf, write.lease, None)  # All that it was told.
        return replace(write, revision=record.revision)

    def _stage_batch(self, batch: Batch) -> Batch:
        changes = [Change(key, value, deleted, expected) for key, value, deleted, expected, _ in batch.parts]
        try:
            records = self.store.stage(changes, [Guard(*demand) for demand in batch.demands])
        except StageConflict as conflict:
            return replace(batch, found_key=conflict.key, found=conflict.found, found_life=conflict.of_life)
        return replace(batch, revision=records[0].revision)

    def _answer(self, client: str, pending: Pending) -> Operation | None:
        answer = super()._answer(client, pending)
        if isinstance(answer, Grant):
            self._granted.append(answer.lease)
        return answer

    # --- reading ---

    def _apply_read(self, client: str, pending: Pending, read: Read) -> None:
        if read.prefix and not read.exact and self._random.random() < 0.3:
            head = self.store.head
            slow = Reading(replace(read, revision=head, exact=False), records=self.store.range(read.key, revision=head))
            self._pending[client] = slow
            return
        try:
            pending.answer = self._read(read)
        except Compacted as refusal:
            pending.answer = TooOld(client, read.call, inf, refusal.revision, refusal.floor)

    def _read_on(self, reading: Reading) -> None:
        assert reading.records is not None
        read = reading.operation
        assert isinstance(read, Read)
        try:
            record = next(reading.records, None)
        except Compacted as refusal:
            reading.answer = TooOld(read.client, read.call, inf, refusal.revision, refusal.floor)
            return
        if record is None:
            reading.answer = replace(read, result=reading.found)
        else:
            reading.found = (*reading.found, entry_of(record))

    @property
    def living_leases(self) -> list[int]:
        return [lease for lease in self._granted if self.store.get(lease_key(lease))]
