"""The disruption controller: keeps the status of PodDisruptionBudgets as its core works it out."""

from __future__ import annotations

from ...proto.errors import NotFound, from_status
from ...proto.objects import ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Informer
from .disruption_core import DisruptionCore
from .reconciler import Reconciler
from .scale_questions import ScaleQuestions
from .scales import Scales

WORKERS = 4
# Changes that come together are written once.
STATUS_DELAY_SECONDS = 0.1


class DisruptionController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(
        self,
        tenant_client: PartitionClient,
        budgets: Informer,
        pods: Informer,
        replicasets: Informer,
        deployments: Informer,
        statefulsets: Informer,
        actor: Actor,
    ) -> None:
        self._tenant_client = tenant_client
        self._questions = ScaleQuestions(tenant_client)
        self._pods = pods
        self._informers = (budgets, pods, replicasets, deployments, statefulsets)
        self._clock = actor.clock
        scales = Scales(replicasets.objects, deployments.objects, statefulsets.objects)
        self._core = DisruptionCore(pods.objects, scales)
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "disruption", self._sync, WORKERS)
        budgets.add_handler(self._core.budget_event)
        pods.add_handler(self._core.pod_event)
        for controllers in (replicasets, deployments, statefulsets):
            controllers.add_handler(self._core.controller_event)
        for informer in self._informers:
            informer.add_burst_handler(self._enqueue)

    def _enqueue(self) -> None:
        for key in self._core.take_due():
            self._reconciler.queue.add_after(key, STATUS_DELAY_SECONDS)

    async def run(self) -> None:
        """Until cancelled. Nothing is worked out before all views are complete."""
        for informer in self._informers:
            await informer.wait_synced()
        await self._reconciler.run()

    async def _sync(self, key: ObjectKey) -> float | None:
        strangers = self._core.strangers(key)
        told = await self._questions.ask(key, strangers) if strangers else {}
        plan = self._core.plan(key, self._clock.now_ms(), self._pods.resource_version, told)
        if plan.operation is not None:
            [result] = await self._tenant_client.mutate([plan.operation])
            if result.HasField("error") and result.error.reason != NotFound.reason:
                raise from_status(result.error)
        return plan.again_seconds
