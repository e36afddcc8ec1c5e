"""What keeps the counts of Jobs true, taken out piece by piece: for each, a test must fail.

    .venv/bin/python -m tests.clients.controllers.job_guards            all of them, some minutes
    .venv/bin/python -m tests.clients.controllers.job_guards cron       those with one of the words

How they are taken out is tests/seeding.py's. Not part of `make test`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...seeding import Bug as Guard
from ...seeding import main

HERE = "tests/clients/controllers"
COPIED_TESTS = ("tests/partitions/conftest.py", "tests/proto/test_schedules.py", HERE)
RUN_SECONDS_MAX = 600

CORE = "test_job_core.py"
CRON_CORE = "test_cronjob_core.py"
SCHEDULES = "../../proto/test_schedules.py"

GUARDS = (
    Guard(
        CORE,
        "clients/controllers/job_status.py",
        "metadata.uid, metadata.resource_version = source.uid, source.resource_version",
        "metadata.uid = source.uid",
        "a status is written over another one than it was worked out from",
    ),
    Guard(
        CORE,
        "clients/controllers/job_core.py",
        "return job.resource_version <= pods_revision <= jobs_revision",
        "return pods_revision <= jobs_revision",
        "the view of pods may be behind the Job",
    ),
    Guard(
        CORE,
        "clients/controllers/job_core.py",
        "return job.resource_version <= pods_revision <= jobs_revision",
        "return job.resource_version <= pods_revision",
        "the view of Jobs may be behind the pods",
    ),
    Guard(
        CORE,
        "clients/controllers/job_counts.py",
        "            _note(counts, phase, each.pod.uid)\n",
        "            _note(counts, phase, each.pod.uid)\n            counts.to_release.append(each.pod)\n",
        "a pod is let go together with the note of its end",
    ),
    Guard(
        CORE,
        "clients/controllers/job_counts.py",
        "        if each is None:\n",
        "        if True:\n",
        "a pod is counted before it is let go",
    ),
    Guard(
        CORE,
        "clients/controllers/job_pods.py",
        '        "resourceVersion": str(pod.resource_version),\n',
        "",
        "a pod that has ended meanwhile is let go as one too many",
    ),
    Guard(
        CORE,
        "clients/controllers/job_counts.py",
        "        elif each.completion_index in shown:\n",
        "        elif True:\n",
        "a pod is let go before the status has its index",
    ),
    Guard(
        CORE,
        "clients/controllers/job_core.py",
        "held = len(self._stopping) if self._replaces_failed_only else 0",
        "held = 0",
        "a pod that still stops is replaced",
    ),
    Guard(
        CORE,
        "clients/controllers/job_core.py",
        "            if index not in busy:\n",
        "            if True:\n",
        "an index that runs is given to a second pod",
    ),
    Guard(
        CORE,
        "clients/controllers/job_core.py",
        "missing = min(wanted - len(self._active) - held",
        "missing = min(wanted - held",
        "what runs already is not taken off",
    ),
    Guard(
        CORE,
        "clients/controllers/job_core.py",
        "if self._active or self._stopping or counts.pending:",
        "if self._active or self._stopping:",
        "a Job has ended before all of its pods are counted",
    ),
    Guard(
        CORE,
        "clients/controllers/job_pods.py",
        "{job.uid}/{prefix}/{count}",
        "{job.uid}/{prefix}/{count}/{id(job)}",
        "a pod that is made twice has two names",
    ),
    Guard(
        CRON_CORE,
        "clients/controllers/cronjob_core.py",
        "    if moment_ms is None or moment_ms <= begun_ms:",
        "    if moment_ms is None or moment_ms < begun_ms:",
        "cron: a time that was started is started again when its Job is gone",
    ),
    Guard(
        CRON_CORE,
        "clients/controllers/cronjob_core.py",
        'begun_ms = max((time_ms(cron_job.status.get("lastScheduleTime")), *map(scheduled_ms, jobs)))',
        "begun_ms = max(map(scheduled_ms, jobs), default=0)",
        "cron: what was started is known only as long as there are Jobs of it",
    ),
    Guard(
        CRON_CORE,
        "clients/controllers/cronjob_core.py",
        "return [job for job in surplus if scheduled_ms(job) <= known_ms]",
        "return surplus",
        "cron: a Job goes as history before the status knows of its time",
    ),
    Guard(
        CRON_CORE,
        "clients/controllers/cronjob_core.py",
        "now_ms - moment_ms > deadline * 1000",
        "False",
        "cron: a time is started after its deadline",
    ),
    Guard(
        CRON_CORE,
        "clients/controllers/cronjob_core.py",
        '    if policy == "Forbid" and active:',
        '    if policy == "Forbid" and not active:',
        "cron: a Job starts beside another one that forbids it",
    ),
    Guard(
        CRON_CORE,
        "clients/controllers/job_core.py",
        "return job.resource_version <= pods_revision <= jobs_revision",
        "return pods_revision <= jobs_revision",
        "cron: the view of Jobs may be behind the CronJob",
    ),
    Guard(
        SCHEDULES,
        "proto/schedules.py",
        "            since, moment, offset = change, change - 1, self._offset(change)\n",
        "            return local - offset\n",
        "cron: clocks that are changed on the way are not noticed",
    ),
    Guard(
        SCHEDULES,
        "proto/schedules.py",
        "        walk.day_and = self._both_days\n",
        "",
        "cron: a day is right by both its fields where one begins with a star",
    ),
)


def arguments(folder: Path, tests: str) -> Sequence[str]:
    return [str(folder / HERE / tests)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], GUARDS, COPIED_TESTS, arguments, RUN_SECONDS_MAX))
