"""From notes of messages to records of what was asked and told.

Each kind of stream has a reader here. A write is known by its request id, so that one which was sent twice, on two
streams, is one record; a list by its continue tokens, so that its pages are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, NotFound
from ...proto.kinds import MAIN_STORE
from .batches import Batches
from .notes import Direction, Link, Note, Passed
from .objects import Texts, crc_of, store_of
from .records import (
    ANY,
    CONSISTENT,
    EXACT,
    NOT_OLDER,
    Event,
    Get,
    Item,
    Listed,
    Record,
    Watched,
    WatchEnded,
    WatchStarted,
)

# All of a `Watched` but its bookmark.
_Given = tuple[str, str, float, int, int, str, str, tuple[Event, ...], bool]


class Transcript:
    """Feed it notes in their order. What is still open at the end comes out of `close`."""

    def __init__(self) -> None:
        self._texts = Texts()
        self._batches = Batches(self._texts)
        self._gets: dict[int, tuple[float, pb.GetRequest]] = {}
        self._lists: dict[int, _List] = {}
        self._pages: dict[tuple[str, str, str], _List] = {}
        self._watches: dict[int, _WatchStream] = {}
        self._watch_count = 0

    def read(self, notes: Iterable[Note]) -> Iterator[Record]:
        for note in notes:
            if type(note) is not tuple:
                yield cast("Record", note)  # Noted as such.
                continue
            time, link, direction, what = cast("Passed", note)
            if link.method == "Watch":
                yield from self._watch(time, link, direction, what)
            elif link.method == "List":
                yield from self._list(time, link, direction, what)
            elif link.method == "Get":
                yield from self._get(time, link, direction, what)
            else:
                yield from self._batches.read(time, link, direction, what)

    def close(self) -> Iterator[Record]:
        """What has begun, and has no end: writes of which nobody knows, lists of which only pages were asked for."""
        yield from self._batches.close()
        for pages in self._pages.values():
            yield pages.record()
        self._pages.clear()

    # ---------------------------------------------------------------------------------------------------------- gets

    def _get(self, time: float, link: Link, direction: Direction, what: Any) -> Iterator[Record]:
        if direction is Direction.SENT:
            self._gets[link.number] = time, what[1]
            return
        call, request = self._gets.pop(link.number)
        if direction is Direction.CLOSED:
            return
        key = self._texts.key(request.resource, request.tenant, request.namespace, request.name)
        asked = int(request.resource_version or 0)
        match = CONSISTENT if not request.resource_version else NOT_OLDER if asked else ANY
        store = store_of(request.resource)
        get = Get(link.client, link.partition, call, time, key, match, asked, store=store)
        if direction is Direction.REFUSED:
            missing = isinstance(what, NotFound)
            yield get._replace(code=what.code, revision=what.resource_version if missing else 0)
            return
        [reply] = what
        yield get._replace(
            incarnation=self._texts.shared(reply.incarnation),
            revision=reply.resource_version,
            object_revision=reply.object.metadata.resource_version,
            crc=0 if request.subresource else crc_of(reply.object),
        )

    # --------------------------------------------------------------------------------------------------------- lists

    def _list(self, time: float, link: Link, direction: Direction, what: Any) -> Iterator[Record]:
        if direction is Direction.SENT:
            request = what[1]
            before = self._pages.get((link.client, link.partition, request.continue_token))
            pages = before if before is not None and request.continue_token else _List(link, time, request, self._texts)
            pages.begin_page()
            self._lists[link.number] = pages
            return
        pages_or_none = self._lists.get(link.number)
        if pages_or_none is None:
            return  # It has been answered.
        pages = pages_or_none
        if direction is Direction.RECEIVED:
            came_by, answered = pages.token, False
            for chunk in what:
                answered = pages.take(chunk, time)
            if not answered:
                return
            self._pages.pop((link.client, link.partition, came_by), None)
            if pages.token:
                self._pages[link.client, link.partition, pages.token] = pages
            else:
                yield pages.record()
        elif direction is Direction.REFUSED and isinstance(what, ApiError) and not pages.token:
            yield pages.record()._replace(code=what.code, ret=time)
        del self._lists[link.number]

    # ------------------------------------------------------------------------------------------------------- watches

    def _watch(self, time: float, link: Link, direction: Direction, what: Any) -> Iterator[Record]:
        stream = self._watches.get(link.number)
        if stream is None:
            stream = self._watches[link.number] = _WatchStream(link, self._texts)
        if direction is Direction.SENT:
            for stop in what[1].stop:
                yield from stream.stopped(stop.id, time)
            for start in what[1].start:
                self._watch_count += 1
                yield stream.started(start, self._watch_count, time)
        elif direction is Direction.RECEIVED:
            for reply in what:
                yield from stream.reply(reply, time)
        elif direction is Direction.CLOSED:
            del self._watches[link.number]
            yield from stream.closed(time)


class _List:
    """A list, page by page."""

    def __init__(self, link: Link, call: float, request: pb.ListRequest, texts: Texts) -> None:
        self._texts = texts
        self._items: list[Item] = []
        self._page: list[Item] = []
        self._from_start = not request.continue_token
        self._whole = not request.selection.metadata_only
        self.token = ""  # By which it goes on behind the last page.
        asked = int(request.resource_version or 0)
        selection = texts.selection(request.selection)
        match, store = _match_of_list(request, asked), store_of(selection.resource)
        self._listed = Listed(link.client, link.partition, call, call, selection, match, asked, store=store)

    def begin_page(self) -> None:
        """Also when it is asked for again, because the link was lost while it came."""
        self._page = []

    def take(self, chunk: pb.ListReply, time: float) -> bool:
        """Whether it was the last of its page."""
        key, resource, whole = self._texts.key, self._listed.selection.resource, self._whole
        for item in chunk.items:
            metadata = item.metadata
            name = key(resource, metadata.tenant, metadata.namespace, metadata.name)
            self._page.append((name, metadata.resource_version, crc_of(item) if whole else 0))
        if not chunk.incarnation:
            return False
        self._items += self._page
        self.token = chunk.continue_token
        incarnation = self._texts.shared(chunk.incarnation)
        self._listed = self._listed._replace(ret=time, incarnation=incarnation, revision=chunk.resource_version)
        return True

    def record(self) -> Listed:
        complete = self._from_start and not self.token
        return self._listed._replace(items=tuple(self._items), complete=complete)


def _match_of_list(request: pb.ListRequest, asked: int) -> str:
    """Which revisions will do: the table in partitions/reads/listing.py."""
    if request.continue_token:
        return EXACT
    if not request.resource_version:
        return CONSISTENT
    if not asked:
        return ANY
    exactly = request.exact or (request.limit > 0 and not request.not_older_than)
    return EXACT if exactly else NOT_OLDER


class _WatchStream:
    """The watches of one stream."""

    def __init__(self, link: Link, texts: Texts) -> None:
        self._link = link
        self._texts = texts
        self._open: dict[int, tuple[int, str, bool]] = {}  # By id: number, resource, whole?
        self._incarnations: dict[str, str] = {}

    def started(self, start: pb.WatchStart, number: int, time: float) -> WatchStarted:
        selection = self._texts.selection(start.selection)
        self._open[start.id] = number, selection.resource, not selection.metadata_only
        client, partition = self._link.client, self._link.partition
        return WatchStarted(
            client,
            partition,
            time,
            number,
            self._link.number,
            selection,
            start.resource_version,
            start.initial_events,
            self._texts.shared(start.incarnation),
        )

    def stopped(self, watch_id: int, time: float) -> Iterator[Record]:
        known = self._open.pop(watch_id, None)
        if known is not None:
            yield WatchEnded(self._link.client, self._link.partition, time, known[0])

    def closed(self, time: float) -> Iterator[Record]:
        for watch_id in list(self._open):
            yield from self.stopped(watch_id, time)

    def reply(self, reply: pb.WatchReply, time: float) -> Iterator[Record]:
        store = reply.store or MAIN_STORE
        if reply.incarnation:
            self._incarnations[store] = self._texts.shared(reply.incarnation)
        number, client, partition = self._link.number, self._link.client, self._link.partition
        incarnation = self._incarnations.get(store, "")
        bookmark = reply.resource_version
        last: _Given | None = None  # What is known of a record that may still get the bookmark.
        ends: list[WatchEnded] = []
        for batch in reply.batches:
            known = self._open.get(batch.id)
            if known is None:
                continue  # Stopped, while this was on its way.
            if last is not None:
                yield Watched(*last)
            events = self._events(batch, *known[1:])
            last = client, partition, time, known[0], number, store, incarnation, events, batch.initial_events_end
            if batch.HasField("error"):
                del self._open[batch.id]
                error = batch.error
                ends.append(WatchEnded(client, partition, time, known[0], error.code, error.resource_version))
                if not events:
                    last = None
        if last is not None:
            yield Watched(*last) if ends else Watched(*last, bookmark)
        yield from ends
        if bookmark and (ends or last is None):  # It says nothing of those that have just ended.
            yield Watched(client, partition, time, 0, number, store, incarnation, bookmark=bookmark)

    def _events(self, batch: pb.WatchBatch, resource: str, whole: bool) -> tuple[Event, ...]:
        key, events = self._texts.key, []
        for event in batch.events:
            item = event.object
            metadata = item.metadata
            name = key(resource, metadata.tenant, metadata.namespace, metadata.name)
            crc = crc_of(item) if whole else 0
            events.append((event.type, name, metadata.resource_version, event.resource_version, crc))
        return tuple(events)
