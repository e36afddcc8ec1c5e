"""The decisions of the Job controller, without I/O: a Job and its pods in, operations out.

**A pod is counted exactly once.** A count in a status says nothing of whom it has counted; so a controller that dies
between seeing a pod end and seeing its count written could count it twice, or never. As in Kubernetes, a pod keeps a
finalizer until it has been counted, and goes through the status by its uid:

    1. it has ended                 its uid is written into status.uncountedTerminatedPods
    2. the status shows its uid     its finalizer is taken away
    3. it has no finalizer, or is   in one write of the status its uid goes out, and the count goes up by one
       gone

Each step is decided from what the one before has made durable, and each write names the revision it was decided on, so
any of them can be lost, repeated, or come late from another life of the controller. Before 1 the finalizer keeps the
pod from vanishing; from 1 to 3 the uid does. The indexes of an Indexed Job need no uids: an index is in
status.completedIndexes or it is not.

This holds for what is seen at one moment only. A view of the pods that is behind the status might not yet show a pod
whose uid is there, which would pass for counted; one that is ahead of it shows pods without a finalizer of which the
status does not know yet. `one_moment` says when the two are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, format_time
from .job_backoff import pause_ms
from .job_counts import Counts, count
from .job_pods import (
    JOB,
    JobPod,
    PodMaker,
    deletion,
    is_ready,
    order_of_deletion,
    read_pod,
    release,
    restarts,
    time_ms,
)
from .job_status import (
    COMPLETE,
    END_OF,
    FAILURE,
    SUCCESS,
    SUSPENDED,
    condition,
    decided,
    ended,
    is_true,
    status_operation,
    with_condition,
)

# Pods created or deleted by one plan, as in Kubernetes.
WRITES_MAX = 500


@dataclass(slots=True)
class Plan:
    """`pods` are operations on pods, `status` one on the Job itself."""

    pods: list[pb.Operation] = field(default_factory=list)
    status: pb.Operation | None = None
    # Look again after this long even if nothing happens.
    again_seconds: float | None = None

    @property
    def operations(self) -> list[pb.Operation]:
        return self.pods if self.status is None else [*self.pods, self.status]

    def look_again(self, milliseconds: int) -> None:
        seconds = milliseconds / 1000
        self.again_seconds = seconds if self.again_seconds is None else min(seconds, self.again_seconds)


def one_moment(job: Object, jobs_revision: int, pods_revision: int) -> bool:
    """Whether what is shown of the Job and what is shown of its pods is how both were at `pods_revision`."""
    return job.resource_version <= pods_revision <= jobs_revision


def plan(
    job: Object, pods: Sequence[Object], taken: Callable[[ObjectKey], bool], now_ms: int, creates_max: int = WRITES_MAX
) -> Plan:
    """One step towards the end of the Job.

    Args:
        pods: those it controls.
        taken: whether there is a pod of this name, whoever's.
        creates_max: of pods.
    """
    step = _Step(job, [read_pod(pod) for pod in pods], taken, now_ms, creates_max)
    if ended(job.status):
        step.clean_up()
    else:
        step.go_on()
    return step.made


class _Step:
    def __init__(
        self,
        job: Object,
        pods: Sequence[JobPod],
        taken: Callable[[ObjectKey], bool],
        now_ms: int,
        creates_max: int,
    ) -> None:
        self.made = Plan()
        self._job, self._spec, self._pods = job, job.spec, pods
        self._taken = taken
        self._now_ms = now_ms
        self._creates_max = creates_max
        # Those without the finalizer are on their way out, or somebody else took it; they count as long as they run.
        self._active = [each for each in pods if each.is_active]
        self._stopping = [each for each in pods if each.terminating and not each.stopped]
        self._replaces_failed_only = self._spec.get("podReplacementPolicy") == "Failed"

    def clean_up(self) -> None:
        """It has ended, and counts no more: what a create that came late has left behind goes."""
        for each in self._pods:
            if each.is_active:
                self.made.pods.append(deletion(each.pod))
            elif each.tracked:
                self.made.pods.append(release(each.pod))

    def go_on(self) -> None:
        counts = count(self._job, self._pods, terminating_failed=not self._replaces_failed_only)
        self.made.pods.extend(release(pod) for pod in counts.to_release)
        status = self._with_conditions(self._with_counts(counts), counts)
        if status != self._job.status:
            self.made.status = status_operation(JOB, self._job, status)
        if not self._job.deletion_ms:
            self._manage(status, counts)

    # ------------------------------------------------------------------------------------------------------- status

    def _with_counts(self, counts: Counts) -> dict[str, Any]:
        status = {
            **self._job.status,
            "active": len(self._active),
            "ready": sum(is_ready(each.pod) for each in self._active),
            "terminating": len(self._stopping),
            **counts.written(),
        }
        for name in ("uncountedTerminatedPods", "completedIndexes"):
            if not status[name]:
                del status[name]
        return status

    def _with_conditions(self, status: dict[str, Any], counts: Counts) -> dict[str, Any]:
        ending = decided(self._job.status)
        if ending:
            return self._with_end(status, ending, counts)
        now = self._now_ms
        reason, message = self._failure(counts)
        if reason:
            return with_condition(status, FAILURE, "True", reason, message, now)
        if self._is_complete(counts):
            told = "Reached expected number of succeeded pods"
            return with_condition(status, SUCCESS, "True", "CompletionsReached", told, now)
        if self._spec.get("suspend"):
            if not is_true(status, SUSPENDED):
                status = with_condition(status, SUSPENDED, "True", "JobSuspended", "Job suspended", now)
        elif is_true(status, SUSPENDED):
            status = with_condition(status, SUSPENDED, "False", "JobResumed", "Job resumed", now)
            status["startTime"] = format_time(now)  # The deadline counts from here.
        elif not status.get("startTime"):
            status["startTime"] = format_time(now)
        return status

    def _with_end(self, status: dict[str, Any], ending: str, counts: Counts) -> dict[str, Any]:
        if self._active or self._stopping or counts.pending:
            return status
        why = condition(status, ending)
        status = with_condition(
            status, END_OF[ending], "True", why.get("reason", ""), why.get("message", ""), self._now_ms
        )
        if END_OF[ending] == COMPLETE:
            status["completionTime"] = format_time(self._now_ms)
        return status

    def _failure(self, counts: Counts) -> tuple[str, str]:
        limit = self._spec.get("backoffLimit", 0)
        if counts.failed > limit or self._restarted_too_often(limit):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        deadline, started_ms = self._spec.get("activeDeadlineSeconds"), time_ms(self._job.status.get("startTime"))
        if deadline is None or not started_ms or self._spec.get("suspend") or is_true(self._job.status, SUSPENDED):
            return "", ""
        left_ms = started_ms + deadline * 1000 - self._now_ms
        if left_ms <= 0:
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        self.made.look_again(left_ms)
        return "", ""

    def _restarted_too_often(self, limit: int) -> bool:
        """Pods that restart their containers themselves do not fail; their restarts count instead."""
        if (self._spec["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
            return False
        total = sum(restarts(each.pod) for each in self._active)
        return total >= max(limit, 1)

    def _is_complete(self, counts: Counts) -> bool:
        completions = self._spec.get("completions")
        if completions is None:
            return counts.succeeded > 0 and not self._active
        return bool(counts.succeeded >= completions)

    # --------------------------------------------------------------------------------------------------------- pods

    def _manage(self, status: dict[str, Any], counts: Counts) -> None:
        if decided(self._job.status):
            self._delete(self._active, counted=True)
        elif decided(status):
            pass  # Nothing is done about it before it is durable.
        elif self._spec.get("suspend"):
            self._delete(self._active, counted=False)
        else:
            self._scale(counts)

    def _scale(self, counts: Counts) -> None:
        wanted = self._wanted(counts)
        misplaced = [each for each in self._active if not each.tracked]
        if counts.completed is not None:
            misplaced += self._misplaced(counts)
        if misplaced:
            self._delete(misplaced, counted=False)
        elif len(self._active) > wanted:
            surplus = sorted(self._active, key=order_of_deletion)[: len(self._active) - wanted]
            self._delete(surplus, counted=False)
        else:
            held = len(self._stopping) if self._replaces_failed_only else 0
            missing = min(wanted - len(self._active) - held, self._creates_max)
            if missing > 0 and not self._must_pause():
                self._create(missing, counts)

    def _wanted(self, counts: Counts) -> int:
        """Active pods: never more than parallelism, nor than are left to succeed."""
        parallelism, completions = self._spec.get("parallelism", 1), self._spec.get("completions")
        if completions is not None:
            return max(min(int(parallelism), int(completions) - counts.succeeded), 0)
        # One success is enough; what runs beside it may end by itself.
        return min(int(parallelism), len(self._active)) if counts.succeeded else int(parallelism)

    def _misplaced(self, counts: Counts) -> list[JobPod]:
        """Of an index that is not wanted, or that another pod has already."""
        completed, completions = counts.completed, self._spec["completions"]
        assert completed is not None
        seen: dict[int, None] = {}
        found = []
        for each in sorted(self._active, key=order_of_deletion, reverse=True):
            if not each.tracked:
                continue
            index = each.completion_index
            if not 0 <= index < completions or index in completed or index in seen:
                found.append(each)
            seen[index] = None
        return found

    def _must_pause(self) -> bool:
        left_ms = pause_ms(self._pods, self._now_ms)
        if left_ms > 0:
            self.made.look_again(left_ms)
        return left_ms > 0

    def _create(self, missing: int, counts: Counts) -> None:
        maker = PodMaker(self._job, self._taken)
        if counts.completed is None:
            following = len(self._pods)
            for _ in range(missing):
                operation, following = maker.create(following)
                self.made.pods.append(operation)
            return
        held = [*self._active, *(self._stopping if self._replaces_failed_only else ())]
        busy = dict.fromkeys(each.completion_index for each in held)
        had = Counter(each.completion_index for each in self._pods)
        for index in counts.completed.missing(self._spec["completions"]):
            if not missing:
                break
            if index not in busy:
                self.made.pods.append(maker.create_indexed(index, had[index]))
                missing -= 1

    def _delete(self, pods: Sequence[JobPod], *, counted: bool) -> None:
        """Those that are to be `counted` keep the finalizer, and count as failed when they are seen to go."""
        for each in pods[:WRITES_MAX]:
            if each.tracked and not counted:
                self.made.pods.append(release(each.pod))
            self.made.pods.append(deletion(each.pod))
