"""Watches that go on, against a real apiserver in memory."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.storage import MemoryStore
from ursa.tools.load.follow import Follower
from ursa.tools.load.ledger import LedgerWatch
from ursa.tools.nodes import NodeOptions, make_nodes

from ...clients.worlds import World, key, pod, run


class Seen:
    """What a follower was told: names, in order, and restarts."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.restarts = 0

    def on_events(self, events: Sequence[pb.WatchEvent]) -> None:
        kinds = {pb.WatchEvent.ADDED: "+", pb.WatchEvent.MODIFIED: "~", pb.WatchEvent.DELETED: "-"}
        self.names += [kinds[event.type] + event.object.metadata.name for event in events]

    def on_restart(self) -> None:
        self.restarts += 1


def test_it_shows_what_is_there_and_then_what_changes() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            await world.client.create(pod("a"))
            seen = Seen()
            follower = Follower(world.client, "pods", seen.on_events)
            nursery.start_soon(follower.run)
            await follower.wait_synced()
            assert seen.names == ["+a"]
            created = await world.client.create(pod("b"))
            await world.client.delete("pods", key("a"))
            await trio.sleep(10)
            assert seen.names == ["+a", "+b", "-a"]
            assert follower.resource_version > created.resource_version
            nursery.cancel_scope.cancel()

    run(main)


def test_after_a_crash_of_the_partition_nothing_is_missed_and_nothing_comes_twice() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            seen = Seen()
            follower = Follower(world.client, "pods", seen.on_events, on_restart=seen.on_restart)
            nursery.start_soon(follower.run)
            await world.client.create(pod("a"))
            await trio.sleep(1)
            await world.restart()
            await world.client.create(pod("b"))
            await world.client.delete("pods", key("a"))
            await trio.sleep(10)
            assert seen.names == ["+a", "+b", "-a"]
            assert seen.restarts == 0
            nursery.cancel_scope.cancel()

    run(main)


def test_another_store_under_the_same_name_is_a_restart() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            seen = Seen()
            follower = Follower(world.client, "pods", seen.on_events, on_restart=seen.on_restart)
            nursery.start_soon(follower.run)
            await world.client.create(pod("a"))
            await trio.sleep(1)
            await world.restart(MemoryStore(incarnation="second"))
            await world.client.create(pod("b"))
            await trio.sleep(10)
            assert seen.names == ["+a", "+b"]
            assert seen.restarts == 1
            nursery.cancel_scope.cancel()

    run(main)


def test_history_is_read_from_a_revision_on() -> None:
    async def main() -> None:
        async with World().open() as world, trio.open_nursery() as nursery:
            await world.client.create(pod("a"))
            await world.client.delete("pods", key("a"))
            seen = Seen()
            nursery.start_soon(Follower(world.client, "pods", seen.on_events, behind_revision=1).run)
            await trio.sleep(10)
            assert seen.names == ["+a", "-a"]
            nursery.cancel_scope.cancel()

    run(main)


def placement(node: Object, name: str, cpu: int) -> Object:
    spec = {
        "node": node.name,
        "nodeUID": node.uid,
        "tenantPartition": "tp-1",
        "pod": {"tenant": "system", "namespace": "default", "name": name, "uid": name},
        "requests": {"cpu": cpu, "memory": 1, "pods": 1},
    }
    manifest = {"apiVersion": "ursa.dev/v1", "kind": "Placement", "metadata": {"name": name}, "spec": spec}
    return Object.from_dict(manifest)


async def fill_and_shrink(world: World) -> None:
    """A node of two cores, 1.5 of them placed; then it shrinks to one and grows back: two revisions are broken."""
    (wide,), (narrow,) = (make_nodes(1, NodeOptions(cpu=cpu)) for cpu in ("2", "1"))
    node = await world.client.create(wide)
    await world.client.update_status(node.with_status(wide.status))
    await world.client.create(placement(node, "p1", 1000))
    await world.client.create(placement(node, "p2", 500))
    for shape in (narrow, wide):
        now = (await world.client.list("nodes")).items[0]
        await world.client.update_status(now.with_status(shape.status))


def test_a_ledger_that_breaks_for_one_revision_is_found_live_and_in_the_history() -> None:
    async def main() -> None:
        async with World(Role.RESOURCE).open() as world, trio.open_nursery() as nursery:
            live = LedgerWatch(world.client)
            nursery.start_soon(live.run)
            await live.wait_synced()
            await fill_and_shrink(world)
            newest = (await world.client.list("nodes")).resource_version
            later = LedgerWatch(world.client, behind_revision=1)
            nursery.start_soon(later.run)
            for watch in (live, later):
                await watch.check_up_to(newest)
                assert watch.check.placements_seen == 2
                assert watch.check.gaps == 0
                (found,) = watch.check.violations
                assert (found.node, found.resource, found.used, found.allocatable) == ("node-0001", "cpu", 1500, 1000)
                assert found.revision < newest
            nursery.cancel_scope.cancel()

    run(main)
