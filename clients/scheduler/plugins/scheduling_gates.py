"""SchedulingGates: a pod with `spec.schedulingGates` is not queued until all of them have been removed.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/
"""

from __future__ import annotations

from typing import ClassVar

from ..framework.interface import PreEnqueuePlugin
from ..pending import PendingPod


class SchedulingGates(PreEnqueuePlugin):
    name: ClassVar[str] = "SchedulingGates"

    def pre_enqueue(self, pod: PendingPod) -> str:
        gates = pod.object.spec.get("schedulingGates") or ()
        return f"waiting for scheduling gates: {', '.join(gate['name'] for gate in gates)}" if gates else ""
