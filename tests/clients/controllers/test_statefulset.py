"""StatefulSets under the real managers, against real apiservers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from ursa.clients.controllers import TenantControllerManager
from ursa.clients.controllers.template_hash import template_hash
from ursa.proto.errors import ApiError, TooManyRequests
from ursa.proto.objects import Object

from .region import Region, actor, key, manifest, node, open_region, pod_template, run

RESOURCE, REVISIONS = "statefulsets.apps", "controllerrevisions.apps"


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
        with suppress(ApiError):  # It has gone meanwhile.
            await region.run_all_pods()
            await region.confirm_deletions()


def template(image: str) -> dict[str, Any]:
    return pod_template(containers=[{"name": "c", "image": image}])


def statefulset(name: str, replicas: int, image: str = "app:1", **spec: Any) -> Object:
    fields = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image), **spec}
    return manifest("StatefulSet", name, api_version="apps/v1", spec=fields)


async def change(region: Region, **spec: Any) -> None:
    client = region.tenant_client()
    current = await client.get(RESOURCE, key("db"))
    await client.update(current.with_spec({**current.spec, **spec}))


async def status_of(region: Region) -> dict[str, Any]:
    return (await region.tenant_client().get(RESOURCE, key("db"))).status


async def images(region: Region) -> dict[str, str]:
    return {pod.name: pod.spec["containers"][0]["image"] for pod in await region.pods()}


def test_a_set_is_made_updated_scaled_and_deleted() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region) as this:
            client = region.tenant_client()
            await client.create(statefulset("db", 3))
            await trio.sleep(20)
            assert await images(region) == {"db-0": "app:1", "db-1": "app:1", "db-2": "app:1"}
            status = await status_of(region)
            assert (status["readyReplicas"], status["availableReplicas"], status["updatedReplicas"]) == (3, 3, 3)
            await change(region, template=template("app:2"))
            await trio.sleep(20)
            assert list(dict.fromkeys((await images(region)).values())) == ["app:2"]
            scale = await client.scale(RESOURCE, key("db"), 1)
            assert scale.status["selector"] == "app=web"
            await trio.sleep(20)
            assert list(await images(region)) == ["db-0"]
            assert len((await client.list(REVISIONS)).items) == 2
            assert all(this.ready().values())
            await client.delete(RESOURCE, key("db"))
            await trio.sleep(60)
            assert await region.pods() == []
            assert (await client.list(REVISIONS)).items == []

    run(main)


def test_order_is_kept_over_lost_links_and_lives_of_the_controller() -> None:
    async def main() -> None:
        async with open_region() as region:
            client = region.tenant_client()
            await region.resource_client().create(node("n1"))
            await client.create(statefulset("db", 6))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kubelet, region)
                for life in range(12):
                    if life == 6:
                        await change(region, template=template("app:2"))
                    with trio.move_on_after(1 + life % 3):
                        await TenantControllerManager(region.clients, "tp-1", actor(seed=life)).run()
                    region.links["tp-1"].cut()
                    await trio.sleep(0.3)
                    region.links["tp-1"].heal()
                    alive = [int(name.removeprefix("db-")) for name in await images(region)]
                    if life < 6:
                        assert sorted(alive) == list(range(len(alive)))
                with trio.move_on_after(60):
                    await TenantControllerManager(region.clients, "tp-1", actor()).run()
                nursery.cancel_scope.cancel()
            assert list((await images(region)).values()) == ["app:2"] * 6
            status = await status_of(region)
            assert status["currentRevision"] == status["updateRevision"]

    run(main)


def test_a_pod_that_bears_the_name_already_is_told_of_and_left_alone() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            stranger = await client.create(manifest("Pod", "db-1", spec=template("other:1")["spec"]))
            await client.create(statefulset("db", 3))
            await trio.sleep(30)
            assert sorted(await images(region)) == ["db-0", "db-1"]
            assert (await client.get("pods", key("db-1"))).uid == stranger.uid
            events = [each.rest for each in (await client.list("events")).items]
            assert any("db-1 exists, and is not of this StatefulSet" in each["message"] for each in events)
            await client.delete("pods", key("db-1"))
            await trio.sleep(40)
            assert sorted(await images(region)) == ["db-0", "db-1", "db-2"]

    run(main)


def test_a_set_that_is_made_again_takes_up_the_orphans_of_the_one_before() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(statefulset("db", 2))
            await trio.sleep(10)
            uids = [pod.uid for pod in await region.pods()]
            revisions = [each.uid for each in (await client.list(REVISIONS)).items]
            await client.delete(RESOURCE, key("db"), propagation="Orphan")
            await trio.sleep(10)
            assert not any(pod.owner_references for pod in await region.pods())
            again = await client.create(statefulset("db", 3, serviceName="another"))
            await trio.sleep(20)
            pods = await region.pods()
            assert [pod.uid for pod in pods[:2]] == uids
            assert [pod.controller.uid for pod in pods if pod.controller] == [again.uid] * 3
            assert [each.uid for each in (await client.list(REVISIONS)).items] == revisions
            assert (await status_of(region))["readyReplicas"] == 3

    run(main)


def test_a_name_that_another_revision_has_taken_is_avoided() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            made = await client.create(statefulset("other", 0))
            taken = f"db-{template_hash(made.spec['template'], 0)}"
            stranger = manifest("ControllerRevision", taken, api_version="apps/v1", revision=1, data={})
            await client.create(stranger)
            await client.create(statefulset("db", 1))
            await trio.sleep(10)
            status = await status_of(region)
            assert status["collisionCount"] == 1
            assert status["updateRevision"] != taken
            assert list(await images(region)) == ["db-0"]

    run(main)


def test_pods_that_a_quota_refuses_are_made_when_there_is_room() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(manifest("ResourceQuota", "quota", spec={"hard": {"pods": 2}}))
            await client.create(statefulset("db", 20, podManagementPolicy="Parallel"))
            await trio.sleep(1)
            tried = len(region.trace)
            await trio.sleep(60)
            assert len(await region.pods()) == 2
            assert max(int(line.split()[4]) for line in region.trace[tried:] if " Mutate > " in line) < 2000
            await client.delete("resourcequotas", key("quota"))
            await trio.sleep(60)
            assert len(await region.pods()) == 20

    run(main)


def test_a_budget_counts_what_a_set_wants() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
            await client.create(manifest("PodDisruptionBudget", "pdb", api_version="policy/v1", spec=budget))
            await client.create(statefulset("db", 3))
            await trio.sleep(20)
            found = await client.get("poddisruptionbudgets.policy", key("pdb"))
            assert (found.status["expectedPods"], found.status["disruptionsAllowed"]) == (3, 1)
            await client.evict(key("db-0"))
            with pytest.raises(TooManyRequests):
                await client.evict(key("db-1"))

    run(main)


def test_a_namespace_goes_with_its_sets() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.tenant_client()
            await client.create(manifest("Namespace", "team", namespace=""))
            spec = statefulset("db", 2).spec
            await client.create(manifest("StatefulSet", "db", api_version="apps/v1", namespace="team", spec=spec))
            await trio.sleep(10)
            assert len(await region.pods()) == 2
            await client.delete("namespaces", key("team", namespace=""))
            await trio.sleep(60)
            assert await region.pods() == []
            assert (await client.list(REVISIONS)).items == []
            assert not await region.exists(client, "namespaces", key("team", namespace=""))

    run(main)


def test_a_quiet_set_writes_nothing() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.tenant_client().create(statefulset("db", 3, minReadySeconds=5))
            await trio.sleep(60)
            messages = len(region.trace)
            await trio.sleep(300)
            assert not [line for line in region.trace[messages:] if " Mutate > " in line]

    run(main)
