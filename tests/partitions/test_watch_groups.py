"""Watches share what they see, and each sees just what it would see alone.

The reference looks at every change in the store's log, for every watch, with predicates of its own. Whatever the
interleaving of writes, starts, stops and readers of any speed, and however little is kept for slow ones: a watch has
got exactly the events up to its bookmark, in order, and what it has got when it is ended is where they begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple
from unittest.mock import patch as patched

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.partitions.cache import window
from ursa.partitions.watches import sharing, watching
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, decode
from ursa.proto.sessions import Caller

from .conftest import Partition, pod
from .test_writes import bind, delete, patch

Seen = tuple[str, str, int, bool]  # Type, name, revision, whether the contents came along.
ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


def _node(message: pb.Object) -> str:
    return str(decode(message.spec).get("nodeName", ""))


def _label(message: pb.Object) -> str | None:
    return message.metadata.labels.get("x")


class Selected(NamedTuple):
    selection: pb.Selection
    wants: Callable[[pb.Object], bool]


def _pods(**fields: str | bool) -> pb.Selection:
    return pb.Selection(resource="pods", **fields)  # type: ignore[arg-type]


SELECTIONS = [
    Selected(_pods(), lambda _: True),
    Selected(_pods(metadata_only=True), lambda _: True),
    Selected(_pods(tenant="system"), lambda _: True),
    Selected(_pods(tenant="other"), lambda _: False),
    Selected(_pods(namespace="kube-system"), lambda o: o.metadata.namespace == "kube-system"),
    Selected(_pods(field_selector="metadata.namespace=default"), lambda o: o.metadata.namespace == "default"),
    Selected(_pods(field_selector="metadata.name=p1"), lambda o: o.metadata.name == "p1"),
    Selected(_pods(namespace="default", field_selector="metadata.name!=p1"), lambda o: o.metadata.name in ("p0", "p2")),
    Selected(_pods(label_selector="x=1"), lambda o: _label(o) == "1"),
    Selected(_pods(label_selector="x notin (1)", metadata_only=True), lambda o: _label(o) != "1"),
    Selected(_pods(field_selector="spec.nodeName="), lambda o: not _node(o)),
    Selected(_pods(field_selector="spec.nodeName=n1"), lambda o: _node(o) == "n1"),
    Selected(
        _pods(field_selector="spec.nodeName=n1", label_selector="x"), lambda o: _node(o) == "n1" and bool(_label(o))
    ),
    Selected(_pods(field_selector="spec.nodeName!=n1", tenant="system"), lambda o: _node(o) != "n1"),
    Selected(pb.Selection(resource="configmaps"), lambda _: False),
]


def _expected(partition: Partition, selected: Selected, after: int, until: int) -> Iterator[Seen]:
    """Every change of a pod behind one revision up to another, as a watch alone would see it."""
    newest: dict[str, pb.Object] = {}
    for record in partition.store.log(0):
        if not record.key.startswith("/registry/pods/") or record.revision > until:
            continue
        message = pb.Object.FromString(record.value)
        old = newest.pop(record.key, None)
        if not record.deleted:
            newest[record.key] = message
        was = old is not None and selected.wants(old)
        now = not record.deleted and selected.wants(message)
        if record.revision > after and (was or now):
            kind = (MODIFIED if was else ADDED) if now else DELETED
            yield kind, message.metadata.name, record.revision, not selected.selection.metadata_only


def _present(partition: Partition, selected: Selected, at: int) -> Iterator[Seen]:
    """The initial events."""
    for record in partition.store.range("/registry/pods/", revision=at):
        message = pb.Object.FromString(record.value)
        if selected.wants(message):
            yield ADDED, message.metadata.name, record.revision, not selected.selection.metadata_only


@dataclass
class Opened:
    """A watch, and what it has got."""

    selected: Selected
    start: int
    initial: list[Seen] | None
    floor_seen: int
    got: list[Seen] = field(default_factory=list)
    opened: bool = False
    synced: bool = False
    ended: pb.Status | None = None

    def check(self, partition: Partition, until: int, *, complete: bool) -> None:
        """It has all events up to a revision, or as many as have come."""
        expected = [*(self.initial or []), *_expected(partition, self.selected, self.start, until)]
        assert self.got == (expected if complete else expected[: len(self.got)])
        if complete:
            assert self.opened
            assert self.synced == (self.initial is not None)


class Reader:
    """A stream with watches, read by hand."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._stream = partition.server.open("Watch", Caller("test"), lambda: None)
        self._watches: dict[int, Opened] = {}
        self._last_id = 0

    @property
    def head(self) -> int:
        return self._partition.server.status().stores[0].resource_version

    def start(self, which: int, how: int) -> None:
        """`how`: 0 from now on, 1 with initial events, more: from as many revisions ago."""
        self._last_id += 1
        selected = SELECTIONS[which]
        initial = list(_present(self._partition, selected, self.head)) if how == 1 else None
        ago = max(0, how - 1)
        after = self.head if how < 2 else max(1, self.head - ago)
        start = pb.WatchStart(id=self._last_id, selection=selected.selection, initial_events=how == 1)
        if how > 1:
            start.resource_version = after
        self._watches[self._last_id] = Opened(selected, after, initial, self.head)
        self._stream.receive(pb.WatchRequest(start=[start]).SerializeToString())

    def stop(self, number: int) -> None:
        if self._watches:
            watch_id = list(self._watches)[number % len(self._watches)]
            del self._watches[watch_id]
            self._stream.receive(pb.WatchRequest(stop=[pb.WatchStop(id=watch_id)]).SerializeToString())

    def read(self, replies: int) -> None:
        for _ in range(replies):
            data = self._stream.take()
            if data is None:
                return
            reply = pb.WatchReply.FromString(data)
            for batch in reply.batches:
                if batch.id in self._watches:
                    self._take_in(self._watches[batch.id], batch)
                else:
                    assert batch.HasField("error"), "of a watch that was stopped nothing comes but an end before that"
            if reply.resource_version:
                assert reply.resource_version == self.head
                for watch in self._watches.values():
                    if watch.ended is None:
                        watch.check(self._partition, reply.resource_version, complete=True)

    def _take_in(self, watch: Opened, batch: pb.WatchBatch) -> None:
        assert watch.ended is None, "nothing comes after the end"
        watch.opened = True
        assert not (watch.synced and batch.initial_events_end)
        for event in batch.events:
            kind, metadata = pb.WatchEvent.Type.Name(event.type), event.object.metadata
            watch.got.append((kind, metadata.name, event.resource_version, bool(event.object.spec)))
        watch.synced |= batch.initial_events_end
        if batch.HasField("error"):
            watch.ended = batch.error
            watch.check(self._partition, self.head, complete=False)
            assert batch.error.reason == "Expired"
            # There was something that it lacked: not all that happened since is kept.
            assert watch.start < batch.error.resource_version <= self.head

    def finish(self) -> None:
        """Read all there is. Then every watch that has not been ended is complete."""
        self._partition.runtime.advance(5)
        self.read(100_000)
        for watch in self._watches.values():
            watch.check(self._partition, self.head, complete=watch.ended is None)

    def close(self) -> None:
        self._stream.close()


