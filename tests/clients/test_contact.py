"""A client knows how long ago it last heard from its partition, and says once when that is too long."""

from __future__ import annotations

import logging
from random import Random

import pytest
import trio
from prometheus_client import CollectorRegistry
from ursa.clients.client import open_clients
from ursa.clients.contact import MISSED_SECONDS, Contact, Contacts, contacts_of
from ursa.clients.informer import Informer
from ursa.clients.transport.memory import MemoryTransport
from ursa.partitions.apiserver import BOOKMARK_SECONDS
from ursa.proto.errors import Unreachable, UrsaError, WrongPartition
from ursa.proto.kinds import Role

from .worlds import World, actor, run

METRIC = "client_partition_staleness_seconds"


def age(registry: CollectorRegistry, partition: str) -> float | None:
    return registry.get_sample_value(METRIC, {"partition": partition})


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_partition_that_is_followed_is_heard_of_every_few_seconds_until_it_is_away() -> None:
    async def main() -> None:
        async with World().open() as world:
            me = actor("watcher")
            link = world.link("p-1")
            async with open_clients({"p-1": link}, {}, me) as clients, trio.open_nursery() as nursery:
                client = clients.tenant_clients["p-1"]
                assert list(clients.contacts.seen()) == [], "nothing is followed so far"
                assert age(me.registry, "p-1") is None
                nursery.start_soon(Informer(client, "pods").run)
                for _ in range(30):
                    await trio.sleep(1.7)
                    staleness = age(me.registry, "p-1")
                    assert staleness is not None
                    assert staleness <= BOOKMARK_SECONDS + 0.1
                assert not client.contact.missed
                link.silence()
                await trio.sleep(MISSED_SECONDS)
                assert client.contact.missed
                [seen] = clients.contacts.seen()
                assert MISSED_SECONDS <= seen.seconds <= MISSED_SECONDS + BOOKMARK_SECONDS
                link.silence(requests=False, replies=False)
                await trio.sleep(1)
                assert not client.contact.missed
                clients.remove("p-1")
                assert age(me.registry, "p-1") is None, "it is none any more"
                nursery.cancel_scope.cancel()

    run(main)


def test_a_lost_partition_is_said_once_with_the_reason_and_once_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with World().open() as world:
            link = world.link("p-1")
            async with open_clients({"p-1": link}, {}, actor("watcher")) as clients, trio.open_nursery() as nursery:
                nursery.start_soon(Informer(clients.tenant_clients["p-1"], "pods").run)
                await trio.sleep(10)
                link.cut()
                await trio.sleep(5)
                link.heal()
                await trio.sleep(60)
                assert said(caplog) == [], "a restart is no news"
                link.cut()
                await trio.sleep(3600)
                [line] = said(caplog)
                assert line.startswith("p-1 is missed, nothing was heard of it for ")
                assert line.endswith("the link is cut")
                [seen] = clients.contacts.seen()
                assert seen.missed
                assert "the link is cut" in seen.problem
                assert str(seen).startswith("p-1 heard of 36")
                link.heal()
                await trio.sleep(10)
                assert said(caplog)[1:] == ["p-1 answers again"]
                nursery.cancel_scope.cancel()

    run(main)


def test_a_partition_that_was_never_there_is_missed_too_and_one_that_is_another_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        logger = logging.getLogger("ursa.test")
        clock_start = trio.current_time()
        never = Contact("rp-1", logger)
        never.followed = True
        never.lost(Unreachable("rp-1", "no link"))
        assert not never.missed
        await trio.sleep(MISSED_SECONDS)
        never.lost(Unreachable("rp-1", "no\nlink"))
        never.lost(Unreachable("rp-1", "no link"))
        assert trio.current_time() - clock_start == MISSED_SECONDS
        assert said(caplog) == ["rp-1 is missed, nothing was heard of it so far: no link"]
        wrong = Contact("rp-2", logger)
        for _ in range(3):
            wrong.lost(WrongPartition("rp-2", "here is partition rp-1, and not rp-2"))
        assert said(caplog)[1:] == [
            "rp-2 is missed, nothing was heard of it so far: here is partition rp-1, and not rp-2"
        ]

    run(main)


@pytest.mark.parametrize("error", [Unreachable("p-1", "away"), WrongPartition("p-1", "another partition")])
def test_what_a_client_does_not_follow_it_does_not_miss(error: UrsaError) -> None:
    async def main() -> None:
        contact = Contact("p-1", logging.getLogger("ursa.test"))
        await trio.sleep(10 * MISSED_SECONDS)
        contact.lost(error)
        contacts = Contacts()
        contacts.add(contact)
        assert not contact.missed
        assert list(contacts.seen()) == []

    run(main)


def test_a_client_that_comes_again_is_seen_in_the_place_of_the_one_before() -> None:
    async def main() -> None:
        async with World(Role.RESOURCE).open() as world:
            me = actor("watcher")
            async with open_clients({}, {"p-1": world.link("p-1")}, me) as clients, trio.open_nursery() as nursery:
                nursery.start_soon(clients.resource_clients.serve_each, lambda client: Informer(client, "nodes").run())
                await trio.sleep(1)
                clients.remove("p-1")
                clients.add(Role.RESOURCE, MemoryTransport("p-1", world._server, random=Random(1)))
                await trio.sleep(1)
                [seen] = contacts_of(me.registry).seen()
                assert seen.seconds < BOOKMARK_SECONDS
                nursery.cancel_scope.cancel()

    run(main)


def test_a_partition_that_has_moved_is_missed_anew_only_once_it_is_silent_where_it_is_now(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        contact = Contact("p-1", logging.getLogger("test"))
        contact.followed = True
        contact.heard()
        error = Unreachable("p-1", "no link")
        await trio.sleep(MISSED_SECONDS)
        contact.lost(error)
        assert len(said(caplog)) == 1
        contact.moved()
        contact.lost(error)  # Of the old address.
        await trio.sleep(MISSED_SECONDS - 0.1)
        contact.lost(error)
        assert len(said(caplog)) == 1
        await trio.sleep(0.1)
        contact.lost(error)
        assert len(said(caplog)) == 2

    run(main)
