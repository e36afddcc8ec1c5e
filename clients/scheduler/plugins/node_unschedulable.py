"""NodeUnschedulable: a cordoned node takes only pods that tolerate the taint node.kubernetes.io/unschedulable.

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
from ..taints import UNSCHEDULABLE


class NodeUnschedulable(PreFilterPlugin, FilterPlugin):
    name: ClassVar[str] = "NodeUnschedulable"
    depends: ClassVar[Depends] = Depends.NODE
    template_only: ClassVar[bool] = True

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        return SKIP if any(each.tolerates(UNSCHEDULABLE) for each in pod.template.tolerations) else None

    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        return np.logical_not(nodes.unschedulable[slots])

    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        return {"node(s) were unschedulable": len(slots)}
