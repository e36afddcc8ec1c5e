"""DaemonSets under the real managers, against real apiservers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from ursa.clients.controllers import ResourceControllerManager
from ursa.clients.controllers.options import TenantControllerOptions
from ursa.proto.errors import ApiError, Conflict, NotFound
from ursa.proto.objects import Object, ObjectKey

from .region import Region, actor, manifest, node, open_region, run

RESOURCE, REVISIONS = "daemonsets.apps", "controllerrevisions.apps"
KEY = ObjectKey("system", "kube-system", "agent")


@asynccontextmanager
async def manager(region: Region, *, lost: tuple[str, ...] = ()) -> AsyncIterator[ResourceControllerManager]:
    """The controllers of rp-1, and kubelets that run what is there and confirm what is being deleted. `lost`: nodes
    whose leases nobody renews."""
    for number in range(3):
        await region.resource_client().create(node(f"n{number}"))
    this = ResourceControllerManager(region.clients, "rp-1", actor())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.run)
        nursery.start_soon(kubelets, region)
        nursery.start_soon(heartbeats, region, lost)
        yield this
        nursery.cancel_scope.cancel()


async def kubelets(region: Region) -> None:
    client = region.resource_client()
    while True:
        await trio.sleep(0.2)
        names = [each.name for each in (await client.list("nodes")).items]
        for pod in (await client.list("pods")).items:
            if pod.spec["nodeName"] not in names:
                continue  # Its machine is off.
            with suppress(ApiError):  # It has gone meanwhile.
                if pod.deletion_ms:
                    await client.delete("pods", pod.key, uid=pod.uid, grace_seconds=0)
                elif pod.status.get("phase") == "Pending":
                    ready = {"type": "Ready", "status": "True"}
                    await client.update_status(pod.with_status({"phase": "Running", "conditions": [ready]}))


async def heartbeats(region: Region, lost: tuple[str, ...] = ()) -> None:
    client, beat = region.resource_client(), 0
    place = {"tenant": "system", "namespace": "kube-node-lease"}
    while True:
        for each in (await client.list("nodes")).items:
            spec = {"renewTime": "never" if each.name in lost else f"beat {beat}"}
            lease = manifest("Lease", each.name, api_version="coordination.k8s.io/v1", metadata=place, spec=spec)
            try:
                await client.update(lease)
            except NotFound:
                await client.create(lease)
        beat += 1
        await trio.sleep(10)


def template(image: str, cpu: str) -> dict[str, Any]:
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}
    return {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [container]}}


def daemonset(image: str = "app:1", cpu: str = "1", **spec: Any) -> Object:
    metadata = {"tenant": "system", "namespace": "kube-system"}
    fields = {"selector": {"matchLabels": {"app": "agent"}}, "template": template(image, cpu), **spec}
    return manifest("DaemonSet", "agent", api_version="apps/v1", metadata=metadata, spec=fields)


async def images(region: Region) -> dict[str, str]:
    pods = (await region.resource_client().list("pods")).items
    return {pod.spec["nodeName"]: pod.spec["containers"][0]["image"] for pod in pods}


async def status_of(region: Region) -> dict[str, Any]:
    return (await region.resource_client().get(RESOURCE, KEY)).status


async def claim(region: Region, name: str, cpu: int) -> Object:
    """What a scheduler claims for a pod of a tenant."""
    pod = await region.tenant_client().create(
        manifest("Pod", f"of-{name}", spec={"containers": [{"name": "c", "image": "app:1"}]})
    )
    await region.place(pod, name, cpu=cpu)
    await region.bind(pod, name)
    return pod


def test_a_set_is_made_updated_and_deleted() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region) as this:
            client = region.resource_client()
            await client.create(daemonset())
            await trio.sleep(5)
            assert await images(region) == dict.fromkeys(("n0", "n1", "n2"), "app:1")
            status = await status_of(region)
            assert (status["desiredNumberScheduled"], status["numberAvailable"]) == (3, 3)
            await client.create(node("n3"))
            await trio.sleep(2)
            assert "n3" in await images(region)
            current = await client.get(RESOURCE, KEY)
            await client.update(current.with_spec({**current.spec, "template": template("app:2", "1")}))
            await trio.sleep(20)
            assert list((await images(region)).values()) == ["app:2"] * 4
            assert (await status_of(region))["updatedNumberScheduled"] == 4
            assert len((await client.list(REVISIONS)).items) == 2
            assert len((await client.list("placements.ursa.dev")).items) == 4
            assert all(this.ready().values())
            await client.delete(RESOURCE, KEY)
            await trio.sleep(60)
            assert await images(region) == {}
            assert (await client.list(REVISIONS)).items == []
            assert (await client.list("placements.ursa.dev")).items == []

    run(main)


def test_schedulers_see_the_room_that_daemons_take_and_a_full_node_gets_its_daemon_when_there_is_room() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.resource_client()
            tenants = await claim(region, "n0", 7500)
            await client.create(daemonset())
            await trio.sleep(35)  # It is tried every 15 seconds by now.
            assert sorted(await images(region)) == ["n1", "n2"], "n0 is full, and keeps nobody else waiting"
            events = [each.rest for each in (await client.list("events")).items]
            assert any(each["reason"] == "FailedPlacement" and "n0" in each["message"] for each in events)
            with pytest.raises(Conflict, match="7 is free"):
                await claim(region, "n1", 7500)
            await region.tenant_client().delete("pods", tenants.key, grace_seconds=0)
            await trio.sleep(1)
            assert sorted(await images(region)) == ["n0", "n1", "n2"]

    run(main)


def test_daemons_go_on_while_tenant_partitions_are_away() -> None:
    async def main() -> None:
        async with open_region() as region:
            region.links["tp-1"].cut()
            async with manager(region):
                await region.resource_client().create(daemonset())
                await trio.sleep(120)
                assert len(await images(region)) == 3
                assert (await status_of(region))["numberAvailable"] == 3

    run(main)


def test_the_daemon_of_a_node_that_is_gone_goes_after_a_while() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            client = region.resource_client()
            await client.create(daemonset())
            await trio.sleep(5)
            await client.delete("nodes", ObjectKey("", "", "n2"))
            await trio.sleep(10)
            assert sorted(await images(region)) == ["n0", "n1", "n2"], "its kubelet may register again"
            assert (await status_of(region))["desiredNumberScheduled"] == 2
            await trio.sleep(TenantControllerOptions().node_fence_seconds + 80)
            assert sorted(await images(region)) == ["n0", "n1"]
            assert len((await client.list("placements.ursa.dev")).items) == 2

    run(main)


def test_a_daemon_stays_on_a_node_that_cannot_be_reached() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region, lost=("n1", "n2")):
            client = region.resource_client()
            await client.create(daemonset())
            await trio.sleep(5)
            uids = {pod.uid for pod in (await client.list("pods")).items}
            await trio.sleep(120)
            taints = (await client.get("nodes", ObjectKey("", "", "n1"))).spec["taints"]
            assert [taint["key"] for taint in taints] == ["node.kubernetes.io/unreachable"] * 2
            pods = (await client.list("pods")).items
            assert len(pods) == 3
            assert not any(pod.deletion_ms for pod in pods)
            assert uids <= {pod.uid for pod in pods}
            assert (await status_of(region))["numberMisscheduled"] == 2

    run(main)


def test_each_node_has_one_pod_over_lost_links_and_lives_of_the_controller() -> None:
    async def main() -> None:
        async with open_region() as region:
            client = region.resource_client()
            for number in range(6):
                await client.create(node(f"n{number}"))
            await client.create(daemonset())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kubelets, region)
                nursery.start_soon(heartbeats, region)
                for life in range(10):
                    if life == 5:
                        current = await client.get(RESOURCE, KEY)
                        await client.update(current.with_spec({**current.spec, "template": template("app:2", "1")}))
                    with trio.move_on_after(1 + life % 3):
                        await ResourceControllerManager(region.clients, "rp-1", actor(seed=life)).run()
                    region.links["rp-1"].cut()
                    await trio.sleep(0.3)
                    region.links["rp-1"].heal()
                    pods = (await client.list("pods")).items
                    assert len({pod.spec["nodeName"] for pod in pods}) == len(pods)
                with trio.move_on_after(60):
                    await ResourceControllerManager(region.clients, "rp-1", actor()).run()
                nursery.cancel_scope.cancel()
            assert list((await images(region)).values()) == ["app:2"] * 6

    run(main)


def test_a_quiet_set_writes_nothing_and_nobody_asks_about_its_placements() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region):
            await region.resource_client().create(daemonset(minReadySeconds=5))
            await trio.sleep(30)
            messages = len(region.trace)
            await trio.sleep(300)
            quiet = region.trace[messages:]
            assert not [line for line in quiet if " Mutate > " in line or " Get > " in line]

    run(main)
