"""Nodes of one name in two partitions are two nodes: told in one line, and nothing is deleted because of it."""

from __future__ import annotations

import pytest
import trio
from ursa.clients.controllers import TenantControllerManager
from ursa.proto.objects import ObjectKey

from .region import actor, manifest, node, open_region, pod_template, run


def test_nodes_of_one_name_in_two_partitions_are_named_once_and_their_pods_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def lines() -> list[str]:
        return [text for record in caplog.records if "node names" in (text := record.getMessage())]

    async def main() -> None:
        async with open_region(resource_partitions=2) as region:
            for rp in ("rp-1", "rp-2"):
                await region.resource_client(rp).create(node("same"))
                created = await region.tenant_client().create(manifest("Pod", rp, spec=pod_template()["spec"]))
                await region.bind(created, "same", rp)
            await region.resource_client("rp-2").create(node("other"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(TenantControllerManager(region.clients, "tp-1", actor()).run)
                await trio.sleep(300)
                assert lines() == [
                    "1 node names are used in several resource partitions, which are told apart: same in rp-1 and rp-2"
                ]
                assert [pod.name for pod in await region.pods() if not pod.deletion_ms] == ["rp-1", "rp-2"]
                await region.resource_client("rp-2").delete("nodes", ObjectKey("", "", "same"))
                await trio.sleep(100)
                assert [pod.name for pod in await region.pods() if not pod.deletion_ms] == ["rp-1"]
                await region.resource_client("rp-2").create(node("same"))
                await trio.sleep(100)
                assert len(lines()) == 2
                nursery.cancel_scope.cancel()

    run(main)
