"""An owner in a partition of the other role is gone when all of them say so, and not because one is silent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from ursa.clients.controllers.foreign_owners_core import (
    GAP_SECONDS_MAX,
    QUARANTINE_SECONDS,
    Fate,
    ForeignOwnersCore,
    fate_of,
)
from ursa.clients.controllers.garbage_collector import GarbageCollector
from ursa.clients.controllers.managers import TenantControllerManager
from ursa.clients.controllers.owners import Item
from ursa.clients.informer import Informer
from ursa.clients.registry_core import ACTIVE, REMOVED, Entry, entry_object
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey

from .region import Region, actor, key, manifest, node, open_region, pod_template, run

SOON = 2.0
# The quarantine, and the longest pause between two questions.
LATER = QUARANTINE_SECONDS + 40.0
LONG = 1000.0
PLACEMENTS = "placements.ursa.dev"


def reference(owner: Object, *, blocking: bool = False, **changes: Any) -> dict[str, Any]:
    named = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
    return {**named, "blockOwnerDeletion": blocking, **changes}


@asynccontextmanager
async def collectors(region: Region, *homes: str) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for home in homes:
            nursery.start_soon(GarbageCollector(region.clients, home, [], actor(home)).run)
        await trio.sleep(SOON)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(resource_partitions: int = 2, homes: Sequence[str] = ("tp-1",)) -> AsyncIterator[Region]:
    async with AsyncExitStack() as stack:
        region = await stack.enter_async_context(open_region(1, resource_partitions))
        await stack.enter_async_context(collectors(region, *homes))
        yield region


async def config(region: Region, name: str, *owners: dict[str, Any]) -> None:
    await region.tenant_client().create(manifest("ConfigMap", name, metadata={"ownerReferences": list(owners)}))


async def configs(region: Region) -> list[str]:
    return [each.name for each in (await region.tenant_client().list("configmaps")).items]


async def delete_node(region: Region, name: str, rp: str = "rp-1", propagation: str = "") -> None:
    await region.resource_client(rp).delete("nodes", ObjectKey("", "", name), propagation=propagation)


def test_what_a_node_owns_goes_after_it_and_not_before_it_was_missing_everywhere_for_a_while() -> None:
    async def main() -> None:
        async with opened() as region:
            owner = await region.resource_client("rp-2").create(node("n1"))
            await region.resource_client("rp-1").create(node("n1"))  # Another of its name.
            await config(region, "a", reference(owner))
            await trio.sleep(LONG)
            assert await configs(region) == ["a"]
            await delete_node(region, "n1", "rp-2")
            await trio.sleep(QUARANTINE_SECONDS / 2)
            assert await configs(region) == ["a"]
            await trio.sleep(LATER)
            assert await configs(region) == []

    run(main)


def test_a_partition_that_does_not_answer_may_have_the_owner() -> None:
    async def main() -> None:
        async with opened() as region:
            owner = await region.resource_client("rp-1").create(node("n1"))
            await config(region, "a", reference(owner))
            region.links["rp-2"].cut()
            await delete_node(region, "n1")
            await trio.sleep(LONG)
            assert await configs(region) == ["a"]
            region.links["rp-2"].heal()
            await trio.sleep(LATER)
            assert await configs(region) == []

    run(main)


def test_while_owners_elsewhere_cannot_be_asked_about_those_at_home_are() -> None:
    async def main() -> None:
        async with opened() as region:
            elsewhere = await region.resource_client("rp-1").create(node("n1"))
            await config(region, "a", reference(elsewhere))
            region.links["rp-1"].cut()
            await trio.sleep(LONG)
            owner = await region.tenant_client().create(manifest("ConfigMap", "owner"))
            await config(region, "b", reference(owner))
            await region.tenant_client().delete("configmaps", key("owner"))
            await trio.sleep(SOON)
            assert await configs(region) == ["a"]

    run(main)


def test_a_partition_that_only_a_resource_partition_knows_of_may_have_the_owner() -> None:
    """It was added, and home has not learned of it yet, nor has the collector a client of it."""

    async def main() -> None:
        async with opened() as region:
            owner = await region.resource_client("rp-1").create(node("n1"))
            await config(region, "a", reference(owner))
            added = Entry(1, ACTIVE, "somewhere", Role.RESOURCE, "rp-3")
            await region.resource_client("rp-2").create(entry_object(added))
            await delete_node(region, "n1")
            await trio.sleep(LONG)
            assert await configs(region) == ["a"]
            removed = entry_object(added.changed(state=REMOVED))
            await region.resource_client("rp-1").create(removed)  # The newer of the two is believed.
            await trio.sleep(LATER)
            assert await configs(region) == []

    run(main)


def test_with_a_removed_partition_goes_what_was_owned_there() -> None:
    async def main() -> None:
        async with open_region(resource_partitions=2) as region:
            owner = await region.resource_client("rp-2").create(node("n2"))
            other = await region.resource_client("rp-1").create(node("n1"))
            await config(region, "a", reference(owner))
            await config(region, "b", reference(other))
            manager = TenantControllerManager(region.clients, "tp-1", actor())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(manager.run)
                await trio.sleep(SOON)
                region.links["rp-2"].cut()
                await trio.sleep(LONG)
                assert await configs(region) == ["a", "b"]
                region.clients.remove("rp-2")
                await trio.sleep(LATER)
                assert await configs(region) == ["b"]
                nursery.cancel_scope.cancel()

    run(main)


def test_a_node_that_is_in_sight_needs_no_questions() -> None:
    async def main() -> None:
        async with open_region() as region:
            owner = await region.resource_client().create(node("n1"))
            manager = TenantControllerManager(region.clients, "tp-1", actor())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(manager.run)
                await trio.sleep(SOON)
                await config(region, "a", reference(owner))
                await trio.sleep(LONG)
                registry = region.clients.resource_clients["rp-1"].actor.registry
                labels = {"host": "rp-1", "method": "Get", "code": "200"}
                assert not registry.get_sample_value("rest_client_requests_total", labels)
                await delete_node(region, "n1")
                await trio.sleep(LATER)
                assert await configs(region) == []
                nursery.cancel_scope.cancel()

    run(main)


def test_an_owner_elsewhere_that_leaves_orphans_waits_until_they_have_forgotten_it() -> None:
    async def main() -> None:
        async with opened(homes=("rp-1",)) as region:
            owner = await region.resource_client().create(node("n1"))
            await config(region, "a", reference(owner))
            await delete_node(region, "n1", propagation="Orphan")
            await trio.sleep(LONG)
            assert await region.exists(region.resource_client(), "nodes", owner.key)
            async with collectors(region, "tp-1"):
                await trio.sleep(LATER)
                assert (await region.tenant_client().get("configmaps", key("a"))).owner_references == ()
                assert not await region.exists(region.resource_client(), "nodes", owner.key)
                await trio.sleep(LONG)
                assert await configs(region) == ["a"]

    run(main)


def test_in_the_foreground_an_owner_waits_for_what_blocks_it_elsewhere() -> None:
    async def main() -> None:
        async with opened(homes=("rp-1", "tp-1")) as region:
            owner = await region.resource_client().create(node("n1"))
            held = manifest("ConfigMap", "held", metadata={"ownerReferences": [reference(owner, blocking=True)]})
            held.message.metadata.finalizers.append("ursa.dev/test")
            await region.tenant_client().create(held)
            await delete_node(region, "n1", propagation="Foreground")
            await trio.sleep(LATER)
            assert (await region.tenant_client().get("configmaps", key("held"))).deletion_ms
            assert await region.exists(region.resource_client(), "nodes", owner.key)
            await region.tenant_client().patch("configmaps", key("held"), {"metadata": {"finalizers": []}})
            await trio.sleep(LATER)
            assert not await region.exists(region.resource_client(), "nodes", owner.key)

    run(main)


def test_an_owner_goes_with_orphans_only_when_every_partition_has_said_that_it_has_none() -> None:
    async def main() -> None:
        async with opened(homes=("rp-1",)) as region:
            owner = await region.resource_client().create(node("n1"))
            region.links["tp-1"].cut()
            await delete_node(region, "n1", propagation="Orphan")
            await trio.sleep(LONG)
            assert await region.exists(region.resource_client(), "nodes", owner.key)
            region.links["tp-1"].heal()
            await trio.sleep(LATER)
            assert not await region.exists(region.resource_client(), "nodes", owner.key)

    run(main)


def test_an_owner_waits_for_a_partition_that_may_have_orphans_and_is_no_member_yet() -> None:
    async def main() -> None:
        async with opened(homes=("rp-1",)) as region:
            owner = await region.resource_client().create(node("n1"))
            added = Entry(1, ACTIVE, "somewhere", Role.TENANT, "tp-2")
            await region.tenant_client("tp-1").create(entry_object(added))
            await delete_node(region, "n1", propagation="Orphan")
            await trio.sleep(LONG)
            assert await region.exists(region.resource_client(), "nodes", owner.key)

    run(main)


def test_a_placement_that_its_pod_owns_goes_after_it() -> None:
    """A Placement has no namespace; its owners are where its pod is."""

    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            pod = await region.tenant_client().create(manifest("Pod", "web", spec=pod_template()["spec"]))
            placement = await region.place(pod, "n1")
            owners = {"metadata": {"ownerReferences": [reference(pod)]}}
            await region.resource_client().patch(PLACEMENTS, placement.key, owners)
            async with trio.open_nursery() as nursery:
                informer = Informer(region.clients.resource_clients["rp-1"], PLACEMENTS)
                nursery.start_soon(informer.run)
                nursery.start_soon(GarbageCollector(region.clients, "rp-1", [informer], actor()).run)
                await trio.sleep(LONG)
                assert await region.exists(region.resource_client(), PLACEMENTS, placement.key)
                await region.tenant_client().delete("pods", pod.key)
                await trio.sleep(LATER)
                assert not await region.exists(region.resource_client(), PLACEMENTS, placement.key)
                nursery.cancel_scope.cancel()

    run(main)


def test_an_owner_elsewhere_is_not_for_this_collector_to_let_go() -> None:
    """With the manager's informers it sees the node that waits; only the collector there may write it."""

    async def main() -> None:
        async with open_region() as region:
            owner = await region.resource_client().create(node("n1"))
            own = actor()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(TenantControllerManager(region.clients, "tp-1", own).run)
                await trio.sleep(SOON)
                await config(region, "a", reference(owner))
                await delete_node(region, "n1", propagation="Orphan")
                await trio.sleep(LONG)
                assert (await region.tenant_client().get("configmaps", key("a"))).owner_references == ()
                assert own.registry.get_sample_value("ursa_garbage_collector_writes_total", {"verb": "patch"}) == 1
                retries = own.registry.get_sample_value("workqueue_retries_total", {"name": "garbage_collector"})
                assert retries is not None
                assert retries < 20, "it is tried again and again"
                nursery.cancel_scope.cancel()

    run(main)


