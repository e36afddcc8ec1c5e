"""Why a pod is on its node, or on none, in a cluster in this process."""

from __future__ import annotations

from typing import Any

import trio
import ursa
from trio.testing import MockClock
from ursa.tools.cli.explain import explanation_lines
from ursa.tools.nodes import NodeOptions, make_nodes


def pod(name: str, cpu: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def test_a_pod_is_told_what_each_plugin_says_of_the_nodes() -> None:
    nodes = make_nodes(4, NodeOptions(cpu="4"))
    nodes[0].message.metadata.labels["disk"] = "ssd"
    nodes[1].message.metadata.labels["disk"] = "ssd"

    async def main() -> None:
        async with ursa.Cluster(nodes=4, node_objects=nodes, processes=False) as cluster:
            wanted = {"nodeSelector": {"disk": "ssd"}}
            await cluster.apply(pod("first", "3", **wanted))
            [first] = await cluster.wait_for_pods(1)
            told = await cluster.explain(first)
            assert told.feasible == 2
            assert [(each.plugin, each.nodes) for each in told.refused] == [("NodeAffinity", 2)]
            assert told.chosen in told.best, "as if it were to be placed now: its own claim does not count"
            assert told.chosen is not None
            assert told.chosen.node == first.spec["nodeName"]
            assert told.chosen.total == sum(told.chosen.scores.values())
            assert {each.total for each in told.best} == {told.chosen.total}
            lines = "\n".join(explanation_lines(first, told))
            assert "Feasible:  2 of 4 nodes" in lines
            assert "NodeAffinity" in lines
            assert f"{told.chosen.node} (its node)" in lines

            await cluster.apply(pod("large", "5"))
            await cluster.apply(pod("second", "2", **wanted))
            await cluster.apply(pod("nonsense", "1", affinity={"nodeAffinity": BAD}))
            await cluster.wait_for_pods(2)
            client = cluster.tenant_client("default")
            large = await client.get("pods", ursa.ObjectKey("default", "default", "large"))
            told = await cluster.explain(large)
            assert (told.feasible, told.chosen, told.best) == (0, None, ())
            [refused] = told.refused
            assert refused == ("NodeResourcesFit", 4, {"Insufficient cpu": 4})
            bad = await client.get("pods", ursa.ObjectKey("default", "default", "nonsense"))
            assert "operator must be one of" in (await cluster.explain(bad)).problem

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_pod_that_avoids_others_is_told_of_those_on_the_nodes() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}

    async def main() -> None:
        async with ursa.Cluster(nodes=3, processes=False) as cluster:
            await cluster.apply(pod("first", "1"))
            await cluster.wait_for_pods(1)
            await cluster.apply(pod("apart", "1", affinity=apart))
            await cluster.wait_for_pods(2)
            client = cluster.tenant_client("default")
            told = await cluster.explain(await client.get("pods", ursa.ObjectKey("default", "default", "apart")))
            assert [(each.plugin, each.nodes) for each in told.refused] == [("InterPodAffinity", 1)]
            assert told.feasible == 2
            assert told.chosen is not None, "it does not stand in its own way"

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_pod_with_claims_is_told_what_its_volumes_ask_of_nodes() -> None:
    nodes = make_nodes(3, NodeOptions(cpu="4"))
    for number, each in enumerate(nodes):
        each.message.metadata.labels["topology.kubernetes.io/zone"] = f"z{number}"

    async def main() -> None:
        async with ursa.Cluster(nodes=3, node_objects=nodes, processes=False) as cluster:
            await cluster.apply("examples/volumes.yaml")
            [first] = await cluster.wait_for_pods(1)
            told = await cluster.explain(first)
            assert [(each.plugin, each.nodes) for each in told.refused] == [("VolumeBinding", 2)]
            assert told.chosen is not None
            assert told.chosen.node == first.spec["nodeName"]
            volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "missing"}}]
            await cluster.apply(pod("second", "1", volumes=volumes))
            client = cluster.tenant_client("default")
            told = await cluster.explain(await client.get("pods", ursa.ObjectKey("default", "default", "second")))
            [refused] = told.refused
            assert refused.reasons == {'persistentvolumeclaim "missing" not found': 3}

    trio.run(main, clock=MockClock(autojump_threshold=0))


BAD = {
    "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Is", "values": ["ssd"]}]}]
    }
}
