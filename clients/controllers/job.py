"""The Job controller: carries out the plans of its core.

A plan is made only when the views of Jobs and of pods show one moment, and one that contains all that was written for
this Job before: the revision of the last write is kept, and after an answer that was lost the partition is asked how
far it is.
"""

from __future__ import annotations

import trio

from ...proto.errors import LinkError, from_status
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..events import EventRecorder
from ..informer import Event, EventType, Informer
from .awaited import WAIT_SECONDS, Awaited
from .job_core import WRITES_MAX, Plan, one_moment, plan
from .job_pods import KIND, is_tracked, release
from .pods import controller_of
from .reconciler import Reconciler

WORKERS = 8
# Changes of pods that come together are one step. A step looks at all pods, so Jobs of thousands take fewer of them.
STEP_DELAY_SECONDS = 0.1
STEP_PODS_PER_SECOND = 10_000

_BY_JOB = "job"
# What has changed or gone since it was seen is looked at again when the view shows it.
_OUTDATED = ("Conflict", "NotFound", "AlreadyExists")


class JobController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(
        self, tenant_client: PartitionClient, jobs: Informer, pods: Informer, events: EventRecorder, actor: Actor
    ) -> None:
        self._tenant_client = tenant_client
        self._jobs, self._pods = jobs, pods
        self._events = events
        self._clock = actor.clock
        self._awaited = Awaited(tenant_client, jobs.resource)
        # How many pods the next plan may create: after a refusal one, then twice as many with each success.
        self._bursts: dict[ObjectKey, int] = {}
        self._delays: dict[str, float] = {}  # Of the steps of large Jobs, by uid.
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "job", self._sync, WORKERS)
        self._orphans: Reconciler[ObjectKey] = Reconciler(actor, "job_orphan_pod", self._release_orphan, WORKERS)
        jobs.add_handler(self._job_event)
        pods.add_handler(self._pod_event)
        pods.add_index(_BY_JOB, _job_uids)

    async def run(self) -> None:
        """Until cancelled. Nothing is planned before both views are complete."""
        await self._jobs.wait_synced()
        await self._pods.wait_synced()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reconciler.run)
            nursery.start_soon(self._orphans.run)

    def _job_event(self, event: Event) -> None:
        self._reconciler.queue.add(event.object.key)
        if event.type is EventType.DELETED:
            self._delays.pop(event.object.uid, None)
            for pod in self._pods.by_index(_BY_JOB, event.object.uid):
                self._orphans.queue.add(pod.key)

    def _pod_event(self, event: Event) -> None:
        """The hot path: most pods are not of a Job."""
        pod = event.object
        owner = controller_of(pod.message, KIND)
        if owner is not None:
            key = ObjectKey(pod.tenant, pod.namespace, owner.name)
            self._reconciler.queue.add_after(key, self._delays.get(owner.uid, STEP_DELAY_SECONDS))
            job = self._jobs.objects.get(key)
            if job is not None and job.uid == owner.uid:
                return
        if is_tracked(pod):
            self._orphans.queue.add(pod.key)

    async def _sync(self, key: ObjectKey) -> float | None:
        history = self._history()
        if not history or not await self._awaited.seen(key, history, self._pods.resource_version):
            return WAIT_SECONDS
        job = self._jobs.objects.get(key)  # As it is now, and nothing is waited for from here to the plan.
        if job is None:
            self._bursts.pop(key, None)
            return None
        moment = one_moment(job, self._jobs.resource_version, self._pods.resource_version)
        if not moment or history != self._history():
            return WAIT_SECONDS
        pods = self._pods.by_index(_BY_JOB, job.uid)
        if len(pods) > STEP_DELAY_SECONDS * STEP_PODS_PER_SECOND:
            self._delays[job.uid] = len(pods) / STEP_PODS_PER_SECOND
        made = plan(job, pods, self._pods.objects.__contains__, self._clock.now_ms(), self._bursts.get(key, WRITES_MAX))
        await self._write(job, made, history)
        return made.again_seconds

    def _history(self) -> str:
        """That both views are of. Empty, while there is none."""
        history = self._pods.history
        return history if history == self._jobs.history else ""

    async def _write(self, job: Object, made: Plan, history: str) -> None:
        """Raises ApiError: a write was refused; LinkError: no answer."""
        if not made.operations:
            return
        try:
            results = await self._tenant_client.mutate(made.operations, history=history)
        except LinkError:
            self._awaited.lost(job.key, history)
            raise
        self._awaited.wrote(job.key, history, results)
        refusals = [
            (operation, result.error)
            for operation, result in zip(made.operations, results, strict=True)
            if result.HasField("error") and result.error.reason not in _OUTDATED
        ]
        if not refusals:
            if job.key in self._bursts:
                self._widen(job.key)
            return
        operation, error = refusals[-1]
        if operation.HasField("create"):
            self._bursts[job.key] = 1
            self._events.event(job, "Warning", "FailedCreate", f"Error creating: {error.message}")
        raise from_status(error)

    def _widen(self, key: ObjectKey) -> None:
        self._bursts[key] *= 2
        if self._bursts[key] >= WRITES_MAX:
            del self._bursts[key]

    # ------------------------------------------------------------------------------------------------------ orphans

    async def _release_orphan(self, key: ObjectKey) -> float | None:
        """Nobody counts the pods of a Job that is gone. That it is, the view of Jobs says, once it is as far as the
        pod: whoever made the pod had seen the Job, or had been told of it."""
        pod = self._pods.objects.get(key)
        if pod is None or not is_tracked(pod):
            return None
        history = self._history()
        if not history or self._jobs.resource_version < pod.resource_version:
            return WAIT_SECONDS
        owner = controller_of(pod.message, KIND)
        if owner is not None:
            job = self._jobs.objects.get(ObjectKey(pod.tenant, pod.namespace, owner.name))
            if job is not None and job.uid == owner.uid:
                return None
        [result] = await self._tenant_client.mutate([release(pod)], history=history)
        if result.HasField("error") and result.error.reason not in _OUTDATED:
            raise from_status(result.error)
        return None


def _job_uids(pod: Object) -> tuple[str, ...]:
    owner = controller_of(pod.message, KIND)
    return (owner.uid,) if owner is not None else ()
