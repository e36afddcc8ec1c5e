"""The CronJob controller: carries out the plans of its core, at the times that they name.

A plan is made only from a view of Jobs that contains all that was written for this CronJob before, and is as far as
the view of CronJobs: what a status says of Jobs, the view of Jobs has shown.
"""

from __future__ import annotations

from ...proto.errors import LinkError, from_status
from ...proto.objects import Object, ObjectKey
from ..actor import Actor
from ..client import PartitionClient
from ..events import EventRecorder
from ..informer import Event, Informer
from .awaited import WAIT_SECONDS, Awaited
from .cronjob_core import KIND, Plan, plan
from .job_core import one_moment
from .pods import controller_of
from .reconciler import Reconciler

WORKERS = 4

_BY_CRON_JOB = "cronjob"
# What has changed or gone since it was seen is looked at again when the view shows it.
_OUTDATED = ("Conflict", "NotFound", "AlreadyExists")


class CronJobController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(
        self, tenant_client: PartitionClient, cron_jobs: Informer, jobs: Informer, events: EventRecorder, actor: Actor
    ) -> None:
        self._tenant_client = tenant_client
        self._cron_jobs, self._jobs = cron_jobs, jobs
        self._events = events
        self._clock = actor.clock
        self._awaited = Awaited(tenant_client, jobs.resource)
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "cronjob", self._sync, WORKERS)
        cron_jobs.add_handler(self._cron_job_event)
        jobs.add_handler(self._job_event)
        jobs.add_index(_BY_CRON_JOB, _cron_job_uids)

    def _cron_job_event(self, event: Event) -> None:
        self._reconciler.queue.add(event.object.key)

    def _job_event(self, event: Event) -> None:
        owner = controller_of(event.object.message, KIND)
        if owner is not None:
            self._reconciler.queue.add(ObjectKey(event.object.tenant, event.object.namespace, owner.name))

    async def run(self) -> None:
        """Until cancelled. Nothing is planned before both views are complete."""
        await self._cron_jobs.wait_synced()
        await self._jobs.wait_synced()
        await self._reconciler.run()

    async def _sync(self, key: ObjectKey) -> float | None:
        history = self._history()
        if not history or not await self._awaited.seen(key, history, self._jobs.resource_version):
            return WAIT_SECONDS
        cron_job = self._cron_jobs.objects.get(key)  # As it is now, and nothing is waited for from here to the plan.
        if cron_job is None:
            return None
        moment = one_moment(cron_job, self._cron_jobs.resource_version, self._jobs.resource_version)
        if not moment or history != self._history():
            return WAIT_SECONDS
        jobs = self._jobs.by_index(_BY_CRON_JOB, cron_job.uid)
        made = plan(cron_job, jobs, self._jobs.objects, self._clock.now_ms())
        for reason, message in made.told:
            self._events.event(cron_job, "Warning", reason, message)
        await self._write(cron_job, made, history)
        return made.again_seconds

    def _history(self) -> str:
        """That both views are of. Empty, while there is none."""
        history = self._jobs.history
        return history if history == self._cron_jobs.history else ""

    async def _write(self, cron_job: Object, made: Plan, history: str) -> None:
        """Raises ApiError: a write was refused; LinkError: no answer."""
        operations = made.operations
        if not operations:
            return
        try:
            results = await self._tenant_client.mutate(operations, history=history)
        except LinkError:
            self._awaited.lost(cron_job.key, history)
            raise
        self._awaited.wrote(cron_job.key, history, results)
        for operation, result in zip(operations, results, strict=True):
            if not result.HasField("error") or result.error.reason in _OUTDATED:
                continue
            if operation.HasField("create"):
                self._events.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {result.error.message}")
            raise from_status(result.error)


def _cron_job_uids(job: Object) -> tuple[str, ...]:
    owner = controller_of(job.message, KIND)
    return (owner.uid,) if owner is not None else ()
