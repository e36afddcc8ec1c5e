"""Deletes garbage pods: carries out what its core decides, and asks before it believes that something is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import trio

from ...proto.errors import LinkError, NotFound, UrsaError
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Informer
from ..metrics import counter
from ..operations import delete_operation
from .options import TenantControllerOptions
from .pod_gc_core import PodGcCore, Suspect
from .pods import NodeName

# One call holds two of the largest messages: the second fills up while the first is on its way.
BATCH_OPERATIONS = 512
# Questions at once: a round with thousands of suspects shall not crowd out other readers.
QUESTIONS_AT_ONCE_MAX = 16

_PODS = BY_KIND["Pod"].resource
_NODES = BY_KIND["Node"].resource


class NodeViews(Protocol):
    """The nodes of the resource partitions, by partition."""

    @property
    def removed(self) -> list[str]: ...

    def fresh(self, staleness_seconds_max: float) -> Mapping[str, Informer]: ...


class HomeNodes:
    """Those of one resource partition alone, whose own pods are on no others."""

    def __init__(self, nodes: Informer) -> None:
        self._nodes = nodes

    @property
    def removed(self) -> list[str]:
        """Who asks is of this partition himself."""
        return []

    def fresh(self, staleness_seconds_max: float) -> Mapping[str, Informer]:
        nodes = self._nodes
        is_fresh = nodes.synced and nodes.staleness_seconds < staleness_seconds_max
        return {nodes.partition: nodes} if is_fresh else {}


class PodGcController:
    """Of one partition. Its informers are run by the manager."""

    def __init__(
        self,
        client: PartitionClient,
        resource_clients: Mapping[str, PartitionClient],
        pods: Informer,
        nodes: NodeViews,
        options: TenantControllerOptions,
        actor: Actor,
    ) -> None:
        self._client = client
        self._resource_clients = resource_clients
        self._pods, self._nodes = pods, nodes
        self._options = options
        self._log = actor.log
        self._core = PodGcCore(options)
        deleted = counter(actor.registry, "pod_gc_collector_force_delete_pods_total", "Pods collected.", ["reason"])
        self._deleted = {reason: deleted.labels(reason) for reason in ("garbage", "lost-node-marked", "lost-node")}

    async def run(self) -> None:
        """Until cancelled. Nothing is concluded before this partition's own view is complete."""
        await self._pods.wait_synced()
        while True:
            await trio.sleep(self._options.pod_gc_seconds)
            try:
                await self._collect_pods()
            except LinkError as error:
                self._log.info("pod gc: %s; the next round tries again", error)

    async def _collect_pods(self) -> None:
        await self._delete("garbage", self._core.garbage(self._pods.objects.values()))
        fresh = self._nodes.fresh(self._options.staleness_seconds_max)
        seen = {name: informer.objects for name, informer in fresh.items()}
        seen |= {name: {} for name in self._nodes.removed}
        suspects = self._core.lost_with_their_node(self._pods.objects.values(), seen, trio.current_time())
        steps = self._core.next_steps(await self._confirmed(suspects), trio.current_time())
        await self._delete("lost-node-marked", steps.mark, grace_seconds=None)
        await self._delete("lost-node", steps.delete)

    async def _confirmed(self, suspects: Sequence[Suspect]) -> list[Object]:
        """Those whose node is gone, in the words of the partition that would have it."""
        gone: dict[NodeName, bool] = {}
        limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE_MAX)

        async def ask(node: NodeName) -> None:
            async with limit:
                try:
                    gone[node] = await self._is_gone(node)
                except UrsaError as error:
                    self._log.info("pod gc: pods of %s kept: %s", node, error)

        async with trio.open_nursery() as nursery:
            for node in dict.fromkeys(suspect.node for suspect in suspects):
                nursery.start_soon(ask, node)
        return [suspect.pod for suspect in suspects if gone.get(suspect.node)]

    async def _is_gone(self, node: NodeName) -> bool:
        """Raises UrsaError: it cannot be told."""
        if node.partition in self._nodes.removed:
            return True
        try:
            await self._resource_clients[node.partition].get(_NODES, ObjectKey("", "", node.node))
        except NotFound:
            return True
        return False

    async def _delete(self, reason: str, pods: Sequence[Object], *, grace_seconds: int | None = 0) -> None:
        """At once: a node that is gone confirms nothing. Or with its own grace (None), should it be there after all."""
        operations = [delete_operation(_PODS, pod.key, uid=pod.uid, grace_seconds=grace_seconds) for pod in pods]
        for start in range(0, len(operations), BATCH_OPERATIONS):
            results = await self._client.mutate(operations[start : start + BATCH_OPERATIONS])
            self._deleted[reason].inc(sum(not result.HasField("error") for result in results))
