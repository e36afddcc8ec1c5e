"""What the newest commits mean to each group of watches, encoded once and joined once.

The bytes are kept for those that have not read them yet, bounded for all groups together. A watch that is further
behind gets its events out of the cache's window, encoded anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from .. import frames
from ..entries import Change, Entry
from ..selections import CompiledSelection
from .groups import Group

# A chunk of events is sent as a whole. A message costs the server 100 us, and as much again for each 200 KB.
CHUNK_BYTES = 512 * 1024
# A second or two of a partition at its ceiling.
SHARED_BYTES_MAX = 16 * 1024 * 1024
# A watch that is behind looks into each of these when it reads.
SHARED_COMMITS_MAX = 256
# Streams with one watch each are mostly sent the very same reply, or the few that slow ones are behind by.
SHARED_REPLIES_MAX = 8


class EventFrames:
    """The encoded events of one change, each made when first wanted."""

    __slots__ = ("_change", "_frames")

    def __init__(self, change: Change) -> None:
        self._change = change
        self._frames: dict[tuple[int, bool], bytes] = {}

    def seen_by(self, selection: CompiledSelection) -> bytes | None:
        """What a selection sees of the change: entering it is ADDED, leaving it DELETED. None: nothing."""
        matches = selection.matches
        old, new = self._change.old, self._change.new
        was = old is not None and matches(old)
        if new is not None and matches(new):
            return self._of(frames.MODIFIED if was else frames.ADDED, new, selection.metadata_only)
        if was:
            last = self._change.final or old
            assert last is not None
            return self._of(frames.DELETED, last, selection.metadata_only)
        return None

    def _of(self, kind: pb.WatchEvent.Type, entry: Entry, metadata_only: bool) -> bytes:
        frame = self._frames.get((kind, metadata_only))
        if frame is None:
            data = frames.metadata_only(entry.data) if metadata_only else entry.data
            frame = frames.watch_event(kind, data, self._change.revision)
            self._frames[kind, metadata_only] = frame
        return frame


class Chunk(NamedTuple):
    """Events of a group, encoded and joined: of the revisions from `first` to `last`."""

    first: int
    last: int
    body: bytes


class GroupEvents:
    """The events of one group in one commit."""

    __slots__ = ("_first", "_frames", "_last", "_size", "chunks")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self._frames: list[bytes] = []
        self._size = 0
        self._first = self._last = 0

    def add(self, revision: int, frame: bytes) -> None:
        if not self._frames:
            self._first = revision
        self._frames.append(frame)
        self._last = revision
        self._size += len(frame)
        if self._size >= CHUNK_BYTES:
            self.join()

    def join(self) -> None:
        if self._frames:
            self.chunks.append(Chunk(self._first, self._last, b"".join(self._frames)))
            self._frames = []
            self._size = 0


class _Commit(NamedTuple):
    head: int
    events: dict[Group, GroupEvents]
    bytes: int


# What a reply with the events of one watch depends on: its group and id, the first and the last of their revisions, and
# the bookmark.
ReplyKey = tuple[Group, int, int, int, int]


class SharedEvents:
    """The events of the commit that is being published, and of those before it."""

    def __init__(self) -> None:
        self._fresh: dict[Group, GroupEvents] = {}
        self._fresh_bytes = 0
        self._commits: deque[_Commit] = deque()
        self._bytes = 0
        self._from = 0  # Events behind this revision are kept.
        self._replies: dict[ReplyKey, bytes] = {}  # Of streams since the newest commit.

    def add(self, group: Group, revision: int, frame: bytes) -> None:
        """An event of the commit that is being published."""
        events = self._fresh.get(group)
        if events is None:
            events = self._fresh[group] = GroupEvents()
        # A commit of huge objects would have to be dropped anyway: then all that is kept is who saw something of it.
        if self._fresh_bytes <= SHARED_BYTES_MAX:
            self._fresh_bytes += len(frame)
            events.add(revision, frame)

    def committed(self, head: int) -> dict[Group, GroupEvents]:
        """The commit is complete; returns the groups that see something of it."""
        self._replies.clear()
        groups, self._fresh = self._fresh, {}
        size, self._fresh_bytes = self._fresh_bytes, 0
        if size > SHARED_BYTES_MAX:
            self._commits.clear()
            self._bytes = 0
            self._from = head
        elif groups:
            for events in groups.values():
                events.join()
            self._commits.append(_Commit(head, groups, size))
            self._bytes += size
            while self._bytes > SHARED_BYTES_MAX or len(self._commits) > SHARED_COMMITS_MAX:
                oldest = self._commits.popleft()
                self._bytes -= oldest.bytes
                self._from = oldest.head
        return groups

    def reply(self, key: ReplyKey, make: Callable[[], bytes]) -> bytes:
        """The reply that another stream has been sent, if it was the same."""
        reply = self._replies.get(key)
        if reply is None:
            reply = make()
            if len(self._replies) < SHARED_REPLIES_MAX:
                self._replies[key] = reply
        return reply

    def behind(self, position: int, group: Group) -> list[Chunk] | None:
        """The events of a group behind a revision; None: they are no longer kept, or not from there on.

        The revision is not older than the group.
        """
        if position < self._from:
            return None
        newest_first = []
        for commit in reversed(self._commits):
            if commit.head <= position:
                break
            events = commit.events.get(group)
            if events is not None:
                newest_first.append(events.chunks)
        found = [chunk for chunks in reversed(newest_first) for chunk in chunks if chunk.last > position]
        return None if found and found[0].first <= position else found
