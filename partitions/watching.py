"""Watch streams: what is on its way to whom.

Each store of a partition has revisions of its own, so a stream carries the watches on each in a lane of its own: a
reply speaks of one lane, and its bookmark is for that lane's watches.

A lane's queue is bounded in bytes: a watch whose events would exceed it is ended with an explicit Expired, and the
lane's other watches, other lanes and all other streams go on. Order within a lane is the order of revisions: initial
objects are taken at one revision, and what is committed meanwhile queues behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..proto import ursa_pb2 as pb
from ..proto.errors import ApiError, BadRequest, Expired
from ..proto.kinds import Role
from . import frames
from .dispatching import EventFrames, Watch
from .history import Histories, History
from .requests import parse_request
from .selections import CompiledSelection, compile_selection

# What one reply carries: enough to make a message cheap, little enough to keep others waiting briefly.
REPLY_BYTES = 256 * 1024
# A stream that lets this much pile up does not read; its watches end and list again when it is back.
QUEUE_BYTES_MAX = 64 * 1024 * 1024
WATCHES_PER_STREAM_MAX = 100_000


class Lane:
    """The watches of one stream on one store, and what of theirs waits to be sent."""

    def __init__(self, history: History) -> None:
        self.watches: dict[int, Watch] = {}
        self._history = history
        self._incarnation_told = False
        self._ready: deque[Watch] = deque()  # Watches with something to send, each once, in order of their turn.
        self._ended: list[bytes] = []  # Last words of watches that have ended.
        self._queued_bytes = 0
        self._bookmark_due = False

    # -------------------------------------------------------------------------------------------- start and end

    def start(self, start: pb.WatchStart, selection: CompiledSelection) -> None:
        """Raises Expired: it cannot go on where it says; nothing was started."""
        history = self._history
        collection = history.cache.collections[selection.kind.resource]
        watch = Watch(start.id, selection, collection, self._enqueue)
        if start.initial_events:
            watch.initial = iter(collection.select(selection))
        elif start.resource_version:
            self._resume(watch, start)
        self.watches[start.id] = watch
        history.dispatcher.add(watch)
        self._line_up(watch)  # Its first batch, perhaps empty, tells the client that it is open.

    def drop(self, watch_id: int) -> None:
        watch = self.watches.pop(watch_id, None)
        if watch is None:
            return
        self._history.dispatcher.remove(watch)
        self._queued_bytes -= sum(map(len, watch.queue))
        watch.queue.clear()
        watch.initial = None
        if watch.waiting:
            self._ready.remove(watch)

    def drop_all(self) -> None:
        for watch in self._ready:
            watch.waiting = False
        self._ready.clear()
        for watch_id in list(self.watches):
            self.drop(watch_id)

    def end_all(self, error: ApiError) -> None:
        ended = list(self.watches)
        self.drop_all()
        for watch_id in ended:
            self.end(watch_id, error)

    def end(self, watch_id: int, error: ApiError) -> None:
        """The watch, if it was ever open, has ended, and its client is told why."""
        self.drop(watch_id)
        self._ended.append(frames.watch_batch(watch_id, [], error=error.status.SerializeToString()))

    def _resume(self, watch: Watch, start: pb.WatchStart) -> None:
        history = self._history
        cache = history.cache
        if start.incarnation and start.incarnation != history.store.incarnation:
            raise Expired("the store has another incarnation than the one you watched: list again")
        if start.resource_version > cache.head:
            raise Expired(
                f"revision {start.resource_version} is from the future, the newest is {cache.head}: list again",
                resource_version=cache.head,
            )
        missed = cache.changes_behind(start.resource_version, watch.selection.kind)
        if missed is None:
            raise Expired(
                f"changes behind revision {start.resource_version} are no longer kept, the oldest are behind "
                f"{cache.floor}: list again",
                resource_version=cache.floor,
            )
        for change in missed:
            frame = watch.event(change, EventFrames(change))
            if frame is not None:
                watch.queue.append(frame)
                self._queued_bytes += len(frame)

    # -------------------------------------------------------------------------------------------------- replies

    @property
    def has_news(self) -> bool:
        return bool(self._ready or self._ended or self._bookmark_due)

    def want_bookmark(self) -> None:
        if self.watches:
            self._bookmark_due = True

    def take(self) -> bytes | None:
        """The next reply, if there is anything to say."""
        if not self.has_news:
            return None
        self._bookmark_due = False
        batches, self._ended = self._ended, []
        room = REPLY_BYTES
        while self._ready and room > 0:
            watch = self._ready[0]
            events, finished_initial, size = self._events_of(watch, room)
            room -= size
            batches.append(frames.watch_batch(watch.id, events, finished_initial))
            if watch.initial is None and not watch.queue:
                self._ready.popleft()
                watch.waiting = False
        history = self._history
        incarnation = "" if self._incarnation_told else history.store.incarnation
        self._incarnation_told = True
        # A bookmark only when nothing older is still queued behind it.
        return frames.watch_reply(batches, 0 if self._ready else history.cache.head, incarnation, history.wire_name)

    def _enqueue(self, watch: Watch, frame: bytes) -> None:
        if self._queued_bytes > QUEUE_BYTES_MAX:
            self.end(
                watch.id,
                Expired(f"more than {QUEUE_BYTES_MAX} bytes of events are waiting for you: list again"),
            )
            return
        watch.queue.append(frame)
        self._queued_bytes += len(frame)
        self._line_up(watch)

    def _line_up(self, watch: Watch) -> None:
        if not watch.waiting:
            watch.waiting = True
            self._ready.append(watch)

    def _events_of(self, watch: Watch, room: int) -> tuple[list[bytes], bool, int]:
        events: list[bytes] = []
        size = 0
        finished_initial = False
        if watch.initial is not None:
            for entry in watch.initial:
                frame = frames.watch_event(frames.ADDED, entry.data, entry.revision)
                events.append(frame)
                size += len(frame)
                if size >= room:
                    return events, False, size
            watch.initial = None
            finished_initial = True
        sent = 0
        for frame in watch.queue:
            if size >= room:
                break
            events.append(frame)
            size += len(frame)
            self._queued_bytes -= len(frame)
            sent += 1
        del watch.queue[:sent]
        return events, finished_initial, size


class WatchSession:
    """The server's end of one Watch stream: a `sessions.ServerStream`."""

    def __init__(
        self,
        histories: Histories,
        role: Role,
        wake: Callable[[], None],
        on_close: Callable[[WatchSession], object],
    ) -> None:
        self._role = role
        self._wake = wake
        self._on_close = on_close
        self._histories = histories
        self._lanes = {history.name: Lane(history) for history in histories}
        self._requests_ended = False
        self._closed = False

    # ---------------------------------------------------------------------------------------------- requests

    def receive(self, data: bytes) -> None:
        request = parse_request(pb.WatchRequest, data)
        for stop in request.stop:
            for lane in self._lanes.values():
                lane.drop(stop.id)
        for start in request.start:
            if not start.id or any(start.id in lane.watches for lane in self._lanes.values()):
                raise BadRequest(f"watch id {start.id} is zero or in use on this stream; choose another")
            self._start(start)
        self._wake()

    def end_requests(self) -> None:
        self._requests_ended = True
        self._wake()

    def _start(self, start: pb.WatchStart) -> None:
        lane = self._lanes[self._histories.main.name]
        try:
            if sum(len(lane.watches) for lane in self._lanes.values()) >= WATCHES_PER_STREAM_MAX:
                raise BadRequest(f"a stream carries at most {WATCHES_PER_STREAM_MAX} watches; open another stream")
            selection = compile_selection(start.selection, self._role)
            lane = self._lanes[self._histories.of(selection.kind).name]
            lane.start(start, selection)
        except ApiError as error:
            lane.end(start.id, error)

    # ----------------------------------------------------------------------------------------------- replies

    @property
    def has_news(self) -> bool:
        return any(lane.has_news for lane in self._lanes.values())

    def wake_if_news(self) -> None:
        if self.has_news:
            self._wake()

    def want_bookmark(self) -> None:
        """A quiet stream still learns, every few seconds, how far it is complete."""
        for lane in self._lanes.values():
            lane.want_bookmark()
        self.wake_if_news()

    def take(self) -> bytes | None:
        """The main store's news first: it is worth more than Events, and there is a bounded amount of it."""
        for lane in self._lanes.values():
            if (reply := lane.take()) is not None:
                return reply
        return None

    @property
    def finished(self) -> bool:
        return self._closed or (self._requests_ended and not self.has_news)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for lane in self._lanes.values():
                lane.drop_all()
            self._on_close(self)

    def end(self, error: ApiError) -> None:
        """End every watch with an error, for instance when the server stops."""
        for lane in self._lanes.values():
            lane.end_all(error)
        self._wake()
