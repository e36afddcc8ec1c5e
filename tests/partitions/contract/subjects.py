"""Three ways to a partition, behind one interface: the same tests run over each.

    core     the apiserver's own streams and calls: what a front end sees
    memory   a `PartitionClient` over a link in memory
    grpc     a `PartitionClient` over gRPC, to a process of its own

A test is an async function of a `Subject`, decorated with `over_all_subjects`. Nothing in it waits for real: what
needs time to pass is read with `while_time_passes`.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import pytest
import trio
from google.protobuf.message import Message
from trio.testing import MockClock
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import PartitionClient, Watch, WatchSink, open_client
from ursa.clients.operations import resource_of
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.clients.transport.interface import Stream, Transport
from ursa.clients.transport.memory import MemoryTransport
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import ApiError, LinkError, ServiceUnavailable, from_status
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.sessions import METHODS, Caller

from .host import Host
from .objects import config

ROOT = Path(__file__).resolve().parents[3]
T = TypeVar("T")
CALLER = Caller("test")
# What a test takes at most, in seconds of its clock: far more than any bound of the product.
TEST_SECONDS_MAX = 600
# Time passes in steps of this, and in all so much for one task: more than it may take, and less than history is kept.
STEP_SECONDS = 0.5
PASSING_SECONDS_MAX = 20.0
# Looks at what should happen, before it is said that it does not: thousands of times what it takes.
TURNS_MAX = 10_000


class Event(NamedTuple):
    type: str  # ADDED, MODIFIED, DELETED
    object: Object
    revision: int

    @property
    def brief(self) -> tuple[str, str]:
        return self.type, self.object.name


class Page(NamedTuple):
    """A list, or a page of one."""

    items: list[Object]
    resource_version: int
    continue_token: str

    @property
    def names(self) -> list[str]:
        return [item.name for item in self.items]


class Watching:
    """What one watch has told."""

    def __init__(self) -> None:
        # In the order received, each with the bookmark that came with it; 0: more was on its way.
        self.deliveries: list[tuple[list[Event], int]] = []
        self.initial: int | None = None  # How many events had come when the initial ones were over.
        self.error: ApiError | None = None
        self.lost = False
        self._news = trio.Event()

    @property
    def events(self) -> list[Event]:
        return [event for events, _ in self.deliveries for event in events]

    @property
    def brief(self) -> list[tuple[str, str]]:
        return [event.brief for event in self.events]

    @property
    def bookmark(self) -> int:
        """Complete up to here: the newest bookmark, or the newest event's revision."""
        return max((max(told, *(e.revision for e in events), 0) for events, told in self.deliveries), default=0)

    def take(self, batch: pb.WatchBatch, bookmark: int) -> None:
        events = [
            Event(pb.WatchEvent.Type.Name(event.type), Object(event.object), event.resource_version)
            for event in batch.events
        ]
        if batch.initial_events_end:
            self.initial = len(self.events) + len(events)
        if batch.HasField("error"):
            self.error = from_status(batch.error)
            bookmark = 0  # It speaks for those that go on.
        if events or bookmark:
            self.deliveries.append((events, bookmark))
        self.wake()

    def wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what it tells to fulfil a condition."""
        while not condition():
            await self._news.wait()

    @property
    def open(self) -> bool:
        return self.error is None and not self.lost

    def stop(self) -> None:
        raise NotImplementedError


class Controls(Protocol):
    """What `Host` lets a test do."""

    def advance(self, seconds: float) -> None: ...
    def hold_commits(self) -> None: ...
    def release_commits(self) -> None: ...
    def head(self) -> int: ...
    def staged_head(self) -> int: ...
    def floor(self) -> int: ...
    def log(self) -> list[Any]: ...
    def compact(self, revision: int) -> None: ...
    def forget(self, revision: int) -> None: ...
    def stored(self) -> dict[str, bytes]: ...
    def compact_in_part(self, revision: int, steps: int) -> bool: ...
    def crash(self) -> None: ...
    def fall_behind(self, revision: int) -> None: ...
    def catch_up(self) -> None: ...
    def replace_store(self, incarnation: str) -> None: ...


class Subject:
    """A partition, as one of the three sees it."""

    turn_seconds = 0.5  # Of a clock that jumps; of the real one little more than a message needs.

    def __init__(self, host: Controls) -> None:
        self.host = host
        self._nursery: trio.Nursery

    # ------------------------------------------------------------------------------------------- what they share

    async def do(self, operation: pb.Operation) -> pb.Result:
        """One operation; its refusal is raised."""
        [result] = await self.mutate(operation)
        if result.HasField("error"):
            raise from_status(result.error)
        return result

    async def create(self, manifest: dict[str, Any], **options: bool) -> Object:
        obj = Object.from_dict(manifest)
        operation = pb.Operation(resource=resource_of(obj), return_object=True, **options)
        operation.create.object.CopyFrom(obj.message)
        return Object((await self.do(operation)).object)

    async def update(self, obj: Object, *, subresource: str = "", **options: bool) -> Object:
        operation = pb.Operation(resource=resource_of(obj), return_object=True, **options)
        operation.update.object.CopyFrom(obj.message)
        operation.update.subresource = subresource
        return Object((await self.do(operation)).object)

    async def label(self, obj: Object, **labels: str) -> Object:
        return await self.update(obj.with_metadata(labels=labels))

    async def delete(self, obj: Object, *, uid: str = "", resource_version: int = 0, **options: Any) -> int:
        """Returns the revision of the deletion. At once, unless grace is asked for or finalizers stand against it."""
        operation = pb.Operation(resource=resource_of(obj))
        operation.delete.target.CopyFrom(name_of(obj))
        operation.delete.grace_seconds = options.get("grace_seconds", 0)
        operation.delete.preconditions.uid, operation.delete.preconditions.resource_version = uid, resource_version
        return (await self.do(operation)).resource_version

    async def crash(self) -> None:
        """Kill the apiserver, and go on with its successor."""
        self.host.crash()
        await self.reconnected()

    async def reconnected(self) -> None:
        """Until the apiserver that is there now takes writes from us."""
        probe = pb.Operation(resource="configmaps", dry_run=True)
        probe.create.object.CopyFrom(Object.from_dict(config("probe")).message)
        while True:
            try:
                await self.mutate(probe)
                return
            except (LinkError, ServiceUnavailable):  # It has not yet noticed.
                await self.turn()

    async def settled(self, *watches: Watching) -> None:
        """Until each has told all there is to tell, and said so."""
        head = self.host.head()
        await self.while_time_passes(self._caught_up, watches, head)

    async def _caught_up(self, watches: Sequence[Watching], head: int) -> None:
        for watching in watches:
            # A bookmark, not the event alone: what came with it or after it may be still on its way.
            await watching.until(lambda watching=watching: _told(watching) >= head or not watching.open)

    async def while_time_passes(self, task: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """The result of a task that may need the partition's time to pass."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_time)
                result = await task(*arguments, **options)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise only_leaf(group) from None
        return result

    async def list_patiently(self, resource: str, **options: Any) -> Page:
        """While a write is under way a list may have to pause for it."""
        return await self.while_time_passes(self.list, resource, **options)

    async def _pass_time(self) -> None:
        passed = 0.0
        for _ in range(TURNS_MAX):
            await self.turn()  # For what is on its way: time is for what waits.
            if passed < PASSING_SECONDS_MAX:
                self.host.advance(STEP_SECONDS)
                passed += STEP_SECONDS
            await self._pumped()
        raise AssertionError(f"{PASSING_SECONDS_MAX} s have passed, and it has not happened")

    async def turn(self) -> None:
        """Let everybody else go on."""
        await trio.sleep(self.turn_seconds)

    async def _pumped(self) -> None:
        """Hand on what the partition has got ready."""

    # -------------------------------------------------------------------------------------------- what differs

    async def get(self, resource: str, name: str, tenant: str = "system", namespace: str = "default") -> Object:
        raise NotImplementedError

    async def list(self, resource: str, **options: Any) -> Page:
        """`tenant`, `namespace`, `label_selector`, `field_selector`, and the fields of a ListRequest."""
        raise NotImplementedError

    async def mutate(self, *operations: pb.Operation) -> list[pb.Result]:
        raise NotImplementedError

    def watch(self, resource: str, **options: Any) -> Watching:
        """Selectors as for `list`, and the fields of a WatchStart."""
        raise NotImplementedError

    def stream(self, method: str) -> AbstractAsyncContextManager[Stream]:
        """A stream of messages, with nothing of a client around it."""
        raise NotImplementedError

    async def call(self, method: str, request: Message) -> Any:
        """A unary call, with nothing of a client around it."""
        raise NotImplementedError


