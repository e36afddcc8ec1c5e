"""A namespace being deleted is emptied first; a tenant takes its namespaces with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from ursa.clients.controllers.namespaces import NamespaceController
from ursa.clients.informer import Informer
from ursa.proto.errors import Forbidden
from ursa.proto.objects import Object, ObjectKey

from .region import NAMESPACE, TENANT, Region, actor, manifest, node, open_region, pod_template, replicaset, run

KEY = ObjectKey(TENANT, "", NAMESPACE)
OTHER = ObjectKey(TENANT, "", "other")


@asynccontextmanager
async def controller(region: Region) -> AsyncIterator[None]:
    client = region.clients.tenant_clients["tp-1"]
    namespaces, tenants = Informer(client, "namespaces"), Informer(client, "tenants.ursa.dev")
    this = NamespaceController(client, namespaces, tenants, actor())
    async with trio.open_nursery() as nursery:
        for part in (namespaces, tenants, this):
            nursery.start_soon(part.run)
        await trio.sleep(1)
        yield
        nursery.cancel_scope.cancel()


async def fill(region: Region) -> None:
    """A namespace `other` beside the default one, with the same things in both."""
    client = region.tenant_client()
    spec = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other", "tenant": TENANT}}
    await client.create(Object.from_dict(spec))
    await region.resource_client().create(node("n1"))
    for namespace in (NAMESPACE, "other"):
        for name in ("a", "b"):
            await client.create(manifest("Pod", name, namespace=namespace, spec=pod_template()["spec"]))
        await client.create(manifest("ConfigMap", "c", namespace=namespace, data={"x": "1"}))
    await client.create(replicaset("r", 0))


def test_a_namespace_is_emptied_and_then_gone_and_the_one_beside_it_untouched() -> None:
    async def main() -> None:
        async with open_region() as region:
            await fill(region)
            client = region.tenant_client()
            async with controller(region):
                await client.delete("namespaces", KEY)
                await trio.sleep(5)
            assert not await region.exists(client, "namespaces", KEY)
            assert await region.exists(client, "namespaces", OTHER)
            assert {pod.namespace for pod in await region.pods()} == {"other"}
            assert not (await client.list("replicasets.apps")).items

    run(main)


def test_a_namespace_stays_until_the_last_pod_on_a_node_has_stopped() -> None:
    async def main() -> None:
        async with open_region() as region:
            await fill(region)
            client = region.tenant_client()
            pod = await client.get("pods", ObjectKey(TENANT, NAMESPACE, "a"))
            await region.run_pod(pod)
            async with controller(region):
                await client.delete("namespaces", KEY)
                await trio.sleep(10)
                assert (await client.get("namespaces", KEY)).status["phase"] == "Terminating"
                with pytest.raises(Forbidden):
                    await client.create(manifest("ConfigMap", "late"))
                await region.confirm_deletions()
                await trio.sleep(5)
                assert not await region.exists(client, "namespaces", KEY)

    run(main)


def test_waiting_for_the_last_pods_costs_no_full_lists() -> None:
    async def main() -> None:
        async with open_region() as region:
            client = region.tenant_client()
            await region.resource_client().create(node("n1"))
            for number in range(1100):
                await client.create(manifest("Pod", f"p{number}", spec=pod_template()["spec"]))
            for pod in (await region.pods())[:50]:
                await region.run_pod(pod)
            async with controller(region):
                await client.delete("namespaces", KEY)
                await trio.sleep(10)
                assert len(await region.pods()) == 50
                seen = len(region.trace)
                await trio.sleep(40)
                largest = max(int(line.split()[4]) for line in region.trace[seen:] if " List < " in line)
                assert largest < 2000
                await region.confirm_deletions()
                await trio.sleep(5)
                assert not await region.exists(client, "namespaces", KEY)

    run(main)


def test_a_tenant_takes_its_namespaces_with_it() -> None:
    async def main() -> None:
        async with open_region() as region:
            await fill(region)
            client = region.tenant_client()
            async with controller(region):
                await client.delete("tenants.ursa.dev", ObjectKey("", "", TENANT))
                await trio.sleep(10)
            assert not await region.exists(client, "tenants.ursa.dev", ObjectKey("", "", TENANT))
            assert not (await client.list("namespaces", tenant=TENANT)).items
            assert not await region.pods(tenant=TENANT)
            assert (await client.list("namespaces", tenant="system")).items

    run(main)


def test_an_outage_in_the_middle_only_delays_it() -> None:
    async def main() -> None:
        async with open_region() as region:
            await fill(region)
            client = region.tenant_client()
            async with controller(region):
                region.links["tp-1"].cut()
                await client.delete("namespaces", KEY)
                await trio.sleep(100)
                assert await region.exists(client, "namespaces", KEY)
                region.links["tp-1"].heal()
                await trio.sleep(60)
                assert not await region.exists(client, "namespaces", KEY)

    run(main)


def test_objects_of_custom_kinds_go_with_their_namespace() -> None:
    async def main() -> None:
        async with open_region() as region:
            client = region.tenant_client()
            schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            names = {"plural": "widgets", "kind": "Widget"}
            spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
            definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
            await client.create(Object.from_dict({**definition, "metadata": {"name": "widgets.example.com"}}))
            metadata = {"name": "a", "tenant": TENANT, "namespace": NAMESPACE}
            await client.create(
                Object.from_dict({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata})
            )
            async with controller(region):
                await client.delete("namespaces", KEY)
                await trio.sleep(5)
            assert not await region.exists(client, "namespaces", KEY)
            assert not (await client.list("widgets.example.com")).items

    run(main)
