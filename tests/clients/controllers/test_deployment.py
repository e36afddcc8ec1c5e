"""Deployments and their ReplicaSets under the real managers, against real apiservers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from ursa.clients.controllers import TenantControllerManager
from ursa.clients.controllers.deployment_core import template_hash
from ursa.proto.objects import Object

from .region import TENANT, Region, actor, key, manifest, node, open_region, pod_template, replicaset, run

RESOURCE = "deployments.apps"
REPLICASETS = "replicasets.apps"


@asynccontextmanager
async def manager(region: Region) -> AsyncIterator[TenantControllerManager]:
    """The controllers of tp-1, and a kubelet that runs what is there and confirms what is being deleted."""
    await region.resource_client().create(node("n1"))
    this = TenantControllerManager(region.clients, "tp-1", actor())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.run)
        nursery.start_soon(kubelet, region)
        yield this
        nursery.cancel_scope.cancel()


async def kubelet(region: Region) -> None:
    while True:
        await trio.sleep(0.2)
        await region.run_all_pods()
        await region.confirm_deletions()


def deployment(name: str, replicas: int, image: str = "app:1", **spec: Any) -> Object:
    template = pod_template(containers=[{"name": "c", "image": image}])
    fields = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return manifest("Deployment", name, api_version="apps/v1", spec=fields)


async def change(region: Region, **spec: Any) -> None:
    client = region.tenant_client()
    current = await client.get(RESOURCE, key("web"))
    await client.update(current.with_spec({**current.spec, **spec}))


def with_image(image: str) -> dict[str, Any]:
    return pod_template(containers=[{"name": "c", "image": image}])


async def images(region: Region) -> list[str]:
    return sorted(pod.spec["containers"][0]["image"] for pod in await region.pods() if not pod.deletion_ms)


async def status_of(region: Region) -> dict[str, Any]:
    return (await region.tenant_client().get(RESOURCE, key("web"))).status


def test_a_deployment_comes_up_rolls_scales_and_goes_back() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region) as this:
            await region.tenant_client().create(deployment("web", 4))
            await trio.sleep(5)
            assert await images(region) == ["app:1"] * 4
            status = await status_of(region)
            assert (status["availableReplicas"], status["updatedReplicas"]) == (4, 4)
            await change(region, template=with_image("app:2"))
            await trio.sleep(20)
            assert await images(region) == ["app:2"] * 4
            await change(region, replicas=7)
            await trio.sleep(5)
            assert await images(region) == ["app:2"] * 7
            await change(region, template=with_image("app:1"))
            await trio.sleep(20)
            assert await images(region) == ["app:1"] * 7
            assert len((await region.tenant_client().list(REPLICASETS)).items) == 2
            current = await region.tenant_client().get(RESOURCE, key("web"))
            assert current.annotations["deployment.kubernetes.io/revision"] == "3"
            assert all(this.ready().values())

    run(main)


def test_a_rollout_keeps_within_its_bounds_as_seen_by_everybody() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
            await region.tenant_client().create(deployment("web", 5, strategy=strategy))
            await trio.sleep(5)
            await change(region, template=with_image("app:2"))
            for _ in range(400):
                await trio.sleep(0.05)
                pods = [pod for pod in await region.pods() if not pod.deletion_ms]
                running = [pod for pod in pods if pod.status["phase"] == "Running"]
                assert len(pods) <= 7
                assert len(running) >= 5
            assert await images(region) == ["app:2"] * 5

    run(main)


def test_recreate_never_runs_old_and_new_together() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.tenant_client().create(deployment("web", 3, strategy={"type": "Recreate"}))
            await trio.sleep(5)
            await change(region, template=with_image("app:2"))
            for _ in range(200):
                await trio.sleep(0.05)
                assert len({pod.spec["containers"][0]["image"] for pod in await region.pods()}) <= 1
            assert await images(region) == ["app:2"] * 3

    run(main)


def test_a_rollout_survives_lost_links() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.tenant_client().create(deployment("web", 6))
            await trio.sleep(5)
            await change(region, template=with_image("app:2"))
            for _ in range(10):
                await trio.sleep(0.15)
                region.links["tp-1"].cut()
                await trio.sleep(1)
                region.links["tp-1"].heal()
                await trio.sleep(1)
                assert len([pod for pod in await region.pods() if not pod.deletion_ms]) <= 8
            await trio.sleep(60)
            assert await images(region) == ["app:2"] * 6

    run(main)


def test_a_name_that_another_set_has_taken_is_avoided() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            made = await client.create(deployment("other", 0))
            taken = f"web-{template_hash(made.spec['template'], 0)}"
            await client.create(replicaset(taken, 0))
            await client.create(deployment("web", 2))
            await trio.sleep(5)
            assert (await status_of(region))["collisionCount"] == 1
            assert len(await region.pods()) == 2

    run(main)


def test_a_deleted_deployment_takes_everything_with_it_and_so_does_its_namespace() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(deployment("web", 3))
            await client.create(manifest("Namespace", "team", namespace=""))
            await client.create(
                manifest("Deployment", "api", api_version="apps/v1", namespace="team", spec=deployment("x", 2).spec)
            )
            await trio.sleep(5)
            assert len(await region.pods()) == 5
            await client.delete(RESOURCE, key("web"))
            await trio.sleep(60)
            assert {pod.namespace for pod in await region.pods()} == {"team"}
            await client.delete("namespaces", key("team", namespace=""))
            await trio.sleep(60)
            assert await region.pods() == []
            assert (await client.list(REPLICASETS)).items == []
            assert not await region.exists(client, "namespaces", key("team", namespace=""))
            assert await region.exists(client, "namespaces", key("default", namespace="", tenant=TENANT))

    run(main)


def test_a_quiet_cluster_writes_nothing() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.tenant_client().create(deployment("web", 3))
            await trio.sleep(30)
            messages = len(region.trace)
            await trio.sleep(300)
            assert not [line for line in region.trace[messages:] if " Mutate > " in line]

    run(main)
