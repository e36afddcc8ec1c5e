"""A partition in memory, a client of it, and short forms for what tests do to both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
import trio.testing
from hypothesis import strategies as st
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import PartitionClient, open_client
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import MemoryStore, Store

# Of a Random that draws a whole story. (Hypothesis' own Random shrinks better, and explores far less.)
SEEDS = st.integers(0, 2**32)
WALL_OFFSET_SECONDS = 1_790_000_000.0


def run(main: Callable[[], Awaitable[Any]]) -> None:
    """Run a test on a clock that jumps to the next deadline when nothing else is to do."""

    async def bounded() -> None:
        with trio.fail_after(100_000):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def actor(name: str = "test") -> Actor:
    return Actor(name, Clock(WALL_OFFSET_SECONDS), Random(1))


def pod(name: str, *, namespace: str = "default", **spec: Any) -> Object:
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "tenant": "system"},
            "spec": {"containers": [{"name": "main", "image": "app:1"}], **spec},
        }
    )


def key(name: str) -> ObjectKey:
    return ObjectKey("system", "default", name)


class World:
    """One partition and two clients of it.

    `transport` is the link of `client`, to be cut and healed; the link of `writer` lasts while the apiserver does.
    """

    def __init__(self, role: Role = Role.TENANT, *, events_store: Store | None = None) -> None:
        self.role = role
        self.store: Store = MemoryStore(incarnation="first")
        self.events_store = events_store
        self.actor = actor()
        self.trace: list[str] = []  # Messages, as MemoryTransport traces them.
        self.transport: MemoryTransport
        self.client: PartitionClient
        self.writer: PartitionClient
        self._steady: MemoryTransport
        self._nursery: trio.Nursery
        self._random = Random(3)  # Of all its apiservers: no two of them give the same uid.
        self._scope: trio.CancelScope | None = None

    @asynccontextmanager
    async def open(self, *, latency_seconds: tuple[float, float] = (0.0, 0.0)) -> AsyncIterator[World]:
        async with trio.open_nursery() as self._nursery:
            self._server = await self._start()
            self.transport = MemoryTransport(
                "p-1",
                self._server,
                random=Random(2),
                latency_seconds=latency_seconds,
                user="test",
                trace=self.trace.append,
            )
            self._steady = MemoryTransport("p-1", self._server, random=Random(4))
            async with (
                open_client(self.transport, self.actor) as self.client,
                open_client(self._steady, self.actor.child("writer")) as self.writer,
            ):
                yield self
            self._nursery.cancel_scope.cancel()

    async def restart(self, store: Store | None = None, *, heal: bool = True) -> None:
        """Kill the apiserver and start another, on the same store unless another is given.

        Without `heal` the link of `client` stays down.
        """
        self.transport.cut()
        self._steady.cut()
        assert self._scope is not None
        self._scope.cancel()
        self.store = store or self.store
        server = await self._start()
        self._steady.heal(server)
        self.transport.heal(server)
        if not heal:
            self.transport.cut()

    def link(self, partition: str) -> MemoryTransport:
        """One more, under this name."""
        return MemoryTransport(partition, self._server, random=Random(5))

    def stored(self, resource: str) -> list[str]:
        """Names in the store, read behind everybody's back."""
        return [record.key.rsplit("/", 1)[1] for record in self.store.range(f"/registry/{resource}/")]

    async def _start(self) -> Any:
        return await self._nursery.start(self._serve)

    async def _serve(self, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.CancelScope() as self._scope:
            async with open_local_partition(
                "p-1",
                self.role,
                self.store,
                self._random,
                wall_offset_seconds=WALL_OFFSET_SECONDS,
                events_store=self.events_store,
            ) as server:
                task_status.started(server)
                await trio.sleep_forever()
