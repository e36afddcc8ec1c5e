"""The decisions of the DaemonSet controller, without I/O: a DaemonSet, its revisions, its pods and the nodes in,
operations out.

**A node has one pod of it**: one is made only where a view that contains all that was written before shows none, not
even one that is still going; but while an update surges, one of the old template and one of the new. Nobody schedules
these pods: they name their node, and the partition's ledger has room for them or refuses them.

Pods on nodes that are no more are left to the collector of lost pods (`pod_gc.py`): their kubelets may be about to
register again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...proto.objects import Object
from ..operations import PODS, delete_operation
from .controller_revisions import HASH_LABEL, History
from .daemonset_nodes import Eligibility, Wish
from .daemonset_pods import DAEMONSET, DaemonPod, creation, pods_by_node
from .failed_pods import FailedPods
from .job_status import status_operation
from .workload_plan import WRITES_MAX, Plan


def plan(
    daemonset: Object,
    revisions: Sequence[Object],
    pods: Sequence[Object],
    nodes: Sequence[Object],
    failed: FailedPods,
    crowded: FailedPods,
    now_ms: int,
    creates_max: int = WRITES_MAX,
) -> Plan:
    """One step towards a pod on each node.

    Args:
        revisions: those it controls.
        pods: those it controls.
        nodes: all of the partition.
        failed: where pods of it have failed.
        crowded: where there was no room for one.
        creates_max: of pods.
    """
    history = History(DAEMONSET, daemonset, revisions)
    changes = [] if daemonset.deletion_ms else history.changes()
    if changes or history.update is None:
        return Plan(revisions=changes)
    step = _Step(daemonset, history, pods_by_node(pods), nodes, (failed, crowded), now_ms, creates_max)
    step.go_on()
    return step.made


class _Step:
    def __init__(
        self,
        daemonset: Object,
        history: History,
        pods: dict[str, list[DaemonPod]],
        nodes: Sequence[Object],
        waits: tuple[FailedPods, FailedPods],
        now_ms: int,
        creates_max: int,
    ) -> None:
        self.made = Plan()
        self._set, self._spec = daemonset, daemonset.spec
        self._history, self._hash = history, history.hash
        self._pods = pods
        self._failed, self._crowded = waits
        self._now_ms, self._creates_max = now_ms, creates_max
        self._min_ready_ms = round((self._spec.get("minReadySeconds") or 0) * 1000)
        eligibility = Eligibility((self._spec.get("template") or {}).get("spec") or {})
        self._wishes = {node.name: eligibility.of(node) for node in nodes}
        self._wanted = [name for name, wish in self._wishes.items() if wish.wanted]
        strategy = self._spec.get("updateStrategy") or {}
        self._rolls = strategy.get("type") != "OnDelete"
        rolling = (strategy.get("rollingUpdate") or {}) if self._rolls else {}
        self._surge_max = self._share(rolling.get("maxSurge"), 0)
        self._unavailable_max = self._share(rolling.get("maxUnavailable"), 1)

    def _share(self, limit: Any, default: int) -> int:
        """Of the nodes that want a pod, rounded up, as in Kubernetes."""
        if isinstance(limit, str):
            return -(-len(self._wanted) * int(limit[:-1]) // 100)
        return default if limit is None else int(limit)

    def go_on(self) -> None:
        status = self._status()
        if status != self._set.status:
            self.made.status = status_operation(DAEMONSET, self._set, status)
        if self._set.deletion_ms:
            return
        settled = [node for node, wish in self._wishes.items() if self._settle(node, wish) and wish.wanted]
        if self._rolls:
            (self._surge if self._surge_max else self._replace_old)(settled)
        in_use = dict.fromkeys(each.hash for of_node in self._pods.values() for each in of_node)
        limit = self._spec.get("revisionHistoryLimit")
        self.made.revisions = self._history.surplus(lambda each: each.labels.get(HASH_LABEL, "") in in_use, limit)

    # ------------------------------------------------------------------------------------------------------- status

    def _status(self) -> dict[str, Any]:
        first = {node: of_node[0] for node, of_node in self._pods.items() if node in self._wishes}
        on_wanted = [first[node] for node in self._wanted if node in first]
        available = sum(any(map(self._is_available, self._pods.get(node, ()))) for node in self._wanted)
        return {
            **self._set.status,
            "observedGeneration": self._set.generation,
            "desiredNumberScheduled": len(self._wanted),
            "currentNumberScheduled": len(on_wanted),
            "numberMisscheduled": len(first) - len(on_wanted),
            "numberReady": sum(any(each.ready_since_ms for each in self._pods.get(node, ())) for node in self._wanted),
            "numberAvailable": available,
            "numberUnavailable": len(self._wanted) - available,
            "updatedNumberScheduled": sum(
                any(each.hash == self._hash and not each.terminating for each in self._pods.get(node, ()))
                for node in self._wanted
            ),
        }

    def _is_available(self, each: DaemonPod | None) -> bool:
        if each is None:
            return False
        left_ms = each.unavailable_ms(self._min_ready_ms, self._now_ms)
        if left_ms:
            self.made.look_again(left_ms)
        return left_ms == 0

    # --------------------------------------------------------------------------------------------------------- pods

    def _settle(self, node: str, wish: Wish) -> bool:
        """Make the one pod of a node, or take away what is too much. Whether it is as it should be, but for updates."""
        alive = [each for each in self._pods.get(node, ()) if not each.terminating]
        if not wish.may_stay:
            for each in alive:
                self._delete(each)
            return False
        ended = [each for each in alive if each.finished]
        for each in ended:
            self._replace_ended(each)
        running = [each for each in alive if not each.finished]
        if wish.wanted and not self._pods.get(node):
            self._create(node)
            return False
        surplus = self._surplus(running)
        for each in surplus:
            self._delete(each)
        return bool(running) and not ended

    def _surplus(self, running: list[DaemonPod]) -> list[DaemonPod]:
        """All but the oldest; while an update surges, all but the oldest of the old and of the new template."""
        if not self._surge_max:
            return running[1:]
        new, old = self._of_node(running)
        return [each for each in running if each is not new and each is not old]

    def _of_node(self, running: Sequence[DaemonPod]) -> tuple[DaemonPod | None, DaemonPod | None]:
        """The oldest of the new template, and the oldest of another."""
        new = next((each for each in running if each.hash == self._hash), None)
        return new, next((each for each in running if each.hash != self._hash), None)

    def _running(self, node: str) -> list[DaemonPod]:
        return [each for each in self._pods.get(node, ()) if not each.terminating and not each.finished]

    def _replace_old(self, settled: Sequence[str]) -> None:
        """Delete pods of old templates as far as that may be. One that is not available costs nothing."""
        unavailable = len(self._wanted) - len(settled)
        candidates = []
        for node in settled:
            new, old = self._of_node(self._running(node)[:1])
            if self._is_available(new or old):
                candidates += [old] if old is not None else []
                continue
            unavailable += 1
            if old is not None:
                self._delete(old)
        for old in candidates[: max(self._unavailable_max - unavailable, 0)]:
            self._delete(old)

    def _surge(self, settled: Sequence[str]) -> None:
        """Make a second pod on nodes with an old one, as many at once as may be; the old one goes when the new one is
        available. Where the old one is not available, the new one costs nothing."""
        surging = 0
        candidates = []
        for node in settled:
            new, old = self._of_node(self._running(node))
            if old is None:
                continue
            if new is not None:
                if self._is_available(new):
                    self._delete(old)
                else:
                    surging += 1
            elif len(self._pods[node]) > 1:
                surging += 1  # One is still going.
            elif self._is_available(old):
                candidates.append(node)
            else:
                self._create(node)
        for node in candidates[: max(self._surge_max - surging, 0)]:
            self._create(node)

    # ------------------------------------------------------------------------------------------------------- writes

    def _create(self, node: str) -> None:
        left_ms = self._crowded.wait_ms(self._set.uid, node, self._now_ms)
        if left_ms:
            self.made.look_again(left_ms)
        elif self._creates_max > 0 and len(self.made.pods) < WRITES_MAX:
            self._creates_max -= 1
            self.made.pods.append(creation(self._set, self._hash, node, len(self._pods.get(node, ()))))

    def _replace_ended(self, each: DaemonPod) -> None:
        left_ms = self._failed.wait_ms(self._set.uid, each.node, self._now_ms)
        if left_ms:
            self.made.look_again(left_ms)
            return
        self.made.replaced.append(each.node)
        self._delete(each)

    def _delete(self, each: DaemonPod) -> None:
        if len(self.made.pods) < WRITES_MAX:
            self.made.pods.append(delete_operation(PODS, each.pod.key, uid=each.pod.uid))
