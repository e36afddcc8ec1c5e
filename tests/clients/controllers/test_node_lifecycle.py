"""Silent nodes, and links that only seem to be silent nodes, under the real manager of a resource partition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from ursa.clients.controllers import ResourceControllerManager, ResourceControllerOptions
from ursa.proto.errors import NotFound
from ursa.proto.objects import Object, ObjectKey, format_time

from .region import Region, actor, key, manifest, node, open_region, pod_template, run

LEASES = "leases.coordination.k8s.io"
OPTIONS = ResourceControllerOptions(toleration_seconds=60)


class Kubelets:
    """They renew the leases of their nodes, until told not to."""

    def __init__(self, region: Region, *names: str) -> None:
        self.region = region
        self.alive = list(names)
        self.observer = actor()  # Of the controllers.

    async def run(self) -> None:
        for name in self.alive:
            await self.region.resource_client().create(node(name))
        while True:
            for name in self.alive:
                await self.renew(name)
            await trio.sleep(10)

    async def renew(self, name: str) -> None:
        client = self.region.resource_client()
        renewed = {"holderIdentity": name, "renewTime": format_time(actor().clock.now_ms())}
        lease_key = ObjectKey("system", "kube-node-lease", name)
        try:
            lease = await client.get(LEASES, lease_key)
        except NotFound:
            metadata = {"name": name, "namespace": "kube-node-lease", "tenant": "system"}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": renewed}
            await client.create(Object.from_dict(lease))
        else:
            await client.update(lease.with_spec(renewed))


@asynccontextmanager
async def manager(region: Region, *names: str) -> AsyncIterator[Kubelets]:
    kubelets = Kubelets(region, *names)
    this = ResourceControllerManager(region.clients, "rp-1", kubelets.observer, OPTIONS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.run)
        nursery.start_soon(kubelets.run)
        await trio.sleep(2)
        assert all(this.ready().values())
        yield kubelets
        nursery.cancel_scope.cancel()


async def pod_on(region: Region, name: str, node_name: str, tp: str = "tp-1", **spec: Any) -> None:
    created = await region.tenant_client(tp).create(manifest("Pod", name, spec=pod_template(**spec)["spec"]))
    await region.place(created, node_name, tp=tp)
    await region.run_pod(created, node_name, tp=tp)


async def terminating(region: Region, tp: str = "tp-1") -> list[str]:
    return [pod.name for pod in await region.pods(tp) if pod.deletion_ms]


async def taints(region: Region, name: str) -> list[str]:
    found = await region.resource_client().get("nodes", ObjectKey("", "", name))
    return sorted(taint["effect"] for taint in found.spec.get("taints") or ())


async def ready(region: Region, name: str) -> str:
    found = await region.resource_client().get("nodes", ObjectKey("", "", name))
    return str(next(each for each in found.status["conditions"] if each["type"] == "Ready")["status"])


def test_a_silent_node_is_tainted_loses_its_pods_when_they_tolerate_it_no_longer_and_comes_back() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2) as region, manager(region, "n1", "n2") as kubelets:
            forever = [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}]
            for tp in ("tp-1", "tp-2"):
                await pod_on(region, "web", "n1", tp)
            await pod_on(region, "patient", "n1", tolerations=forever)
            await pod_on(region, "other", "n2")
            kubelets.alive.remove("n1")
            await trio.sleep(25)
            assert await taints(region, "n1") == []
            await trio.sleep(35)
            assert await taints(region, "n1") == ["NoExecute", "NoSchedule"]
            assert (await ready(region, "n1"), await ready(region, "n2")) == ("Unknown", "True")
            assert await terminating(region) == []
            await trio.sleep(90)
            assert (await terminating(region), await terminating(region, "tp-2")) == (["web"], ["web"])
            kubelets.alive.append("n1")
            await trio.sleep(30)
            assert await taints(region, "n1") == []
            assert await ready(region, "n1") == "True"

    run(main)


def test_a_resource_partition_out_of_sight_has_no_dead_nodes() -> None:
    """Kubernetes #121793: leases that nobody could see were taken for leases that nobody renewed."""

    async def main() -> None:
        async with open_region() as region, manager(region, "n1", "n2") as kubelets:
            await pod_on(region, "web", "n1")
            for _ in range(6):
                region.links["rp-1"].cut()
                await trio.sleep(100)
                region.links["rp-1"].heal()
                await trio.sleep(30)
                assert await taints(region, "n1") == []
            # And one that dies while nobody looks is found out after a whole grace period.
            region.links["rp-1"].cut()
            kubelets.alive.remove("n1")
            await trio.sleep(100)
            region.links["rp-1"].heal()
            await trio.sleep(35)
            assert await taints(region, "n1") == []
            await trio.sleep(20)
            assert await taints(region, "n1") == ["NoExecute", "NoSchedule"]

    run(main)


