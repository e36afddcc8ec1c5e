"""Marks nodes that have gone silent and drives their pods out: carries out what its core decides."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError, NotFound, UrsaError
from ...proto.kinds import NODE_LEASE_NAMESPACE, SYSTEM_TENANT
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..events import EventRecorder
from ..informer import Informer
from ..metrics import counter, gauge
from ..operations import delete_operation
from ..spanning import SpanningInformer
from .node_lifecycle_core import LEASES, NodeLifecycleCore, toleration_seconds
from .node_zones import Health, Zone
from .options import ResourceControllerOptions
from .pods import node_of

# The index of the pods' informers by node, which the manager sets up.
BY_NODE = "node"


class NodeLifecycleController:
    """Of one resource partition. `pods` has, per tenant partition, an informer of the pods on our nodes."""

    def __init__(
        self,
        resource_client: PartitionClient,
        tenant_clients: Mapping[str, PartitionClient],
        nodes: Informer,
        leases: Informer,
        pods: SpanningInformer,
        events: EventRecorder,
        options: ResourceControllerOptions,
        actor: Actor,
    ) -> None:
        self._resource_client = resource_client
        self._tenant_clients = tenant_clients
        self._nodes, self._leases, self._pods = nodes, leases, pods
        self._events = events
        self._options = options
        self._clock = actor.clock
        self._log = actor.log
        self._core = NodeLifecycleCore(options)
        self._evictions = counter(
            actor.registry, "node_collector_evictions_total", "Pods deleted from unreachable nodes.", ["partition"]
        ).labels(resource_client.partition)
        by_zone = ["partition", "zone"]
        self._zone_size = gauge(actor.registry, "node_collector_zone_size", "Nodes in a zone.", by_zone)
        self._zone_lost = gauge(
            actor.registry, "node_collector_unhealthy_nodes_in_zone", "Nodes in a zone that are unreachable.", by_zone
        )
        self._zones: dict[Zone, Health] = {}  # As they were told last.
        nodes.add_handler(lambda event: self._core.node_event(event, trio.current_time()))
        leases.add_handler(lambda event: self._core.lease_event(event, trio.current_time()))
        pods.add_index(BY_NODE, _node_names)

    async def run(self) -> None:
        """Until cancelled. Nothing is judged before both views are complete."""
        await self._nodes.wait_synced()
        await self._leases.wait_synced()
        while True:
            try:
                await self._tick()
            except LinkError as error:
                self._log.info("node lifecycle: %s; it will be tried again", error)
            await trio.sleep(self._options.node_monitor_seconds)

    async def _tick(self) -> None:
        fresh = self._is_fresh(self._nodes) and self._is_fresh(self._leases)
        operations = self._core.tick(trio.current_time(), self._clock.now_ms(), fresh)
        self._tell_zones()
        if operations:
            for operation, result in zip(operations, await self._resource_client.mutate(operations), strict=True):
                if result.HasField("error"):
                    self._log.info("node not marked: %s; it will be tried again", result.error.message)
                elif operation.update.subresource:
                    self._tell(operation.update.object)
        for node, lost_at in self._core.evicting() if fresh else ():
            await self._evict(node, trio.current_time() - lost_at)

    async def _evict(self, node: str, lost_seconds: float) -> None:
        for partition, informer in self._pods.fresh(self._options.staleness_seconds_max).items():
            operations = [
                delete_operation("pods", pod.key, uid=pod.uid)
                for pod in informer.by_index(BY_NODE, node)
                if not pod.deletion_ms
                and lost_seconds >= toleration_seconds(pod.spec, self._options.toleration_seconds)
            ]
            if operations:
                if not await self._is_silent(node):
                    return
                self._log.info("node %s is lost: deleting %d of its pods at %s", node, len(operations), partition)
                await self._tenant_clients[partition].mutate(operations)
                self._evictions.inc(len(operations))

    async def _is_silent(self, node: str) -> bool:
        """Whether its Lease stands still in the words of the partition, too: a view that says nothing new may be that
        of an apiserver which stands still itself (Kubernetes #121793: one watch was dead, and so were all nodes)."""
        key = ObjectKey(SYSTEM_TENANT, NODE_LEASE_NAMESPACE, node)
        seen = self._leases.objects.get(key)
        try:
            lease = await self._resource_client.get(LEASES, key)
        except NotFound:
            return seen is None
        except UrsaError as error:
            self._log.info("pods of node %s kept: %s", node, error)
            return False
        return seen is not None and lease.resource_version == seen.resource_version

    def _tell(self, node: pb.Object) -> None:
        """Record what a node has become."""
        obj = self._nodes.objects.get(ObjectKey("", "", node.metadata.name))
        if obj is not None:
            lost = b"NodeStatusUnknown" in node.status
            reason = "NodeNotReady" if lost else "NodeReady"
            self._events.event(obj, "Warning" if lost else "Normal", reason, f"Node {obj.name} status is now: {reason}")

    def _tell_zones(self) -> None:
        partition = self._resource_client.partition
        for zone, census in self._core.zones.items():
            self._zone_size.labels(partition, str(zone)).set(census.total)
            self._zone_lost.labels(partition, str(zone)).set(census.lost)
            health = census.health(self._options.unhealthy_zone_threshold)
            if health is not self._zones.get(zone, Health.NORMAL):
                self._log.warning(
                    "zone %s is now: %s, %d of %d nodes lost", zone, health.value, census.lost, census.total
                )
        for zone in self._zones:
            if zone not in self._core.zones:
                self._zone_size.remove(partition, str(zone))
                self._zone_lost.remove(partition, str(zone))
        self._zones = {zone: c.health(self._options.unhealthy_zone_threshold) for zone, c in self._core.zones.items()}

    def _is_fresh(self, informer: Informer) -> bool:
        return informer.synced and informer.staleness_seconds < self._options.staleness_seconds_max


def _node_names(pod: Object) -> tuple[str, ...]:
    """Without `pod.spec`, which would keep the decoded spec of every pod on these nodes in memory."""
    node = node_of(pod)
    return (node.node,) if node is not None else ()
