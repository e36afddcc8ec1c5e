"""Clients of a partition whose Events have a store of their own."""

from __future__ import annotations

from collections.abc import Callable

import trio
from ursa.clients.informer import Informer
from ursa.proto.objects import Object
from ursa.storage import MemoryStore

from .worlds import World, key, pod, run


def event(name: str) -> Object:
    return Object.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "default", "tenant": "system"},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "u"},
            "reason": "Tested",
        }
    )


class HeldCommitter:
    """Commits nothing until it is let go."""

    def __init__(self) -> None:
        self.held: list[tuple[Callable[[], None], Callable[[BaseException | None], None]]] = []

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        self.held.append((work, done))

    def let_go(self) -> None:
        while self.held:
            work, done = self.held.pop(0)
            work()
            done(None)

    def close(self) -> None:
        self.let_go()


def test_informers_on_one_stream_are_each_complete_in_their_own_history() -> None:
    async def main() -> None:
        events_store = MemoryStore(incarnation="apart")
        async with World(events_store=events_store).open() as world, trio.open_nursery() as nursery:
            pods, events = Informer(world.client, "pods"), Informer(world.client, "events")
            for informer in (pods, events):
                nursery.start_soon(informer.run)
                await informer.wait_synced()
            assert (pods.incarnation, events.incarnation) == ("first", "apart")
            for number in range(10):
                await world.writer.create(pod(f"p{number}"))
            await world.writer.create(event("e"))
            await trio.sleep(10)  # Bookmarks of both stores have come.
            assert (pods.resource_version, events.resource_version) == (world.store.head, 1)
            world.transport.cut()
            await world.writer.create(event("f"))
            world.transport.heal()
            await trio.sleep(10)
            assert sorted(obj.name for obj in events.objects.values()) == ["e", "f"]
            assert (pods.resource_version, events.resource_version) == (world.store.head, 2)
            views = [
                world.actor.registry.get_sample_value("reflector_lists_total", {"name": name})
                for name in ("pods", "events")
            ]
            assert views == [1, 1]  # The lost link cost neither of them a new view.
            nursery.cancel_scope.cancel()

    run(main)


def test_a_lost_store_of_events_is_a_new_history_of_events_alone() -> None:
    async def main() -> None:
        world = World(events_store=MemoryStore(incarnation="apart"))
        async with world.open(), trio.open_nursery() as nursery:
            pods, events = Informer(world.client, "pods"), Informer(world.client, "events")
            await world.writer.create(pod("a"))
            await world.writer.create(event("e"))
            for informer in (pods, events):
                nursery.start_soon(informer.run)
                await informer.wait_synced()
            world.events_store = MemoryStore(incarnation="another")
            await world.restart()
            await trio.sleep(60)
            assert (pods.incarnation, events.incarnation) == ("first", "another")
            assert [obj.name for obj in pods.objects.values()] == ["a"]
            assert not events.objects
            nursery.cancel_scope.cancel()

    run(main)


def test_no_write_of_a_client_waits_behind_its_events() -> None:
    async def main() -> None:
        committer = HeldCommitter()
        world = World(events_store=MemoryStore(committer, incarnation="apart"))
        async with world.open(), trio.open_nursery() as nursery:
            written = trio.Event()

            async def write_event() -> None:
                await world.client.create(event("e"))
                written.set()

            nursery.start_soon(write_event)
            await trio.sleep(1)
            await world.client.create(pod("a"))
            assert (await world.client.get("pods", key("a"))).name == "a"
            assert not written.is_set()
            committer.let_go()
            await written.wait()

    run(main)
