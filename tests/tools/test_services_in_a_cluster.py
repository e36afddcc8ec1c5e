"""A Service from a manifest to the addresses of its pods, on hollow nodes."""

from __future__ import annotations

from pathlib import Path

import trio
from ursa.tools.objects.columns import columns_of

from .test_cluster import open_cluster, run

EXAMPLES = Path(__file__).parents[2] / "examples"
SOON = 5.0


def test_the_service_of_the_example_has_the_pods_of_the_example() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            for name in ("service.yaml", "web.yaml"):
                await cluster.apply(EXAMPLES / name)
            pods = await cluster.wait_for_pods(3, label_selector="app=web")
            await trio.sleep(SOON)
            client = cluster.tenant_client("default")
            [service] = (await client.list("services")).items
            [found] = (await client.list("endpointslices.discovery.k8s.io")).items
            [whole] = (await client.list("endpoints")).items
            addresses = [each["addresses"][0] for each in found.rest["endpoints"] if each["conditions"]["ready"]]
            assert sorted(addresses) == sorted(pod.status["podIP"] for pod in pods)
            assert [each["nodeName"] for each in found.rest["endpoints"]] == [
                each["nodeName"] for each in whole.rest["subsets"][0]["addresses"]
            ]
            cells = {column.title: column.value(service, 0) for column in columns_of("Service")}
            assert (cells["TYPE"], cells["PORT(S)"]) == ("ClusterIP", "80/TCP")
            assert cells["CLUSTER-IP"].startswith("fd01::")
            assert columns_of("Endpoints")[1].value(whole, 0).count("]:8080") == 3
            assert columns_of("EndpointSlice")[3].value(found, 0) == ",".join(addresses)

    run(main)
