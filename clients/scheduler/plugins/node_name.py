"""NodeName: a pod whose spec names a node runs there or nowhere.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..columns import NodeColumns
from ..framework.interface import SKIP, Bools, Depends, FilterPlugin, PreFilterPlugin, Slots
from ..framework.shape import Shape


class NodeName(PreFilterPlugin, FilterPlugin):
    name: ClassVar[str] = "NodeName"
    depends: ClassVar[Depends] = Depends.NODE
    template_only: ClassVar[bool] = True

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        return pod.template.node_name or SKIP

    def filter(self, state: str, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        named = np.zeros(nodes.capacity, np.bool_)
        named[nodes.slots_named(state)] = True
        return named[slots]

    def reasons(self, state: str, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        return {"node(s) didn't match the requested node name": len(slots)}
