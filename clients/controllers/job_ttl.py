"""Deletes Jobs that have ended and whose ttlSecondsAfterFinished has passed, and their pods before them.

A delete names the revision at which the Job was seen, so one whose time was extended meanwhile stays. A Job of a
CronJob stays until the status of the CronJob knows that its time was started: else it might be started again.
"""

from __future__ import annotations

from ...proto.errors import from_status
from ...proto.objects import Object, ObjectKey
from ...proto.propagation import FOREGROUND
from ..actor import Actor
from ..client import PartitionClient
from ..informer import Event, EventType, Informer
from ..operations import delete_operation
from .cronjob_core import KIND as CRON_JOB
from .cronjob_core import scheduled_ms
from .job_pods import RESOURCE, time_ms
from .job_status import ended, ended_ms
from .pods import controller_of
from .reconciler import Reconciler

WORKERS = 4
# How soon to look again at a Job whose CronJob does not know of it yet.
LOOK_AGAIN_SECONDS = 1.0


class JobTtlController:
    """Of one tenant partition. Its informers are run by the manager."""

    def __init__(self, tenant_client: PartitionClient, jobs: Informer, cron_jobs: Informer, actor: Actor) -> None:
        self._tenant_client = tenant_client
        self._jobs, self._cron_jobs = jobs, cron_jobs
        self._clock = actor.clock
        self._reconciler: Reconciler[ObjectKey] = Reconciler(actor, "job_ttl", self._sync, WORKERS)
        jobs.add_handler(self._job_event)

    def _job_event(self, event: Event) -> None:
        job = event.object
        if event.type is not EventType.DELETED and expiry_ms(job) is not None:
            self._reconciler.queue.add(job.key)

    async def run(self) -> None:
        """Until cancelled."""
        await self._jobs.wait_synced()
        await self._cron_jobs.wait_synced()
        await self._reconciler.run()

    async def _sync(self, key: ObjectKey) -> float | None:
        job = self._jobs.objects.get(key)
        due_ms = expiry_ms(job) if job is not None else None
        if job is None or due_ms is None:
            return None
        left_ms = due_ms - self._clock.now_ms()
        if left_ms > 0:
            return left_ms / 1000
        history = self._jobs.history
        if not history or not self._is_known(job):
            return LOOK_AGAIN_SECONDS
        operation = delete_operation(
            RESOURCE, key, uid=job.uid, resource_version=job.resource_version, propagation=FOREGROUND
        )
        [result] = await self._tenant_client.mutate([operation], history=history)
        if result.HasField("error") and result.error.reason not in ("NotFound", "Conflict"):
            raise from_status(result.error)
        return None  # What it has become meanwhile, its event tells.

    def _is_known(self, job: Object) -> bool:
        """Whether its CronJob knows that it was started, where it is of one that is still there."""
        owner = controller_of(job.message, CRON_JOB)
        cron_job = self._cron_jobs.objects.get(ObjectKey(job.tenant, job.namespace, owner.name)) if owner else None
        if owner is None or cron_job is None or cron_job.uid != owner.uid:
            return True
        return time_ms(cron_job.status.get("lastScheduleTime")) >= scheduled_ms(job)


def expiry_ms(job: Object) -> int | None:
    """When it is to be deleted; None: it has not ended, is to be kept, or is being deleted already."""
    seconds = job.spec.get("ttlSecondsAfterFinished")
    if seconds is None or job.deletion_ms or not ended(job.status):
        return None
    return ended_ms(job.status) + int(seconds) * 1000
