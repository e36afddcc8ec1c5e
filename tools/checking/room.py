"""Whether a pod that waits for a node waits for good reason: none has room for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...clients.pods import pod_requests
from ...proto.devices import MILLI_PER_DEVICE, device_count, device_request, held_devices, tightest_devices
from ...proto.objects import Object
from ...proto.quantities import GPU_MILLI, PODS, resource_list


class Room:
    """What is free on each node, and of each GPU, by what their partitions hold: the nodes, and the placements on them.

    Knows nothing of selectors and tolerations: who uses them needs a judge that does.
    """

    def __init__(self, nodes: Iterable[Object], placements: Iterable[Object]) -> None:
        self._free: dict[tuple[str, str], dict[str, int]] = {}
        self._devices: dict[tuple[str, str], list[int]] = {}
        for node in nodes:
            if not node.spec.get("taints"):
                allocatable = resource_list(node.status.get("allocatable"))
                self._free[node.partition, node.name] = allocatable
                self._devices[node.partition, node.name] = [MILLI_PER_DEVICE] * device_count(allocatable)
        for placement in placements:
            spec = placement.spec
            name = placement.partition, spec["node"]
            if name in self._free:
                for resource, units in spec["requests"].items():
                    self._free[name][resource] = self._free[name].get(resource, 0) - units
                self._take_devices(name, spec)

    def _take_devices(self, name: tuple[str, str], spec: Mapping[str, Any]) -> None:
        held, free = held_devices(spec), self._devices[name]
        if held is not None:
            for number in held.numbers:
                if number < len(free):
                    free[number] -= held.wanted.milli
        elif spec["requests"].get(GPU_MILLI):
            free.clear()  # One that does not know its devices keeps others off all.

    def node_for(self, pod: Object) -> str:
        """A node that has room for this pod, with its partition; empty: there is none."""
        wanted = {**pod_requests(pod.spec), PODS: 1}
        try:
            devices = device_request(wanted)
        except ValueError:
            return ""  # No node ever has it.
        for (partition, node), free in self._free.items():
            fits = all(units <= free.get(resource, 0) for resource, units in wanted.items() if units)
            if fits and (not devices.amount or tightest_devices(self._devices[partition, node], devices)):
                return f"{partition}/{node}"
        return ""
