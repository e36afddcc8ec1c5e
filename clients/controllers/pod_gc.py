"""Deletes garbage: carries out what its core decides, and asks before it believes that something is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError, NotFound, UrsaError
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Event, EventType, Informer
from ..metrics import counter
from ..operations import delete_operation
from .options import TenantControllerOptions
from .pod_gc_core import OwnedBy, PodGcCore, Suspect, orphans
from .pods import NodeName

# One call holds two of the largest messages: the second fills up while the first is on its way.
BATCH_OPERATIONS = 512
# Questions at once: a round with thousands of suspects shall not crowd out other readers.
QUESTIONS_AT_ONCE_MAX = 16
# An owner that was deleted takes its dependents with it this soon, and not only when the next round comes.
ORPHAN_DELAY_SECONDS = 0.2

_PODS = BY_KIND["Pod"].resource
_NODES = BY_KIND["Node"].resource


class PodGcController:
    """Of one tenant partition: garbage pods, and the dependents of owners that are gone.

    `ownerless_pods` names the pods whose ReplicaSet is not in sight: the ReplicaSet controller knows them without
    going through all pods whenever some owner goes.
    """

    def __init__(
        self,
        tenant_client: PartitionClient,
        resource_clients: Mapping[str, PartitionClient],
        pods: Informer,
        replicasets: Informer,
        deployments: Informer,
        nodes: Mapping[str, Informer],
        ownerless_pods: Callable[[], Sequence[ObjectKey]],
        options: TenantControllerOptions,
        actor: Actor,
    ) -> None:
        self._tenant_client = tenant_client
        self._resource_clients = resource_clients
        self._pods, self._replicasets, self._deployments, self._nodes = pods, replicasets, deployments, nodes
        self._ownerless_pods = ownerless_pods
        self._options = options
        self._log = actor.log
        self._core = PodGcCore(options)
        self._owner_gone = trio.Event()
        deleted = counter(actor.registry, "pod_gc_collector_force_delete_pods_total", "Objects collected.", ["reason"])
        self._deleted = {reason: deleted.labels(reason) for reason in ("garbage", "lost-node", "orphaned")}
        for owners in (replicasets, deployments):
            owners.add_handler(self._owner_event)

    def _owner_event(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._owner_gone.set()

    async def run(self) -> None:
        """Until cancelled. Nothing is concluded before this partition's own views are complete."""
        for informer in (self._pods, self._replicasets, self._deployments):
            await informer.wait_synced()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect_rounds)
            nursery.start_soon(self._collect_orphans_when_owners_go)

    async def _collect_rounds(self) -> None:
        while True:
            await trio.sleep(self._options.pod_gc_seconds)
            await self._tried(self._collect_pods)
            await self._tried(self._collect_orphans)

    async def _collect_orphans_when_owners_go(self) -> None:
        while True:
            await self._owner_gone.wait()
            await trio.sleep(ORPHAN_DELAY_SECONDS)
            self._owner_gone = trio.Event()
            await self._tried(self._collect_orphans)

    async def _tried(self, collect: Callable[[], Awaitable[None]]) -> None:
        try:
            await collect()
        except LinkError as error:
            self._log.info("pod gc: %s; the next round tries again", error)

    async def _collect_pods(self) -> None:
        await self._delete("garbage", [(_PODS, pod) for pod in self._core.garbage(self._pods.objects.values())])
        seen = {name: informer.objects for name, informer in self._nodes.items() if self._is_fresh(informer)}
        suspects = self._core.lost_with_their_node(self._pods.objects.values(), seen, trio.current_time())
        await self._delete("lost-node", await self._confirmed(suspects))

    async def _collect_orphans(self) -> None:
        if not (self._is_fresh(self._replicasets) and self._is_fresh(self._deployments)):
            return
        pods = [self._pods.objects[key] for key in self._ownerless_pods()]
        suspects = orphans(_PODS, pods, "ReplicaSet", _uid_in(self._replicasets))
        replicasets = self._replicasets.objects.values()
        suspects += orphans(self._replicasets.resource, replicasets, "Deployment", _uid_in(self._deployments))
        await self._delete("orphaned", await self._confirmed(suspects))

    async def _confirmed(self, suspects: Sequence[Suspect]) -> list[tuple[str, Object]]:
        """Those whose node or owner is gone, in the words of the partition that would have it."""
        gone: dict[NodeName | OwnedBy, bool] = {}
        limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE_MAX)

        async def ask(what: NodeName | OwnedBy) -> None:
            async with limit:
                try:
                    gone[what] = await self._is_gone(what)
                except UrsaError as error:
                    self._log.info("pod gc: %s kept: %s", what, error)

        async with trio.open_nursery() as nursery:
            for what in dict.fromkeys(suspect.node or suspect.owner for suspect in suspects):
                if what is not None:
                    nursery.start_soon(ask, what)
        return [
            (suspect.resource, suspect.object)
            for suspect in suspects
            if (what := suspect.node or suspect.owner) is not None and gone.get(what)
        ]

    async def _is_gone(self, what: NodeName | OwnedBy) -> bool:
        """Raises UrsaError: it cannot be told."""
        try:
            if isinstance(what, NodeName):
                await self._resource_clients[what.partition].get(_NODES, ObjectKey("", "", what.node))
                return False
            owner = await self._tenant_client.get(BY_KIND[what.kind].resource, what.key)
            return owner.uid != what.uid
        except NotFound:
            return True

    async def _delete(self, reason: str, objects: Sequence[tuple[str, Object]]) -> None:
        """A node that is gone confirms nothing, so its pods go at once; a live kubelet is given its grace."""
        grace_seconds = None if reason == "orphaned" else 0
        operations: list[pb.Operation] = [
            delete_operation(resource, obj.key, uid=obj.uid, grace_seconds=grace_seconds) for resource, obj in objects
        ]
        for start in range(0, len(operations), BATCH_OPERATIONS):
            batch = operations[start : start + BATCH_OPERATIONS]
            results = await self._tenant_client.mutate(batch)
            self._deleted[reason].inc(sum(not result.HasField("error") for result in results))

    def _is_fresh(self, informer: Informer) -> bool:
        return informer.synced and informer.staleness_seconds < self._options.staleness_seconds_max


def _uid_in(owners: Informer) -> Callable[[ObjectKey], str | None]:
    def uid_of(key: ObjectKey) -> str | None:
        owner = owners.objects.get(key)
        return owner.uid if owner is not None else None

    return uid_of
