"""A Job and its pods in a real apiserver, seen through two views that lag, each by itself; and who judges every write.

What is judged is what the partition has, not what the controller believes: how each uid of a pod goes through the
status of its Job, and how many pods there are after each create.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ursa.clients.controllers.job_core import Plan, one_moment, plan
from ursa.clients.controllers.job_indexes import Indexes
from ursa.clients.operations import bind_operation, delete_operation, update_status_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.batch import INDEX_KEY, TRACKING_FINALIZER
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, format_time

from ...partitions.conftest import Partition
from .lagging import View, complete_up_to

JOBS = "jobs.batch"
FINAL = ("Succeeded", "Failed")


def manifest(name: str = "work", restart: str = "Never", **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "c", "image": "app:1"}], "restartPolicy": restart}}
    metadata = {"name": name, "tenant": "system", "namespace": "default"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template, **spec}}


class JobWorld:
    """`now_ms` is the clock of everybody."""

    def __init__(self, **spec: Any) -> None:
        self.now_ms = 1_800_000_000_000
        self.partition = Partition(Role.TENANT)
        self.partition.create(manifest(**spec))
        self.judge = Judge(self)
        self.parallelism_max = self.job().spec["parallelism"]
        self.restart()

    def restart(self) -> None:
        """The controller's next life."""
        self.life = Life(self)

    def close(self) -> None:
        self.partition.server.close()
        self.partition.store.close()

    # ---------------------------------------------------------------------------------------- what the partition has

    def job(self) -> Object:
        return self.partition.get(JOBS, "work")

    def pods(self) -> list[Object]:
        return [Object(each) for each in self.partition.list("pods").items]

    def active(self) -> list[Object]:
        return [pod for pod in self.pods() if not pod.deletion_ms and pod.status.get("phase") not in FINAL]

    def condition(self, kind: str) -> bool:
        return any(
            each["type"] == kind and each["status"] == "True" for each in self.job().status.get("conditions", ())
        )

    # --------------------------------------------------------------------------------------------------------- writes

    def write(self, operations: Sequence[pb.Operation]) -> list[pb.Result]:
        results = []
        for operation in operations:
            copy = pb.Operation.FromString(operation.SerializeToString())
            before = self.job(), self.pods()
            [result] = self.partition.write(copy)
            if not result.HasField("error"):
                self.judge.written(copy, *before)
            results.append(result)
        return results

    # ---------------------------------------------------------------------------------------------- everybody else's

    def run(self, pod: Object) -> None:
        if not pod.spec.get("nodeName"):
            self.partition.do(bind_operation(pod.key, uid=pod.uid, resource_partition="rp-1", node="n1"))
        self.set_status(pod, phase="Running", conditions=[{"type": "Ready", "status": "True"}])

    def end(self, pod: Object, phase: str) -> None:
        ended = {"state": {"terminated": {"finishedAt": format_time(self.now_ms)}}}
        self.set_status(pod, phase=phase, containerStatuses=[ended])
        self.judge.ended(pod, phase)

    def set_status(self, pod: Object, **status: Any) -> None:
        current = self.partition.get("pods", pod.name)
        self.partition.do(update_status_operation(current.with_status(status)))

    def delete(self, pod: Object, grace_seconds: int | None = None) -> None:
        """By a user; with no grace by its kubelet, or because its node is gone."""
        self.partition.do(delete_operation("pods", pod.key, uid=pod.uid, grace_seconds=grace_seconds))

    def change_job(self, **spec: Any) -> None:
        job = self.job()
        operation = pb.Operation(resource=JOBS)
        operation.update.object.CopyFrom(job.with_spec({**job.spec, **spec}).message)
        self.partition.do(operation)

    def settle(self, outcome: str = "Succeeded", rounds: int = 60) -> None:
        """Time passes, everything is delivered, every pod ends."""
        for _ in range(rounds):
            self.life.deliver_all()
            self.life.step()
            for pod in self.pods():
                if pod.deletion_ms:
                    self.delete(pod, grace_seconds=0)
                elif pod.status.get("phase") not in FINAL:
                    self.run(pod)
                    self.end(pod, outcome)
            self.now_ms += 400_000


