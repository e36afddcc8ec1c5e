"""Pods with claims on nodes of two resource partitions: a whole scheduler and the real controllers, over links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from ursa.clients.controllers import TenantControllerManager
from ursa.clients.scheduler import SchedulerOptions
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.volumes import HOLLOW_PROVISIONER, SELECTED_NODE

from ..controllers.volume_objects import CLAIMS, VOLUMES, ZONE, claim, storage_class, volume
from ..worlds import run
from .objects import node, pod
from .test_scheduler_end_to_end import Region, _actor, _without_uid, eventually

ZONES = {"rp-1": "a", "rp-2": "b"}


def using(name: str, *claims: str, **requests: str) -> Object:
    volumes = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in claims]
    return _without_uid(pod(name, requests or {"cpu": "1"}, volumes=volumes))


class World(Region):
    """A node in each of two zones, which are one in each resource partition; both are called `same`."""

    @asynccontextmanager
    async def opened(
        self, *objects: Object, options: SchedulerOptions | None = None, controllers: bool = True
    ) -> AsyncIterator[World]:
        async with self.open():
            for partition, zone in ZONES.items():
                made = _without_uid(node("same", labels={ZONE: zone}))
                await self.write(self.clients.resource_clients[partition], [made])
            await self.create(*objects)
            if controllers:
                self.start_controllers()
            self.scheduler = await self.start_scheduler("tp-1", options=options)
            yield self

    def start_controllers(self) -> None:
        async def controllers() -> None:
            actor = _actor("controllers")
            async with self.open_clients(actor) as clients:
                await TenantControllerManager(clients, "tp-1", actor).run()

        self._nursery.start_soon(controllers)

    @property
    def home(self) -> Any:
        return self.clients.tenant_clients["tp-1"]

    async def create(self, *objects: Object) -> None:
        await self.write(self.home, objects)

    async def bound(self) -> dict[str, str]:
        """The zone of each bound pod."""
        pods = (await self.home.list("pods")).items
        return {each.name: ZONES[each.spec["resourcePartition"]] for each in pods if each.spec.get("nodeName")}

    async def claims_bound(self) -> dict[str, str]:
        """The volume of each bound claim; the pods that use one that is not are not bound."""
        found = (await self.home.list(CLAIMS)).items
        return {each.name: each.spec["volumeName"] for each in found if each.status["phase"] == "Bound"}

    async def events_of(self, name: str) -> list[str]:
        found = (await self.home.list("events")).items
        return [each.rest["message"] for each in found if each.rest["involvedObject"]["name"] == name]

    async def wait_for(self, bound: Mapping[str, str]) -> None:
        async def so() -> bool:
            return await self.bound() == bound

        await eventually(so)


WAITS = storage_class("local", waits=True)


def test_a_pod_goes_to_the_zone_of_the_volume_that_its_claim_waits_for_and_takes_it() -> None:
    async def main() -> None:
        volumes = [volume("v", "1Gi", "local", zone="b"), volume("small", "500Mi", "local", zone="a")]
        async with World().opened(WAITS, *volumes, claim("c", class_name="local")) as world:
            await trio.sleep(5)
            assert await world.claims_bound() == {}
            await world.create(using("p", "c"))
            await world.wait_for({"p": "b"})
            assert await world.claims_bound() == {"c": "v"}
            bound = await world.home.get(VOLUMES, ObjectKey("acme", "", "v"))
            assert (bound.spec["claimRef"]["name"], bound.status["phase"]) == ("c", "Bound")

    run(main)


def test_a_pod_follows_a_claim_that_was_bound_at_once() -> None:
    async def main() -> None:
        objects = [volume("v", zone="b"), claim("c")]
        async with World().opened(*objects) as world:
            await world.create(*(using(f"p{number}", "c") for number in range(3)))
            await world.wait_for({f"p{number}": "b" for number in range(3)})

    run(main)


def test_a_volume_is_made_where_the_pod_is_and_others_that_use_it_follow() -> None:
    async def main() -> None:
        made = storage_class("hollow", waits=True, provisioner=HOLLOW_PROVISIONER, zones=["b", "c"])
        wanted = claim("c", class_name="hollow", accessModes=["ReadWriteMany"])
        async with World().opened(made, wanted) as world:
            await world.create(*(using(f"p{number}", "c") for number in range(3)))
            await world.wait_for({f"p{number}": "b" for number in range(3)})
            [name] = (await world.claims_bound()).values()
            assert (await world.home.get(VOLUMES, ObjectKey("acme", "", name))).labels[ZONE] == "b"
            assert (await world.home.get(CLAIMS, ObjectKey("acme", "default", "c"))).annotations[
                SELECTED_NODE
            ] == "same"
            await trio.sleep(5)
            assert [each for number in range(3) for each in await world.events_of(f"p{number}")] == []

    run(main)


def test_a_pod_whose_claim_is_missing_says_so_and_others_go_on() -> None:
    async def main() -> None:
        async with World().opened(volume("v", zone="a")) as world:
            await world.create(using("waits", "c"), _without_uid(pod("plain", {"cpu": "1"})))

            async def told() -> bool:
                return bool(await world.events_of("waits"))

            await eventually(told)
            await trio.sleep(5)
            [message] = await world.events_of("waits")
            assert message == '0/2 nodes are available: 2 persistentvolumeclaim "c" not found.'
            assert list(await world.bound()) == ["plain"]
            await world.create(claim("c"))
            await eventually(lambda: _has(world, "waits", "a"))

    run(main)


async def _has(world: World, name: str, zone: str) -> bool:
    return (await world.bound()).get(name) == zone


def test_a_pod_waits_for_the_controller_to_bind_what_is_bound_at_once() -> None:
    async def main() -> None:
        async with World().opened(claim("c"), using("p", "c"), controllers=False) as world:
            await trio.sleep(10)
            [message] = await world.events_of("p")
            assert message == "0/2 nodes are available: 2 pod has unbound immediate PersistentVolumeClaims."
            world.start_controllers()
            await world.create(volume("v", zone="b"))
            await world.wait_for({"p": "b"})

    run(main)


def test_of_two_pods_for_one_volume_one_waits() -> None:
    async def main() -> None:
        objects = [volume("v", "1Gi", "local", zone="a"), *(claim(f"c{n}", class_name="local") for n in range(2))]
        async with World().opened(WAITS, *objects) as world:
            await world.create(using("p0", "c0"), using("p1", "c1"))
            await trio.sleep(10)
            assert len(await world.bound()) == len(await world.claims_bound()) == 1
            [late] = [name for name in ("p0", "p1") if name not in await world.bound()]
            assert "2 node(s) didn't find available persistent volumes to bind" in (await world.events_of(late))[0]
            await world.create(volume("w", "1Gi", "local", zone="b"))
            await eventually(lambda: _has(world, late, "b"))
            assert len(await world.claims_bound()) == 2

    run(main)


def test_a_pod_with_several_claims_goes_where_all_of_them_can_be_had() -> None:
    async def main() -> None:
        made = storage_class("hollow", waits=True, provisioner=HOLLOW_PROVISIONER)
        objects = [volume("a1", "1Gi", "local", zone="a"), *(volume(f"b{n}", "1Gi", "local", zone="b") for n in (1, 2))]
        claims = [claim("c1", class_name="local"), claim("c2", class_name="local"), claim("c3", class_name="hollow")]
        async with World().opened(WAITS, made, *objects, *claims) as world:
            await world.create(using("p", "c1", "c2", "c3"))
            await world.wait_for({"p": "b"})
            bound = await world.claims_bound()
            assert sorted((bound["c1"], bound["c2"])) == ["b1", "b2"]
            assert (await world.home.get(VOLUMES, ObjectKey("acme", "", bound["c3"]))).labels[ZONE] == "b"

    run(main)


def test_a_scheduler_that_is_replaced_at_any_moment_leaves_no_pod_without_its_volumes() -> None:
    async def main() -> None:
        for milliseconds in (3, 6, 9, 13, 18, 25, 40):
            made = storage_class("hollow", waits=True, provisioner=HOLLOW_PROVISIONER)
            volumes = [volume(f"v{n}", "1Gi", "local", zone="ab"[n % 2]) for n in range(4)]
            async with World().opened(WAITS, made, *volumes) as world:
                await trio.sleep(1)
                names = [f"c{number}" for number in range(6)]
                await world.create(*(claim(each, class_name="local" if each < "c3" else "hollow") for each in names))
                await world.create(*(using(f"p-{each}", each) for each in names))
                await trio.sleep(milliseconds / 1000)
                world.kill("scheduler-tp-1")
                await world.start_scheduler("tp-1", "second")
                await world.wait_bound("tp-1", 6)
                bound = await world.claims_bound()
                assert sorted(bound) == names
                zones = await world.bound()
                for each in names:
                    at = (await world.home.get(VOLUMES, ObjectKey("acme", "", bound[each]))).labels[ZONE]
                    assert zones[f"p-{each}"] == at

    run(main)


def test_a_scheduler_of_pods_without_claims_does_not_follow_volumes() -> None:
    async def main() -> None:
        async with World().opened(volume("v", zone="a")) as world:
            await world.create(*(_without_uid(pod(f"p{number}", {"cpu": "1"})) for number in range(3)))
            await eventually(lambda: _count(world, 3))
            assert world.scheduler._volumes == []
            await world.create(claim("c"), using("q", "c"))
            await eventually(lambda: _count(world, 4))
            assert len(world.scheduler._volumes) == 3

    run(main)


async def _count(world: World, count: int) -> bool:
    return len(await world.bound()) == count
