"""The Deployment controller: carries out the plans of its core.

A plan is made only from a view that contains what was written before: the revision of the last write is kept, and
nothing is planned until the informer of ReplicaSets is complete up to it. After an answer that was lost, the partition
is asked how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...proto import ursa_pb2 as pb
from ...proto.errors import LinkError, from_status
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Event, Informer
from .awaited import WAIT_SECONDS, Awaited
from .deployment_core import KIND, Plan, find_new, plan, status_operation
from .pods import controller_of
from .reconciler import Reconciler
from .replicaset_members import RESOURCE as REPLICASETS

WORKERS = 8
# The pods of an old template that still run, under Recreate, are looked at this often.
RECREATE_SECONDS = 0.5

_BY_OWNER = "deployment"


class DeploymentController:
    """Of one tenant partition. Its informers are run by the manager.

    `has_unfinished_pods` tells of a ReplicaSet's uid whether pods of it run or may run.
    """

    def __init__(
        self,
        tenant_client: PartitionClient,
        deployments: Informer,
        replicasets: Informer,
        has_unfinished_pods: Callable[[str], bool],
        actor: Actor,
    ) -> None:
        self._tenant_client = tenant_client
        self._deployments, self._replicasets = deployments, replicasets
        self._has_unfinished_pods = has_unfinished_pods
        self._clock = actor.clock
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "deployment", self._sync, WORKERS)
        self._awaited = Awaited(tenant_client, REPLICASETS)
        deployments.add_handler(self._deployment_event)
        replicasets.add_handler(self._replicaset_event)
        replicasets.add_index(_BY_OWNER, _owner_uids)

    def _deployment_event(self, event: Event) -> None:
        self._reconciler.queue.add(event.object.key)

    def _replicaset_event(self, event: Event) -> None:
        owner = controller_of(event.object.message, KIND)
        if owner is not None:
            self._reconciler.queue.add(ObjectKey(event.object.tenant, event.object.namespace, owner.name))

    async def run(self) -> None:
        """Until cancelled. Nothing is planned before both views are complete."""
        await self._deployments.wait_synced()
        await self._replicasets.wait_synced()
        await self._reconciler.run()

    async def _sync(self, key: ObjectKey) -> float | None:
        deployment = self._deployments.objects.get(key)
        if deployment is None:
            self._awaited.forget(key)
            return None
        if not await self._awaited.seen(key, self._replicasets.incarnation, self._replicasets.resource_version):
            return WAIT_SECONDS
        replicasets = self._replicasets.by_index(_BY_OWNER, deployment.uid)
        old_pods_run = self._old_pods_run(deployment, replicasets)
        made = plan(deployment, replicasets, old_pods_run, self._clock.now_ms())
        await self._write(deployment, made)
        waits = [RECREATE_SECONDS] if old_pods_run else []
        if made.again_seconds is not None:
            waits.append(made.again_seconds)
        return min(waits, default=None)

    def _old_pods_run(self, deployment: Object, replicasets: Sequence[Object]) -> bool:
        """Only Recreate asks: it starts nothing new as long as something old may run."""
        if (deployment.spec.get("strategy") or {}).get("type") != "Recreate":
            return False
        _, old = find_new(deployment, replicasets)
        return any(self._has_unfinished_pods(each.uid) for each in old)

    async def _write(self, deployment: Object, made: Plan) -> None:
        """Raises ApiError: a write was refused; LinkError: no answer."""
        if not made.sets and not made.own:
            return
        incarnation = self._replicasets.incarnation
        try:
            results = await self._tenant_client.mutate([*made.sets, *made.own])
        except LinkError:
            self._awaited.lost(deployment.key, incarnation)
            raise
        self._awaited.wrote(deployment.key, incarnation, results[: len(made.sets)])
        for operation, result in zip((*made.sets, *made.own), results, strict=True):
            if result.HasField("error"):
                await self._refused(deployment, operation, result.error)

    async def _refused(self, deployment: Object, operation: pb.Operation, error: pb.Status) -> None:
        if operation.HasField("create") and error.reason == "AlreadyExists":
            found = await self._tenant_client.get(REPLICASETS, Object(operation.create.object).key)
            if deployment.uid in _owner_uids(found):
                return  # Ours; the view has yet to show it.
            collisions = (deployment.status.get("collisionCount") or 0) + 1
            status = {**deployment.status, "collisionCount": collisions}
            await self._tenant_client.mutate([status_operation(deployment, status)])
        elif error.reason != "NotFound":  # What is gone is gone: its event is on the way.
            raise from_status(error)


def _owner_uids(replicaset: Object) -> tuple[str, ...]:
    owner = controller_of(replicaset.message, KIND)
    return (owner.uid,) if owner is not None else ()
