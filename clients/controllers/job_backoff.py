"""The pause after a pod of a Job that failed: it doubles with each that failed since the last success."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest

from .job_pods import FAILED, JobPod, finished_ms

BACKOFF_MS_MIN = 10_000
BACKOFF_MS_MAX = 360_000
NEWEST_PODS = 64


def pause_ms(pods: Sequence[JobPod], now_ms: int) -> int:
    """How much of it is left; not above 0: nothing. Pods that are gone by now are forgotten."""
    failed = [each.pod for each in pods if each.phase == FAILED]
    if not failed:
        return 0
    succeeded = [each.pod for each in pods if each.phase and each.phase != FAILED]
    # Of ten thousand that have succeeded, the last is among those that were written last.
    newest = nlargest(NEWEST_PODS, succeeded, key=lambda pod: pod.resource_version)
    success_ms = max(map(finished_ms, newest), default=0)
    failures_ms = [moment for moment in map(finished_ms, failed) if moment > success_ms]
    if not failures_ms:
        return 0
    pause: int = min(BACKOFF_MS_MIN * 2 ** min(len(failures_ms) - 1, 10), BACKOFF_MS_MAX)
    return max(failures_ms) + pause - now_ms
