"""Each pod of a Job is counted once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...proto.batch import INDEXED, TRACKING_FINALIZER
from ...proto.objects import decode
from .changes import Change, resource_of
from .recorded import History, Recording
from .violations import Violation

COUNTED = "Each pod of a Job is counted once"

PODS, JOBS = "pods", "jobs.batch"
_PHASES = ("succeeded", "failed")


def pods_of_jobs_are_counted_once(recording: Recording) -> Iterator[Violation]:
    """**Each pod of a Job is counted exactly once.** A uid is noted in `status.uncountedTerminatedPods` at most once,
    as that of a pod that cannot vanish; it leaves when the pod is free to go; and the count goes up by just those that
    left. (clients/controllers/job_core.py)"""
    for histories in recording.incarnations.values():
        for history in histories:
            if history.by_resource.get(JOBS) and history.by_resource.get(PODS):
                yield from _Walk(history).check()


class _Walk:
    """Over one history."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._tracked: dict[str, None] = {}  # The uids of pods that are kept until they have been counted.
        self._statuses: dict[str, Mapping[str, Any]] = {}
        self._noted: dict[str, str] = {}  # By the pod's uid: the Job's.

    def check(self) -> Iterator[Violation]:
        after = max(self._history.known(PODS)[0], self._history.known(JOBS)[0])
        for change in self._history.changes:
            resource = resource_of(change.key)
            if resource == PODS:
                self._pod(change)
            elif resource == JOBS:
                for wrong in self._job(change):
                    if change.revision > after:
                        where = f"{change.key} of {self._history.partition}, revision {change.revision}"
                        yield Violation(COUNTED, f"{where}: {wrong}", change.key, change.time)

    def _pod(self, change: Change) -> None:
        if not change.deleted and TRACKING_FINALIZER in change.message.metadata.finalizers:
            self._tracked[change.uid] = None
        else:
            self._tracked.pop(change.uid, None)

    def _job(self, change: Change) -> Iterator[str]:
        after = decode(change.message.status) if change.message.status else {}
        before = self._statuses.get(change.uid)
        self._statuses[change.uid] = after
        if change.deleted:
            del self._statuses[change.uid]  # It may come back, with its tenant, and have gone on elsewhere.
            self._noted = {pod: job for pod, job in self._noted.items() if job != change.uid}
            return
        indexed = decode(change.message.spec).get("completionMode") == INDEXED
        for phase in _PHASES:
            uids = _uncounted(after, phase)
            known = _uncounted(before or {}, phase)
            if before is not None:
                yield from self._steps(uids, known)
                counted = (after.get(phase) or 0) - (before.get(phase) or 0)
                left = sum(uid not in uids for uid in known)
                if counted != left and not (indexed and phase == _PHASES[0]):
                    yield f"{counted} more have {phase}, and {left} were let go as such"
            self._noted.update(dict.fromkeys(uids, change.uid))

    def _steps(self, uids: Mapping[str, None], known: Mapping[str, None]) -> Iterator[str]:
        for uid in uids:
            if uid not in known and uid in self._noted:
                yield f"pod {uid} is noted a second time"
            elif uid not in known and uid not in self._tracked:
                yield f"pod {uid} is noted, and may vanish before it is counted"
        for uid in known:
            if uid not in uids and uid in self._tracked:
                yield f"pod {uid} is counted, and kept as if it was not"


def _uncounted(status: Mapping[str, Any], phase: str) -> Mapping[str, None]:
    return dict.fromkeys((status.get("uncountedTerminatedPods") or {}).get(phase) or ())
