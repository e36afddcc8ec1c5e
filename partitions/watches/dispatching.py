"""Who wants which change.

Watches that select the same form a group. A change is matched once for a group, encoded once for all groups that see it
as the same event, and what a commit means to a group is joined once; its watches share the bytes:

    commit of revisions 91..96 ──> group "pods"                     events 91 92 95 96   ──> 100 watches
                               └─> group "spec.nodeName=n1"         event     92         ──> 1 watch

A watch that is told of events reads them when its stream has room: a watch is a revision up to which it has been sent
everything, and has no queue of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from ...proto.errors import ApiError
from ..cache.watch_cache import WatchCache
from ..entries import Change
from ..selections import CompiledSelection
from .groups import Follower, Group, Groups
from .sharing import EventFrames, SharedEvents


class Dispatcher:
    """The watches on one store. Followers are told of a commit in the order in which they joined their group."""

    def __init__(self, cache: WatchCache) -> None:
        self.count = 0  # Of followers.
        self.shared = SharedEvents()
        self._cache = cache
        self._groups = {name: Groups() for name in cache.collections}
        # Followers that are being sent objects as they were at a revision; the oldest first.
        self._holding: dict[Follower, int] = {}
        self._wakes: dict[Callable[[], None], None] = {}

    def join(self, selection: CompiledSelection, follower: Follower) -> Group:
        """Follow what will be committed from now on."""
        self.count += 1
        return self._groups[selection.kind.resource].join(selection, follower)

    def leave(self, group: Group, follower: Follower) -> None:
        self.count -= 1
        self._holding.pop(follower, None)
        self._groups[group.selection.kind.resource].leave(group, follower)

    def hold(self, follower: Follower) -> None:
        """It is being sent the objects as they are now, until it lets go of them or leaves.

        As long as the changes since are in the window, so are all objects that have been replaced since, and holding
        them costs nothing; then the follower is outrun.
        """
        self._holding[follower] = self._cache.head

    def let_go(self, follower: Follower) -> None:
        del self._holding[follower]

    def serve(self, resource: str) -> None:
        """There are objects of one more kind."""
        self._groups.setdefault(resource, Groups())

    def end_serving(self, resource: str, error: ApiError) -> None:
        """A kind is gone: its watches end."""
        for follower in [follower for group in self._groups[resource] for follower in group]:
            follower.stop(error)
        del self._groups[resource]

    def dispatch(self, change: Change) -> int:
        """A change is being published; returns how many followers see something of it."""
        encoded = EventFrames(change)
        told = 0
        for group in self._groups[change.kind.resource].concerned(change):
            frame = encoded.seen_by(group.selection)
            if frame is not None:
                self.shared.add(group, change.revision, frame)
                told += len(group)
        return told

    def committed(self, start: int) -> None:
        """All changes of the commit behind `start` have been published: tell who sees some of them."""
        for group in self.shared.committed(self._cache.head):
            for follower in group:
                follower.follow(start)
        floor = self._cache.floor
        while self._holding:
            follower, revision = next(iter(self._holding.items()))
            if revision >= floor:
                break
            follower.outrun()

    def to_wake(self, wake: Callable[[], None]) -> None:
        """To be called by `wake`; being asked for several times is being asked for once."""
        self._wakes[wake] = None

    def wake(self) -> None:
        """Wake the streams of all who were told."""
        wakes, self._wakes = self._wakes, {}
        for wake in wakes:
            wake()
