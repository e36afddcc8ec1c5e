"""A partition and its clients, anything that may happen to them in any order, and what must hold all the same.

A story keeps the truth: the log of the store, noted before compaction forgets parts of it. Whatever clients were told
is compared with that: lists with the state at their revision, watches with the log (the promises of
tests/storage/watch_promises.py, unchanged).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Expired
from ursa.proto.kinds import KINDS, Role
from ursa.proto.objects import Object
from ursa.proto.selectors import parse_label_selector, selects
from ursa.storage import Record

from ...storage import watch_promises
from ...storage.watch_promises import Seen
from .objects import config
from .subjects import CoreSubject, Event, Page, SlowStream, SlowWatching, Subject, Watching

NAMES = ("a", "b", "c", "c-1", "d")
NAMESPACES = ("default", "kube-system")
PREFIX = "/registry/configmaps/"


class Scope(NamedTuple):
    """What a list or a watch is of, and the keys and labels that means."""

    options: dict[str, str]
    prefix: str
    label_selector: str = ""


SCOPES = (
    Scope({}, PREFIX),
    Scope({"tenant": "system", "namespace": "default"}, f"{PREFIX}system/default/"),
    Scope({"label_selector": "x=1"}, PREFIX, "x=1"),
    Scope({"label_selector": "!x"}, PREFIX, "!x"),
)


class Truth:
    """Every change that ever became durable."""

    def __init__(self) -> None:
        self.log: list[Record] = []

    def note(self, records: Sequence[Record]) -> None:
        last = self.log[-1].revision if self.log else 0
        for record in records:
            if record.revision > last:
                assert record.revision == last + 1, f"after {last} comes {record.revision}"
                self.log.append(record._replace(create_revision=0, previous_revision=0))
                last = record.revision

    def state(self, revision: int, scope: Scope) -> dict[str, bytes]:
        state: dict[str, bytes] = {}
        for record in self.log[:revision]:
            if not record.key.startswith(scope.prefix):
                continue
            if record.deleted or not _selected(record.value, scope.label_selector):
                state.pop(record.key, None)
            else:
                state[record.key] = record.value
        return dict(sorted(state.items()))


def _selected(data: bytes, label_selector: str) -> bool:
    return not label_selector or selects(
        parse_label_selector(label_selector), pb.Object.FromString(data).metadata.labels.get
    )


def key_of(message: pb.Object) -> str:
    metadata = message.metadata
    return f"{PREFIX}{metadata.tenant}/{metadata.namespace}/{metadata.name}"


def bytes_of(message: pb.Object) -> bytes:
    return message.SerializeToString(deterministic=True)


class Watcher:
    """A client that watches, breaks off, and goes on from where it was."""

    def __init__(self, story: Story, scope: Scope, after: int | None) -> None:
        """`after` None: with initial events."""
        self.scope = scope
        self.initial = after is None
        self._story = story
        self._open(after)
        self.seen: list[tuple[Seen, Watching]] = [(Seen(scope.prefix, after or 0), self.watching)]

    def _open(self, after: int | None) -> None:
        options: dict[str, Any] = {"incarnation": "one", **self.scope.options}
        options |= {"initial_events": True} if after is None else {"resource_version": after}
        self.watching = self._story.watch(options)

    @property
    def after(self) -> int:
        """Where it can go on: its last bookmark, or its last event."""
        seen, watching = self.seen[-1]
        return max(seen.after, watching.bookmark)

    def resume(self) -> None:
        told = self.watching
        if self.initial and told.initial is None:
            # It cannot go on from the middle of a view: it begins again.
            told.stop()
            self._open(None)
            self.seen = [(Seen(self.scope.prefix, 0), self.watching)]
            return
        after = self.after
        if told.open:
            told.stop()
        self._open(after)
        self.seen.append((Seen(self.scope.prefix, after), self.watching))

    def check(self, truth: Truth) -> None:
        if not self.initial and not self.scope.label_selector:
            self._check_promises(truth)
        self._check_view(truth)

    def _check_promises(self, truth: Truth) -> None:
        for seen, watching in self.seen:
            seen.deliveries = list(_deliveries(seen.after, watching))
            for promise in watch_promises.OF_ONE_WATCH:
                promise(seen, truth.log)
        for (first, _), (second, _) in zip(self.seen, self.seen[1:], strict=False):
            if first.bookmark == second.after:
                watch_promises.resumable(first, second, truth.log)

    def _check_view(self, truth: Truth) -> None:
        """Events applied one by one to what it began with are the state at its bookmark."""
        first, watching = self.seen[0]
        if self.initial and watching.initial is None:
            return
        view = {} if self.initial else truth.state(first.after, self.scope)
        last = 0
        for _, watching in self.seen:
            for number, event in enumerate(watching.events):
                if watching.initial is None or number >= watching.initial:
                    assert event.revision > last, "no revision goes back"
                    last = event.revision
                self._apply(view, event)
        assert dict(sorted(view.items())) == truth.state(self.after, self.scope)

    @staticmethod
    def _apply(view: dict[str, bytes], event: Event) -> None:
        key = key_of(event.object.message)
        assert (event.type == "ADDED") == (key not in view), f"{event.type} of {key}"
        if event.type == "DELETED":
            del view[key]
        else:
            view[key] = bytes_of(event.object.message)


def _deliveries(after: int, watching: Watching) -> Sequence[tuple[list[Record], int]]:
    """As a store's watch tells them: each with a bookmark, its last event if no other came with it."""
    deliveries: list[tuple[list[Record], int]] = []
    for events, told in watching.deliveries:
        records = [
            Record(
                event.revision,
                key_of(event.object.message),
                bytes_of(event.object.message),
                event.type == "DELETED",
                0,
                0,
            )
            for event in events
        ]
        after = told or (records[-1].revision if records else after)
        deliveries.append((records, after))
    return deliveries