def _told(watching: Watching) -> int:
    return max((told for _, told in watching.deliveries), default=0)


SELECTION = ("tenant", "namespace", "label_selector", "field_selector", "metadata_only")


def selection_of(resource: str, options: dict[str, Any]) -> pb.Selection:
    """Takes the selection's fields out of the options."""
    return pb.Selection(resource=resource, **{name: options.pop(name) for name in SELECTION if name in options})


def name_of(obj: Object) -> pb.GetRequest:
    return pb.GetRequest(resource=resource_of(obj), tenant=obj.tenant, namespace=obj.namespace, name=obj.name)


# ---------------------------------------------------------------------------------------------------------- the core


class CoreSubject(Subject):
    """The apiserver itself, with the loop's part played by hand."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._host = host
        self._watches: list[_CoreWatching] = []

    async def get(self, resource: str, name: str, tenant: str = "system", namespace: str = "default") -> Object:
        request = pb.GetRequest(resource=resource, tenant=tenant, namespace=namespace, name=name)
        return Object((await self.call("Get", request)).object)

    async def list(self, resource: str, **options: Any) -> Page:
        request = pb.ListRequest(selection=selection_of(resource, options), **options)
        reply = pb.ListReply()
        async with self.stream("List") as stream:
            await stream.send(request)
            while chunks := await stream.receive():
                for chunk in chunks:
                    reply.MergeFrom(chunk)
        return Page([Object(item) for item in reply.items], reply.resource_version, reply.continue_token)

    async def mutate(self, *operations: pb.Operation) -> list[pb.Result]:
        reply = await self.call("Write", pb.MutateRequest(operations=operations))
        await self._pumped()
        return list(reply.results)

    def watch(self, resource: str, **options: Any) -> Watching:
        watching = _CoreWatching(self._host, pb.WatchStart(selection=selection_of(resource, options), **options))
        self._watches.append(watching)
        return watching

    def slow_watch(self, resource: str, *, on: SlowStream | None = None, **options: Any) -> SlowWatching:
        """A watch that is read only when the test says; on a stream of its own, unless one is given."""
        start = pb.WatchStart(selection=selection_of(resource, options), **options)
        return SlowWatching(on or SlowStream(self._host), start)

    def slow_stream(self) -> SlowStream:
        return SlowStream(self._host)

    def stream(self, method: str) -> AbstractAsyncContextManager[Stream]:
        return _CoreStream(self._host, method)

    async def call(self, method: str, request: Message) -> Any:
        answers: list[bytes | ApiError] = []
        answered = trio.Event()

        def reply(answer: bytes | ApiError) -> None:
            answers.append(answer)
            answered.set()

        self._host.call(method, request.SerializeToString(), CALLER, reply)
        await answered.wait()
        [answer] = answers
        if isinstance(answer, ApiError):
            raise from_status(pb.Status.FromString(answer.status.SerializeToString()))
        return METHODS[method].reply.FromString(answer)

    async def _pumped(self) -> None:
        for watching in self._watches:
            watching.pump()


class SlowStream:
    """A stream of watches that is read one reply at a time, when the test says."""

    def __init__(self, host: Host) -> None:
        self._stream = host.open("Watch", CALLER, lambda: None)
        self._watches: dict[int, Watching] = {}
        self._accepted: dict[int, Watching] = {}
        self._last_id = 0
        self.lost = False

    def start(self, watching: Watching, start: pb.WatchStart) -> int:
        self._last_id += 1
        start.id = self._last_id
        self._watches[start.id] = watching
        self._send(pb.WatchRequest(start=[start]))
        return self._last_id

    def stop(self, watch_id: int) -> None:
        self._accepted.pop(watch_id, None)
        if self._watches.pop(watch_id, None) is not None and not self.lost:
            self._send(pb.WatchRequest(stop=[pb.WatchStop(id=watch_id)]))

    def _send(self, request: pb.WatchRequest) -> None:
        try:
            self._stream.receive(request.SerializeToString())
        except ServiceUnavailable:
            self._is_lost()

    def _is_lost(self) -> None:
        self.lost = True
        for watching in self._watches.values():
            watching.lost = True
            watching.wake()

    def read_one(self) -> bool:
        """False: there is nothing to read."""
        data = None
        try:
            data = self._stream.take()
            if data is None and self._stream.finished:
                self._is_lost()
        except ServiceUnavailable:
            self._is_lost()
        if data is None:
            return False
        self._told(pb.WatchReply.FromString(data))
        return True

    def _told(self, reply: pb.WatchReply) -> None:
        for batch in reply.batches:
            watching = self._watches.get(batch.id)
            if watching is None:
                continue
            self._accepted[batch.id] = watching
            watching.take(batch, 0)
            if batch.HasField("error"):
                del self._watches[batch.id], self._accepted[batch.id]
        if reply.resource_version:
            # A bookmark of all watches that have been accepted, whether or not they are spoken of.
            for watching in self._accepted.values():
                watching.take(pb.WatchBatch(), reply.resource_version)


class SlowWatching(Watching):
    """A watch on such a stream."""

    def __init__(self, stream: SlowStream, start: pb.WatchStart) -> None:
        super().__init__()
        self._stream = stream
        self._id = stream.start(self, start)

    def read_one(self) -> bool:
        return self._stream.read_one()

    def stop(self) -> None:
        self._stream.stop(self._id)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if not self.read_one():
                await trio.sleep(0.1)  # Of a clock that jumps.


class _CoreWatching(SlowWatching):
    """A watch on a stream of its own, that is read at once."""

    def __init__(self, host: Host, start: pb.WatchStart) -> None:
        super().__init__(SlowStream(host), start)
        self.pump()

    def pump(self) -> None:
        while self.read_one():
            pass


class _CoreStream(Stream):
    """A stream as the front end holds it."""

    def __init__(self, host: Host, method: str) -> None:
        self._host = host
        self._shape = METHODS[method]
        self._woken = trio.Event()

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._stream = self._host.open(self._shape.name, CALLER, self._wake)
        return self

    async def __aexit__(self, *error: object) -> None:
        await trio.lowlevel.checkpoint()
        self._stream.close()

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        self._stream.receive(message.SerializeToString())
        if not self._shape.streams_requests:
            self._stream.end_requests()

    async def receive(self) -> Sequence[Any]:
        await trio.lowlevel.checkpoint()
        while True:
            woken = self._woken
            data = self._stream.take()
            if data is not None:
                return [self._shape.reply.FromString(data)]
            if self._stream.finished:
                return []
            await woken.wait()

    def _wake(self) -> None:
        self._woken.set()
        self._woken = trio.Event()


# ------------------------------------------------------------------------------------------------------- the clients


class ClientSubject(Subject):
    """A PartitionClient, over whichever transport."""

    def __init__(self, host: Controls, transport: Transport, client: PartitionClient) -> None:
        super().__init__(host)
        self.transport = transport
        self.client = client

    async def get(self, resource: str, name: str, tenant: str = "system", namespace: str = "default") -> Object:
        return await self.client.get(resource, ObjectKey(tenant, namespace, name))

    async def list(self, resource: str, **options: Any) -> Page:
        found = await self.client.list(resource, **options)
        return Page(found.items, found.resource_version, found.continue_token)

    async def mutate(self, *operations: pb.Operation) -> list[pb.Result]:
        return await self.client.mutate(operations)

    def watch(self, resource: str, **options: Any) -> Watching:
        watching = _ClientWatching()
        start = pb.WatchStart(selection=selection_of(resource, options), **options)
        watching.watch = self.client.watch(start, watching)
        return watching

    def stream(self, method: str) -> AbstractAsyncContextManager[Stream]:
        return self.transport.stream(method)

    async def call(self, method: str, request: Message) -> Any:
        return await self.transport.unary(method, request)

    async def _caught_up(self, watches: Sequence[Watching], head: int) -> None:
        """A quiet watch is not told of bookmarks, it reads them where its stream keeps them."""
        for watching in watches:
            assert isinstance(watching, _ClientWatching)
            while watching.watch.resource_version < head and watching.open:
                await self.turn()
            if watching.open:
                watching.deliveries.append(([], watching.watch.resource_version))


class _ClientWatching(Watching, WatchSink):
    watch: Watch

    def on_batch(self, batch: pb.WatchBatch, resource_version: int, incarnation: str) -> None:
        self.take(batch, resource_version)

    def on_lost(self) -> None:
        self.lost = True
        self.wake()

    def stop(self) -> None:
        self.watch.stop()


class Process:
    """A host in a process of its own; its methods are called over pipes."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", __name__.rpartition(".")[0] + ".serve"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().decode().strip()
        assert self.address, "the process has ended at once"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._obey, name)

    def _obey(self, name: str, *arguments: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump((name, arguments), process.stdin)
        process.stdin.flush()
        result, error = pickle.load(process.stdout)
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


# --------------------------------------------------------------------------------------------------------- the tests

Story = Callable[..., Awaitable[None]]
OpenSubject = Callable[[Role], AbstractAsyncContextManager[Any]]
OpenStage = Callable[[str], AbstractContextManager["Stage"]]


@asynccontextmanager
async def open_core(role: Role) -> AsyncIterator[Subject]:
    host = Host(role)
    try:
        yield CoreSubject(host)
    finally:
        host.close()


@asynccontextmanager
async def open_memory(role: Role) -> AsyncIterator[Subject]:
    host = Host(role)
    transport = MemoryTransport("p-1", host, random=Random(1), user="test")
    async with open_client(transport, _actor()) as client:
        yield ClientSubject(host, transport, client)
    host.close()


@asynccontextmanager
async def open_grpc(process: Process, role: Role) -> AsyncIterator[Subject]:
    process.reset(role)
    async with GrpcBridge() as bridge:
        transport = GrpcTransport("p-1", process.address, bridge, user="test")
        async with open_client(transport, _actor()) as client:
            subject = ClientSubject(process, transport, client)
            subject.turn_seconds = 0.001
            yield subject


def _actor() -> Actor:
    return Actor("test", Clock(1_790_000_000.0), Random(1))


class Stage:
    """Where stories are played, over one of the subjects."""

    def __init__(self, name: str, open_subject: OpenSubject, *, real_time: bool) -> None:
        self.name = name
        self.open_subject = open_subject
        self.real_time = real_time

    def play(self, story: Story, *, role: Role = Role.TENANT) -> None:
        async def main() -> None:
            with trio.fail_after(60 if self.real_time else TEST_SECONDS_MAX):
                async with self.open_subject(role) as subject:
                    await story(subject)

        try:
            trio.run(main, clock=None if self.real_time else MockClock(autojump_threshold=0))
        except BaseExceptionGroup as group:
            raise only_leaf(group) from None


def only_leaf(error: BaseException) -> BaseException:
    """What failed, out of the nurseries around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


_process: list[Process] = []


@contextmanager
def stage(name: str) -> Iterator[Stage]:
    if name == "core":
        yield Stage(name, open_core, real_time=False)
    elif name == "memory":
        yield Stage(name, open_memory, real_time=False)
    else:
        if not _process:
            _process.append(Process())
        yield Stage(name, partial(open_grpc, _process[0]), real_time=True)


def end_process() -> None:
    while _process:
        _process.pop().end()


SUBJECTS = ("core", "memory", "grpc")


def over(names: Sequence[str], stage: OpenStage) -> Callable[[Story], Callable[[str], None]]:
    """Make a story a test, of each of the subjects whose stages `stage` sets up."""

    def decorate(story: Story) -> Callable[[str], None]:
        def test(subject_name: str) -> None:
            with stage(subject_name) as chosen:
                chosen.play(story)

        test.__name__ = test.__qualname__ = story.__name__
        test.__doc__, test.__module__ = story.__doc__, story.__module__
        return pytest.mark.parametrize("subject_name", names)(test)

    return decorate


over_all_subjects = over(SUBJECTS, stage)
