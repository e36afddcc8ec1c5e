"""StatefulSets and DaemonSets from a manifest to their pods, on hollow nodes."""

from __future__ import annotations

from pathlib import Path

import trio
import ursa
import yaml
from ursa.proto.objects import Object, ObjectKey

from .test_cluster import open_cluster, run

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_stateful_set_of_the_example_runs_and_is_updated_down_to_its_partition() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            [manifest] = yaml.safe_load_all((EXAMPLES / "statefulset.yaml").read_text())
            await cluster.apply(EXAMPLES / "statefulset.yaml")
            client = cluster.tenant_client("default")
            await trio.sleep(20)
            pods = {pod.name: pod for pod in (await client.list("pods")).items}
            assert sorted(pods) == ["db-0", "db-1", "db-2"]
            assert pods["db-0"].creation_ms < pods["db-1"].creation_ms < pods["db-2"].creation_ms
            manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/db:2"
            await cluster.apply(manifest)
            await trio.sleep(20)
            images = [pod.spec["containers"][0]["image"][-1] for pod in (await client.list("pods")).items]
            assert images == ["1", "1", "2"]
            found = await client.get("statefulsets.apps", ObjectKey("default", "default", "db"))
            assert (found.status["readyReplicas"], found.status["updatedReplicas"]) == (3, 1)

    run(main)


async def daemons(cluster: ursa.Cluster) -> dict[str, list[str]]:
    """The nodes with a daemon that runs, by partition."""
    found = {}
    for name, client in cluster.clients.resource_clients.items():
        pods = (await client.list("pods", tenant="system", namespace="kube-system")).items
        found[name] = sorted(pod.spec["nodeName"] for pod in pods if pod.status["phase"] == "Running")
    return found


def test_the_daemon_set_of_the_example_runs_on_the_nodes_of_all_partitions_and_of_one_that_is_added() -> None:
    async def main() -> None:
        async with open_cluster(resource_partitions=2) as cluster:
            await cluster.apply(EXAMPLES / "daemonset.yaml")
            await trio.sleep(10)
            nodes = {
                name: sorted(each.name for each in (await client.list("nodes")).items)
                for name, client in cluster.clients.resource_clients.items()
            }
            assert await daemons(cluster) == nodes
            added = await cluster.add_partition("resource")
            await cluster.scale_nodes(6)
            await trio.sleep(10)
            there = await daemons(cluster)
            assert len(there[added]) == 2
            assert sum(map(len, there.values())) == 6

    run(main)


def test_daemons_do_not_keep_a_partition_from_being_drained_and_removed() -> None:
    async def main() -> None:
        async with open_cluster(resource_partitions=2) as cluster:
            await cluster.apply(EXAMPLES / "daemonset.yaml")
            await cluster.apply(EXAMPLES / "web.yaml")
            await trio.sleep(10)
            await cluster.drain_partition("rp-1")
            await trio.sleep(5)
            assert len((await daemons(cluster))["rp-1"]) == 2, "they stay as long as their nodes"
            pods = (await cluster.tenant_client("default").list("pods", label_selector="app=web")).items
            assert all(pod.spec["resourcePartition"] == "rp-2" for pod in pods if not pod.deletion_ms)
            await cluster.remove_partition("rp-1")
            assert list(await daemons(cluster)) == ["rp-2"]

    run(main)


def test_pods_of_a_tenant_and_of_a_partition_do_not_mix_though_they_are_called_the_same() -> None:
    async def main() -> None:
        async with open_cluster(nodes=1) as cluster:
            rp, tp = cluster.clients.resource_clients["rp-1"], cluster.clients.tenant_clients["tp-1"]
            spec = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]}
            [node] = (await rp.list("nodes")).items
            for client, extra in ((rp, {"nodeName": node.name}), (tp, {})):
                metadata = {"name": "same", "namespace": "default", "tenant": "system"}
                fields = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, **extra}}
                await client.create(Object.from_dict(fields))
            await trio.sleep(10)
            key = ObjectKey("system", "default", "same")
            ours, theirs = await rp.get("pods", key), await tp.get("pods", key)
            assert [pod.status["phase"] for pod in (ours, theirs)] == ["Running", "Running"]
            assert ours.status["podIP"] != theirs.status["podIP"]
            assert len((await rp.list("placements.ursa.dev")).items) == 2
            await rp.delete("pods", key)
            await trio.sleep(10)
            assert (await tp.get("pods", key)).status == theirs.status
            [left] = (await rp.list("placements.ursa.dev")).items
            assert left.name == theirs.uid

    run(main)
