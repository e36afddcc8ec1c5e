"""Custom kinds through clients: in memory and over gRPC, with an informer, in a namespace that goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from ursa.clients.client import open_client
from ursa.clients.informer import Informer
from ursa.clients.transport.grpc import GrpcBridge, GrpcTransport
from ursa.proto.errors import BadRequest, Invalid, NotFound
from ursa.proto.objects import Object, ObjectKey

from .test_client_over_grpc import Apiserver
from .worlds import World, actor, run

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
WIDGETS = "widgets.example.com"

DEFINITION = Object.from_dict(
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": WIDGETS},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            },
                        }
                    },
                }
            ],
        },
    }
)


def widget(name: str) -> Object:
    return Object.from_dict(
        {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {"name": name, "tenant": "system", "namespace": "default"},
            "spec": {"size": 1},
        }
    )


def test_a_client_learns_a_kind_when_it_first_meets_it() -> None:
    async def main() -> None:
        world = World()
        async with world.open():
            client = world.client
            with pytest.raises(BadRequest, match="Widget"):
                await client.create(widget("a"))
            await client.create(DEFINITION)
            created = await client.create(widget("a"))
            updated = await client.update_status(created.with_status({"phase": "Running"}))
            assert updated.status == {"phase": "Running"}
            assert (await client.update(updated.with_spec({"size": 2}))).spec == {"size": 2}
            assert [kind.resource for kind in (await client.kinds()).custom] == [WIDGETS]
            await client.delete(WIDGETS, widget("a").key)

    run(main)


def test_an_informer_follows_a_custom_kind_and_goes_on_when_it_is_defined_again() -> None:
    async def main() -> None:
        world = World()
        async with world.open(), trio.open_nursery() as nursery:
            client = world.client
            await client.create(DEFINITION)
            informer = Informer(client, WIDGETS)
            nursery.start_soon(informer.run)
            await client.create(widget("a"))
            await trio.sleep(1)
            assert list(informer.objects) == [ObjectKey("system", "default", "a")]
            await client.delete(DEFINITIONS, ObjectKey("", "", WIDGETS))
            while True:
                try:
                    await client.get(DEFINITIONS, ObjectKey("", "", WIDGETS))
                except NotFound:
                    break
                await trio.sleep(0.1)
            await trio.sleep(10)
            assert not informer.objects
            await client.create(DEFINITION)
            await client.create(widget("b"))
            await trio.sleep(10)
            assert [key.name for key in informer.objects] == ["b"]
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.slow
def test_over_grpc_a_custom_kind_is_checked_and_outlives_a_killed_apiserver(tmp_path: Path) -> None:
    apiserver = Apiserver(tmp_path)
    apiserver.start()

    async def define() -> None:
        async with (
            GrpcBridge() as bridge,
            open_client(GrpcTransport("p-1", apiserver.address, bridge), actor()) as client,
        ):
            await client.create(DEFINITION)
            await client.create(widget("a"))
            with pytest.raises(Invalid) as caught:
                await client.create(widget("b").with_spec({"size": "large"}))
            assert [cause.field for cause in caught.value.causes] == ["spec.size"]

    async def use() -> None:
        async with (
            GrpcBridge() as bridge,
            open_client(GrpcTransport("p-1", apiserver.address, bridge), actor()) as client,
        ):
            assert [each.name for each in (await client.list(WIDGETS)).items] == ["a"]
            await client.create(widget("b"))

    try:
        trio.run(define)
        apiserver.kill()
        apiserver.start()
        trio.run(use)
    finally:
        apiserver.kill()
