"""Scenarios S1 and S16: a client is moved to an apiserver whose cache is behind, and back, and never sees the past.

Two apiservers share one store here. The second one's cache stands still from the moment it was opened: what the first
one writes reaches the store, not it. (One partition has one apiserver today; with a store of its own process it may
have several.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.client import PartitionClient, open_client
from ursa.clients.informer import Informer
from ursa.clients.sightings import ANY, CONSISTENT, Sightings
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions import ApiServer
from ursa.partitions.frontends.local import open_local_partition
from ursa.proto.errors import NotFound, Timeout
from ursa.proto.kinds import Role
from ursa.storage import MemoryStore, Store

from .worlds import WALL_OFFSET_SECONDS, actor, key, pod, run


class Pair:
    """Two apiservers on one store, a link of `client` that can be moved between them, and a `writer` at the first."""

    def __init__(self, nursery: trio.Nursery, store: Store) -> None:
        self._nursery = nursery
        self.store = store
        self.random = Random(3)
        self.current: ApiServer
        self.frozen: ApiServer
        self.transport: MemoryTransport
        self.client: PartitionClient
        self.writer: PartitionClient

    async def opened(self, store: Store | None = None) -> ApiServer:
        """Another apiserver, whose cache is up to date now."""
        server: ApiServer = await self._nursery.start(self._serve, store or self.store)
        return server

    def move_to(self, server: ApiServer) -> None:
        self.transport.cut()
        self.transport.heal(server)

    async def _serve(self, store: Store, task_status: trio.TaskStatus[ApiServer] = trio.TASK_STATUS_IGNORED) -> None:
        async with open_local_partition(
            "p-1", Role.TENANT, store, self.random, wall_offset_seconds=WALL_OFFSET_SECONDS
        ) as server:
            await trio.sleep(0.1)
            task_status.started(server)
            await trio.sleep_forever()


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    async with trio.open_nursery() as nursery:
        both = Pair(nursery, MemoryStore(incarnation="first"))
        both.current = await both.opened()
        both.transport = MemoryTransport("p-1", both.current, random=Random(2), user="test")
        steady = MemoryTransport("p-1", both.current, random=Random(4))
        async with (
            open_client(both.transport, actor()) as both.client,
            open_client(steady, actor("writer")) as both.writer,
        ):
            await both.writer.create(pod("a"))
            both.frozen = await both.opened()
            yield both
        nursery.cancel_scope.cancel()


async def names(client: PartitionClient, resource_version: str) -> list[str]:
    return [each.name for each in (await client.list("pods", resource_version=resource_version)).items]


async def see_by_list(both: Pair) -> None:
    assert await names(both.client, "") == []


async def see_by_another_list(both: Pair) -> None:
    """Revisions of one store are one sequence, whatever kind they were seen of."""
    await both.client.list("configmaps", limit=1)


async def see_by_get(both: Pair) -> None:
    await both.client.get("namespaces", key("default")._replace(namespace=""))


async def see_by_miss(both: Pair) -> None:
    await both.client.list("namespaces", resource_version="0")
    both.client._sightings.forget("main")
    both.client._sightings.saw("main", "first", 1)
    with pytest.raises(NotFound):
        await both.client.get("pods", key("a"))


async def see_by_write(both: Pair) -> None:
    await both.client.list("pods", resource_version="0")
    both.client._sightings.forget("main")
    both.client._sightings.saw("main", "first", 1)
    await both.client.create(pod("b"))


async def see_by_first_write(both: Pair) -> None:
    """The client does not know any incarnation yet."""
    await both.client.create(pod("b"))


async def see_by_watch(both: Pair) -> None:
    async with trio.open_nursery() as nursery:
        informer = Informer(both.client, "configmaps")
        nursery.start_soon(informer.run)
        await informer.wait_synced()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "see",
    [
        see_by_list,
        see_by_another_list,
        see_by_get,
        see_by_miss,
        see_by_write,
        see_by_first_write,
        see_by_watch,
    ],
)
def test_what_a_client_has_seen_gone_stays_gone_wherever_it_is_moved(see: Callable[[Pair], Awaitable[None]]) -> None:
    """S1. The guard is `Sightings.not_older`: "any" is asked for as what was seen, or as consistent."""

    async def main() -> None:
        async with pair() as both:
            await both.writer.delete("pods", key("a"))
            await see(both)
            both.move_to(both.frozen)
            with pytest.raises(Timeout, match="too large resource version"):
                await names(both.client, "0")
            with pytest.raises(Timeout, match="too large resource version"):
                await both.client.get("pods", key("a"), resource_version="0")
            both.move_to(both.current)
            assert "a" not in await names(both.client, "0")

    run(main)


def test_a_client_that_has_seen_nothing_yet_takes_any_state_and_is_told_the_newest() -> None:
    async def main() -> None:
        async with pair() as both:
            await both.writer.delete("pods", key("a"))
            both.move_to(both.frozen)
            assert await names(both.client, "0") == ["a"]
            with pytest.raises(Timeout, match="too large resource version"):
                await names(both.client, "")

    run(main)


@pytest.mark.parametrize("resource_version", ["", "0"])
def test_a_read_that_is_too_early_is_asked_again_until_it_is_not(resource_version: str) -> None:
    """S16: nobody is stuck with a revision that is too large. The guard is that `Reads` repeats a read on Timeout."""

    async def main() -> None:
        async with pair() as both:
            await both.writer.delete("pods", key("a"))
            await see_by_list(both)
            both.move_to(both.frozen)
            answers: list[list[str]] = []

            async def ask() -> None:
                answers.append(await names(both.client, resource_version))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.sleep(10)
                assert answers == []
                both.move_to(await both.opened())  # It has come up to date.
            assert answers == [[]]

    run(main)


def test_a_restored_store_is_read_at_once_although_it_counts_anew() -> None:
    """S16: an older revision is no reason to wait when it is of another history. The guard is the incarnation that goes
    with the revision."""

    async def main() -> None:
        async with pair() as both:
            await both.writer.delete("pods", key("a"))
            await see_by_list(both)
            store = MemoryStore(incarnation="restored")
            server = await both.opened(store)
            both.move_to(server)
            began = trio.current_time()
            assert await names(both.client, "0") == []
            with pytest.raises(NotFound):
                await both.client.get("pods", key("a"), resource_version="0")
            assert trio.current_time() - began < 1

    run(main)


def test_an_informer_neither_goes_back_nor_begins_anew_at_an_apiserver_that_is_behind() -> None:
    """S1. The guard is that the partition says Timeout, not Expired, to a watch that its cache has not come to."""

    async def main() -> None:
        async with pair() as both, trio.open_nursery() as nursery:
            seen: list[tuple[str, str]] = []
            informer = Informer(both.client, "pods")
            informer.add_handler(lambda event: seen.append((event.type.name, event.object.name)))
            nursery.start_soon(informer.run)
            await informer.wait_synced()
            await both.writer.delete("pods", key("a"))
            await trio.sleep(1)
            revision = informer.resource_version
            both.move_to(both.frozen)
            await both.writer.create(pod("b"))
            await trio.sleep(60)
            assert seen == [("ADDED", "a"), ("DELETED", "a")]
            assert informer.resource_version == revision
            both.move_to(both.current)
            await trio.sleep(10)
            assert seen[2:] == [("ADDED", "b")]
            nursery.cancel_scope.cancel()

    run(main)


steps = st.lists(
    st.tuples(st.sampled_from(["write", "freeze", "move", "restore", "list", "get", "first list"]), st.integers(0, 3)),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_no_revision_goes_back_for_a_client_within_one_history(asked: list[tuple[str, int]]) -> None:
    async def main() -> None:
        async with pair() as both:
            servers = [both.current, both.frozen]
            incarnations = 1
            last: tuple[str, int] = ("", 0)
            for verb, number in asked:
                if verb == "write":
                    await both.writer.create(pod(f"x{both.store.head}"))
                elif verb == "freeze":
                    servers.append(await both.opened())
                elif verb == "move":
                    both.move_to(servers[number % len(servers)])
                elif verb == "restore":
                    incarnations += 1
                    restored = await both.opened(MemoryStore(incarnation=f"restored-{incarnations}"))
                    both.move_to(restored)
                elif verb in ("list", "first list"):
                    try:
                        found = await both.client.list("pods", resource_version="0" if verb == "list" else "")
                    except Timeout:
                        continue
                    if found.incarnation == last[0]:
                        assert found.resource_version >= last[1]
                    last = (found.incarnation, found.resource_version)
                else:
                    try:
                        await both.client.get("pods", key("a"), resource_version="0")
                    except (Timeout, NotFound):
                        continue

    run(main)


# --------------------------------------------------------------------------------------------------------- sightings


def test_what_was_seen_of_one_store_says_nothing_about_another() -> None:
    sightings = Sightings()
    sightings.saw("", "one", 90)
    assert sightings.not_older("main") == ("90", "one")
    assert sightings.not_older("events") == (ANY, "")
    sightings.saw("events", "two", 7)
    sightings.saw("main", "one", 80)
    assert [sightings.not_older(store) for store in ("main", "events")] == [("90", "one"), ("7", "two")]


def test_a_revision_without_its_incarnation_counts_for_the_one_last_seen() -> None:
    sightings = Sightings()
    sightings.learned("main", 5)
    assert sightings.not_older("main") == (CONSISTENT, "")
    sightings.saw("main", "one", 3)
    sightings.learned("main", 8)
    assert sightings.not_older("main") == ("8", "one")
    sightings.saw("main", "two", 2)
    assert sightings.not_older("main") == ("2", "two")
    sightings.forget("")
    assert sightings.not_older("main") == (ANY, "")
