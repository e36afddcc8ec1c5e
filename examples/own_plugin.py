"""A scheduling plugin of one's own, written in both ways: pods keep away from hot nodes, and prefer the coolest.

    python examples/own_plugin.py

runs three pods on four nodes under each of them. In a cluster of processes, from this directory:

    ursa up --scheduler-config own_plugin.yaml --scheduler-plugin own_plugin:Cool \\
        --scheduler-plugin own_plugin:CoolArrays

docs/scheduling.md tells more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trio
import ursa
from ursa.clients.scheduler.framework.interface import (
    Depends,
    FilterPlugin,
    NodeFilterPlugin,
    NodeScorePlugin,
    ScorePlugin,
)
from ursa.tools.nodes import NodeOptions, make_nodes

HOT = 60


class Cool(NodeFilterPlugin, NodeScorePlugin):
    name = "Cool"
    depends = Depends.NODE

    def filter_node(self, state: Any, pod: Any, node: Any) -> str:
        return "" if int(node.labels["temperature"]) < HOT else "node(s) were too hot"

    def score_node(self, state: Any, pod: Any, node: Any) -> int:
        return 100 - int(node.labels["temperature"])


class CoolArrays(FilterPlugin, ScorePlugin):
    """The same for all nodes at once."""

    name = "CoolArrays"
    depends = Depends.NODE

    def filter(self, state: Any, pod: Any, nodes: Any, slots: Any) -> Any:
        return self._temperatures(nodes, slots) < HOT

    def reasons(self, state: Any, pod: Any, nodes: Any, slots: Any) -> Mapping[str, int]:
        return {"node(s) were too hot": len(slots)}

    def score(self, state: Any, pod: Any, nodes: Any, slots: Any) -> Any:
        return 100 - self._temperatures(nodes, slots)

    def _temperatures(self, nodes: Any, slots: Any) -> Any:
        ids, values = nodes.labels.ids("temperature", nodes.capacity)
        return np.array([100, *map(int, values)])[ids[slots]]  # 0 is the number of what has no such label


def pod(name: str, scheduler: str) -> dict[str, Any]:
    container = {"name": "main", "image": "example.com/app:1", "resources": {"requests": {"cpu": "3"}}}
    spec = {"schedulerName": scheduler, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def main() -> None:
    nodes = make_nodes(4, NodeOptions())
    for node, temperature in zip(nodes, (70, 20, 30, 40), strict=True):
        node.message.metadata.labels["temperature"] = str(temperature)
    for scheduler in ("plain", "arrays"):
        async with ursa.Cluster(
            tenant_partitions=1,
            node_objects=nodes,
            processes=False,
            scheduler_config=Path(__file__).with_suffix(".yaml"),
            scheduler_plugins=["own_plugin:Cool", "own_plugin:CoolArrays"],
        ) as cluster:
            for number in range(3):
                await cluster.apply(pod(f"pod-{number}", scheduler))
                await cluster.wait_for_pods(number + 1)
            for placed in sorted(await cluster.wait_for_pods(3), key=lambda each: each.name):
                print(scheduler, placed.name, "runs on", placed.spec["nodeName"])
            explained = await cluster.explain(placed)
            print("refused:", {refused.plugin: refused.nodes for refused in explained.refused})


if __name__ == "__main__":
    trio.run(main)
