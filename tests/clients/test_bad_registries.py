"""What is wrong in a registry is refused, or named in one line and left out; nothing ends because of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from ursa.clients.client import ClientSet
from ursa.clients.registry import RegistryFollower
from ursa.clients.registry_core import RESOURCE_OF, Entry, entry_object
from ursa.clients.transport.interface import Transport
from ursa.proto.errors import InputError, Invalid
from ursa.proto.kinds import Role
from ursa.proto.objects import Object

from .test_partitions_come_and_go import Servers, entry, opened
from .worlds import actor, run


def following(story: Callable[[Servers, ClientSet], Any]) -> None:
    """A component that follows the registry of tp-1, where only addresses `here` can be connected to."""

    async def main() -> None:
        async with opened("tp-1", "rp-1") as (servers, clients):

            def connect(wanted: Entry) -> Transport:
                if wanted.address != "here":
                    raise InputError(f"{wanted.address} is no address")
                return servers.link(wanted.name)

            follower = RegistryFollower(clients, "tp-1", {"tp-1": "here", "rp-1": "here"}, connect, actor())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(1)
                await story(servers, clients)
                nursery.cancel_scope.cancel()

    run(main)


def lines(caplog: pytest.LogCaptureFixture, about: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if about in record.getMessage()]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"address": 5}, "spec.address: must be where the partition listens"),
        ({"address": "a b"}, "spec.address: must be where the partition listens"),
        ({"state": "Gone"}, "spec.state: must be one of Active, Draining, Removed, not 'Gone'"),
        ({"epoch": -1}, "spec.epoch: must be a whole number"),
        ({"epoch": True}, "spec.epoch: must be a whole number"),
        ({"epoch": "7"}, "spec.epoch: must be a whole number"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(spec: dict[str, Any], complaint: str) -> None:
    async def story(servers: Servers, clients: ClientSet) -> None:
        manifest = {"apiVersion": "ursa.dev/v1", "kind": "ResourcePartition", "metadata": {"name": "rp-2"}}
        with pytest.raises(Invalid, match=complaint):
            await clients.tenant_clients["tp-1"].create(Object.from_dict({**manifest, "spec": spec}))

    following(story)


def test_a_partition_whose_address_is_none_is_named_once_and_the_others_come_and_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(servers: Servers, clients: ClientSet) -> None:
        home = clients.tenant_clients["tp-1"]
        await home.create(entry_object(entry("rp-2", address="nowhere")))
        await home.create(entry_object(entry("tp-2")))
        await trio.sleep(1)
        assert (list(clients.resource_clients), list(clients.tenant_clients)) == (["rp-1"], ["tp-1", "tp-2"])
        present = await home.get(RESOURCE_OF[Role.RESOURCE], entry("rp-2").key)
        await home.update(present.with_spec(entry_object(entry("rp-2", epoch=2)).spec))
        await trio.sleep(1)
        assert list(clients.resource_clients) == ["rp-1", "rp-2"]

    following(story)
    assert lines(caplog, "nowhere") == [
        "rp-2 cannot be at 'nowhere' (nowhere is no address): correct its entry, with a higher epoch"
    ]


def test_a_partition_that_is_sent_to_an_address_that_is_none_stays_where_it_was() -> None:
    async def story(servers: Servers, clients: ClientSet) -> None:
        before = clients.resource_clients["rp-1"]
        await clients.tenant_clients["tp-1"].create(entry_object(entry("rp-1", address="nowhere")))
        await trio.sleep(1)
        assert clients.resource_clients["rp-1"] is before

    following(story)


def test_a_name_that_is_used_for_both_roles_is_named_once_and_stays_what_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(servers: Servers, clients: ClientSet) -> None:
        wrong = entry_object(Entry(5, "Removed", "here", Role.TENANT, "rp-1"))
        await clients.tenant_clients["tp-1"].create(wrong)
        await trio.sleep(1)
        for link in servers.links[:1]:  # It is told of again with each full view.
            link.cut()
            link.heal(servers.services["tp-1"])
        await trio.sleep(10)
        assert list(clients.resource_clients) == ["rp-1"]
        assert not clients.resource_clients.removed

    following(story)
    [line] = lines(caplog, "it is ignored")
    assert line.startswith("tp-1 has an entry for rp-1 as a tenant partition, which is a resource partition")
