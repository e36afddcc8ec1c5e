"""Patches, apply, scale, eviction and collections as a client asks for them."""

from __future__ import annotations

from typing import Any

import pytest
from ursa.partitions.planning import DELETE_COLLECTION_STEP
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import BadRequest, Conflict, Invalid, NotFound
from ursa.proto.objects import Object

from .worlds import World, key, pod, run

DEPLOYMENTS = "deployments.apps"


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "tenant": "system", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_a_client_sends_every_type_of_patch() -> None:
    async def main() -> None:
        async with World().open() as world:
            client = world.client
            await client.create(pod("a"))
            changes = [{"op": "add", "path": "/metadata/labels", "value": {"a": "1"}}]
            patched = await client.patch("pods", key("a"), changes, patch_type=pb.Patch.JSON)
            assert dict(patched.labels) == {"a": "1"}
            image = {"spec": {"containers": [{"name": "main", "image": "app:2"}]}}
            patched = await client.patch("pods", key("a"), image, patch_type=pb.Patch.STRATEGIC_MERGE)
            assert patched.spec["containers"] == [{"name": "main", "image": "app:2"}]
            with pytest.raises(Invalid, match="does not fit"):
                await client.patch("pods", key("a"), [{"op": "remove", "path": "/x"}], patch_type=pb.Patch.JSON)

    run(main)


def test_a_client_applies_and_learns_who_is_in_its_way() -> None:
    async def main() -> None:
        async with World().open() as world:
            client = world.client
            applied = await client.apply("configmaps", key("c"), config_map("c", a="1", b="2"), field_manager="one")
            assert applied.rest["data"] == {"a": "1", "b": "2"}
            applied = await client.apply("configmaps", key("c"), config_map("c", a="1"), field_manager="one")
            assert applied.rest["data"] == {"a": "1"}
            with pytest.raises(Conflict) as refused:
                await client.apply("configmaps", key("c"), config_map("c", a="2"), field_manager="two")
            [cause] = refused.value.causes
            assert (cause.field, cause.reason) == (".data.a", "FieldManagerConflict")
            forced = await client.apply("configmaps", key("c"), config_map("c", a="2"), field_manager="two", force=True)
            assert forced.rest["data"] == {"a": "2"}
            wrong = {**config_map("c"), "dta": {}}
            with pytest.raises(BadRequest, match='unknown field "dta"'):
                await client.apply("configmaps", key("c"), wrong, field_manager="two", field_validation="Strict")

    run(main)


def test_a_client_scales_a_workload() -> None:
    async def main() -> None:
        async with World().open() as world:
            labels = {"app": "web"}
            template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main"}]}}
            manifest = {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "tenant": "system", "namespace": "default"},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            }
            await world.client.create(Object.from_dict(manifest))
            scale = await world.client.scale(DEPLOYMENTS, key("web"), 3)
            assert (scale.kind, scale.spec) == ("Scale", {"replicas": 3})
            shown = await world.client.get(DEPLOYMENTS, key("web"), subresource="scale")
            assert shown.message == scale.message

    run(main)


def test_a_client_deletes_a_collection_of_any_size_and_evicts_a_pod() -> None:
    async def main() -> None:
        async with World().open() as world:
            client = world.client
            count = DELETE_COLLECTION_STEP + 5
            for number in range(count):
                await client.create(Object.from_dict(config_map(f"c-{number}")))
            scope = {"tenant": "system", "namespace": "default"}
            assert await client.delete_collection("configmaps", **scope) == count
            assert (await client.list("configmaps")).items == []
            assert await client.delete_collection("configmaps", **scope) == 0
            created = await client.create(pod("a"))
            await client.evict(key("a"), uid=created.uid)
            with pytest.raises(NotFound):
                await client.get("pods", key("a"))

    run(main)