class Life:
    """One life of the controller: it begins with all there is then, and knows nothing of what was before."""

    def __init__(self, world: JobWorld) -> None:
        self._world = world
        self.jobs = View(world.partition, JOBS, lambda _: None)
        self.pods = View(world.partition, "pods", lambda _: None)
        self._awaited = 0
        self.deliver_all()

    def deliver_all(self) -> None:
        self.deliver(self.jobs)
        self.deliver(self.pods)

    def deliver(self, view: View, count: int = 1_000_000) -> None:
        view.gather()
        while view.pending and count:
            view.deliver()
            count -= 1

    def plan(self) -> Plan | None:
        """None: the views are not fit for it."""
        for view in (self.jobs, self.pods):
            view.gather()
        jobs_at, pods_at = (complete_up_to(self._world.partition, view) for view in (self.jobs, self.pods))
        shown = list(self.jobs.objects.values())
        if not shown or not one_moment(shown[0], jobs_at, pods_at) or pods_at < self._awaited:
            return None
        return plan(shown[0], list(self.pods.objects.values()), self.pods.objects.__contains__, self._world.now_ms)

    def step(self, *, told: bool = True, reach: float = 1.0) -> Plan | None:
        """Plan, and write. `reach`: how much of it arrives; `told`: whether there is an answer."""
        made = self.plan()
        if made is None or not made.operations:
            return made
        results = self._world.write(made.operations[: round(len(made.operations) * reach)])
        if told and reach == 1.0:
            self._awaited = max(result.resource_version or result.error.resource_version for result in results)
        else:
            self._awaited = self._world.partition.server.status().stores[0].resource_version
        return made


class Judge:
    """Of one Job: each pod's uid goes into the status at most once, and comes out as one count."""

    judges_creates = True

    def __init__(self, world: JobWorld) -> None:
        self._world = world
        self._indexed = world.job().spec["completionMode"] == "Indexed"
        self.noted: dict[str, str] = {}  # Uids that have been in the status, and as what.
        self.ends: dict[str, tuple[str, int]] = {}  # Of pods that ended while they were tracked: as what, and index.

    def ended(self, pod: Object, phase: str) -> None:
        over = self._world.condition("Complete") or self._world.condition("Failed")
        if TRACKING_FINALIZER in pod.finalizers and not over and pod.uid not in self.noted:
            self.ends[pod.uid] = phase, int(pod.annotations.get(INDEX_KEY, "-1"))

    def written(self, operation: pb.Operation, job: Object, pods: Sequence[Object]) -> None:
        if operation.HasField("update"):
            self._status(job.status, self._world.job().status, pods)
        elif operation.HasField("create"):
            self._created(job, pods)

    def _status(self, before: Any, after: Any, pods: Sequence[Object]) -> None:
        tracked = [pod.uid for pod in pods if TRACKING_FINALIZER in pod.finalizers]
        for phase in FINAL:
            old, new = (_uncounted(status, phase) for status in (before, after))
            for uid in new:
                if uid not in old:
                    assert uid not in self.noted, f"{uid} was counted as {self.noted[uid]} before"
                    assert uid in tracked, f"{uid} may vanish before it is counted"
                    self.noted[uid] = phase
            gone = [uid for uid in old if uid not in new]
            assert not any(uid in tracked for uid in gone), "counted, and it would be again"
            if phase == "Succeeded" and self._indexed:
                told = Indexes.parse(after.get("completedIndexes", ""), 1_000_000)
                assert after["succeeded"] == len(told)
                done = [index for phase, index in self.ends.values() if phase == "Succeeded"]
                assert all(index in done for index in range(1000) if index in told), "no pod has completed this index"
            else:
                assert after.get(phase.lower(), 0) - before.get(phase.lower(), 0) == len(gone)

    def _created(self, job: Object, pods: Sequence[Object]) -> None:
        active = [pod for pod in pods if not pod.deletion_ms and pod.status.get("phase") not in FINAL]
        now = len(self._world.active())
        assert now == len(active) + 1
        if not self.judges_creates:
            return
        assert now <= self._world.parallelism_max, "more pods at once than parallelism"
        if job.spec["podReplacementPolicy"] == "Failed":
            assert now <= self._world.parallelism_max - sum(map(_is_stopping, pods)), "one more beside those that stop"
        if job.spec.get("completions") is not None:
            done = job.status.get("succeeded", 0) + len(_uncounted(job.status, "Succeeded"))
            assert now <= job.spec["completions"] - done, "more pods than are left to succeed"
        held = [pod.annotations.get(INDEX_KEY) for pod in self._world.active()]
        if held[0] is not None:
            assert len(dict.fromkeys(held)) == len(held), "two pods of one index at once"

    def verdict(self) -> None:
        """All that have ended are counted, once each."""
        status = self._world.job().status
        for uid, (phase, index) in self.ends.items():
            if not self._indexed or phase == "Failed":
                assert uid in self.noted, f"{uid} ({index}) has {phase} and was never counted"
        for phase in FINAL:
            if phase == "Failed" or not self._indexed:
                assert status[phase.lower()] == sum(each == phase for each in self.noted.values())


def _is_stopping(pod: Object) -> bool:
    running = pod.status.get("phase") not in FINAL
    return bool(pod.deletion_ms and pod.message.metadata.deletion_grace_seconds and running)


def _uncounted(status: Any, phase: str) -> list[str]:
    return (status.get("uncountedTerminatedPods") or {}).get(phase.lower()) or []
