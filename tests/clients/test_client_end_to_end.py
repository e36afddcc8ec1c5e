"""A client against a real apiserver in memory."""

from __future__ import annotations

import pytest
import trio
from ursa.clients.client import open_client, open_clients
from ursa.clients.operations import bind_operation, create_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import AlreadyExists, Conflict, NotFound, Unreachable

from .worlds import World, actor, key, pod, run


def test_what_is_created_can_be_read_listed_changed_and_deleted() -> None:
    async def main() -> None:
        async with World().open() as world:
            client = world.client
            created = await client.create(pod("a"))
            assert created.uid
            assert created.partition == "p-1"
            assert (await client.get("pods", key("a"))).message == created.message
            labelled = await client.update(created.with_metadata(labels={"app": "web"}))
            assert labelled.resource_version > created.resource_version
            running = await client.update_status(labelled.with_status({"phase": "Running"}))
            assert running.status == {"phase": "Running"}
            patched = await client.patch("pods", key("a"), {"metadata": {"labels": {"tier": "front"}}})
            assert dict(patched.labels) == {"app": "web", "tier": "front"}
            await client.create(pod("b"))
            listed = await client.list("pods", label_selector="app=web")
            assert [each.name for each in listed.items] == ["a"]
            assert listed.resource_version >= patched.resource_version
            await client.delete("pods", key("a"), uid=created.uid)
            with pytest.raises(NotFound):
                await client.get("pods", key("a"))
            assert (await client.status()).name == "p-1"

    run(main)


def test_refusals_are_raised_as_their_types() -> None:
    async def main() -> None:
        async with World().open() as world:
            created = await world.client.create(pod("a"))
            with pytest.raises(AlreadyExists):
                await world.client.create(pod("a"))
            await world.client.update(created.with_metadata(labels={"app": "web"}))
            with pytest.raises(Conflict):
                await world.client.update(created.with_metadata(labels={"app": "db"}))
            with pytest.raises(Conflict):
                await world.client.delete("pods", key("a"), uid="somebody-else")
            with pytest.raises(NotFound):
                await world.client.delete("pods", key("b"))

    run(main)


def test_a_list_is_read_in_pages_at_one_revision() -> None:
    async def main() -> None:
        async with World().open() as world:
            for number in range(5):
                await world.client.create(pod(f"pod-{number}"))
            first = await world.client.list("pods", limit=2)
            await world.client.create(pod("pod-9"))
            names = [each.name for each in first.items]
            page = first
            while page.continue_token:
                page = await world.client.list("pods", limit=2, continue_token=page.continue_token)
                assert page.resource_version == first.resource_version
                names += [each.name for each in page.items]
            assert names == [f"pod-{number}" for number in range(5)]

    run(main)


def test_one_mutate_call_answers_each_operation_on_its_own() -> None:
    async def main() -> None:
        async with World().open() as world:
            bound = await world.client.create(pod("bound"))
            results = await world.client.mutate(
                [
                    create_operation(pod("a")),
                    create_operation(pod("a")),
                    bind_operation(key("bound"), uid=bound.uid, resource_partition="rp-1", node="n-1"),
                ]
            )
            assert [result.error.reason for result in results] == ["", "AlreadyExists", ""]
            assert (await world.client.get("pods", key("bound"))).spec["nodeName"] == "n-1"

    run(main)


def test_a_bind_to_devices_writes_them_into_the_pod() -> None:
    async def main() -> None:
        async with World().open() as world:
            container = {"name": "main", "image": "app", "resources": {"requests": {"ursa.dev/gpu-milli": 2000}}}
            created = await world.client.create(pod("a").with_spec({"containers": [container]}))
            await world.client.bind(key("a"), uid=created.uid, resource_partition="rp-1", node="n", devices=[0, 2])
            found = (await world.client.get("pods", key("a"))).message.metadata.annotations
            assert dict(found) == {"ursa.dev/gpu-devices": "0-2"}

    run(main)


def test_a_dry_run_returns_the_object_and_writes_nothing() -> None:
    async def main() -> None:
        async with World().open() as world:
            assert (await world.client.create(pod("a"), dry_run=True)).name == "a"
            with pytest.raises(NotFound):
                await world.client.get("pods", key("a"))

    run(main)


def test_reads_wait_for_a_partition_that_restarts() -> None:
    async def main() -> None:
        async with World().open() as world:
            await world.client.create(pod("a"))
            world.transport.cut()
            async with trio.open_nursery() as nursery:

                async def back_after_a_while() -> None:
                    await trio.sleep(7)
                    await world.restart()

                nursery.start_soon(back_after_a_while)
                assert (await world.client.get("pods", key("a"))).name == "a"
                assert [each.name for each in (await world.client.list("pods")).items] == ["a"]

    run(main)


def test_reads_of_a_partition_that_stays_away_fail_in_bounded_time() -> None:
    async def main() -> None:
        async with World().open() as world:
            world.transport.cut()
            for read in (
                lambda: world.client.get("pods", key("a")),
                lambda: world.client.list("pods"),
                lambda: world.client.status(),
            ):
                began = trio.current_time()
                with pytest.raises(Unreachable):
                    await read()
                assert 20 < trio.current_time() - began <= 30

    run(main)


def test_a_client_opens_while_its_partition_is_away_and_works_once_it_is_back() -> None:
    async def main() -> None:
        async with World().open() as world:
            world.transport.cut()
            async with open_client(world.transport, actor()) as client, trio.open_nursery() as nursery:
                nursery.start_soon(client.create, pod("a"))
                await trio.sleep(3)
                await world.restart()
            assert world.stored("pods") == ["a"]

    run(main)


def test_what_the_block_raises_comes_out_bare_and_the_transport_is_closed() -> None:
    async def main() -> None:
        async with World().open() as world:
            with pytest.raises(NotFound):
                async with open_clients({"p-1": world.transport}, {}, actor()) as clients:
                    await clients.for_partition("p-1").get("pods", key("missing"))
            with pytest.raises(Unreachable):
                await world.transport.unary("Status", pb.StatusRequest())

    run(main)


def test_a_set_of_clients_is_ordered_by_name_and_knows_what_it_has() -> None:
    async def main() -> None:
        async with World().open() as world:
            links = {name: world.link(name) for name in ("tp-2", "tp-1")}
            async with open_clients(links, {}, actor()) as clients:
                assert list(clients.tenant_clients) == ["tp-1", "tp-2"]
                assert list(clients.resource_clients) == []
                assert clients.for_partition("tp-2") is clients.tenant_clients["tp-2"]
                with pytest.raises(NotFound, match=r"rp-9.*tp-1, tp-2"):
                    clients.for_partition("rp-9")

    run(main)
