"""Whether a pod that waits for a node waits for good reason: none has room for it."""

from __future__ import annotations

from collections.abc import Iterable

from ...clients.pods import pod_requests
from ...proto.objects import Object
from ...proto.quantities import PODS, resource_list


class Room:
    """What is free on each node, by what their partitions hold: the nodes, and the placements on them.

    Knows nothing of selectors and tolerations: who uses them needs a judge that does.
    """

    def __init__(self, nodes: Iterable[Object], placements: Iterable[Object]) -> None:
        self._free: dict[tuple[str, str], dict[str, int]] = {
            (node.partition, node.name): resource_list(node.status.get("allocatable"))
            for node in nodes
            if not node.spec.get("taints")
        }
        for placement in placements:
            spec = placement.spec
            free = self._free.get((placement.partition, spec["node"]))
            if free is not None:
                for resource, units in spec["requests"].items():
                    free[resource] = free.get(resource, 0) - units

    def node_for(self, pod: Object) -> str:
        """A node that has room for this pod, with its partition; empty: there is none."""
        wanted = {**pod_requests(pod.spec), PODS: 1}
        for (partition, node), free in self._free.items():
            if all(units <= free.get(resource, 0) for resource, units in wanted.items() if units):
                return f"{partition}/{node}"
        return ""
