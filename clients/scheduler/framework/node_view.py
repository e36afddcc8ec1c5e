"""One node as a plain-Python plugin sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..columns import NodeColumns
from ..taints import Taint

if TYPE_CHECKING:
    from ..node_facts import NodeFacts


class NodeView:
    """Valid during the call it is passed to: the same view is moved from node to node."""

    __slots__ = ("_nodes", "slot")

    def __init__(self, nodes: NodeColumns) -> None:
        self._nodes = nodes
        self.slot = -1

    @property
    def _facts(self) -> NodeFacts:
        facts = self._nodes.facts[self.slot]
        assert facts is not None, "there is no node in this slot"
        return facts

    @property
    def name(self) -> str:
        return self._nodes.names[self.slot]

    @property
    def partition(self) -> str:
        return self._nodes.partitions[self.slot]

    @property
    def labels(self) -> Mapping[str, str]:
        return self._facts.labels

    @property
    def taints(self) -> tuple[Taint, ...]:
        return self._facts.taints

    @property
    def allocatable(self) -> Mapping[str, int]:
        """In the units of `proto.quantities`."""
        return self._facts.allocatable

    def free(self, resource: str) -> int:
        """What is left of it: negative if more is held than there is."""
        column = self._nodes.resource_columns.get(resource)
        return 0 if column is None else int(self._nodes.free_cells[column][self.slot])

    def held(self, resource: str) -> int:
        return self.allocatable.get(resource, 0) - self.free(resource)
