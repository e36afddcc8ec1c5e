"""Which pods of a Job have ended, and how far each has got in being counted: see `job_core`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...proto.batch import INDEXED
from ...proto.objects import Object
from .job_indexes import Indexes
from .job_pods import FAILED, SUCCEEDED, JobPod

# Uids in a status at once, as in Kubernetes: more than that wait for a turn.
UNCOUNTED_MAX = 500


@dataclass(slots=True)
class Counts:
    """What the next status says, and what follows for the pods.

    `succeeded` and `failed` count all that have ended, whether their uids have gone through the status yet or not.
    """

    counted: dict[str, int]
    uncounted: dict[str, list[str]]
    completed: Indexes | None  # Of an Indexed Job.
    waiting: dict[str, int] = field(default_factory=lambda: {SUCCEEDED: 0, FAILED: 0})  # For a turn.
    to_release: list[Object] = field(default_factory=list)

    @property
    def succeeded(self) -> int:
        return self._total(SUCCEEDED)

    @property
    def failed(self) -> int:
        return self._total(FAILED)

    @property
    def pending(self) -> bool:
        """Not all that have ended are in the counts."""
        return any(self.uncounted.values()) or any(self.waiting.values())

    def written(self) -> dict[str, Any]:
        """As the status has it; what is empty is to be left out."""
        uncounted = {phase.lower(): uids for phase, uids in self.uncounted.items() if uids}
        return {
            "succeeded": self.counted[SUCCEEDED] if self.completed is None else len(self.completed),
            "failed": self.counted[FAILED],
            "uncountedTerminatedPods": uncounted,
            "completedIndexes": "" if self.completed is None else str(self.completed),
        }

    def _total(self, phase: str) -> int:
        if phase == SUCCEEDED and self.completed is not None:
            return len(self.completed)
        return self.counted[phase] + len(self.uncounted[phase]) + self.waiting[phase]


def count(job: Object, pods: Sequence[JobPod], *, terminating_failed: bool) -> Counts:
    """`terminating_failed`: a pod has failed as soon as its deletion is asked for, and not only when it has stopped."""
    status, spec = job.status, job.spec
    indexed, completions = spec.get("completionMode") == INDEXED, spec.get("completions") or 0
    known = status.get("uncountedTerminatedPods") or {}
    shown = Indexes.parse(status.get("completedIndexes") or "", completions)
    counts = Counts(
        counted={SUCCEEDED: status.get("succeeded") or 0, FAILED: status.get("failed") or 0},
        uncounted={SUCCEEDED: [], FAILED: []},
        completed=Indexes.parse(str(shown), completions) if indexed else None,
    )
    tracked = {each.pod.uid: each for each in pods if each.tracked}
    for phase, uids in counts.uncounted.items():
        _take_up(counts, phase, uids, known.get(phase.lower()) or (), tracked)
    for each in tracked.values():
        phase = _outcome(each, terminating_failed)
        if not phase:
            continue
        if indexed and not 0 <= each.completion_index < completions:
            counts.to_release.append(each.pod)  # Of no index that is wanted.
        elif counts.completed is None or phase == FAILED:
            _note(counts, phase, each.pod.uid)
        elif each.completion_index in shown:
            counts.to_release.append(each.pod)
        else:
            counts.completed.add(each.completion_index)
    return counts


def _take_up(counts: Counts, phase: str, uids: list[str], known: Iterable[str], tracked: dict[str, JobPod]) -> None:
    """Those that the status shows: they are released, and once they are seen to be, they are counted."""
    for uid in dict.fromkeys(known):
        each = tracked.pop(uid, None)
        if each is None:
            counts.counted[phase] += 1
        else:
            uids.append(uid)
            counts.to_release.append(each.pod)


def _note(counts: Counts, phase: str, uid: str) -> None:
    if sum(len(uids) for uids in counts.uncounted.values()) < UNCOUNTED_MAX:
        counts.uncounted[phase].append(uid)
    else:
        counts.waiting[phase] += 1


def _outcome(each: JobPod, terminating_failed: bool) -> str:
    """Empty: it has not ended."""
    if each.phase:
        return each.phase
    return FAILED if each.stopped or (each.terminating and terminating_failed) else ""
