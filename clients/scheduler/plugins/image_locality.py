"""ImageLocality: nodes that have a pod's images are better, the more so the larger these are.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins. Each image that a node has counts with its
size, times the share of all nodes that have it: so a pod is not drawn to the one node that happens to have its image.
The sum is measured between 23 MB and a thousand MB for each container. What the nodes have is in
`node.status.images`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np

from ..columns import NodeColumns
from ..framework.interface import SCORE_MAX, SKIP, Bools, Depends, PreScorePlugin, ScorePlugin, Scores, Slots
from ..framework.shape import Shape

_MB: Final = 1024 * 1024
LEAST_BYTES: Final = 23 * _MB
CONTAINER_BYTES_MAX: Final = 1000 * _MB

# Bytes that count, by slot: of the nodes that have any of the images.
_Sums = tuple[tuple[int, int], ...]


class ImageLocality(PreScorePlugin, ScorePlugin):
    name: ClassVar[str] = "ImageLocality"
    depends: ClassVar[Depends] = Depends.NODE
    template_only: ClassVar[bool] = True

    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        """The sums stand in the state, because one node's image counts for the share of all of them."""
        sums: dict[int, int] = {}
        for image in pod.template.images:
            sizes = nodes.images.sizes(image)
            share = len(sizes) / max(nodes.nodes, 1)
            for slot, size in sizes.items():
                sums[slot] = sums.get(slot, 0) + int(size * share)
        return tuple(sorted(sums.items())) or SKIP

    def score(self, state: _Sums, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        total = np.zeros(nodes.capacity, np.int64)
        for slot, amount in state:
            total[slot] = image_score(amount, len(pod.template.images))
        return total[slots]


def image_score(amount: int, containers: int) -> int:
    """0 to 100 of so many bytes for so many containers."""
    most = CONTAINER_BYTES_MAX * containers
    return SCORE_MAX * (min(max(amount, LEAST_BYTES), most) - LEAST_BYTES) // (most - LEAST_BYTES)