# --------------------------------------------------------------------------------------------------------------- core

OWNER = Item("nodes", ObjectKey("", "", "n1"), "u")
PARTITIONS = ["rp-1", "rp-2", "rp-3"]
# What each partition would say, and whether it is silent; and how long until it is asked again.
ROUNDS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(PARTITIONS), st.sampled_from([Fate.GONE, Fate.GONE, Fate.GONE, Fate.LIVES])),
        st.sampled_from([5.0, 15.0, 35.0, 70.0]),
    ),
    max_size=12,
)


@given(ROUNDS)
def test_an_owner_is_gone_only_after_all_partitions_missed_it_again_and_again(
    rounds: list[tuple[dict[str, Fate], float]],
) -> None:
    core, now = ForeignOwnersCore(), 0.0
    missed_since: float | None = None
    asked_at = now
    for some, pause in rounds:
        now += pause
        answers = {name: some.get(name, Fate.GONE) for name in PARTITIONS if name in some or len(some) != 2}
        all_missed = len(answers) == len(PARTITIONS) and all(fate is Fate.GONE for fate in answers.values())
        if not all_missed:
            missed_since = None
        elif missed_since is None or now - asked_at > GAP_SECONDS_MAX:
            missed_since = now
        asked_at = now
        fate = core.judge(OWNER, answers, PARTITIONS, now)
        core.tidy(now)
        assert (fate is Fate.GONE) == (missed_since is not None and now - missed_since >= QUARANTINE_SECONDS)
        assert (fate is None) == (Fate.LIVES not in answers.values() and len(answers) < len(PARTITIONS))


def test_of_an_owner_it_matters_how_it_waits_for_its_dependents() -> None:
    def found(*finalizers: str, uid: str = "u", deletion_ms: int = 1) -> Object:
        obj = node("n1")
        obj.message.metadata.uid, obj.message.metadata.deletion_ms = uid, deletion_ms
        obj.message.metadata.finalizers.extend(finalizers)
        return obj

    assert fate_of(OWNER, None) is Fate.GONE
    assert fate_of(OWNER, found(uid="another")) is Fate.GONE
    assert fate_of(OWNER, found("orphan")) is Fate.ORPHANS
    assert fate_of(OWNER, found("foregroundDeletion")) is Fate.WAITS
    assert fate_of(OWNER, found("foregroundDeletion", deletion_ms=0)) is Fate.LIVES
