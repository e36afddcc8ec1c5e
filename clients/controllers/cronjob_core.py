"""The decisions of the CronJob controller, without I/O: a CronJob and its Jobs in, operations out.

**A time is started at most once.** The name of a Job is made from the time that it is for, so whoever decides twice
makes the same Job, and the second finds that it exists. What was started last is told by the Jobs themselves, and by
the status for those that are gone by now: so a Job is only deleted as history once the status knows of its time.

Of many times that were missed, as while no controller ran, only the last is started; that there were more than a
hundred of them is told, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.batch import SCHEDULED_ANNOTATION
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey, encode, format_time
from ...proto.propagation import BACKGROUND
from ...proto.schedules import Schedule, schedule_of
from ..operations import create_operation, delete_operation
from .job_pods import JOB, time_ms
from .job_status import COMPLETE, FAILED, ended, ended_ms, status_operation

CRON_JOB = BY_KIND["CronJob"]
KIND, RESOURCE = CRON_JOB.kind, CRON_JOB.resource
# Times that were missed beyond this number are many, and told.
MISSED_MAX = 100
_MINUTE_MS = 60_000


@dataclass(slots=True)
class Plan:
    """`told`: reasons and messages for whoever looks at the CronJob; all of them warn."""

    deletes: list[pb.Operation] = field(default_factory=list)
    create: pb.Operation | None = None
    status: pb.Operation | None = None
    told: list[tuple[str, str]] = field(default_factory=list)
    # Look again after this long even if nothing happens.
    again_seconds: float | None = None

    @property
    def operations(self) -> list[pb.Operation]:
        others = [operation for operation in (self.create, self.status) if operation is not None]
        return [*self.deletes, *others]


def plan(cron_job: Object, jobs: Sequence[Object], named: Mapping[ObjectKey, Object], now_ms: int) -> Plan:
    """One step.

    Args:
        jobs: those that the CronJob controls.
        named: all Jobs by name, whoever's.
    """
    made = Plan()
    status = _status(cron_job, jobs)
    if status != cron_job.status:
        made.status = status_operation(CRON_JOB, cron_job, status)
    if cron_job.deletion_ms:
        return made
    made.deletes.extend(_deletion(job) for job in _history(cron_job, jobs))
    if not cron_job.spec.get("suspend"):
        _start(cron_job, jobs, named, now_ms, made)
    return made


def scheduled_ms(job: Object) -> int:
    """The time that a Job is for; 0: it does not say."""
    return time_ms(job.annotations.get(SCHEDULED_ANNOTATION))


def job_key(cron_job: Object, moment_ms: int) -> ObjectKey:
    name = f"{cron_job.name}-{moment_ms // _MINUTE_MS}"
    return ObjectKey(cron_job.tenant, cron_job.namespace, name)


# ------------------------------------------------------------------------------------------------------------ status


def _status(cron_job: Object, jobs: Sequence[Object]) -> dict[str, Any]:
    status = {name: value for name, value in cron_job.status.items() if name != "active"}
    active = sorted((job for job in jobs if not ended(job.status)), key=lambda job: (scheduled_ms(job), job.name))
    if active:
        status["active"] = [
            {
                "apiVersion": JOB.api_version,
                "kind": JOB.kind,
                "namespace": job.namespace,
                "name": job.name,
                "uid": job.uid,
            }
            for job in active
        ]
    _raise_to(status, "lastScheduleTime", max((scheduled_ms(job) for job in jobs), default=0))
    successes = [ended_ms(job.status) for job in jobs if ended(job.status) == COMPLETE]
    _raise_to(status, "lastSuccessfulTime", max(successes, default=0))
    return status


def _raise_to(status: dict[str, Any], name: str, moment_ms: int) -> None:
    if moment_ms > time_ms(status.get(name)):
        status[name] = format_time(moment_ms)


# ----------------------------------------------------------------------------------------------------------- history


def _history(cron_job: Object, jobs: Sequence[Object]) -> list[Object]:
    """The oldest of those that have ended and are more than are to be kept."""
    known_ms = time_ms(cron_job.status.get("lastScheduleTime"))
    surplus: list[Object] = []
    for end, limit in ((COMPLETE, "successfulJobsHistoryLimit"), (FAILED, "failedJobsHistoryLimit")):
        of_end = [job for job in jobs if ended(job.status) == end and not job.deletion_ms]
        of_end.sort(key=lambda job: (scheduled_ms(job), job.creation_ms, job.name))
        surplus += of_end[: max(len(of_end) - cron_job.spec.get(limit, 0), 0)]
    return [job for job in surplus if scheduled_ms(job) <= known_ms]


def _deletion(job: Object) -> pb.Operation:
    """Its pods go after it."""
    return delete_operation(JOB.resource, job.key, uid=job.uid, propagation=BACKGROUND)


# ------------------------------------------------------------------------------------------------------------- start


def _start(
    cron_job: Object, jobs: Sequence[Object], named: Mapping[ObjectKey, Object], now_ms: int, made: Plan
) -> None:
    spec = cron_job.spec
    try:
        schedule = schedule_of(spec["schedule"], spec.get("timeZone") or "")
    except ValueError as error:  # The time zones of this machine are not those of the one that let it in.
        made.told.append(("UnparseableSchedule", str(error)))
        return
    following_ms = schedule.after(now_ms)
    if following_ms is not None:
        made.again_seconds = (following_ms - now_ms) / 1000
    moment_ms = schedule.until(now_ms)
    begun_ms = max((time_ms(cron_job.status.get("lastScheduleTime")), *map(scheduled_ms, jobs)))
    begun_ms = begun_ms or cron_job.creation_ms
    if moment_ms is None or moment_ms <= begun_ms:
        return
    if _is_late(cron_job, moment_ms, now_ms):
        made.told.append(("MissSchedule", f"Missed scheduled time to start a job: {format_time(moment_ms)}"))
        return
    key = job_key(cron_job, moment_ms)
    present = named.get(key)
    if present is not None and (present.controller is None or present.controller.uid != cron_job.uid):
        made.told.append(("NameTaken", f"Job {key.name} is there already, and is not of this CronJob"))
        return
    if _has_room(cron_job, jobs, made):
        made.create = create_operation(_job(cron_job, key, moment_ms))
        _tell_missed(cron_job, schedule, begun_ms, now_ms, made)


def _is_late(cron_job: Object, moment_ms: int, now_ms: int) -> bool:
    deadline = cron_job.spec.get("startingDeadlineSeconds")
    return deadline is not None and now_ms - moment_ms > deadline * 1000


def _has_room(cron_job: Object, jobs: Sequence[Object], made: Plan) -> bool:
    """Whether a Job may be started beside those that run; if they are to be replaced, they go."""
    active = [job for job in jobs if not ended(job.status)]
    policy = cron_job.spec.get("concurrencyPolicy")
    if policy == "Forbid" and active:
        told = f"Not starting a job: {active[0].name} still runs, and the concurrency policy is Forbid"
        made.told.append(("JobAlreadyActive", told))
        return False
    if policy == "Replace":
        made.deletes.extend(_deletion(job) for job in active if not job.deletion_ms)
    return True


def _tell_missed(cron_job: Object, schedule: Schedule, begun_ms: int, now_ms: int, made: Plan) -> None:
    deadline = cron_job.spec.get("startingDeadlineSeconds")
    moment_ms: int | None = begun_ms if deadline is None else max(begun_ms, now_ms - deadline * 1000)
    for _ in range(MISSED_MAX + 1):
        moment_ms = schedule.after(moment_ms) if moment_ms is not None else None
        if moment_ms is None or moment_ms > now_ms:
            return
    told = f"more than {MISSED_MAX} start times were missed, and only the last is made up for"
    made.told.append(
        ("TooManyMissedTimes", f"{told}: set or lower spec.startingDeadlineSeconds, or look at the clocks")
    )


def _job(cron_job: Object, key: ObjectKey, moment_ms: int) -> Object:
    template = cron_job.spec["jobTemplate"]
    of_template = template.get("metadata") or {}
    message = pb.Object(api_version=JOB.api_version, kind=JOB.kind, spec=encode(template.get("spec") or {}))
    metadata = message.metadata
    metadata.tenant, metadata.namespace, metadata.name = key
    metadata.labels.update(of_template.get("labels") or {})
    metadata.annotations.update(of_template.get("annotations") or {})
    metadata.annotations[SCHEDULED_ANNOTATION] = format_time(moment_ms)
    metadata.owner_references.add(
        api_version=CRON_JOB.api_version,
        kind=KIND,
        name=cron_job.name,
        uid=cron_job.uid,
        controller=True,
        block_owner_deletion=True,
    )
    return Object(message)
