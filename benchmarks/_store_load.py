"""The loads of the store benchmark: the same closed loop of writers against both, and what is read off them."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import grpc
import psutil
from _etcd import PUT, RANGE, TXN, ServerProcess
from _http2 import Connection
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object
from ursa.storage import Change, InlineCommitter, LmdbStore, Record, ThreadCommitter

VALUE_BYTES = 1024
VALUE = Random(1).randbytes(VALUE_BYTES)
# What the server adds to an object when it creates it: uid, revision, time of creation.
_ADDED_BYTES = 49
# Writes of a bulk load that share a transaction: with 1 KiB each they fit into a stream's first window.
_FILL_PUTS = 48
_FILL_STREAMS = 8
# Batches of creates go out on this many streams, one batch in flight on each.
CREATE_STREAMS = 4
READY_SECONDS_MAX = 60.0


def keys_of(count: int) -> list[str]:
    return [f"/registry/pods/tenant-{number % 50}/default/web-6d4cf56db6-{number:06d}" for number in range(count)]


def any_of(keys: Sequence[str], random: Random) -> str:
    # A fifth of what `choice` takes: making up the load counts as the store's CPU where it runs in this process.
    return keys[int(random.random() * len(keys))]


@dataclass(frozen=True)
class Measured:
    """What a closed loop of writers reached. CPU is the server's."""

    operations: int
    seconds: float
    cpu_seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        return self.operations / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.operations * 1e6

    @property
    def p99_ms(self) -> float:
        return p99(self.latencies) * 1e3


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def closed_loop(
    writers: int, seconds: float, write: Callable[[Random], Awaitable[int]], cpu_seconds: Callable[[], float]
) -> Measured:
    """`writers` tasks that each write again as soon as they are answered. `write` returns how many it wrote."""
    latencies: list[float] = []
    operations = 0
    clock = time.perf_counter
    cpu, begun = cpu_seconds(), clock()
    deadline = begun + seconds

    async def run(random: Random) -> None:
        nonlocal operations
        asked = clock()
        while asked < deadline:
            written = await write(random)
            operations += written
            answered = clock()
            latencies.append(answered - asked)
            asked = answered

    await asyncio.gather(*(run(Random(number)) for number in range(writers)))
    return Measured(operations, clock() - begun, cpu_seconds() - cpu, latencies)


# --- Ursa's store, in process ----------------------------------------------------------------------------------------


class GroupCommit:
    """Concurrent writers over one store, as an apiserver drives it: what is staged during a commit is the next one."""

    def __init__(self, store: LmdbStore) -> None:
        self.store = store
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[int]] = []
        self._committing = False
        self._due = False
        self.sweeping = False

    def put(self, key: str) -> asyncio.Future[int]:
        self.store.stage([Change(key, VALUE)])
        future = self._loop.create_future()
        self._waiting.append(future)
        if not (self._committing or self._due):
            self._commit_soon()
        return future

    def _commit_soon(self) -> None:
        # Behind the writers that are awake: what they stage belongs to this commit.
        self._due = True
        self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        self._due = False
        self._committing = True
        waiting, self._waiting = self._waiting, []

        def committed(_: Sequence[Record]) -> None:
            self._committing = False
            for future in waiting:
                future.set_result(1)
            self.sweeping = self.store.sweep_step()
            self._commit_soon()

        if waiting:
            self.store.commit(committed)
        else:
            self._committing = False


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[GroupCommit]:
    committer = ThreadCommitter(asyncio.get_running_loop().call_soon_threadsafe)
    store = LmdbStore.open(path, committer, incarnation_random=Random(1), bytes_max=64 << 30)
    try:
        yield GroupCommit(store)
    finally:
        store.close()


def fill_store(path: Path, keys: int, changes_per_key: int = 1) -> None:
    """Put each key `changes_per_key` times, round by round."""
    store = LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1), bytes_max=64 << 30)
    names = keys_of(keys)
    for _ in range(changes_per_key):
        for start in range(0, keys, 1000):
            store.stage([Change(key, VALUE) for key in names[start : start + 1000]])
            store.commit(lambda _: None)
    store.close()


