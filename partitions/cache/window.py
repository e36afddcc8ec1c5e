"""The recent changes of a store, from which watches that are behind catch up.

    behind 40 │ page 41..52 │ page 53..64 │ page 65..    │ newest
              └ dropped whole when the window is too large; `floor` is then 52

The window is bounded in number and in bytes. It is also the queue of every watch: a watch is a revision up to which it
has been sent everything, and what it still lacks is here. So however many watches are slow, together they hold no more
than the window, and one that falls out of it is told so when it next reads.

A page is indexed when a watch first reads it, by the kind of its changes and by what selections find objects by: a
thousand kubelets whose link was cut at the same moment find what they missed without looking at each other's pods.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from operator import attrgetter

from ..entries import Change
from ..selections import CompiledSelection

# A lost link is usually back within seconds; 50,000 changes are ten seconds of a partition at its ceiling.
WINDOW_CHANGES_MAX = 50_000
WINDOW_BYTES_MAX = 128 * 1024 * 1024
# More pages are more to look into, fewer drop more at once.
PAGES = 16

_revision_of = attrgetter("revision")
_BucketKey = tuple[str, int, str]
_ANY, _NAME = -1, -2


class _Page:
    __slots__ = ("_buckets", "_indexed", "bytes", "changes")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.bytes = 0
        self._buckets: dict[_BucketKey, list[Change]] = {}
        self._indexed = 0

    @property
    def last(self) -> int:
        return self.changes[-1].revision

    def behind(self, revision: int, key: _BucketKey) -> Iterator[Change]:
        self._index()
        bucket = self._buckets.get(key)
        if bucket is not None:
            for at in range(bisect_right(bucket, revision, key=_revision_of), len(bucket)):
                yield bucket[at]

    def _index(self) -> None:
        buckets, changes = self._buckets, self.changes
        for at in range(self._indexed, len(changes)):
            change = changes[at]
            for key in _keys_of(change):
                buckets.setdefault(key, []).append(change)
        self._indexed = len(changes)


class Window:
    """`floor`: the changes behind this revision are here."""

    def __init__(self) -> None:
        self.floor = 0
        self._pages: deque[_Page] = deque((_Page(),))
        self._changes = 0
        self._bytes = 0

    def append(self, change: Change) -> None:
        page, size = self._pages[-1], change.size_bytes
        if len(page.changes) * PAGES >= WINDOW_CHANGES_MAX or page.bytes * PAGES >= WINDOW_BYTES_MAX:
            page = _Page()
            self._pages.append(page)
        page.changes.append(change)
        page.bytes += size
        self._changes += 1
        self._bytes += size
        while self._changes > WINDOW_CHANGES_MAX or self._bytes > WINDOW_BYTES_MAX:
            self._drop_page()

    def behind(self, revision: int, selection: CompiledSelection) -> Iterator[Change]:
        """The changes behind a revision that may concern a selection, in order. `revision` is not below the floor."""
        key = _key_for(selection)
        for page in self._pages:
            if page.changes and page.last > revision:
                yield from page.behind(revision, key)

    def _drop_page(self) -> None:
        page = self._pages.popleft()
        self._changes -= len(page.changes)
        self._bytes -= page.bytes
        self.floor = page.last
        if not self._pages:
            self._pages.append(_Page())


def _keys_of(change: Change) -> dict[_BucketKey, None]:
    resource = change.kind.resource
    keys: dict[_BucketKey, None] = {(resource, _ANY, ""): None}
    for entry in (change.old, change.new):
        if entry is not None:
            keys[resource, _NAME, entry.name] = None
            for place in change.kind.indexed_places:
                keys[resource, place, entry.fields[place]] = None
    return keys


def _key_for(selection: CompiledSelection) -> _BucketKey:
    resource = selection.kind.resource
    if selection.indexed:
        return resource, selection.place, selection.value
    if selection.name:
        return resource, _NAME, selection.name
    return resource, _ANY, ""
