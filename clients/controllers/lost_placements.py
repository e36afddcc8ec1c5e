"""Makes placements again that were lost with a partition's newer history: carries out what its core decides."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError, NotFound, UrsaError
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Event, Informer
from ..metrics import counter, gauge
from ..placements import PLACEMENTS
from ..spanning import SpanningInformer
from .lost_placements_core import LostPlacementsCore, Suspect, made
from .options import ResourceControllerOptions

# How often pods without a placement are looked at. While they wait, the room they take is given away.
ASK_SECONDS = 5.0
# Asked about in one round, and at once. A partition that was set back may have lost thousands.
SUSPECTS_MAX = 512
QUESTIONS_AT_ONCE_MAX = 16

_PODS = BY_KIND["Pod"].resource


class LostPlacementController:
    """Of one resource partition. `pods` has, per tenant partition, an informer of the pods on our nodes."""

    def __init__(
        self,
        resource_client: PartitionClient,
        tenant_clients: Mapping[str, PartitionClient],
        placements: Informer,
        nodes: Informer,
        pods: SpanningInformer,
        options: ResourceControllerOptions,
        actor: Actor,
    ) -> None:
        self._resource_client = resource_client
        self._tenant_clients = tenant_clients
        self._placements, self._nodes, self._pods = placements, nodes, pods
        self._options = options
        self._log = actor.log
        home = resource_client.partition
        self._core = LostPlacementsCore(
            home, placements.objects, nodes.objects, options.lost_placement_grace_seconds, pods.showing
        )
        lacking = gauge(
            actor.registry, "ursa_pods_without_placement", "Pods on our nodes that hold no room there.", ["partition"]
        )
        repaired = counter(
            actor.registry,
            "ursa_placements_repaired_total",
            "Placements made again for pods that are bound here, and taken away from where their pods are not.",
            ["partition", "repair"],
        )
        self._lacking = lacking.labels(home)
        self._made, self._misplaced = repaired.labels(home, "made"), repaired.labels(home, "misplaced")
        placements.add_handler(self._placement_event)
        pods.add_handler(self._pod_event)
        pods.add_leave_handler(self._core.partition_left)

    def _placement_event(self, event: Event) -> None:
        self._core.placement_event(event, trio.current_time())

    def _pod_event(self, partition: str, event: Event) -> None:
        self._core.pod_event(partition, event, trio.current_time())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(ASK_SECONDS)
            self._lacking.set(self._core.lacking)
            while await self._repair_some():
                pass

    async def _repair_some(self) -> bool:
        """One round. Whether another one should follow at once: there was more than fits into one."""
        if not (self._is_fresh(self._placements) and self._is_fresh(self._nodes)):
            return False
        answering = list(self._pods.fresh(self._options.staleness_seconds_max))
        suspects = self._core.suspects(trio.current_time(), answering, SUSPECTS_MAX)
        operations = await self._ask(suspects)
        if operations:
            await self._carry_out(operations)
        return len(suspects) == SUSPECTS_MAX

    async def _ask(self, suspects: list[Suspect]) -> list[pb.Operation]:
        found: dict[Suspect, pb.Operation] = {}
        limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE_MAX)

        async def ask(suspect: Suspect) -> None:
            async with limit:
                try:
                    operation = await self._ask_one(suspect)
                except (UrsaError, ValueError) as error:
                    self._log.info("pod %s stays without a placement: %s", suspect.pod, error)
                    return
            if operation is not None:
                found[suspect] = operation

        async with trio.open_nursery() as nursery:
            for suspect in suspects:
                nursery.start_soon(ask, suspect)
        return list(found.values())

    async def _ask_one(self, suspect: Suspect) -> pb.Operation | None:
        """Raises UrsaError: there was no answer. ValueError: the pod makes no sense."""
        placement = await _found(self._resource_client, PLACEMENTS, ObjectKey("", "", suspect.uid))
        # Last, so that the pod is known to live after there was no placement: one that has ended had its own released.
        pod = await _found(self._tenant_clients[suspect.tenant_partition], _PODS, suspect.pod)
        return self._core.answer(suspect, pod, placement)

    async def _carry_out(self, operations: list[pb.Operation]) -> None:
        try:
            results = await self._resource_client.mutate(operations)
        except LinkError as error:
            self._log.info("lost placements not made again: %s; their pods will be asked about again", error)
            return
        created, misplaced = made(operations, results)
        self._made.inc(created)
        self._misplaced.inc(misplaced)
        self._log.info("%d lost placements made again, %d misplaced ones deleted", created, misplaced)

    def _is_fresh(self, informer: Informer) -> bool:
        """Whether it is worth asking about what this view shows. What is done rests on the answers alone."""
        return informer.synced and informer.staleness_seconds < self._options.staleness_seconds_max


async def _found(client: PartitionClient, resource: str, key: ObjectKey) -> Object | None:
    try:
        return await client.get(resource, key)
    except NotFound:
        return None
