"""VolumeZone: a pod goes to the zone and the region of its volumes, as the labels of both say.

https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone: of a bound volume with such a
label, the node must have one of the values that it names (`a__b`: a or b). A label of the older form of the volume is
met by one of the newer form of the node. A node that has no such label at all is not judged. What is not bound yet is
VolumeBinding's to see to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ....proto.objects import ObjectKey
from ....proto.volumes import REGION, ZONE
from ..columns import NodeColumns
from ..framework.interface import (
    SKIP,
    Bools,
    ClusterEvent,
    Depends,
    EnqueuePlugin,
    FilterPlugin,
    PreFilterPlugin,
    Slots,
)
from ..framework.shape import Shape
from ..volume_candidates import has_value
from ..volumes import Volumes
from .volume_binding import CLAIM_CHANGED, NODE_MOVED, VOLUME_CHANGED, concerns

CONFLICT: Final = "node(s) had no available volume zone"
SEPARATOR: Final = "__"
# The older form of each label, and the one that is used now.
OLDER: Final = {
    "failure-domain.beta.kubernetes.io/zone": ZONE,
    "failure-domain.beta.kubernetes.io/region": REGION,
}
LABELS: Final = (*OLDER, ZONE, REGION)

# A label of a volume, and the values that a node may have.
_Constraints = tuple[tuple[str, tuple[str, ...]], ...]


class VolumeZone(PreFilterPlugin, FilterPlugin, EnqueuePlugin):
    name: ClassVar[str] = "VolumeZone"
    depends: ClassVar[Depends] = Depends.VOLUMES
    helped_by: ClassVar[tuple[ClusterEvent, ...]] = (CLAIM_CHANGED, VOLUME_CHANGED, NODE_MOVED)

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        super().__init__(args)
        self.volumes: Volumes | None = None  # The scheduler's.

    def needs_bound_pods(self, pod: Shape) -> bool:
        return False

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        constraints: dict[tuple[str, tuple[str, ...]], None] = {}
        for name in pod.template.claims:
            claim = nodes.volumes.claim(ObjectKey(pod.tenant, pod.namespace, name))
            volume = None if claim is None else nodes.volumes.volume(pod.tenant, claim.volume_name)
            if volume is not None:
                for label in LABELS:
                    if label in volume.labels:
                        constraints[label, tuple(volume.labels[label].split(SEPARATOR))] = None
        return tuple(constraints) or SKIP

    def filter(self, state: _Constraints, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        fits = nodes.present[slots].copy()
        for label, values in state:
            here = has_value(label, values, nodes, slots)
            if label in OLDER:
                here |= ~_has(label, nodes, slots) & has_value(OLDER[label], values, nodes, slots)
            fits &= here
        judged = np.zeros(len(fits), np.bool_)
        for label in LABELS:
            judged |= _has(label, nodes, slots)
        return fits | (nodes.present[slots] & ~judged)

    def reasons(
        self, state: _Constraints, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]
    ) -> Mapping[str, int]:
        return {CONFLICT: len(slots)}

    def may_help(self, pod: Shape, event: ClusterEvent, slot: int) -> bool:
        return event.about is None or self.volumes is None or concerns(event.resource, event.about, pod, self.volumes)


def _has(label: str, nodes: NodeColumns, slots: Slots) -> Bools:
    return np.not_equal(nodes.labels.ids(label, nodes.capacity)[0][slots], 0)