class Pager:
    """A client that reads a list page by page, and not at once."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.items: list[Object] = []
        self.page: Page | None = None

    async def read(self, story: Story, limit: int) -> None:
        token = self.page.continue_token if self.page is not None else ""
        if self.page is not None and not token:
            return
        try:
            page = await story.list("configmaps", limit=limit, continue_token=token, **self.scope.options)
        except Expired as expired:
            story.check_gone(self.page.resource_version if self.page is not None else 0, expired)
            self.items, self.page = [], None
            return
        assert self.page is None or page.resource_version == self.page.resource_version
        assert len(page.items) <= limit
        self.items += page.items
        self.page = page
        if not page.continue_token:
            story.check_list(page.resource_version, self.items, self.scope)


class Story:
    """Over the core its watchers read when told to; a client's own read at once."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.truth = Truth()
        self.watchers: list[Watcher] = []
        self.pagers = [Pager(scope) for scope in SCOPES]
        self.batches: list[list[int]] = []
        self._streams: list[SlowStream | None] = [None, None, None]
        self._floor = 0
        self._newest_seen = 0
        self._number = 0

    # ----------------------------------------------------------------------------------------------------- writes

    async def write(self, choices: Sequence[tuple[int, int]]) -> None:
        """A batch: each choice is a verb and an object."""
        results = await self.subject.mutate(*(self._operation(verb, which) for verb, which in choices))
        written = [result.resource_version for result in results if not result.HasField("error")]
        changed = [revision for revision in dict.fromkeys(written) if revision > self._newest_seen]
        assert changed == sorted(changed)
        self._see(max(written, default=0))
        self.batches.append(changed)
        for result in results:
            assert result.error.reason in ("", "NotFound", "AlreadyExists"), result.error

    async def write_to_a_slow_disk(self, choices: Sequence[tuple[int, int]], lose: int) -> None:
        """Meanwhile nobody sees it; and if the apiserver dies before it is durable, nobody ever will."""
        self.subject.host.hold_commits()
        async with self.subject.stream("Mutate") as stream:
            operations = [self._operation(verb, which) for verb, which in choices]
            await stream.send(pb.MutateRequest(operations=operations))
            await self.list_newest(choices[0][1])
            await self.list_any(choices[0][0])
            if lose % 2:
                await self.crash()
            else:
                self.subject.host.release_commits()
                await stream.receive()

    def _operation(self, verb: int, which: int) -> pb.Operation:
        name, namespace = NAMES[which % len(NAMES)], NAMESPACES[which // len(NAMES) % len(NAMESPACES)]
        self._number += 1
        labels = [{}, {"x": "1"}, {"x": "2"}][verb % 3]
        obj = Object.from_dict(config(name, str(self._number), namespace=namespace, labels=labels))
        operation = pb.Operation(resource="configmaps")
        if verb < 3:
            operation.create.object.CopyFrom(obj.message)
        elif verb < 6:
            operation.update.object.CopyFrom(obj.message)
        else:
            operation.delete.target.CopyFrom(
                pb.GetRequest(resource="configmaps", tenant="system", namespace=namespace, name=name)
            )
        return operation

    def _see(self, revision: int) -> None:
        self._newest_seen = max(self._newest_seen, revision)

    # ------------------------------------------------------------------------------------------------------ reads

    async def list(self, resource: str, **options: Any) -> Page:
        """Of the past it may take steps, with pauses."""
        return await self.subject.while_time_passes(self.subject.list, resource, **options)

    async def list_newest(self, which: int) -> None:
        scope = SCOPES[which % len(SCOPES)]
        page = await self.list("configmaps", **scope.options)
        assert page.resource_version >= self._newest_seen, "a revision went back"
        self._see(page.resource_version)
        self.check_list(page.resource_version, page.items, scope)

    async def list_any(self, which: int) -> None:
        scope = SCOPES[which % len(SCOPES)]
        page = await self.list("configmaps", resource_version="0", **scope.options)
        self.check_list(page.resource_version, page.items, scope)

    async def list_exactly(self, back: int, which: int) -> None:
        scope = SCOPES[which % len(SCOPES)]
        revision = max(1, self.subject.host.head() - back)
        try:
            page = await self.list("configmaps", resource_version=str(revision), exact=True, **scope.options)
        except Expired as expired:
            self.check_gone(revision, expired)
            return
        assert page.resource_version == revision >= self._floor
        self.check_list(revision, page.items, scope)

    async def read_page(self, limit: int, which: int) -> None:
        await self.pagers[which % len(self.pagers)].read(self, limit)

    def check_gone(self, revision: int, expired: Expired) -> None:
        """Only what is compacted may be gone."""
        assert 0 < revision < self._floor == expired.resource_version

    def check_list(self, revision: int, items: Sequence[Object], scope: Scope) -> None:
        self.note()
        assert revision <= len(self.truth.log)
        state = self.truth.state(revision, scope)
        assert [(key_of(item.message), bytes_of(item.message)) for item in items] == list(state.items())

    # ---------------------------------------------------------------------------------------------------- watches

    def watch(self, options: dict[str, Any]) -> Watching:
        if isinstance(self.subject, CoreSubject):
            return self.subject.slow_watch("configmaps", on=self._stream(), **options)  # Read one reply at a time.
        return self.subject.watch("configmaps", **options)

    def _stream(self) -> SlowStream:
        """One of a few, each with some of the watches."""
        assert isinstance(self.subject, CoreSubject)
        at = len(self.watchers) % len(self._streams)
        stream = self._streams[at]
        if stream is None or stream.lost:
            stream = self._streams[at] = self.subject.slow_stream()
        return stream

    async def start_watch(self, back: int, which: int) -> None:
        """From some revisions back; with initial events if that would be before the beginning."""
        after = self.subject.host.head() - back
        self.watchers.append(Watcher(self, SCOPES[which % len(SCOPES)], after if after > 0 else None))
        if back % 2:  # Half of them are where the others are when it goes on.
            self._read_all(self.watchers[-1].watching)

    async def read_watch(self, which: int) -> None:
        if self.watchers:
            watching = self.watchers[which % len(self.watchers)].watching
            if isinstance(watching, SlowWatching):
                watching.read_one()

    async def resume_watch(self, which: int) -> None:
        if self.watchers:
            self.watchers[which % len(self.watchers)].resume()

    # ----------------------------------------------------------------------------------------------------- events

    async def compact(self, back: int) -> None:
        self.note()
        self._floor = max(self._floor, self.subject.host.head() - back)
        self.subject.host.compact(self._floor)

    async def crash(self) -> None:
        self.note()
        await self.subject.crash()

    async def pass_time(self) -> None:
        self.subject.host.advance(1.0)

    def note(self) -> None:
        self.truth.note(self.subject.host.log())

    # -------------------------------------------------------------------------------------------------- the end

    async def end(self) -> None:
        """Everyone catches up, and is judged."""
        while True:
            for watcher in self.watchers:
                self._read_all(watcher.watching)
                if watcher.watching.lost:
                    watcher.resume()
            await self.subject.settled(*(watcher.watching for watcher in self.watchers))
            if not any(watcher.watching.lost for watcher in self.watchers):
                break
        self.note()
        for watcher in self.watchers:
            error = watcher.watching.error
            if error is not None:
                assert isinstance(error, Expired), error
                assert watcher.after < error.resource_version <= len(self.truth.log)
            else:
                assert watcher.after == len(self.truth.log)
                self._check_atomic(watcher)
            watcher.check(self.truth)
        for which in range(len(SCOPES)):
            await self.list_newest(which)
        await self._check_cache()

    def _read_all(self, watching: Watching) -> None:
        if isinstance(watching, SlowWatching):
            while watching.read_one():
                pass

    async def _check_cache(self) -> None:
        """What is listed is what is stored, of every kind."""
        listed: dict[str, bytes] = {}
        for kind in KINDS:
            if Role.TENANT in kind.roles:
                for item in (await self.list(kind.resource)).items:
                    listed[kind.key(item.tenant, item.namespace, item.name)] = bytes_of(item.message)
        assert listed == self.subject.host.stored()

    def _check_atomic(self, watcher: Watcher) -> None:
        if watcher.initial or watcher.scope.label_selector:
            return
        whole = Seen(watcher.scope.prefix, watcher.seen[0][0].after)
        for seen, watching in watcher.seen:
            whole.deliveries += _deliveries(seen.after, watching)
        batches = [[self.truth.log[revision - 1] for revision in batch] for batch in self.batches]
        watch_promises.atomic(whole, self.truth.log, batches)
