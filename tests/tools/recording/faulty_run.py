"""One partition whose links are cut, whose apiserver dies, and whose store is restored from a snapshot; recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from random import Random

import trio
from ursa.clients.actor import Actor, Clock
from ursa.clients.client import PartitionClient, open_client
from ursa.clients.informer import Informer
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.errors import UrsaError
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey
from ursa.storage import MemoryStore
from ursa.tools.determinism import seeded_run
from ursa.tools.recording import LogTap, Recorder
from ursa.tools.recording.records import Record

PARTITION = "tp-1"
CLIENTS = ("a", "b", "c")
KEYS = 6
OPERATIONS = 60
WALL_OFFSET_SECONDS = 1_790_000_000.0


def config_map(name: str, value: int) -> Object:
    metadata = {"name": name, "namespace": "default", "tenant": "system", "labels": {"parity": str(value % 2)}}
    return Object.from_dict(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": str(value)}}
    )


def copied(store: MemoryStore, incarnation: str) -> MemoryStore:
    """What a snapshot of it makes, once it is restored."""
    copy = MemoryStore(incarnation=incarnation)
    copy._records = dict(store._records)
    copy._restore(copy._records.values(), store.compacted)
    return copy


class FaultyRun:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.recorder = Recorder()
        self.store = MemoryStore(incarnation="first")
        self.tap: LogTap
        self.links: dict[str, MemoryTransport] = {}
        self.informers: list[tuple[str, Informer]] = []
        self.scope = trio.CancelScope()
        self.uids = Random(seed + 1)
        self.nursery: trio.Nursery
        self.snapshot = self.store

    async def main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            await self.start(self.store)
            async with trio.open_nursery() as clients:
                for name in CLIENTS:
                    clients.start_soon(self.client, name)
                clients.start_soon(self.faults)
            self.tap.close()
            self.recorder.finish(healed=True)
            self.nursery.cancel_scope.cancel()

    async def start(self, store: MemoryStore) -> None:
        self.store = store
        self.tap = LogTap(self.recorder, PARTITION, "main", store)
        server = await self.nursery.start(self.serve)
        for link in self.links.values():
            link.heal(server)
        self.server = server

    async def serve(self, task_status: trio.TaskStatus[object]) -> None:
        with trio.CancelScope() as self.scope:
            async with open_local_partition(
                PARTITION, Role.TENANT, self.store, self.uids, wall_offset_seconds=WALL_OFFSET_SECONDS
            ) as server:
                task_status.started(server)
                await trio.sleep_forever()

    async def faults(self) -> None:
        for number in range(12):
            await trio.sleep(self.random.uniform(0.1, 1.5))
            link = self.links[self.random.choice(CLIENTS)]
            fault = self.random.choice(["cut", "cut", "crash", "compact"])
            self.recorder.happened(fault, PARTITION)
            if number == 3:
                self.snapshot = copied(self.store, "second")
            if number == 8:
                await self.crash(self.snapshot)
            elif fault == "cut":
                link.cut()
                await trio.sleep(self.random.uniform(0, 1.0))
                link.heal(self.server)
            elif fault == "compact":
                self.store.compact(max(self.store.compacted, self.store.head - 5))
            else:
                await self.crash(self.store)

    async def crash(self, store: MemoryStore) -> None:
        for link in self.links.values():
            link.cut()
        self.scope.cancel()
        self.tap.close()
        await trio.sleep(self.random.uniform(0, 0.3))
        await self.start(store)

    async def client(self, name: str) -> None:
        actor = Actor(name, Clock(WALL_OFFSET_SECONDS), Random(f"{name}/{self.uids.random()}"))
        link = MemoryTransport(
            PARTITION, self.server, random=Random(actor.random.random()), latency_seconds=(0.001, 0.05), user=name
        )
        self.links[name] = link
        client_name = self.recorder.life_of(name)
        async with (
            open_client(self.recorder.wrap(link, client_name), actor) as client,
            trio.open_nursery() as nursery,
        ):
            for label_selector in ("", "parity=1"):
                informer = Informer(client, "configmaps", label_selector=label_selector)
                nursery.start_soon(informer.run)
                self.informers.append((client_name, informer))
            for _ in range(OPERATIONS):
                await trio.sleep(self.random.expovariate(8))
                with trio.move_on_after(20):
                    await self.operate(client)
                for holder, informer in self.informers:
                    self.recorder.view(holder, informer)
            await trio.sleep(40)
            self.recorder.view(client_name, informer)
            nursery.cancel_scope.cancel()

    async def operate(self, client: PartitionClient) -> None:
        random = self.random
        name = f"m-{random.randrange(KEYS)}"
        key = ObjectKey("system", "default", name)
        value = random.randrange(1000)
        newest = str(max(1, self.store.head - random.randrange(4)))
        choices: list[Callable[[], object]] = [
            partial(client.create, config_map(name, value)),
            partial(client.create, config_map(name, value)),
            partial(client.update, config_map(name, value)),
            partial(client.update, config_map(name, value)),
            partial(client.patch, "configmaps", key, {"data": {"value": "7"}}),
            partial(client.delete, "configmaps", key),
            partial(client.get, "configmaps", key),
            partial(client.get, "configmaps", key, resource_version="0"),
            partial(client.list, "configmaps"),
            partial(client.list, "configmaps", label_selector="parity=0", resource_version="0"),
            partial(client.list, "configmaps", resource_version=newest, exact=True),
            partial(self.pages, client),
        ]
        with suppress(UrsaError):
            await random.choice(choices)()  # type: ignore[misc]

    async def pages(self, client: PartitionClient) -> None:
        token = ""
        while True:
            page = await client.list("configmaps", limit=2, continue_token=token)
            token = page.continue_token
            if not token or self.random.random() < 0.2:
                return
            await trio.sleep(self.random.uniform(0, 0.2))


@cache
def faulty_run(seed: int) -> tuple[Record, ...]:
    run = FaultyRun(seed)
    seeded_run(seed, run.main)
    return tuple(run.recorder.records)