def test_when_all_nodes_fall_silent_no_pod_is_lost() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region, "n1", "n2", "n3") as kubelets:
            for name in ("n1", "n2", "n3"):
                await pod_on(region, f"on-{name}", name)
            silent, kubelets.alive = kubelets.alive, []
            await trio.sleep(1000)
            assert await ready(region, "n1") == "Unknown"
            assert await terminating(region) == []
            kubelets.alive = silent
            await trio.sleep(60)
            assert [await taints(region, name) for name in silent] == [[], [], []]
            assert await terminating(region) == []

    run(main)


def test_of_each_zone_it_is_told_how_many_nodes_it_has_and_lacks() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region, "n1", "n2", "n3") as kubelets:
            for name, zone in (("n2", "a"), ("n3", "a")):
                labels = {"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}}
                await region.resource_client().patch("nodes", ObjectKey("", "", name), labels)
            kubelets.alive.remove("n3")
            await trio.sleep(100)

            def told(zone: str) -> tuple[float | None, float | None]:
                names = "node_collector_zone_size", "node_collector_unhealthy_nodes_in_zone"
                labels = {"partition": "rp-1", "zone": zone}
                size, lost = (kubelets.observer.registry.get_sample_value(each, labels) for each in names)
                return size, lost

            assert (told("<none>"), told("a")) == ((1, 0), (2, 1))
            for name in ("n2", "n3"):
                await region.resource_client().delete("nodes", ObjectKey("", "", name))
            await trio.sleep(20)
            assert (told("<none>"), told("a")) == ((1, 0), (None, None))

    run(main)


def test_an_eviction_waits_for_a_tenant_partition_that_is_away_and_not_for_the_others() -> None:
    async def main() -> None:
        async with open_region(tenant_partitions=2) as region, manager(region, "n1", "n2") as kubelets:
            for tp in ("tp-1", "tp-2"):
                await pod_on(region, "web", "n1", tp)
            kubelets.alive.remove("n1")
            region.links["tp-1"].cut()
            await trio.sleep(200)
            assert (await terminating(region, "tp-1"), await terminating(region, "tp-2")) == ([], ["web"])
            region.links["tp-1"].heal()
            await trio.sleep(60)
            assert await terminating(region, "tp-1") == ["web"]

    run(main)


def test_an_evicted_pod_keeps_its_placement_until_it_is_gone() -> None:
    async def main() -> None:
        async with open_region() as region, manager(region, "n1", "n2") as kubelets:
            await pod_on(region, "web", "n1")
            kubelets.alive.remove("n1")
            await trio.sleep(300)
            assert await terminating(region) == ["web"]
            placements = "placements.ursa.dev"
            assert len((await region.resource_client().list(placements)).items) == 1
            await region.tenant_client().delete("pods", key("web"), grace_seconds=0)
            await trio.sleep(2)
            assert (await region.resource_client().list(placements)).items == []

    run(main)


def test_the_lease_of_a_node_that_is_gone_goes_too_unless_it_is_still_renewed() -> None:
    """Arktos #1106: they stayed for ever."""

    async def main() -> None:
        async with open_region() as region, manager(region, "n1", "n2", "n3") as kubelets:
            kubelets.alive.remove("n1")
            for name in ("n1", "n2"):
                await region.resource_client().delete("nodes", ObjectKey("", "", name))
            await trio.sleep(500)
            assert len((await region.resource_client().list(LEASES, namespace="kube-node-lease")).items) == 3
            await trio.sleep(200)
            leases = (await region.resource_client().list(LEASES, namespace="kube-node-lease")).items
            assert [lease.name for lease in leases] == ["n2", "n3"]
            await region.resource_client().create(node("n2"))
            await trio.sleep(100)
            assert await taints(region, "n2") == []

    run(main)
