"""The StatefulSet controller: carries out the plans of its core."""

from __future__ import annotations

from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..events import EventRecorder
from ..informer import Event, EventType, Informer
from .awaited import WAIT_SECONDS
from .failed_pods import FailedPods
from .plan_writer import PlanWriter
from .pods import controller_of
from .reconciler import Reconciler
from .statefulset_core import plan
from .statefulset_pods import STATEFULSET
from .workload_plan import WRITES_MAX

WORKERS = 8
# Changes of pods that come together are one step. A step looks at all pods, so sets of thousands take fewer of them.
STEP_DELAY_SECONDS = 0.05
STEP_PODS_PER_SECOND = 10_000

_BY_OWNER = "statefulset"


class StatefulSetController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(
        self,
        tenant_client: PartitionClient,
        statefulsets: Informer,
        revisions: Informer,
        pods: Informer,
        events: EventRecorder,
        actor: Actor,
    ) -> None:
        self._statefulsets, self._revisions, self._pods = statefulsets, revisions, pods
        self._clock = actor.clock
        self._failed = FailedPods()
        self._delays: dict[str, float] = {}  # Of the steps of large sets, by uid.
        self._writer = PlanWriter(STATEFULSET, tenant_client, statefulsets, pods, [revisions], events, WRITES_MAX)
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "statefulset", self._sync, WORKERS)
        statefulsets.add_handler(self._statefulset_event)
        for informer in (revisions, pods):
            informer.add_handler(self._dependent_event)
            informer.add_index(_BY_OWNER, _owner_uids)

    async def run(self) -> None:
        """Until cancelled. Nothing is planned before all views are complete."""
        for informer in (self._statefulsets, self._revisions, self._pods):
            await informer.wait_synced()
        await self._reconciler.run()

    def _statefulset_event(self, event: Event) -> None:
        self._reconciler.queue.add(event.object.key)
        if event.type is EventType.DELETED:
            self._failed.forget(event.object.uid)
            self._delays.pop(event.object.uid, None)

    def _dependent_event(self, event: Event) -> None:
        """The hot path: most pods are not of a StatefulSet."""
        owner = controller_of(event.object.message, STATEFULSET.kind)
        if owner is not None:
            key = ObjectKey(event.object.tenant, event.object.namespace, owner.name)
            self._reconciler.queue.add_after(key, self._delays.get(owner.uid, STEP_DELAY_SECONDS))

    async def _sync(self, key: ObjectKey) -> float | None:
        history = self._writer.history()
        if not await self._writer.seen(key, history):
            return WAIT_SECONDS
        statefulset = self._statefulsets.objects.get(key)  # As it is now: nothing is waited for from here to the plan.
        if statefulset is None:
            self._writer.forget(key)
            return None
        if not self._writer.is_one_moment(statefulset, history):
            return WAIT_SECONDS
        uid, now_ms = statefulset.uid, self._clock.now_ms()
        revisions, pods = self._revisions.by_index(_BY_OWNER, uid), self._pods.by_index(_BY_OWNER, uid)
        if len(pods) > STEP_DELAY_SECONDS * STEP_PODS_PER_SECOND:
            self._delays[uid] = len(pods) / STEP_PODS_PER_SECOND
        made = plan(statefulset, revisions, pods, self._failed, now_ms, self._writer.creates_max(key))
        for ordinal in made.replaced:
            self._failed.replaced(uid, ordinal, now_ms)
        await self._writer.write(statefulset, made.operations, history)
        return made.again_seconds


def _owner_uids(obj: Object) -> tuple[str, ...]:
    owner = controller_of(obj.message, STATEFULSET.kind)
    return (owner.uid,) if owner is not None else ()
