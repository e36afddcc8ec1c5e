"""What a subject must say, told by a plain list of changes; and what may be asked of it, in any order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ursa.proto.errors import Compacted, FutureRevision
from ursa.storage import StageConflict

from .. import watch_promises
from ..watch_promises import Seen
from .subject import ADDED, DELETED, MODIFIED, Delete, Event, Item, Put, Subject, Watching, Write

KEYS = ("blue/a", "red-x/a", "red/a", "red/b", "red/c")
PREFIXES = ("", "red/", "red-x/", "blue/")


class Model:
    """Every change since `base`. A life is named by the revision at which it began."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.floor = 0
        self.log: list[Event] = []

    @property
    def head(self) -> int:
        return self.base + len(self.log)

    def state(self, revision: int, prefix: str = "") -> list[Item]:
        newest = {event.key: event for event in self.log[: revision - self.base]}
        return [
            Item(*newest[key][1:]) for key in sorted(newest) if key.startswith(prefix) and newest[key].type != DELETED
        ]

    def newest(self, key: str) -> Item | None:
        return next((item for item in self.state(self.head, key) if item.key == key), None)

    def apply(self, write: Write) -> int:
        before, revision = self.newest(write.key), self.head + 1
        life = before.life if before else str(revision)
        if isinstance(write, Put):
            kind, value = (MODIFIED if before else ADDED), write.value
        else:
            assert before is not None
            kind, value = DELETED, before.value
        self.log.append(Event(kind, write.key, value, revision, life))
        return revision

    def life(self, key: str, revision: int) -> str:
        """Of the change of a key at a revision."""
        at = revision - self.base - 1
        return self.log[at].life if 0 <= at < len(self.log) and self.log[at].key == key else "none"


