"""Dependents go with their owners, as the policy of the deletion says, and never because an owner is out of sight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from ursa.clients.controllers.garbage_collector import GarbageCollector
from ursa.clients.controllers.managers import TenantControllerManager
from ursa.clients.informer import Informer
from ursa.proto.kinds import Role
from ursa.proto.objects import Object

from .region import Backup, Region, actor, key, manifest, node, open_region, pod_template, replicaset, run

SOON = 2.0
LONG = 600.0


@asynccontextmanager
async def collector(region: Region, partition: str = "tp-1") -> AsyncIterator[None]:
    this = GarbageCollector(region.clients, partition, [], actor())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(this.run)
        await trio.sleep(SOON)
        yield
        nursery.cancel_scope.cancel()


def reference(owner: Object, *, blocking: bool = False, **changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "blockOwnerDeletion": blocking,
        **changes,
    }


async def config(region: Region, name: str, *owners: dict[str, Any], finalizers: Sequence[str] = ()) -> Object:
    metadata = {"ownerReferences": list(owners), "finalizers": list(finalizers)}
    return await region.tenant_client().create(manifest("ConfigMap", name, metadata=metadata))


async def configs(region: Region) -> list[str]:
    return [each.name for each in (await region.tenant_client().list("configmaps")).items]


async def delete(region: Region, name: str, propagation: str = "", resource: str = "configmaps") -> None:
    await region.tenant_client().delete(resource, key(name), propagation=propagation)


async def release(region: Region, name: str) -> None:
    """Whoever held it with a finalizer lets it go."""
    await region.tenant_client().patch("configmaps", key(name), {"metadata": {"finalizers": []}})


def test_dependents_of_dependents_go_after_an_owner_that_went() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            top = await config(region, "top")
            middle = await config(region, "middle", reference(top))
            await config(region, "bottom", reference(middle))
            await config(region, "other")
            await delete(region, "top")
            await trio.sleep(SOON)
            assert await configs(region) == ["other"]

    run(main)


def test_an_owner_that_went_while_nobody_watched_is_found() -> None:
    async def main() -> None:
        async with open_region() as region:
            owner = await region.tenant_client().create(replicaset("r", 0))
            await config(region, "a", reference(owner))
            await delete(region, "r", resource="replicasets.apps")
            async with collector(region):
                assert await configs(region) == []

    run(main)


def test_an_owner_reborn_under_its_name_is_another() -> None:
    async def main() -> None:
        async with open_region() as region:
            await config(region, "a", reference(await config(region, "owner")))
            await delete(region, "owner")
            await config(region, "owner")
            async with collector(region):
                assert await configs(region) == ["owner"]

    run(main)


def test_one_living_owner_keeps_a_dependent_which_forgets_the_others() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            owners = [await config(region, name) for name in ("o1", "o2")]
            await config(region, "a", *map(reference, owners))
            await delete(region, "o1")
            await trio.sleep(SOON)
            [kept] = (await region.tenant_client().get("configmaps", key("a"))).owner_references
            assert kept.uid == owners[1].uid
            await delete(region, "o2")
            await trio.sleep(SOON)
            assert await configs(region) == []

    run(main)


def test_an_owner_out_of_sight_keeps_its_dependents() -> None:
    """The link is cut: what was deleted meanwhile cannot be asked about, and what was not is not gone."""

    async def main() -> None:
        async with open_region() as region:
            owner = await config(region, "owner")
            await config(region, "a", reference(owner))
            async with collector(region):
                region.links["tp-1"].cut()
                await delete(region, "owner")
                await trio.sleep(LONG)
                assert await configs(region) == ["a"]
                region.links["tp-1"].heal()
                await trio.sleep(60)
                assert await configs(region) == []

    run(main)


@pytest.mark.parametrize(
    "changes",
    [
        {"apiVersion": "example.com/v1", "kind": "Widget"},
        {"apiVersion": "apps/v2", "kind": "ReplicaSet"},
    ],
    ids=["of an unknown kind", "of an unknown version"],
)
def test_an_owner_that_this_partition_cannot_know_is_never_gone(changes: dict[str, Any]) -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            owner = await region.resource_client().create(node("n1"))
            beside = await config(region, "beside")
            await config(region, "a", reference(owner, **changes))
            await config(region, "b", reference(beside, blocking=True), reference(owner, **changes))
            await region.resource_client().delete("nodes", owner.key)
            await delete(region, "beside", "Foreground")
            await trio.sleep(LONG)
            assert await configs(region) == ["a", "b"]

    run(main)


def test_an_owner_of_a_kind_that_is_not_watched_is_asked_about_again_and_again() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            event = manifest("Event", "e", involvedObject={"kind": "Pod"})
            created = await region.tenant_client().create(event)
            await config(region, "a", reference(created))
            await trio.sleep(LONG)
            assert await configs(region) == ["a"]
            await delete(region, "e", resource="events")
            await trio.sleep(60)
            assert await configs(region) == []

    run(main)


def test_in_the_foreground_an_owner_stays_until_what_blocks_it_is_gone() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            owner = await config(region, "owner")
            await config(region, "blocking", reference(owner, blocking=True), finalizers=["ursa.dev/test"])
            await config(region, "free", reference(owner), finalizers=["ursa.dev/test"])
            await config(region, "quick", reference(owner, blocking=True))
            await delete(region, "owner", "Foreground")
            await trio.sleep(SOON)
            assert await configs(region) == ["blocking", "free", "owner"]
            await release(region, "blocking")
            await trio.sleep(SOON)
            assert await configs(region) == ["free"]

    run(main)


def test_in_the_foreground_the_dependents_of_dependents_go_first() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            top = await config(region, "top")
            middle = await config(region, "middle", reference(top, blocking=True))
            await config(region, "bottom", reference(middle, blocking=True), finalizers=["ursa.dev/test"])
            await delete(region, "top", "Foreground")
            await trio.sleep(SOON)
            waiting = await region.tenant_client().get("configmaps", key("middle"))
            assert waiting.finalizers == ("foregroundDeletion",)
            assert "top" in await configs(region)
            await release(region, "bottom")
            await trio.sleep(SOON)
            assert await configs(region) == []

    run(main)


def test_a_dependent_with_another_owner_outlives_one_deleted_in_the_foreground() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            owners = [await config(region, name) for name in ("o1", "o2")]
            await config(region, "a", *(reference(owner, blocking=True) for owner in owners))
            await delete(region, "o1", "Foreground")
            await trio.sleep(SOON)
            assert await configs(region) == ["a", "o2"]

    run(main)


def test_objects_that_own_one_another_can_be_deleted_in_the_foreground() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            first = await config(region, "first")
            second = await config(region, "second", reference(first, blocking=True))
            owners = {"ownerReferences": [reference(second, blocking=True)]}
            await region.tenant_client().patch("configmaps", first.key, {"metadata": owners})
            await delete(region, "first", "Foreground")
            await trio.sleep(SOON)
            assert await configs(region) == []

    run(main)


def test_orphans_forget_their_owner_before_it_goes_and_stay() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            owner, other = await config(region, "owner"), await config(region, "other")
            await config(region, "a", reference(owner, blocking=True))
            await config(region, "b", reference(owner), reference(other))
            await delete(region, "owner", "Orphan")
            await trio.sleep(SOON)
            assert await configs(region) == ["a", "b", "other"]
            client = region.tenant_client()
            assert (await client.get("configmaps", key("a"))).owner_references == ()
            [kept] = (await client.get("configmaps", key("b"))).owner_references
            assert kept.uid == other.uid

    run(main)


def test_a_dependent_that_is_being_deleted_does_not_hold_an_owner_that_leaves_orphans() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            owner = await config(region, "owner")
            await config(region, "a", reference(owner), finalizers=["ursa.dev/test"])
            await delete(region, "a")
            await delete(region, "owner", "Orphan")
            await trio.sleep(SOON)
            assert await configs(region) == ["a"]

    run(main)


def test_who_changes_from_the_foreground_to_orphans_keeps_what_is_left() -> None:
    async def main() -> None:
        async with open_region() as region:
            owner = await config(region, "owner")
            await config(region, "a", reference(owner, blocking=True))
            await delete(region, "owner", "Foreground")
            await delete(region, "owner", "Orphan")
            async with collector(region):
                assert await configs(region) == ["a"]

    run(main)


def test_a_deployment_is_deleted_down_to_its_pods_by_the_manager_with_one_informer_of_pods() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            manager = TenantControllerManager(region.clients, "tp-1", actor())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(manager.run)
                spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": pod_template()}
                deployment = manifest("Deployment", "web", api_version="apps/v1", spec=spec)
                await region.tenant_client().create(deployment)
                await trio.sleep(SOON)
                await region.run_all_pods()
                await delete(region, "web", "Foreground", "deployments.apps")
                await trio.sleep(SOON)
                assert [bool(pod.deletion_ms) for pod in await region.pods()] == [True] * 3
                assert await region.exists(region.tenant_client(), "deployments.apps", key("web"))
                await region.confirm_deletions()
                await trio.sleep(SOON)
                assert not await region.exists(region.tenant_client(), "deployments.apps", key("web"))
                assert (await region.tenant_client().list("replicasets.apps")).items == []
                nursery.cancel_scope.cancel()
            registry = region.clients.tenant_clients["tp-1"].actor.registry
            assert registry.get_sample_value("reflector_lists_total", {"name": "pods"}) == 1

    run(main)


def test_pods_of_a_replicaset_that_is_orphaned_go_on_running() -> None:
    async def main() -> None:
        async with open_region() as region:
            await region.resource_client().create(node("n1"))
            manager = TenantControllerManager(region.clients, "tp-1", actor())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(manager.run)
                await region.tenant_client().create(replicaset("r", 3))
                await trio.sleep(SOON)
                await region.run_all_pods()
                await delete(region, "r", "Orphan", "replicasets.apps")
                await trio.sleep(SOON)
                assert not await region.exists(region.tenant_client(), "replicasets.apps", key("r"))
                assert [(pod.deletion_ms, pod.owner_references) for pod in await region.pods()] == [(0, ())] * 3
                nursery.cancel_scope.cancel()

    run(main)


def test_custom_kinds_own_and_are_owned_from_the_moment_they_are_defined() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            await region.tenant_client().create(definition())
            await trio.sleep(SOON)
            parent = await region.tenant_client().create(widget("parent"))
            child = widget("child").with_metadata(owner_references=[owner_of(parent)])
            await region.tenant_client().create(child)
            await config(region, "a", reference(parent, blocking=True))
            await delete(region, "parent", "Foreground", "widgets.example.com")
            await trio.sleep(SOON)
            assert await configs(region) == []
            assert (await region.tenant_client().list("widgets.example.com")).items == []

    run(main)


def test_what_named_an_owner_before_its_kind_was_defined_goes_when_it_is_and_the_owner_is_not() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            await config(region, "a", reference(widget("never-was"), uid="some-uid"))
            await trio.sleep(LONG)
            assert await configs(region) == ["a"]
            await region.tenant_client().create(definition())
            await trio.sleep(60)
            assert await configs(region) == []

    run(main)


def test_objects_of_a_kind_whose_definition_goes_are_forgotten_and_do_no_harm() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region):
            await region.tenant_client().create(definition())
            await trio.sleep(SOON)
            owner = await config(region, "owner")
            child = widget("child").with_metadata(owner_references=[owner_of(owner)])
            await region.tenant_client().create(child)
            defined = (await region.tenant_client().list("customresourcedefinitions.apiextensions.k8s.io")).items[0]
            await region.tenant_client().delete("customresourcedefinitions.apiextensions.k8s.io", defined.key)
            await trio.sleep(60)
            await delete(region, "owner", "Foreground")
            await trio.sleep(SOON)
            assert await configs(region) == []

    run(main)


def test_a_node_can_be_deleted_in_the_foreground_too() -> None:
    async def main() -> None:
        async with open_region() as region, collector(region, "rp-1"):
            owner = await region.resource_client().create(node("n1"))
            lease = manifest("Lease", "n1", api_version="coordination.k8s.io/v1", namespace="kube-node-lease")
            lease.message.metadata.tenant = "system"
            await region.resource_client().create(lease.with_metadata(owner_references=[owner_of(owner)]))
            await region.resource_client().delete("nodes", owner.key, propagation="Foreground")
            await trio.sleep(SOON)
            assert (await region.resource_client().list("nodes")).items == []
            leases = await region.resource_client().list("leases.coordination.k8s.io", namespace="kube-node-lease")
            assert leases.items == []

    run(main)


def test_nothing_is_decided_while_a_view_is_not_complete() -> None:
    """An informer of the manager that has not seen its kind yet: it might show a dependent that blocks."""

    async def main() -> None:
        async with open_region() as region:
            owner = await config(region, "owner")
            await config(region, "a", reference(owner))
            await delete(region, "owner")
            client = region.clients.tenant_clients["tp-1"]
            unseen = Informer(client, "secrets")  # Never run.
            this = GarbageCollector(region.clients, "tp-1", [unseen], actor())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(this.run)
                await trio.sleep(LONG)
                assert await configs(region) == ["a"]
                nursery.start_soon(unseen.run)
                await trio.sleep(SOON)
                assert await configs(region) == []
                nursery.cancel_scope.cancel()

    run(main)


def test_what_was_begun_in_a_history_that_was_set_back_is_begun_again_in_the_next(tmp_path: Path) -> None:
    """In the snapshot the owner waits already, and its dependent is not being deleted yet."""

    async def main() -> None:
        backup = Backup("tp-1", Role.TENANT, tmp_path)
        async with open_region(stores=backup.stores) as region:
            owner = await config(region, "owner")
            await config(region, "a", reference(owner, blocking=True), finalizers=["example.com/held"])
            await delete(region, "owner", "Foreground")
            backup.take()
            async with collector(region):
                assert (await region.tenant_client().get("configmaps", key("a"))).deletion_ms
                async with backup.restored(region):
                    assert not (await region.tenant_client().get("configmaps", key("a"))).deletion_ms
                    await trio.sleep(LONG)
                    assert (await region.tenant_client().get("configmaps", key("a"))).deletion_ms
                    await release(region, "a")
                    await trio.sleep(SOON)
                    assert await configs(region) == []

    run(main)


def test_no_owner_goes_by_views_of_two_histories(tmp_path: Path) -> None:
    """The one of its kind is of the new history, where it waits; that of its dependents is still of the old one, where
    they were free, at a revision that the new one has not reached."""

    async def main() -> None:
        backup = Backup("tp-1", Role.TENANT, tmp_path)
        async with open_region(stores=backup.stores) as region:
            owner = await region.tenant_client().create(replicaset("r", 0))
            await config(region, "a", reference(owner))
            client = region.clients.tenant_clients["tp-1"]
            dependents = Informer(client, "configmaps")
            this = GarbageCollector(region.clients, "tp-1", [dependents], actor())
            shown = trio.CancelScope()

            async def follow() -> None:
                with shown:
                    await dependents.run()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                await trio.sleep(SOON)
                await delete(region, "r", "Orphan", "replicasets.apps")
                backup.take()
                nursery.start_soon(this.run)
                await trio.sleep(SOON)
                freed = await region.tenant_client().get("configmaps", key("a"))
                assert not freed.owner_references
                shown.cancel()
                async with backup.restored(region):
                    await trio.sleep(LONG)
                    assert await region.exists(region.tenant_client(), "replicasets.apps", key("r"))
                    nursery.start_soon(dependents.run)
                    await trio.sleep(LONG)
                    assert not await region.exists(region.tenant_client(), "replicasets.apps", key("r"))
                    assert not (await region.tenant_client().get("configmaps", key("a"))).owner_references
                    nursery.cancel_scope.cancel()

    run(main)


def owner_of(owner: Object) -> Any:
    message = Object.from_dict({"kind": "x", "metadata": {"ownerReferences": [reference(owner, blocking=True)]}})
    return message.owner_references[0]


def widget(name: str) -> Object:
    return manifest("Widget", name, api_version="example.com/v1", spec={})


def definition() -> Object:
    schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [version],
    }
    metadata = {"name": "widgets.example.com"}
    return Object.from_dict(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": spec,
        }
    )