async def put_into_store(path: Path, keys: int, writers: int, seconds: float) -> tuple[Measured, float]:
    """Also returns by how many bytes the file grew with each put."""
    names = keys_of(keys)
    async with open_store(path) as group:

        def put(random: Random) -> asyncio.Future[int]:
            return group.put(any_of(names, random))

        gc.collect()
        before = group.store.status().bytes_on_disk
        measured = await closed_loop(writers, seconds, put, time.process_time)
        grown = group.store.status().bytes_on_disk - before
        return measured, grown / measured.operations


def range_of_store(path: Path) -> tuple[int, float]:
    """How many records a range of everything gives, and its CPU seconds, from a store just opened."""
    store = LmdbStore.open(path, InlineCommitter(), incarnation_random=Random(1), bytes_max=64 << 30)
    cpu = time.process_time()
    count = sum(1 for _ in store.range(""))
    cpu = time.process_time() - cpu
    store.close()
    return count, cpu


def opened_in_a_process(path: Path) -> dict[str, float]:
    """What opening takes a process that does nothing else: see _store_open.py."""
    command = [sys.executable, "-P", str(Path(__file__).parent / "_store_open.py"), str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


async def compaction(path: Path, keys: int, writers: int, seconds: float) -> tuple[Measured, Measured]:
    """Writes in quiet, then writes from a compaction of everything until its sweep is done."""
    names = keys_of(keys)
    async with open_store(path) as group:

        def put(random: Random) -> asyncio.Future[int]:
            return group.put(any_of(names, random))

        quiet = await closed_loop(writers, seconds, put, time.process_time)
        begun, cpu = time.perf_counter(), time.process_time()
        latencies: list[float] = []
        group.store.compact(group.store.head)
        group.sweeping = True

        async def write_while_sweeping(random: Random) -> None:
            while group.sweeping:
                asked = time.perf_counter()
                await put(random)
                latencies.append(time.perf_counter() - asked)

        await asyncio.gather(*(write_while_sweeping(Random(number)) for number in range(writers)))
        elapsed = time.perf_counter() - begun
        return quiet, Measured(len(latencies), elapsed, time.process_time() - cpu, latencies)


# --- etcd ------------------------------------------------------------------------------------------------------------


async def fill_etcd(server: ServerProcess, messages: Any, keys: int) -> None:
    connection = await Connection.open(server.address)
    names = keys_of(keys)
    starts = iter(range(0, keys, _FILL_PUTS))

    async def run() -> None:
        for start in starts:
            puts = [
                messages.RequestOp(request_put=messages.PutRequest(key=key.encode(), value=VALUE))
                for key in names[start : start + _FILL_PUTS]
            ]
            await connection.call(TXN, messages.TxnRequest(success=puts).SerializeToString())

    await asyncio.gather(*(run() for _ in range(_FILL_STREAMS)))
    connection.close()


async def put_into_etcd(server: ServerProcess, messages: Any, keys: int, writers: int, seconds: float) -> Measured:
    connection = await Connection.open(server.address)
    put_request = messages.PutRequest
    names = keys_of(keys)

    async def put(random: Random) -> int:
        key = any_of(names, random).encode()
        await connection.call(PUT, put_request(key=key, value=VALUE).SerializeToString())
        return 1

    measured = await closed_loop(writers, seconds, put, server.cpu_seconds)
    connection.close()
    return measured


async def create_in_etcd(server: ServerProcess, messages: Any, run: int, writers: int, seconds: float) -> Measured:
    """Kubernetes' create: a transaction that puts the key if it does not exist."""
    connection = await Connection.open(server.address)
    created = 0

    async def create(_: Random) -> int:
        nonlocal created
        created += 1
        key = f"/registry/configmaps/system/default/cm-{run:02d}-{created:08d}".encode()
        request = messages.TxnRequest(
            compare=[messages.Compare(key=key, version=0)],
            success=[messages.RequestOp(request_put=messages.PutRequest(key=key, value=VALUE))],
        )
        reply = messages.TxnResponse.FromString(await connection.call(TXN, request.SerializeToString()))
        assert reply.succeeded
        return 1

    measured = await closed_loop(writers, seconds, create, server.cpu_seconds)
    connection.close()
    return measured


async def range_of_etcd(server: ServerProcess, messages: Any) -> tuple[int, float]:
    connection = await Connection.open(server.address)
    request = messages.RangeRequest(key=b"/registry/pods/", range_end=b"/registry/pods0", serializable=True)
    cpu = server.cpu_seconds()
    reply = await connection.call(RANGE, request.SerializeToString())
    cpu = server.cpu_seconds() - cpu
    connection.close()
    # The kernel counts in ticks.
    return len(messages.RangeResponse.FromString(reply).kvs), max(cpu, 1 / os.sysconf("SC_CLK_TCK"))


# --- Ursa's apiserver ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running_apiserver(data_directory: Path, log_path: Path) -> AsyncIterator[ServerProcess]:
    """A tenant partition's apiserver as a process; it ends with the block."""
    command = [sys.executable, "-P", "-m", "ursa", "apiserver", "--name", "tp-1", "--role", "tenant"]
    command += ["--data-dir", str(data_directory), "--log-level", "warning", "--parent-pipe"]
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_SECONDS_MAX)
        if not line:
            raise RuntimeError(f"the apiserver did not start: {_tail(log_path)}")
        yield ServerProcess(json.loads(line)["address"], psutil.Process(process.pid))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _tail(log_path: Path) -> str:
    return log_path.read_text(errors="replace")[-500:].strip()


