"""Services in a running tenant partition: how often they are written, and what becomes of them when links are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from ursa.clients.actor import Actor
from ursa.clients.controllers.endpoint_slices import ENDPOINTS_PER_SLICE, SLICE
from ursa.clients.controllers.endpoints import BATCH_SECONDS
from ursa.clients.controllers.endpoints_object import ENDPOINTS
from ursa.clients.controllers.managers import TenantControllerManager
from ursa.proto.objects import Object

from .region import Region, actor, key, manifest, node, open_region, pod_template, run

SOON = 4 * BATCH_SECONDS


@asynccontextmanager
async def manager(region: Region) -> AsyncIterator[Actor]:
    own = actor()
    this = TenantControllerManager(region.clients, "tp-1", own)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.run)
        await trio.sleep(SOON)
        yield own
        nursery.cancel_scope.cancel()


def service(name: str = "web", **spec: Any) -> Object:
    return manifest("Service", name, spec={"selector": {"app": "web"}, "ports": [{"port": 80}], **spec})


async def pods(region: Region, count: int, start: int = 0) -> None:
    async def one(number: int) -> None:
        template = pod_template()
        obj = manifest("Pod", f"p{number}", spec=template["spec"], metadata={"labels": template["metadata"]["labels"]})
        created = await region.tenant_client().create(obj)
        await region.bind(created, "n1")
        await ready(region, number)

    async with trio.open_nursery() as nursery:
        for number in range(start, start + count):
            nursery.start_soon(one, number)


async def ready(region: Region, number: int, *, status: str = "True") -> None:
    pod = await region.tenant_client().get("pods", key(f"p{number}"))
    conditions = [{"type": "Ready", "status": status}]
    await region.set_status(pod, phase="Running", podIP=f"fd00::{number + 1:x}", conditions=conditions)


async def slices(region: Region) -> list[Object]:
    return (await region.tenant_client().list(SLICE.resource)).items


async def addresses(region: Region) -> list[str]:
    found = [endpoint for each in await slices(region) for endpoint in each.rest["endpoints"]]
    return sorted(each["addresses"][0] for each in found if each["conditions"]["ready"])


def writes(own: Actor, resource: str) -> float:
    verbs = ("create", "update", "delete")
    labels = [{"resource": resource, "verb": verb} for verb in verbs]
    return sum(own.registry.get_sample_value("ursa_endpoints_writes_total", each) or 0 for each in labels)


def test_a_service_has_the_pods_that_it_selects_and_its_slices_go_with_it() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.resource_client().create(node("n1"))
            await region.tenant_client().create(service())
            await pods(region, 3)
            await trio.sleep(SOON)
            assert await addresses(region) == ["fd00::1", "fd00::2", "fd00::3"]
            await region.tenant_client().delete("pods", key("p0"), grace_seconds=0)
            await trio.sleep(SOON)
            assert await addresses(region) == ["fd00::2", "fd00::3"]
            await region.tenant_client().delete("services", key("web"))
            await trio.sleep(SOON)
            assert await slices(region) == []
            assert (await region.tenant_client().list(ENDPOINTS.resource)).items == []

    run(main)


def test_while_pods_come_and_go_a_service_is_written_at_its_pace_and_one_slice_at_a_time() -> None:
    """A rolling update of 150 pods, ten of which change in a second, one after another."""

    async def main() -> None:
        async with open_region() as region, manager(region) as own:
            await region.resource_client().create(node("n1"))
            await region.tenant_client().create(service())
            await pods(region, ENDPOINTS_PER_SLICE + 50)
            await trio.sleep(SOON)
            assert len(await slices(region)) == 2
            before = {resource: writes(own, resource) for resource in (SLICE.resource, ENDPOINTS.resource)}
            seconds, each = 10.0, 0.1
            for number in range(round(seconds / each)):
                await ready(region, number, status="False")
                await trio.sleep(each)
            await trio.sleep(SOON)
            rounds = seconds / BATCH_SECONDS + 1
            assert writes(own, ENDPOINTS.resource) - before[ENDPOINTS.resource] <= rounds
            # Those of one round are mostly in one slice: they are numbered as they were made.
            assert writes(own, SLICE.resource) - before[SLICE.resource] <= 2 * rounds
            assert len(await addresses(region)) == 50

    run(main)


def test_where_nothing_changes_nothing_is_written() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            await region.tenant_client().create(service())
            await pods(region, 3)
            async with manager(region):
                await trio.sleep(SOON)
            revisions = [each.resource_version for each in await slices(region)]
            async with manager(region) as own:  # The next leader, with fresh views.
                await trio.sleep(600)
                assert writes(own, SLICE.resource) == writes(own, ENDPOINTS.resource) == 0
            assert [each.resource_version for each in await slices(region)] == revisions

    run(main)


def test_what_happens_while_the_link_is_cut_is_told_when_it_is_back() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.resource_client().create(node("n1"))
            await region.tenant_client().create(service())
            await pods(region, 2)
            await trio.sleep(SOON)
            region.links["tp-1"].cut()
            await pods(region, 2, start=2)
            await ready(region, 0, status="False")
            await trio.sleep(100)
            assert await addresses(region) == ["fd00::1", "fd00::2"]
            region.links["tp-1"].heal()
            await trio.sleep(30)
            assert await addresses(region) == ["fd00::2", "fd00::3", "fd00::4"]
            assert len(await slices(region)) == 1

    run(main)


def test_a_service_that_is_made_after_its_pods_has_them_all() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.resource_client().create(node("n1"))
            await pods(region, 2)
            await region.tenant_client().create(service())
            await region.tenant_client().create(service("headless", clusterIP="None", ports=None))
            await trio.sleep(SOON)
            assert await addresses(region) == ["fd00::1", "fd00::1", "fd00::2", "fd00::2"]
            headless = await region.tenant_client().get(ENDPOINTS.resource, key("headless"))
            assert "ports" not in headless.rest["subsets"][0]

    run(main)


def test_slices_that_a_user_makes_are_left_alone() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.resource_client().create(node("n1"))
            labels = {"kubernetes.io/service-name": "web"}
            fields = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": []}
            own = manifest("EndpointSlice", "own", api_version=SLICE.api_version, metadata={"labels": labels}, **fields)
            created = await region.tenant_client().create(own)
            await region.tenant_client().create(service())
            await trio.sleep(SOON)
            assert (
                await region.tenant_client().get(SLICE.resource, key("own"))
            ).resource_version == created.resource_version
            assert len(await slices(region)) == 2

    run(main)
