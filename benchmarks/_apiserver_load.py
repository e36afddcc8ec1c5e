"""What the apiserver is loaded with: raw gRPC clients, so that little of the machine goes to them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc
import psutil
from _etcd import ServerProcess
from _store_load import Measured, closed_loop
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object

# Objects as large as the pods of a real cluster: 1.3 KB once they are stored.
POD_BYTES = 1300
BATCH = 64
STREAMS = 4
# One write at a time on each of so many connections' worth of tasks.
UNARY_WRITERS = 16
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# What an object grows by when it is written: uid, revision, times, defaults, status.
_GROWTH_BYTES = 240


def pod(name: str) -> pb.Object:
    """A pod that is POD_BYTES long once it is stored."""
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "100m", "memory": "200Mi"}}}
    spec = {"containers": [container]}
    metadata: dict[str, Any] = {"name": name, "tenant": "system", "namespace": "default", "labels": {"app": "web"}}

    def build(padding: int) -> pb.Object:
        metadata["annotations"] = {"padding": "x" * padding}
        return Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).message

    return build(300 + POD_BYTES - _GROWTH_BYTES - build(300).ByteSize())


@asynccontextmanager
async def channel_to(server: ServerProcess) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own."""
    options = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(server.address, options) as channel:
        yield channel


def resident_bytes(server: ServerProcess) -> int:
    return int(server.process.memory_info().rss)


class HighWater:
    """How far a process' resident memory rises while the block runs."""

    def __init__(self, process: psutil.Process) -> None:
        self._status = Path(f"/proc/{process.pid}/status")
        self._clear = Path(f"/proc/{process.pid}/clear_refs")
        self.growth_bytes = 0

    def __enter__(self) -> Self:
        self._clear.write_text("5")  # Forgets the high water mark.
        self._before = self._read("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.growth_bytes = self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        for line in self._status.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{self._status} has no {name}")


# --- writes ----------------------------------------------------------------------------------------------------------


def creates(names: Sequence[str]) -> bytes:
    template = pod("pod-0000-00000000")
    request = pb.MutateRequest(batch=1)
    for name in names:
        operation = request.operations.add(resource="pods")
        operation.create.object.CopyFrom(template)
        operation.create.object.metadata.name = name
    return request.SerializeToString()


def bind(name: str, uid: str, node: str) -> bytes:
    request = pb.MutateRequest(batch=1)
    operation = request.operations.add(resource="pods")
    target = operation.bind.target
    target.resource, target.tenant, target.namespace, target.name = "pods", "system", "default", name
    operation.bind.preconditions.uid = uid
    operation.bind.node, operation.bind.resource_partition = node, "rp-1"
    return request.SerializeToString()


def results_of(reply: bytes) -> list[pb.Result]:
    results = list(pb.MutateReply.FromString(reply).results)
    for result in results:
        if result.HasField("error"):
            raise RuntimeError(result.error.message)
    return results


def check(reply: bytes) -> int:
    return len(results_of(reply))


async def fill(server: ServerProcess, prefix: str, first: int, count: int) -> None:
    """Create pods `prefix-FIRST` and on."""
    async with channel_to(server) as channel:
        stream = channel.stream_stream("/ursa.v1.Partition/Mutate")()
        for begin in range(first, first + count, 256):
            names = [f"{prefix}-{number:08d}" for number in range(begin, min(begin + 256, first + count))]
            await stream.write(creates(names))
            check(await stream.read())
        await stream.done_writing()


async def create_in_batches(server: ServerProcess, run: str, seconds: float) -> Measured:
    """STREAMS streams, each with one batch of BATCH creates in flight."""
    async with channel_to(server) as channel:
        opener = channel.stream_stream("/ursa.v1.Partition/Mutate")
        idle = [opener() for _ in range(STREAMS)]
        created = 0

        async def create(_: Any) -> int:
            nonlocal created
            names = [f"{run}-{created + number:08d}" for number in range(BATCH)]
            created += BATCH
            stream = idle.pop()
            await stream.write(creates(names))
            count = check(await stream.read())
            idle.append(stream)
            return count

        return await closed_loop(STREAMS, seconds, create, server.cpu_seconds)


async def create_one_by_one(
    server: ServerProcess, run: str, seconds: float, *, writers: int = UNARY_WRITERS, user: str = ""
) -> Measured:
    metadata = (("ursa-user", user),)
    async with channel_to(server) as channel:
        write = channel.unary_unary("/ursa.v1.Partition/Write")
        created = 0

        async def create(_: Any) -> int:
            nonlocal created
            created += 1
            return check(await write(creates([f"{run}-{created:08d}"]), metadata=metadata))

        return await closed_loop(writers, seconds, create, server.cpu_seconds)


# --- lists -----------------------------------------------------------------------------------------------------------


async def list_pods(channel: grpc.aio.Channel, server: ServerProcess) -> tuple[int, float, float, int]:
    """Items, bytes aside: (items, server CPU seconds, seconds, growth of the server's resident memory in bytes)."""
    request = pb.ListRequest(selection=pb.Selection(resource="pods")).SerializeToString()
    chunks = []
    began, cpu = time.perf_counter(), server.cpu_seconds()
    with HighWater(server.process) as memory:
        async for chunk in channel.unary_stream("/ursa.v1.Partition/List")(request):
            chunks.append(chunk)
    seconds = time.perf_counter() - began
    cpu = server.cpu_seconds() - cpu
    items = sum(len(pb.ListReply.FromString(chunk).items) for chunk in chunks)
    return items, cpu, seconds, memory.growth_bytes


@asynccontextmanager
async def storm(server: ServerProcess, user: str, lists: int) -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """A process that lists all pods, again and again, between `go` and `stop`. Each returns how many lists it read."""
    arguments = (str(Path(__file__).with_name("_storm.py")), server.address, user, str(lists))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def blow(word: str) -> int:
        stdin.write(f"{word}\n".encode())
        await stdin.drain()
        return int((await asyncio.wait_for(stdout.readline(), 60)).split()[0])

    try:
        yield blow
    finally:
        process.kill()
        await process.wait()


# --- watches ---------------------------------------------------------------------------------------------------------


class Watcher:
    """One Watch stream that counts what it gets."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stream = channel.stream_stream("/ursa.v1.Partition/Watch")()
        self._reader: asyncio.Task[None] | None = None
        self.events = 0
        self.opened = 0
        self.ended: list[str] = []
        self.arrivals: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def start(self, selections: Sequence[pb.Selection]) -> None:
        self._reader = asyncio.create_task(self._read())
        for begin in range(0, len(selections), 1000):
            request = pb.WatchRequest()
            for number, selection in enumerate(selections[begin : begin + 1000], begin + 1):
                request.start.add(id=number, selection=selection)
            await self._stream.write(request.SerializeToString())
        await self.until(lambda: self.opened >= len(selections))

    async def until(self, holds: Any, seconds_max: float = 120.0) -> None:
        async with asyncio.timeout(seconds_max):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def until_events(self, count: int) -> None:
        """Or until it is ended by the server."""
        await self.until(lambda: self.events >= count or self.ended)

    async def close(self) -> None:
        self._stream.cancel()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        known: dict[int, None] = {}
        while (data := await self._stream.read()) is not grpc.aio.EOF:
            now = time.perf_counter()
            for batch in pb.WatchReply.FromString(data).batches:
                known[batch.id] = None
                if batch.HasField("error"):
                    self.ended.append(batch.error.message)
                self.events += len(batch.events)
                for event in batch.events:
                    self.arrivals[event.object.metadata.name] = now
            self.opened = len(known)
            self._changed.set()
