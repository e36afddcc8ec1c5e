"""The storage contract as whoever reads, writes or watches can see it, and the seam behind which it is tested.

A subject keeps text under keys (`group/name`). There are five: both backends of the store, the watch cache of an
apiserver, and the remote client, over a link in memory and over gRPC. The same functions test all of them.

What belongs here is what must be true at every distance from the store, because somebody there relies on it:

    revisions       each change has the next one, and nothing else has any
    preconditions   a change may depend on the revision of the one before it, or on there being none
    lives           what is deleted and created again is something else
    reading         the newest state, or that of any revision above the floor: a key, a prefix, a page
    committing      what is not committed is seen by nobody but the next writer
    watching        ordered, unique, atomic, reliable, resumable, bookmarkable, filtered (../watch_promises.py)
    compacting      the floor answers, what is below is refused by name, what is above is untouched
    digests         one state has one digest, whatever was forgotten before it

What stays with the store alone (../test_store_*.py), because nobody farther away can ask for it: the steps of staging
and committing, batches that are refused as a whole, guards, leases, the reserve of a full store, iterators that are
overtaken, limits of a `take`, snapshots, sweeps, directories and disks. What only an apiserver has (selectors,
initial events, resource version "0", dry runs, all the rules of the kinds) is the Kubernetes contract's
(tests/partitions/contract).

Two differences are left to the subjects:

* A put of what is there already is a change to a store and none to an apiserver, so no test puts a value twice.
* A cache remembers recent changes for longer than its store does: `forget` compacts, and has both forget.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from ursa.storage import Record

from ..watch_promises import Seen

# More than any test has: pages that go round in circles are noticed.
PAGES_MAX = 50
# The groups that keys may be of. "red-x/..." sorts before "red/...", which a prefix must not fall for.
GROUPS = ("blue", "red", "red-x")
ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


class Put(NamedTuple):
    """`expected`: the revision of the key's newest change (0: there must be none, None: whatever there is)."""

    key: str
    value: str
    expected: int | None = None


class Delete(NamedTuple):
    """`expected` is not 0: what is not there cannot be deleted."""

    key: str
    expected: int | None = None


Write = Put | Delete


class Item(NamedTuple):
    """`revision` is that of its newest change. `life` tells it from others that have had its key."""

    key: str
    value: str
    revision: int
    life: str


class Event(NamedTuple):
    type: str
    key: str
    value: str  # Of a deletion: the last one.
    revision: int
    life: str

    @property
    def brief(self) -> tuple[str, str, str]:
        return self.type, self.key, self.value


class Page(NamedTuple):
    """`following` is what the next page is asked for with; None: this is the last one."""

    items: list[Item]
    revision: int
    following: Any

    @property
    def values(self) -> dict[str, str]:
        return {item.key: item.value for item in self.items}


class Watching(abc.ABC):
    """A watch. That it was refused is raised when it is first read."""

    def __init__(self, prefix: str, after: int) -> None:
        self.prefix = prefix
        self.after = after
        self._read = 0

    @property
    @abc.abstractmethod
    def deliveries(self) -> Sequence[tuple[list[Event], int]]:
        """In the order received, each with the revision up to which the watch was complete then."""

    @abc.abstractmethod
    async def settle(self) -> None:
        """Take all there is to take, up to the head.

        Raises:
            Compacted, FutureRevision: it cannot go on from where it is.
        """

    @abc.abstractmethod
    def stop(self) -> None: ...

    @property
    def seen(self) -> Seen:
        return Seen(self.prefix, self.after, list(self.deliveries))

    async def news(self) -> list[Event]:
        """All events up to the head, but for those that were returned before. Raises what `settle` does."""
        await self.settle()
        events = self.seen.records
        fresh, self._read = events[self._read :], len(events)
        return fresh


class Subject(abc.ABC):
    """What keeps the contract. All that can be refused raises the store's own errors, wherever it is refused."""

    @abc.abstractmethod
    async def write(self, *writes: Write) -> list[int]:
        """One batch: the revisions of its changes, once they are committed. Raises StageConflict."""

    async def put(self, key: str, value: str, expected: int | None = None) -> int:
        [revision] = await self.write(Put(key, value, expected))
        return revision

    async def delete(self, key: str, expected: int | None = None) -> int:
        [revision] = await self.write(Delete(key, expected))
        return revision

    @abc.abstractmethod
    async def get(self, key: str, revision: int | None = None) -> Item | None:
        """None: there is none. Raises Compacted, FutureRevision."""

    @abc.abstractmethod
    async def range(
        self, prefix: str = "", *, revision: int | None = None, limit: int = 0, following: Any = None
    ) -> Page:
        """The keys under a prefix: "", or a group and a slash. Raises Compacted, FutureRevision."""

    @abc.abstractmethod
    def watch(self, prefix: str, after: int) -> Watching:
        """The changes under a prefix behind a revision."""

    @abc.abstractmethod
    async def compact(self, revision: int) -> None:
        """Let no older revision be read, and erase what only they need. Raises Compacted, FutureRevision."""

    @abc.abstractmethod
    async def forget(self, revision: int) -> None:
        """Compact, and let no watch begin before that revision either."""

    @abc.abstractmethod
    async def digest(self, revision: int | None = None) -> str:
        """Raises Compacted, FutureRevision."""

    @abc.abstractmethod
    def log(self) -> list[Record]:
        """What is really there, from the floor on, to be compared with."""

    @abc.abstractmethod
    def hold_commits(self) -> None:
        """Nothing is committed until `release_commits`."""

    @abc.abstractmethod
    def release_commits(self) -> None: ...

    @abc.abstractmethod
    def staged_head(self) -> int: ...

    @abc.abstractmethod
    async def turn(self) -> None:
        """Let what is on its way go on."""

    async def staged(self, revision: int) -> None:
        """Until a revision has been given out."""
        while self.staged_head() < revision:
            await self.turn()

    async def head(self) -> int:
        return (await self.range()).revision

    async def values(self, prefix: str = "", revision: int | None = None) -> dict[str, str]:
        return (await self.range(prefix, revision=revision)).values

    async def pages(
        self, prefix: str, limit: int, meanwhile: Callable[[], Awaitable[object]] | None = None, **options: Any
    ) -> list[Page]:
        """All pages of a range; `meanwhile` is called between two of them."""
        pages = [await self.range(prefix, limit=limit, **options)]
        while pages[-1].following is not None:
            if meanwhile is not None:
                await meanwhile()
            pages.append(await self.range(prefix, limit=limit, following=pages[-1].following))
            assert len(pages) < PAGES_MAX, "pages without end"
        return pages
