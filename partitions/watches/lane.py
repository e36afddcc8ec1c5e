"""The watches of one stream on one store: what is on its way to whom.

A watch has no queue. It is a position, the revision up to which its events have been sent; what follows is taken, when
the stream has room, from what its group shares, or if it is further behind from the window of the cache:

    window  ┆ 31 ...                              90 │ 91  92  93  94  95  96 │  newest commits, joined for each group
            └ a slow watch at 47: encoded anew       └ most watches, at 90: a chunk of ready bytes

A watch whose position has fallen out of the window is ended with an explicit Expired; the lane's other watches, other
lanes and all other streams never notice. Order within a watch is the order of revisions: initial objects are taken at
one revision, and what is committed meanwhile comes behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, Expired
from .. import frames
from ..entries import Entry
from ..flow import OBJECTS_WITHOUT_SEAT_MAX, Ticket, seats_of_objects
from ..history import History
from ..reads.freshness import too_large
from ..selections import CompiledSelection
from .groups import Group
from .sharing import Chunk, EventFrames

# What one reply carries: enough to make a message cheap, little enough to keep others waiting briefly.
REPLY_BYTES = 512 * 1024
# A thousand watches with little to say each still cost 10 ms.
TURNS_PER_REPLY_MAX = 512
# Answers to starts that a client does not read. One that goes on starting watches gets no more of them.
UNREAD_ENDS_MAX = 100_000
_PIECES_OF_AN_END = 2
# Fewer that have ended are not worth clearing away.
ENDED_IN_LINE_MIN = 1024


class Watch:
    """One watch on one stream: a `groups.Follower`."""

    __slots__ = ("group", "id", "lane", "position", "waiting")

    def __init__(self, watch_id: int, lane: Lane, position: int) -> None:
        self.id = watch_id
        self.lane = lane
        self.group: Group | None = None  # None also when it has ended.
        self.position = position  # While it waits: its events up to here have been sent.
        self.waiting = False  # It stands in its lane's line of watches with something to send.

    def follow(self, start: int) -> None:
        if not self.waiting:
            self.position = start
            self.lane.line_up(self)

    def outrun(self) -> None:
        self.lane.outrun(self)

    def stop(self, error: ApiError) -> None:
        self.lane.stop(self, error)


class _Turn(NamedTuple):
    """What a watch sends in one reply. `finished`: it has nothing more to send.

    `shared`: these are events that its group shares, and the first and the last of their revisions.
    """

    events: Sequence[bytes]
    bytes: int
    finished: bool
    initial_events_end: bool = False
    shared: tuple[int, int] | None = None


class Lane:
    """The watches of one stream on one store. `wake` is called when there is something to take."""

    def __init__(self, history: History, wake: Callable[[], None]) -> None:
        self.watches: dict[int, Watch] = {}
        self._history = history
        self._wake = wake
        self._incarnation_told = False
        self._ready: deque[Watch] = deque()  # With something to send, in order of their turn; some may have ended.
        self._ready_ended = 0  # How many of these have.
        self._ended: list[bytes] = []  # Last words of watches that have ended, in pieces.
        self._bookmark_due = False
        # Watches that are not yet where their group is: with initial objects to send, or None: behind a revision.
        self._opening: dict[Watch, Iterator[Entry] | None] = {}
        self._tickets: dict[Watch, Ticket] = {}  # Seats of watches with many initial objects, until these are sent.

    # -------------------------------------------------------------------------------------------- start and end

    def serves(self, selection: CompiledSelection) -> bool:
        """Custom kinds may go while a watch waits for its turn."""
        return selection.kind.resource in self._history.cache.collections

    def seats(self, start: pb.WatchStart, selection: CompiledSelection) -> int:
        """What its initial objects cost. 0: nothing to speak of."""
        if not start.initial_events:
            return 0
        objects = self._history.cache.collections[selection.kind.resource].count(selection)
        return seats_of_objects(objects) if objects > OBJECTS_WITHOUT_SEAT_MAX else 0

    def start(self, start: pb.WatchStart, selection: CompiledSelection, ticket: Ticket | None = None) -> None:
        """`ticket`: seats it holds until its initial objects have been taken.

        Raises Expired: it cannot go on where it says. Timeout: not yet. Nothing was started.
        """
        history = self._history
        head = history.cache.head
        watch = Watch(start.id, self, head)
        self._check_caught_up(start)
        if start.initial_events:
            self._opening[watch] = iter(history.cache.collections[selection.kind.resource].select(selection))
            history.dispatcher.hold(watch)
            if ticket is not None:
                self._tickets[watch] = ticket
                # It goes on without: what it has taken is taken, and what follows is bounded by the window.
                ticket.expect_back(lambda: None)
        elif start.resource_version:
            self._check_start(start)
            watch.position = start.resource_version
            self._opening[watch] = None
        watch.group = history.dispatcher.join(selection, watch)
        self.watches[start.id] = watch
        self.line_up(watch)  # Its first batch, perhaps empty, tells the client that it is open.

    def drop(self, watch_id: int) -> None:
        watch = self.watches.pop(watch_id, None)
        if watch is None:
            return
        assert watch.group is not None
        self._history.dispatcher.leave(watch.group, watch)
        self._opening.pop(watch, None)
        self._give_back(watch)
        watch.group = None
        if watch.waiting:
            self._ready_ended += 1
            # A client may start and stop watches for ever without reading what is said of them.
            if self._ready_ended > len(self.watches) + ENDED_IN_LINE_MIN:
                self._ready = deque(each for each in self._ready if each.group is not None)
                self._ready_ended = 0

    def _give_back(self, watch: Watch) -> None:
        ticket = self._tickets.pop(watch, None)
        if ticket is not None:
            ticket.release()

    def drop_all(self) -> None:
        for watch_id in list(self.watches):
            self.drop(watch_id)
        self._ready.clear()
        self._ready_ended = 0

    def end_all(self, error: ApiError) -> None:
        ended = list(self.watches)
        self.drop_all()
        for watch_id in ended:
            self.end(watch_id, error)

    def end(self, watch_id: int, error: ApiError) -> None:
        """The watch, if it was ever open, has ended, and its client is told why."""
        self.drop(watch_id)
        self._ended += frames.watch_batch(watch_id, (), error=error.status.SerializeToString())

    def outrun(self, watch: Watch) -> None:
        """It has been too slow for what is kept."""
        floor = self._history.cache.floor
        message = f"you read too slowly: changes are kept behind revision {floor}, your events before it are gone"
        self.end(watch.id, Expired(f"{message}: list again", resource_version=floor))
        self._history.dispatcher.to_wake(self._wake)

    def stop(self, watch: Watch, error: ApiError) -> None:
        """What it watches is not served any more."""
        self.end(watch.id, error)
        self._history.dispatcher.to_wake(self._wake)

    def _check_caught_up(self, start: pb.WatchStart) -> None:
        """A cache that is behind its store lacks what others were told of: nobody begins there, or goes back to it."""
        store, reached = self._history.store, self._history.cache.head
        newest = store.head
        begins = start.initial_events or not start.resource_version
        if (
            start.incarnation in ("", store.incarnation)
            and reached < newest
            and (begins or reached < start.resource_version <= newest)
        ):
            raise too_large(newest if begins else start.resource_version, reached)

    def _check_start(self, start: pb.WatchStart) -> None:
        history = self._history
        cache = history.cache
        if start.incarnation and start.incarnation != history.store.incarnation:
            raise Expired("the store has another incarnation than the one you watched: list again")
        if start.resource_version > cache.head:
            raise Expired(
                f"revision {start.resource_version} is from the future, the newest is {cache.head}: list again",
                resource_version=cache.head,
            )
        floor = cache.floor_of(start.selection.resource)
        if start.resource_version < floor:
            raise Expired(
                f"changes behind revision {start.resource_version} are no longer kept, the oldest are behind "
                f"{floor}: list again",
                resource_version=floor,
            )

    # -------------------------------------------------------------------------------------------------- replies

    @property
    def has_news(self) -> bool:
        return bool(self._ready or self._ended or self._bookmark_due)

    @property
    def is_read(self) -> bool:
        """The client takes in what it is told of watches that have ended."""
        return len(self._ended) < UNREAD_ENDS_MAX * _PIECES_OF_AN_END

    def want_bookmark(self) -> None:
        if self.watches:
            self._bookmark_due = True

    def line_up(self, watch: Watch) -> None:
        """It has something to send."""
        watch.waiting = True
        if not self._ready:
            self._history.dispatcher.to_wake(self._wake)
        self._ready.append(watch)

    def take(self) -> bytes | None:
        """The next reply, if there is anything to say."""
        if not (self._ready or self._ended or self._bookmark_due):  # Asked of each stream with each message.
            return None
        self._bookmark_due = False
        pieces, self._ended = self._ended, []
        turns: list[tuple[Watch, Group, _Turn]] = []
        room = REPLY_BYTES
        while self._ready and room > 0 and len(turns) < TURNS_PER_REPLY_MAX:
            watch = self._ready[0]
            group = watch.group
            if group is None:
                self._ready.popleft()
                self._ready_ended -= 1
                continue
            turn = self._turn(watch, group, room)
            if turn is None:
                self.outrun(watch)
                continue
            room -= turn.bytes
            turns.append((watch, group, turn))
            if turn.finished:
                self._ready.popleft()
                watch.waiting = False
        last_words, self._ended = self._ended, []
        # A bookmark only when nothing older is still to be sent.
        bookmark = 0 if self._ready else self._history.cache.head
        if len(turns) == 1 and self._incarnation_told and not pieces and not last_words:
            return self._only(*turns[0], bookmark)
        for watch, _, turn in turns:
            pieces += frames.watch_batch(watch.id, turn.events, turn.initial_events_end)
        return self._reply(pieces + last_words, bookmark)

    def _only(self, watch: Watch, group: Group, turn: _Turn, bookmark: int) -> bytes:
        """One watch's events, which the only watches of other streams are mostly sent, too."""

        def reply() -> bytes:
            return self._reply(frames.watch_batch(watch.id, turn.events, turn.initial_events_end), bookmark)

        if not turn.shared:
            return reply()
        return self._history.dispatcher.shared.reply((group, watch.id, *turn.shared, bookmark), reply)

    def _reply(self, pieces: Sequence[bytes], bookmark: int) -> bytes:
        history = self._history
        incarnation = "" if self._incarnation_told else history.store.incarnation
        self._incarnation_told = True
        return frames.watch_reply(pieces, bookmark, incarnation, history.wire_name)

    # ------------------------------------------------------------------------------------------ a watch's turn

    def _turn(self, watch: Watch, group: Group, room: int) -> _Turn | None:
        """None: its events are gone."""
        if watch in self._opening:
            initial = self._opening[watch]
            if initial is not None:
                return self._initial(watch, group, initial, room)
        else:
            chunks = self._history.dispatcher.shared.behind(watch.position, group)
            if chunks is not None:
                return self._joined(watch, chunks, room)
        return self._missed(watch, group, room)

    @staticmethod
    def _joined(watch: Watch, chunks: Sequence[Chunk], room: int) -> _Turn:
        """Events that the group shares."""
        bodies: list[bytes] = []
        size = 0
        for chunk in chunks:
            if size and size + len(chunk.body) > room:
                break
            bodies.append(chunk.body)
            size += len(chunk.body)
            watch.position = chunk.last
        revisions = (chunks[0].first, watch.position) if chunks else None
        return _Turn(bodies, size, len(bodies) == len(chunks), shared=revisions)

    def _initial(self, watch: Watch, group: Group, initial: Iterator[Entry], room: int) -> _Turn:
        """Objects as they were at its position."""
        events: list[bytes] = []
        size = 0
        metadata_only = group.selection.metadata_only
        for entry in initial:
            data = frames.metadata_only(entry.data) if metadata_only else entry.data
            frame = frames.watch_event(frames.ADDED, data, entry.revision)
            events.append(frame)
            size += len(frame)
            if size >= room:
                return _Turn(events, size, finished=False)
        del self._opening[watch]
        self._give_back(watch)
        self._history.dispatcher.let_go(watch)
        # What came meanwhile is another turn's.
        finished = watch.position == self._history.cache.head
        return _Turn(events, size, finished, initial_events_end=True)

    def _missed(self, watch: Watch, group: Group, room: int) -> _Turn | None:
        """Events out of the window."""
        cache = self._history.cache
        if watch.position < cache.floor:
            return None
        selection = group.selection
        events: list[bytes] = []
        size = 0
        for change in cache.changes_behind(watch.position, selection):
            frame = EventFrames(change).seen_by(selection)
            if frame is not None:
                events.append(frame)
                size += len(frame)
            watch.position = change.revision
            if size >= room:
                return _Turn(events, size, finished=False)
        self._opening.pop(watch, None)
        return _Turn(events, size, finished=True)