class Story:
    """A subject, its watches, and what may happen to them."""

    def __init__(self, subject: Subject, base: int) -> None:
        self._subject = subject
        self._model = Model(base)
        self._watches: list[Watching] = []
        self._seen: list[Watching] = []  # Also those that have ended.
        self._resumed: list[tuple[Watching, Watching]] = []
        self._lives: dict[str, str] = {}  # By what the subject calls it, what the model does.
        self._names: dict[str, str] = {}  # The other way round.
        self._digests: dict[int, str] = {}
        self._batches: list[list[Event]] = []
        self._written = 0

    # ------------------------------------------------------------------------------------------- what may happen

    async def write(self, asked: Sequence[tuple[int, bool]]) -> None:
        """A batch that nothing can be said against."""
        model, living = self._model, {item.key for item in self._model.state(self._model.head)}
        writes: list[Write] = []
        for which, deletes in asked:
            key = KEYS[which]
            writes.append(Delete(key) if deletes and key in living else Put(key, self._value()))
            (living.discard if isinstance(writes[-1], Delete) else living.add)(key)
        told = await self._subject.write(*writes)
        assert told == [model.apply(write) for write in writes]
        self._batches.append(model.log[-len(writes) :])

    async def write_if(self, which: int, deletes: bool, expectation: str) -> None:
        """One that expects what is true, or what is not."""
        before = self._model.newest(KEYS[which])
        found = before.revision if before else 0
        expected = {"right": found, "absent": 0, "stale": found - 1, "later": found + 1}[expectation]
        if deletes and expected <= 0:
            return
        write = Delete(KEYS[which], expected) if deletes else Put(KEYS[which], self._value(), max(0, expected))
        if write.expected == found:
            assert await self._subject.write(write) == [self._model.apply(write)]
            return
        with pytest.raises(StageConflict):
            await self._subject.write(write)

    async def range(self, which: int, back: int) -> None:
        prefix, revision = PREFIXES[which], self._back(back)
        if await self._is_refused(self._subject.range(prefix, revision=revision), revision):
            return
        page = await self._subject.range(prefix, revision=revision)
        assert page.revision == revision
        assert list(map(self._named, page.items)) == self._model.state(revision, prefix)

    async def newest(self, which: int) -> None:
        page = await self._subject.range(PREFIXES[which])
        assert page.revision == self._model.head
        assert list(map(self._named, page.items)) == self._model.state(self._model.head, PREFIXES[which])

    async def get(self, which: int, back: int) -> None:
        key, revision = KEYS[which], self._back(back)
        if await self._is_refused(self._subject.get(key, revision), revision):
            return
        found = await self._subject.get(key, revision if back else None)
        assert [found and self._named(found)] == (
            [item for item in self._model.state(revision, key) if item.key == key] or [None]
        )

    async def pages(self, which: int, limit: int) -> None:
        """With something written between them."""
        prefix, revision = PREFIXES[which], self._model.head
        pages = await self._subject.pages(prefix, limit, lambda: self.write([(limit, True), (which, False)]))
        assert all(page.revision == revision for page in pages)
        found = [self._named(item) for page in pages for item in page.items]
        assert found == self._model.state(revision, prefix)

    async def watch(self, which: int, back: int) -> None:
        revision = self._back(back)
        watching = self._subject.watch(PREFIXES[which], revision)
        if not self._model.floor <= revision <= self._model.head:
            assert await self._is_refused(watching.settle(), revision)
            return
        self._watches.append(watching)
        self._seen.append(watching)

    async def settle(self, which: int) -> None:
        if self._watches:
            await self._settle(self._watches[which % len(self._watches)])

    async def resume(self, which: int) -> None:
        if not self._watches:
            return
        watching = self._watches.pop(which % len(self._watches))
        if await self._settle(watching):
            watching.stop()
            successor = self._subject.watch(watching.prefix, watching.seen.bookmark)
            self._watches.append(successor)
            self._seen.append(successor)
            self._resumed.append((watching, successor))

    async def forget(self, back: int) -> None:
        revision = self._back(back)
        if self._model.floor <= revision <= self._model.head:
            await self._subject.forget(revision)
            self._model.floor = revision
        else:
            assert await self._is_refused(self._subject.forget(revision), revision)

    async def digest(self, back: int) -> None:
        revision = self._back(back)
        if not await self._is_refused(self._subject.digest(revision), revision):
            digest = await self._subject.digest(revision)
            assert self._digests.setdefault(revision, digest) == digest
            assert len(dict.fromkeys(self._digests.values())) == len(self._digests)

    async def end(self) -> None:
        await self.write([(which, False) for which in range(len(KEYS))])
        for which in range(len(PREFIXES)):
            await self.newest(which)
        for watching in list(self._watches):
            if await self._settle(watching):
                watch_promises.atomic(self._heard(watching), self._model.log, self._batches)
        for watching in self._seen:
            for promise in watch_promises.OF_ONE_WATCH:
                promise(self._heard(watching), self._model.log)
        for first, second in self._resumed:
            watch_promises.resumable(self._heard(first), self._heard(second), self._model.log)

    # ------------------------------------------------------------------------------------------------- judgement

    def _value(self) -> str:
        self._written += 1
        return f"{self._written}"

    def _back(self, back: int) -> int:
        """So many revisions ago, as far as there are any; -1 lies in the future."""
        return max(self._model.base, self._model.head - back)

    async def _is_refused(self, asking: object, revision: int) -> bool:
        """Whether it must be; and then it is, for the right reason."""
        model = self._model
        if revision > model.head:
            with pytest.raises(FutureRevision) as future:
                await asking
            assert (future.value.revision, future.value.head) == (revision, model.head)
        elif revision < model.floor:
            with pytest.raises(Compacted) as compacted:
                await asking
            assert (compacted.value.revision, compacted.value.floor) == (revision, model.floor)
        else:
            await asking
        return not model.floor <= revision <= model.head

    async def _settle(self, watching: Watching) -> bool:
        """False: it has ended, because it was so far behind."""
        try:
            await watching.settle()
        except Compacted:
            assert watching.seen.bookmark < self._model.floor
            if watching in self._watches:
                self._watches.remove(watching)
            return False
        assert watching.seen.bookmark == self._model.head
        return True

    def _heard(self, watching: Watching) -> Seen:
        seen = watching.seen
        deliveries = [(list(map(self._named, events)), bookmark) for events, bookmark in seen.deliveries]
        return Seen(seen.prefix, seen.after, deliveries)

    def _named(self, told: Item | Event) -> Item | Event:
        """With its life called as the model calls it: each has one name, and each name is of one."""
        life = self._lives.setdefault(told.life, self._model.life(told.key, told.revision))
        assert self._names.setdefault(life, told.life) == told.life
        return told._replace(life=life)
