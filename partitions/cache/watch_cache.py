"""The published state of a store: its objects, and the recent changes of them.

Reads are served from here. What is here is committed: a change enters in `publish`, in revision order, at the moment it
is acknowledged. Recent changes are kept in a window, so that a watch that lost its link goes on where it stopped; one
that comes from before the window must list again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...proto.kinds import Kind
from ..entries import Change, Entry
from ..selections import CompiledSelection
from .collection import Collection
from .window import Window

__all__ = ["Change", "Collection", "WatchCache"]


class WatchCache:
    """The collections of the kinds that one store keeps, and the window of its recent changes."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.collections = {kind.resource: Collection(kind) for kind in kinds}
        self.head = 0  # Everything up to this revision is published.
        self._window = Window()
        self._served_since: dict[str, int] = {}  # Of custom kinds.

    def serve(self, kind: Kind) -> None:
        """There are objects of one more kind from now on; or of the same one, of which something else is known."""
        if kind.resource not in self.collections:
            self.collections[kind.resource] = Collection(kind)
            self._served_since[kind.resource] = self.head

    def end_serving(self, resource: str) -> None:
        del self.collections[resource]
        del self._served_since[resource]

    def load(self, entries: Iterable[tuple[Kind, Entry]], head: int) -> None:
        """Fill an empty cache with what the store holds at `head`."""
        for kind, entry in entries:
            self.collections[kind.resource].load(entry)
        self.head = self._window.floor = head

    def load_window(self, changes: Iterable[Change], floor: int) -> None:
        """Give an opened cache the changes behind `floor`, so that clients of the last process can go on."""
        self._window.floor = floor
        for change in changes:
            self._window.append(change)

    def publish(self, change: Change) -> None:
        assert change.revision == self.head + 1, "revisions are published in order, without gaps"
        self.head = change.revision
        self.collections[change.kind.resource].apply(change)
        self._window.append(change)

    def pass_over(self, revision: int) -> None:
        """A revision at which no object changed."""
        assert revision == self.head + 1, "revisions are published in order, without gaps"
        self.head = revision

    @property
    def floor(self) -> int:
        """Changes behind this revision are at hand."""
        return self._window.floor

    def floor_of(self, resource: str) -> int:
        """Likewise, of one kind: what an earlier one of its name was, is nobody's to go on behind."""
        return max(self._window.floor, self._served_since.get(resource, 0))

    def changes_behind(self, revision: int, selection: CompiledSelection) -> Iterator[Change]:
        """The changes behind a revision that may concern a selection, in order. `revision` is not below the floor."""
        return self._window.behind(revision, selection)