async def create_in_ursa(server: ServerProcess, run: int, writers: int, seconds: float) -> Measured:
    """Creates of 1 KiB objects, `writers` in flight, in batches on CREATE_STREAMS Mutate streams."""
    template = _config_map("cm-00-00000000")
    created = 0
    async with grpc.aio.insecure_channel(server.address) as channel:
        opener = channel.stream_stream("/ursa.v1.Partition/Mutate")
        streams = [opener() for _ in range(CREATE_STREAMS)]
        batch_size = writers // CREATE_STREAMS
        idle = list(streams)

        async def create(_: Random) -> int:
            nonlocal created
            request = pb.MutateRequest(batch=1)
            for _number in range(batch_size):
                created += 1
                operation = request.operations.add(resource="configmaps")
                operation.create.object.CopyFrom(template)
                operation.create.object.metadata.name = f"cm-{run:02d}-{created:08d}"
            stream = idle.pop()
            await stream.write(request.SerializeToString())
            reply = pb.MutateReply.FromString(await stream.read())
            idle.append(stream)
            for result in reply.results:
                assert not result.HasField("error"), result.error.message
            return len(reply.results)

        measured = await closed_loop(CREATE_STREAMS, seconds, create, server.cpu_seconds)
        for stream in streams:
            await stream.done_writing()
        return measured


def _config_map(name: str) -> pb.Object:
    """An object that is VALUE_BYTES long once it is stored."""

    def build(payload_bytes: int) -> pb.Object:
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "tenant": "system", "namespace": "default"},
            "data": {"payload": "x" * payload_bytes},
        }
        return Object.from_dict(manifest).message

    # 300: so long a payload takes as many bytes to say its length as the final one.
    return build(300 + VALUE_BYTES - _ADDED_BYTES - build(300).ByteSize())


def disk_of(path: Path) -> str:
    """The file system a path is on, for the notes."""
    device = os.stat(path).st_dev
    for partition in psutil.disk_partitions(all=True):
        if os.path.exists(partition.mountpoint) and os.stat(partition.mountpoint).st_dev == device:
            return f"{partition.device} ({partition.fstype})"
    return "unknown"
