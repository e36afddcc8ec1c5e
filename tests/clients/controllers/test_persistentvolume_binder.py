"""Claims get volumes, and volumes lose their claims, under the real manager and against real apiservers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from ursa.clients.controllers import TenantControllerManager
from ursa.clients.controllers.persistentvolume_binder import PersistentVolumeBinder
from ursa.clients.events import EventRecorder
from ursa.clients.informer import Informer
from ursa.clients.spanning import SpanningInformer
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.volumes import HOLLOW_PROVISIONER, SELECTED_NODE, SELECTED_PARTITION

from .region import Region, actor, key, node, open_region, run
from .volume_objects import CLAIMS, CLASSES, VOLUMES, ZONE, claim, storage_class, volume

SOON = 5.0


@asynccontextmanager
async def managed(**partitions: int) -> AsyncIterator[Region]:
    async with open_region(**partitions) as region, trio.open_nursery() as nursery:
        nursery.start_soon(TenantControllerManager(region.clients, "tp-1", actor()).run)
        yield region
        nursery.cancel_scope.cancel()


async def create(region: Region, *objects: Object) -> None:
    for obj in objects:
        await region.tenant_client().create(obj)


async def claim_of(region: Region, name: str) -> Object:
    return await region.tenant_client().get(CLAIMS, key(name))


async def volume_of(region: Region, name: str) -> Object:
    return await region.tenant_client().get(VOLUMES, ObjectKey("acme", "", name))


async def bindings(region: Region) -> dict[str, str]:
    """Which claim each volume is bound to; whatever is bound is bound on both sides."""
    claims = {each.name: each for each in (await region.tenant_client().list(CLAIMS)).items}
    found = {}
    for each in (await region.tenant_client().list(VOLUMES)).items:
        if each.status["phase"] == "Bound":
            bound = claims[each.spec["claimRef"]["name"]]
            assert each.spec["claimRef"]["uid"] == bound.uid
            assert bound.spec["volumeName"] == each.name
            assert bound.status["phase"] == "Bound"
            assert bound.status["capacity"] == each.spec["capacity"]
            found[each.name] = bound.name
    assert len(found) == sum(each.status["phase"] == "Bound" for each in claims.values())
    return found


async def reasons(region: Region, name: str) -> list[str]:
    events = (await region.tenant_client().list("events")).items
    return [each.rest["reason"] for each in events if each.rest["involvedObject"]["name"] == name]


def test_a_claim_gets_the_smallest_volume_that_will_do_whoever_comes_first() -> None:
    volumes = [
        volume("large", "10Gi"),
        volume("small", "1Gi"),
        volume("middle", "5Gi"),
        volume("other", "5Gi", "another"),
        volume("block", "5Gi", volumeMode="Block"),
        volume("many", "4Gi", accessModes=["ReadWriteMany"]),
    ]

    async def main(volumes_first: bool) -> None:
        async with managed() as region:
            wanted = [claim("c", "3Gi")]
            await create(region, *(volumes if volumes_first else wanted))
            await trio.sleep(SOON)
            await create(region, *(wanted if volumes_first else volumes))
            await trio.sleep(SOON)
            assert await bindings(region) == ({"middle": "c"} if volumes_first else {"large": "c"})
            phases = [each.status["phase"] for each in (await region.tenant_client().list(VOLUMES)).items]
            assert sorted(phases) == ["Available"] * 5 + ["Bound"]

    run(lambda: main(True))
    run(lambda: main(False))


def test_a_claim_says_which_volumes_it_wants() -> None:
    async def main() -> None:
        async with managed() as region:
            await create(
                region,
                volume("v1"),
                volume("v2", labels={"disk": "ssd"}),
                volume("v3", "9Gi", claimRef={"namespace": "default", "name": "reserved"}),
                volume("v4", "2Gi"),
                claim("selects", selector={"matchLabels": {"disk": "ssd"}}),
                claim("reserved", "8Gi"),
                claim("names", volumeName="v4"),
                claim("too-large", "99Gi"),
            )
            await trio.sleep(SOON)
            assert await bindings(region) == {"v2": "selects", "v3": "reserved", "v4": "names"}
            assert (await claim_of(region, "too-large")).status["phase"] == "Pending"

    run(main)


def test_no_volume_goes_to_two_claims_when_many_come_at_once() -> None:
    async def main() -> None:
        async with managed() as region:
            await create(region, *(volume(f"v{number}") for number in range(20)))
            await create(region, *(claim(f"c{number}") for number in range(25)))
            await trio.sleep(30)
            assert len(dict.fromkeys((await bindings(region)).values())) == 20
            await create(region, *(volume(f"w{number}") for number in range(5)))
            await trio.sleep(30)
            assert len(dict.fromkeys((await bindings(region)).values())) == 25

    run(main)


@pytest.mark.parametrize(("policy", "left"), [("Retain", ["v"]), ("Delete", [])])
def test_a_volume_whose_claim_is_gone_is_released_or_deleted(policy: str, left: list[str]) -> None:
    async def main() -> None:
        async with managed() as region:
            await create(region, volume("v", persistentVolumeReclaimPolicy=policy), claim("c"))
            await trio.sleep(SOON)
            assert await bindings(region) == {"v": "c"}
            await region.tenant_client().delete(CLAIMS, key("c"))
            await create(region, claim("c"))  # Of the same name: what the volume holds is not this one's.
            await trio.sleep(SOON)
            volumes = (await region.tenant_client().list(VOLUMES)).items
            assert [each.name for each in volumes] == left
            assert all(each.status["phase"] == "Released" for each in volumes)
            assert (await claim_of(region, "c")).status["phase"] == "Pending"

    run(main)


def test_a_volume_is_not_taken_back_because_the_view_does_not_show_its_claim() -> None:
    """Only the partition says that a claim is gone."""

    async def main() -> None:
        async with open_region() as region, trio.open_nursery() as nursery:
            shown = claim("c").with_metadata(labels={"shown": "yes"})
            await create(region, volume("v", persistentVolumeReclaimPolicy="Delete"), shown)
            async with trio.open_nursery() as first:
                first.start_soon(TenantControllerManager(region.clients, "tp-1", actor()).run)
                await trio.sleep(SOON)
                first.cancel_scope.cancel()
            client = region.clients.tenant_clients["tp-1"]
            blind = Informer(client, CLAIMS, label_selector="shown=no")
            volumes, classes = Informer(client, VOLUMES), Informer(client, CLASSES)
            nodes = SpanningInformer(region.clients.resource_clients, "nodes")
            events = EventRecorder(client, actor(), "test")
            binder = PersistentVolumeBinder(client, blind, volumes, classes, nodes, events, actor())
            for part in (blind, volumes, classes, nodes, events, binder):
                nursery.start_soon(part.run)
            await trio.sleep(SOON)
            assert volumes.objects
            assert await bindings(region) == {"v": "c"}
            await region.tenant_client().delete(CLAIMS, key("c"))
            await trio.sleep(SOON)
            assert not (await region.tenant_client().list(VOLUMES)).items, "now the partition has said so"
            nursery.cancel_scope.cancel()

    run(main)


def test_a_claim_whose_volume_is_gone_is_lost() -> None:
    async def main() -> None:
        async with managed() as region:
            await create(region, volume("v"), claim("c"))
            await trio.sleep(SOON)
            await region.tenant_client().delete(VOLUMES, ObjectKey("acme", "", "v"))
            await trio.sleep(SOON)
            assert (await claim_of(region, "c")).status["phase"] == "Lost"
            assert "ClaimLost" in await reasons(region, "c")

    run(main)


def hollow(name: str = "hollow", **fields: Any) -> Object:
    return storage_class(name, provisioner=HOLLOW_PROVISIONER, **fields)


def test_a_class_with_a_provisioner_makes_volumes_and_takes_them_back() -> None:
    async def main() -> None:
        async with managed() as region:
            await create(region, hollow(zones=["a", "b"]), claim("c", "3Gi", "hollow", accessModes=["ReadWriteMany"]))
            await trio.sleep(SOON)
            [(name, _)] = (await bindings(region)).items()
            made = await volume_of(region, name)
            assert made.spec["capacity"] == {"storage": "3Gi"}
            assert made.spec["accessModes"] == ["ReadWriteMany"]
            [term] = made.spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
            assert term == {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["a", "b"]}]}
            await region.tenant_client().delete(CLAIMS, key("c"))
            await trio.sleep(SOON)
            assert not (await region.tenant_client().list(VOLUMES)).items

    run(main)


def test_the_default_class_is_given_to_claims_that_name_none_even_late() -> None:
    async def main() -> None:
        async with managed() as region:
            await create(region, claim("c", class_name=None), claim("none", class_name=""))
            await trio.sleep(SOON)
            await create(region, hollow(default=True))
            await trio.sleep(SOON)
            assert list((await bindings(region)).values()) == ["c"]
            assert (await claim_of(region, "c")).spec["storageClassName"] == "hollow"

    run(main)


def select(obj: Object, partition: str, name: str) -> Object:
    chosen = {SELECTED_NODE: name, SELECTED_PARTITION: partition}
    return obj.with_metadata(annotations={**obj.annotations, **chosen})


def test_a_class_that_waits_makes_a_volume_where_the_node_is_that_was_chosen() -> None:
    async def main() -> None:
        async with managed(resource_partitions=2) as region:
            for partition, zone in (("rp-1", "a"), ("rp-2", "b")):
                made = node("same").with_metadata(labels={ZONE: zone})
                await region.resource_client(partition).create(made)
            await create(region, hollow(waits=True), claim("c", class_name="hollow"))
            await trio.sleep(SOON)
            assert await bindings(region) == {}
            assert "WaitForFirstConsumer" in await reasons(region, "c")
            await region.tenant_client().update(select(await claim_of(region, "c"), "rp-2", "same"))
            await trio.sleep(SOON)
            [(name, _)] = (await bindings(region)).items()
            assert (await volume_of(region, name)).labels[ZONE] == "b"

    run(main)


@pytest.mark.parametrize("chosen", ["elsewhere", "gone"])
def test_of_a_node_where_no_volume_can_be_another_is_chosen(chosen: str) -> None:
    async def main() -> None:
        async with managed() as region:
            await region.resource_client().create(node("elsewhere").with_metadata(labels={ZONE: "c"}))
            await create(region, hollow(waits=True, zones=["a", "b"]), claim("c", class_name="hollow"))
            await trio.sleep(SOON)
            await region.tenant_client().update(select(await claim_of(region, "c"), "rp-1", chosen))
            await trio.sleep(SOON)
            assert SELECTED_NODE not in (await claim_of(region, "c")).annotations
            assert "ProvisioningFailed" in await reasons(region, "c")

    run(main)


def test_of_two_volumes_for_one_claim_the_other_is_free_again() -> None:
    async def main() -> None:
        async with open_region() as region:
            # A scheduler and the controller have each given the claim one, and the claim has been told of the first.
            await create(region, claim("c", volumeName="v1"))
            uid = (await claim_of(region, "c")).uid
            reference = {"namespace": "default", "name": "c", "uid": uid}
            ours = {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}
            made = volume("v2", claimRef=reference).with_metadata(annotations=ours["annotations"])
            await create(region, volume("v1", claimRef=reference), made)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(TenantControllerManager(region.clients, "tp-1", actor()).run)
                await trio.sleep(SOON)
                assert await bindings(region) == {"v1": "c"}
                other = await volume_of(region, "v2")
                assert "claimRef" not in other.spec
                assert other.status["phase"] == "Available"
                nursery.cancel_scope.cancel()

    run(main)


def test_a_controller_that_is_replaced_at_any_moment_leaves_nothing_half_bound() -> None:
    async def main() -> None:
        for milliseconds in (1, 5, 12, 20, 35, 60):
            async with open_region() as region:
                await create(region, hollow(), *(volume(f"v{number}") for number in range(5)))
                for _ in range(2):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(TenantControllerManager(region.clients, "tp-1", actor()).run)
                        await trio.sleep(1)
                        await create(
                            region, *(claim(f"c{trio.current_time()}-{n}".replace(".", "-")) for n in range(2))
                        )
                        await create(region, claim(f"h{trio.current_time()}".replace(".", "-"), class_name="hollow"))
                        await trio.sleep(milliseconds / 1000)
                        nursery.cancel_scope.cancel()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(TenantControllerManager(region.clients, "tp-1", actor()).run)
                    await trio.sleep(30)
                    assert len(await bindings(region)) == 6
                    assert len((await region.tenant_client().list(VOLUMES)).items) == 7
                    nursery.cancel_scope.cancel()

    run(main)