@contextmanager
def limits(reply: int, chunk: int, shared: int, commits: int, changes: int) -> Iterator[None]:
    with ExitStack() as stack:
        for module, name, value in (
            (watching, "REPLY_BYTES", reply),
            (watching, "ENDED_IN_LINE_MIN", 0),
            (sharing, "CHUNK_BYTES", chunk),
            (sharing, "SHARED_BYTES_MAX", shared),
            (sharing, "SHARED_COMMITS_MAX", commits),
            (sharing, "SHARED_REPLIES_MAX", 1),
            (window, "WINDOW_CHANGES_MAX", changes),
            (window, "PAGES", 3),
        ):
            stack.enter_context(patched.object(module, name, value))
        yield


def write(partition: Partition, moves: list[tuple[str, int]]) -> None:
    """One batch, so one commit. What cannot be done is refused."""
    operations = []
    for verb, number in moves:
        namespace = "kube-system" if number == 3 else "default"
        name = f"p{number}"
        if verb == "create":
            operation = pb.Operation(resource="pods")
            operation.create.object.CopyFrom(Object.from_dict(pod(name, namespace=namespace)).message)
        elif verb == "delete":
            operation = delete("pods", name, grace_seconds=0)
            operation.delete.target.namespace = namespace
        elif verb == "bind":
            try:
                uid = partition.get("pods", name, namespace=namespace).uid
            except ApiError:
                continue
            operation = bind(name, uid)
            operation.bind.target.namespace = namespace
        else:
            operation = patch("pods", name, {"metadata": {"labels": {"x": verb or None}}})
            operation.patch.target.namespace = namespace
        operations.append(operation)
    partition.write(*operations)


MOVES = ["create", "create", "create", "delete", "bind", "bind", "1", "2", ""]


def play(partition: Partition, readers: list[Reader], random: Random) -> None:
    """A story: what happens is dense, so that much of it meets."""
    popular = random.sample(range(len(SELECTIONS)), 2)
    for reader in readers:
        reader.start(random.choice([0, popular[0]]), random.choice([0, 1]))
    for _ in range(random.randrange(60)):
        reader = random.choice(readers)
        step = random.choice("wwwwrrrrsse")
        if step == "w":
            write(partition, [(random.choice(MOVES), random.randrange(4)) for _ in range(random.randint(1, 5))])
        elif step == "r":
            reader.read(random.choice([1, 1, 2, 1000]))
        elif step == "s":
            which = random.choice([*popular, random.randrange(len(SELECTIONS))])
            reader.start(which, random.choice([0, 0, 1, 1, 1, 2, 3, 5, 9]))
        else:
            reader.stop(random.randrange(9))


little = st.sampled_from([1, 400, 1_000_000])


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 1 << 30),
    little,
    little,
    st.sampled_from([0, 600, 3000, 1_000_000]),
    st.sampled_from([1, 3, 256]),
    st.sampled_from([2, 9, 1000]),
)
def test_a_watch_in_a_group_sees_just_what_it_would_see_alone(
    seed: int, reply: int, chunk: int, shared: int, commits: int, changes: int
) -> None:
    with limits(reply, chunk, shared, commits, changes):
        partition = Partition(Role.TENANT)
        readers = [Reader(partition) for _ in range(3)]
        play(partition, readers, Random(seed))
        for reader in readers:
            reader.finish()
            reader.close()
        assert partition.server.status().watches == 0
