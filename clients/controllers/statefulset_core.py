"""The decisions of the StatefulSet controller, without I/O: a set, its revisions and its pods in, operations out.

**There is one pod of an ordinal at any time**: it has the ordinal's name, and is made only where a view that contains
all that was written before shows none. One that is to be replaced is deleted, and the next is made when the partition
says that it is gone; which its kubelet has said then.

The pods of an ordered set (OrderedReady) are made from the lowest ordinal up, each when all before it are available,
and taken away from the highest down, each when the one after it is gone and all that stay are available. A parallel one
waits for none of this. Both are updated from the highest ordinal down to the partition, and no more of them are
unavailable at once than may be.

Which revisions the pods are made of is written into the status before any pod is made of them: so whoever goes on in
this one's place, after the template has changed again, knows what the pods below the partition are to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...proto.objects import Object
from ..operations import PODS, delete_operation
from .controller_revisions import History
from .failed_pods import FailedPods
from .job_status import status_operation
from .statefulset_pods import STATEFULSET, Replica, creation, has_identity, identification, read_replicas
from .workload_plan import WRITES_MAX, Plan


def plan(
    statefulset: Object,
    revisions: Sequence[Object],
    pods: Sequence[Object],
    failed: FailedPods,
    now_ms: int,
    creates_max: int = WRITES_MAX,
) -> Plan:
    """One step towards what the set wants. `revisions` and `pods`: those it controls."""
    history = History(STATEFULSET, statefulset, revisions)
    changes = [] if statefulset.deletion_ms else history.changes()
    if changes or history.update is None:
        return Plan(revisions=changes)
    step = _Step(statefulset, history, history.update, list(pods), failed, now_ms, creates_max)
    step.go_on()
    return step.made


class _Step:
    def __init__(
        self,
        statefulset: Object,
        history: History,
        update: Object,
        pods: list[Object],
        failed: FailedPods,
        now_ms: int,
        creates_max: int,
    ) -> None:
        self.made = Plan()
        self._set, self._spec = statefulset, statefulset.spec
        self._failed, self._now_ms, self._creates_max = failed, now_ms, creates_max
        self._history, self._update = history, update
        self._current = history.named(statefulset.status.get("currentRevision") or "") or update
        self._min_ready_ms = round((self._spec.get("minReadySeconds") or 0) * 1000)
        replicas = self._spec.get("replicas")
        self._wanted = 1 if replicas is None else int(replicas)
        self._start = int((self._spec.get("ordinals") or {}).get("start") or 0)
        self._ordered = self._spec.get("podManagementPolicy") != "Parallel"
        self._replicas = read_replicas(statefulset, pods)
        # By ordinal, those that are wanted and those that are not.
        self._kept = {each.ordinal: each for each in self._replicas if self._is_wanted(each.ordinal)}
        self._condemned = [each for each in self._replicas if not self._is_wanted(each.ordinal)]

    def go_on(self) -> None:
        status, known = self._status(), self._set.status
        if status != known:
            self.made.status = status_operation(STATEFULSET, self._set, status)
        told = all(status[name] == known.get(name) for name in ("currentRevision", "updateRevision"))
        if told and not self._set.deletion_ms:
            self._manage()
            in_use = dict.fromkeys((self._current.name, *(each.revision for each in self._replicas)))
            limit = self._spec.get("revisionHistoryLimit")
            self.made.revisions = self._history.surplus(lambda revision: revision.name in in_use, limit)

    def _is_wanted(self, ordinal: int) -> bool:
        return self._start <= ordinal < self._start + self._wanted

    @property
    def _partition(self) -> int:
        """The lowest ordinal that is updated. As in Kubernetes it counts from the first ordinal."""
        rolling = (self._spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        return self._start + int(rolling.get("partition") or 0)

    @property
    def _rolls(self) -> bool:
        return (self._spec.get("updateStrategy") or {}).get("type") != "OnDelete"

    def _is_available(self, replica: Replica | None) -> bool:
        if replica is None:
            return False
        left_ms = replica.unavailable_ms(self._min_ready_ms, self._now_ms)
        if left_ms:
            self.made.look_again(left_ms)
        return left_ms == 0

    # ------------------------------------------------------------------------------------------------------- status

    def _status(self) -> dict[str, Any]:
        known, counted = self._set.status, [each for each in self._replicas if not each.terminating]
        status: dict[str, Any] = {
            **known,
            "observedGeneration": self._set.generation,
            "replicas": len(self._replicas),
            "readyReplicas": sum(bool(each.ready_since_ms) for each in self._replicas),
            "availableReplicas": sum(self._is_available(each) for each in self._replicas),
            "updatedReplicas": sum(each.revision == self._update.name for each in counted),
        }
        if self._is_updated(status):
            self._current = self._update
        status["currentReplicas"] = sum(each.revision == self._current.name for each in counted)
        status["currentRevision"], status["updateRevision"] = self._current.name, self._update.name
        return status

    def _is_updated(self, status: dict[str, Any]) -> bool:
        counts = (status["replicas"], status["readyReplicas"], status["updatedReplicas"])
        return all(count == self._wanted for count in counts)

    # --------------------------------------------------------------------------------------------------------- pods

    def _manage(self) -> None:
        if self._fill() and self._shrink() and self._rolls:
            self._roll()

    def _fill(self) -> bool:
        """Make what is missing. Whether the set may go on: with an ordered one, whether all that it wants is there."""
        for ordinal in range(self._start, self._start + self._wanted):
            if not self._make_ready(ordinal) and self._ordered:
                return False
            if len(self.made.pods) >= WRITES_MAX:
                return False
        return True

    def _make_ready(self, ordinal: int) -> bool:
        """Whether the pod of this ordinal is available."""
        replica = self._kept.get(ordinal)
        if replica is None:
            if self._creates_max > 0:
                self._creates_max -= 1
                self.made.pods.append(creation(self._set, self._revision_for(ordinal), ordinal))
            return False
        if replica.terminating:
            return False
        if replica.finished:
            self._replace(replica)
            return False
        if not has_identity(replica):
            self.made.pods.append(identification(replica))
        return self._is_available(replica)

    def _revision_for(self, ordinal: int) -> Object:
        return self._current if self._rolls and ordinal < self._partition else self._update

    def _replace(self, replica: Replica) -> None:
        """It has ended: it goes, and when it has gone another is made."""
        left_ms = self._failed.wait_ms(self._set.uid, str(replica.ordinal), self._now_ms)
        if left_ms:
            self.made.look_again(left_ms)
            return
        self.made.replaced.append(str(replica.ordinal))
        self._delete(replica)

    def _shrink(self) -> bool:
        """Take away what is too much. Whether the set may go on."""
        for replica in reversed(self._condemned):
            if len(self.made.pods) >= WRITES_MAX:
                return False
            if not replica.terminating:
                self._delete(replica)
            if self._ordered:
                return False
        return True

    def _roll(self) -> None:
        """Delete the pods of other revisions, from the highest ordinal down, as far as that may be.

        One that is not available costs nothing: it is replaced even if that is all that is wrong with the set.
        """
        unavailable = self._wanted - sum(self._is_available(each) for each in self._kept.values())
        room = max(self._max_unavailable() - unavailable, 0)
        for ordinal in range(self._start + self._wanted - 1, self._partition - 1, -1):
            replica = self._kept.get(ordinal)
            if replica is None or replica.terminating or replica.finished or replica.revision == self._update.name:
                continue
            if self._is_available(replica):
                if not room:
                    continue
                room -= 1
            self._delete(replica)
            if len(self.made.pods) >= WRITES_MAX:
                return

    def _max_unavailable(self) -> int:
        """At least one; a share is rounded down, as in Kubernetes."""
        limit = ((self._spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("maxUnavailable")
        if isinstance(limit, str):
            limit = self._wanted * int(limit[:-1]) // 100
        return max(1 if limit is None else int(limit), 1)

    def _delete(self, replica: Replica) -> None:
        pod = replica.pod
        self.made.pods.append(delete_operation(PODS, pod.key, uid=pod.uid))
