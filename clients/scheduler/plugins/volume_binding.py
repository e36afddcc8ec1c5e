"""VolumeBinding: a pod goes where the volumes of its claims can be used, and takes them with it.

* A claim that is bound: its volume's node affinity must select the node.
* A claim whose class waits for the first pod (`volumeBindingMode: WaitForFirstConsumer`): a free volume that will do
  must be usable on the node, or the class's provisioner must be allowed to make one there (`allowedTopologies`).
* Any other claim must be bound first; and without one of its claims a pod goes nowhere.

https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode. The argument (VolumeBindingArgs) is
`bindTimeoutSeconds`: how long a pod that has its node waits for its volumes, 600 by default. What a node has left of a
provisioner's storage (CSIStorageCapacity) is not asked, and nodes are not scored by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ....proto.objects import ObjectKey
from ..columns import NodeColumns
from ..framework.arguments import Arguments
from ..framework.interface import (
    SKIP,
    Bools,
    ClusterEvent,
    Depends,
    EnqueuePlugin,
    EventAction,
    EventResource,
    FilterPlugin,
    PostBindPlugin,
    PreFilterPlugin,
    ReservePlugin,
    Slots,
    VolumeNews,
    Wait,
    WaitingPreBindPlugin,
)
from ..framework.shape import Shape
from ..pending import PendingPod
from ..pod_volumes import ELSEWHERE, MISSING, NO_VOLUMES, PodVolumes, found, read_pod_volumes, usable
from ..volumes import Volumes

if TYPE_CHECKING:
    from ..volume_binder import VolumeBinder

BIND_TIMEOUT_SECONDS: Final = 600
BIND_TIMEOUT_SECONDS_MAX: Final = 86_400

CLAIM_CHANGED: Final = ClusterEvent(EventResource.CLAIM, EventAction.ADD | EventAction.UPDATE)
VOLUME_CHANGED: Final = ClusterEvent(EventResource.VOLUME, EventAction.ADD | EventAction.UPDATE)
CLASS_CHANGED: Final = ClusterEvent(EventResource.STORAGE_CLASS, EventAction.ADD | EventAction.UPDATE)
NODE_MOVED: Final = ClusterEvent(EventResource.NODE, EventAction.ADD | EventAction.UPDATE_LABELS)


class VolumeBinding(PreFilterPlugin, FilterPlugin, ReservePlugin, WaitingPreBindPlugin, PostBindPlugin, EnqueuePlugin):
    """`binder` is the scheduler's; without one (as when a pod is explained) nothing is ever bound."""

    name: ClassVar[str] = "VolumeBinding"
    depends: ClassVar[Depends] = Depends.VOLUMES
    helped_by: ClassVar[tuple[ClusterEvent, ...]] = (CLAIM_CHANGED, VOLUME_CHANGED, CLASS_CHANGED, NODE_MOVED)

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        arguments = Arguments(self.name, args)
        seconds = arguments.number("bindTimeoutSeconds", BIND_TIMEOUT_SECONDS, 1, BIND_TIMEOUT_SECONDS_MAX)
        arguments.done()
        self._wait = Wait(float(seconds))
        self.binder: VolumeBinder | None = None

    def needs_bound_pods(self, pod: Shape) -> bool:
        return False

    # ------------------------------------------------------------------------------------------------------ filter

    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        return read_pod_volumes(nodes.volumes, pod) if pod.template.claims else SKIP

    def filter(self, state: PodVolumes, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        return usable(state, nodes, slots) & found(state, nodes, slots)

    def reasons(self, state: PodVolumes, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        if state.missing:
            return {MISSING: len(slots)}
        elsewhere = int(np.count_nonzero(~usable(state, nodes, slots)))
        reasons = {ELSEWHERE: elsewhere, NO_VOLUMES: len(slots) - elsewhere}
        return {reason: count for reason, count in reasons.items() if count}

    def may_help(self, pod: Shape, event: ClusterEvent, slot: int) -> bool:
        if event.about is None or self.binder is None:
            return True
        return concerns(event.resource, event.about, pod, self.binder.volumes)

    # ------------------------------------------------------------------------------------------- its node is chosen

    def reserve(self, pod: PendingPod, slot: int) -> str:
        return self.binder.reserve(pod, slot) if self.binder is not None and pod.template.claims else ""

    def unreserve(self, pod: PendingPod, slot: int) -> None:
        if self.binder is not None and pod.template.claims:
            self.binder.forget(pod)

    def pre_bind(self, pod: PendingPod, slot: int) -> str | Wait:
        if self.binder is None or not pod.template.claims:
            return ""
        problem = self.binder.bind(pod, slot)
        return self._wait if problem is None else problem

    def post_bind(self, pod: PendingPod, slot: int) -> None:
        if self.binder is not None and pod.template.claims:
            self.binder.forget(pod)


def concerns(resource: EventResource, about: VolumeNews, pod: Shape, volumes: Volumes) -> bool:
    """Whether news of a claim, a volume or a class are any to the pod."""
    if resource is EventResource.CLAIM:
        namespace, name = about.claim
        return (about.tenant, namespace) == (pod.tenant, pod.namespace) and name in pod.template.claims
    if resource is EventResource.VOLUME and about.tenant != pod.tenant:
        return False
    for name in pod.template.claims:
        claim = volumes.claim(ObjectKey(pod.tenant, pod.namespace, name))
        if claim is None:
            continue
        if resource is EventResource.VOLUME and (
            claim.volume_name == about.volume or about.claim == (pod.namespace, name)
        ):
            return True
        if not claim.is_bound and (claim.class_name or "") == about.class_name:
            return True
    return False
