"""News of claims, volumes and classes, and who waits for them: for the first full view, or for what may help. No I/O.

As pods on nodes, volumes are followed only from the moment that somebody needs to know of them: the first pod comes
that uses a claim. It and its like wait until all have been seen, which takes three lists of the home partition; who
uses no claim pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ...proto.objects import Object, ObjectKey
from ...proto.volumes import CLAIMS, STORAGE_CLASSES, VOLUMES
from ..volumes.reading import read_volume
from .framework.interface import ClusterEvent, EventAction, EventResource, VolumeNews
from .framework.picker import Picker
from .held_pods import HeldPods
from .pending import PendingPod
from .pod_queue import PodQueue
from .volumes import Volumes

FOLLOWED: Final = (CLAIMS, VOLUMES, STORAGE_CLASSES)
ASSUMED_NO_MORE: Final = ClusterEvent(EventResource.VOLUME, EventAction.UPDATE)
_RESOURCES: Final = {
    CLAIMS: EventResource.CLAIM,
    VOLUMES: EventResource.VOLUME,
    STORAGE_CLASSES: EventResource.STORAGE_CLASS,
}


class SeenVolumes:
    """`pods`: all that are on their way, by uid. `changed` is called when news have come."""

    def __init__(
        self,
        volumes: Volumes,
        pickers: Mapping[str, Picker],
        queue: PodQueue,
        pods: Mapping[str, PendingPod],
        changed: Callable[[], None],
    ) -> None:
        self._volumes, self._pickers, self._queue, self._changed = volumes, pickers, queue, changed
        self._held = HeldPods(queue, pods)

    @property
    def wanted(self) -> bool:
        """A pod uses a claim, or one did: all in FOLLOWED are to be told of."""
        return self._volumes.wanted

    def known(self, resource: str) -> Iterable[ObjectKey]:
        """All that was told of."""
        return self._volumes.known(resource)

    def seen(self, resource: str, obj: Object) -> None:
        """One has been added, or has changed."""
        self._volumes.seen(resource, obj)
        self._queue.help(
            ClusterEvent(_RESOURCES[resource], EventAction.ADD | EventAction.UPDATE, _about(resource, obj))
        )

    def gone(self, resource: str, key: ObjectKey) -> None:
        """Nothing that goes helps anybody."""
        self._volumes.gone(resource, key)

    def settled(self, complete: bool) -> None:
        """A burst of news is over. `complete`: all three have been seen in full, once."""
        if complete and not self._volumes.complete:
            self._volumes.complete = True
            self._held.release()
        self._changed()

    def holds_up(self, pod: PendingPod) -> bool:
        """Whether a pod with claims, taken out of the queue, must wait; then it is in the queue again."""
        if self._volumes.complete or not self._pickers[pod.template.scheduler_name].algorithm.looks_at_volumes:
            return False
        self._volumes.wanted = True
        self._held.hold(pod)
        return True


def _about(resource: str, obj: Object) -> VolumeNews:
    if resource == STORAGE_CLASSES:
        return VolumeNews(class_name=obj.name)
    if resource == CLAIMS:
        return VolumeNews(obj.tenant, (obj.namespace, obj.name))
    volume = read_volume(obj)
    claim = ("", "") if volume.claim is None else (volume.claim.namespace, volume.claim.name)
    return VolumeNews(obj.tenant, claim, obj.name, volume.class_name)
