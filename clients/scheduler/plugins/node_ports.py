"""NodePorts: a pod that takes ports of its node finds them free there.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins. Which ports are taken, placements say: also
those of pods of other tenant partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..columns import NodeColumns
from ..framework.interface import SKIP, Bools, Depends, FilterPlugin, PreFilterPlugin, SlotFilter, Slots
from ..framework.shape import Shape


class NodePorts(PreFilterPlugin, FilterPlugin):
    name: ClassVar[str] = "NodePorts"
    depends: ClassVar[Depends] = Depends.ROOM
    template_only: ClassVar[bool] = True

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        return pod.template.host_ports or SKIP

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        free = np.ones(nodes.capacity, np.bool_)
        for slot in nodes.ports:
            free[slot] = self._are_free(pod, nodes, slot)
        return free[slots]

    def slot_filter(self, state: Any, pod: Shape, nodes: NodeColumns) -> SlotFilter:
        return lambda slot: self._are_free(pod, nodes, slot)

    def _are_free(self, pod: Shape, nodes: NodeColumns, slot: int) -> bool:
        taken = nodes.ports.get(slot)
        return not taken or not any(held.collides(port) for held in taken for port in pod.template.host_ports)

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        return {"node(s) didn't have free ports for the requested pod ports": len(slots)}
