"""The watches behind the cores: a kubelet's pods at one partition, and the nodes of the home partition."""

from __future__ import annotations

from collections.abc import Callable

from ...proto import ursa_pb2 as pb
from ...proto.tenants import MOVED_TO
from ..feed import Feed, FeedKeeper
from .core import Kubelet
from .pod import PODS_RESOURCE
from .registrar import NODES_RESOURCE, Registrar

_DELETED = pb.WatchEvent.DELETED


class PodFeed(Feed):
    """The pods bound to one node, at one partition. `settle` is called with it after each batch."""

    __slots__ = ("_kubelet", "_now", "_partition", "_settle")

    def __init__(
        self, keeper: FeedKeeper, kubelet: Kubelet, now: Callable[[], float], settle: Callable[[str], None]
    ) -> None:
        selector = f"spec.nodeName={kubelet.name},spec.resourcePartition={kubelet.home}"
        super().__init__(keeper, pb.Selection(resource=PODS_RESOURCE, field_selector=selector))
        self._kubelet = kubelet
        self._partition = keeper.client.partition
        self._now = now
        self._settle = settle

    def view_started(self) -> None:
        self._kubelet.view_started(self._partition)

    def view_complete(self) -> None:
        self._kubelet.view_complete(self._partition, self._now())

    def resumed(self) -> None:
        self._kubelet.resumed(self._partition)

    def caught_up(self) -> None:
        self._kubelet.caught_up(self._partition, self._now())

    def take(self, batch: pb.WatchBatch) -> None:
        kubelet, partition, now = self._kubelet, self._partition, self._now()
        for event in batch.events:
            message = event.object
            if event.type == _DELETED:
                moved_to = message.metadata.annotations.get(MOVED_TO, "")
                kubelet.pod_deleted(partition, message.metadata.uid, now, moved_to=moved_to)
            else:
                kubelet.pod_changed(partition, message, now)

    def settled(self) -> None:
        self._settle(self._partition)


class NodeFeed(Feed):
    """All nodes of the home partition, on one watch: they change seldom, and one is cheaper than a thousand."""

    __slots__ = ("_now", "_registrar", "_settle")

    def __init__(
        self, keeper: FeedKeeper, registrar: Registrar, now: Callable[[], float], settle: Callable[[], None]
    ) -> None:
        super().__init__(keeper, pb.Selection(resource=NODES_RESOURCE))
        self._registrar = registrar
        self._now = now
        self._settle = settle

    def view_started(self) -> None:
        self._registrar.view_started(self._now())

    def view_complete(self) -> None:
        self._registrar.view_complete(self._now())

    def take(self, batch: pb.WatchBatch) -> None:
        registrar, now = self._registrar, self._now()
        for event in batch.events:
            if event.type == _DELETED:
                registrar.vanished(event.object.metadata.name, now)
            else:
                registrar.observed(event.object, now)

    def settled(self) -> None:
        self._settle()
