"""A StatefulSet and its pods in a real apiserver, seen through views that lag, each by itself.

What is judged is not what the controller believes but what the partition had: a plan must be right, as a whole, at one
moment of the partition that contains all that this life of the controller has written before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ursa.clients.controllers.failed_pods import FailedPods
from ursa.clients.controllers.job_core import one_moment
from ursa.clients.controllers.statefulset_core import plan
from ursa.clients.controllers.workload_plan import Plan
from ursa.clients.operations import bind_operation, delete_operation, update_status_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, format_time

from ...partitions.conftest import Partition
from .lagging import View, complete_up_to
from .statefulset_judge import FINAL, Moment, judge, known

SETS, REVISIONS, PODS = "statefulsets.apps", "controllerrevisions.apps", "pods"


def template(image: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


def manifest(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "db", "tenant": "system", "namespace": "default"}
    fields = {"selector": {"matchLabels": {"app": "db"}}, "template": template("app:1"), **spec}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": fields}


class World:
    """`now_ms` is the clock of everybody."""

    def __init__(self, **spec: Any) -> None:
        self.now_ms = 1_800_000_000_000
        self.partition = Partition(Role.TENANT)
        self.partition.create(manifest(**spec))
        self.moments: list[Moment] = []
        self.note()
        self.restart()

    def restart(self) -> None:
        """The controller's next life."""
        self.life = Life(self)

    def close(self) -> None:
        self.partition.server.close()
        self.partition.store.close()

    # ---------------------------------------------------------------------------------------- what the partition has

    @property
    def revision(self) -> int:
        return int(self.partition.server.status().stores[0].resource_version)

    def set(self) -> Object:
        return self.partition.get(SETS, "db")

    def pods(self) -> list[Object]:
        return [Object(each) for each in self.partition.list(PODS).items]

    def revisions(self) -> list[Object]:
        return [Object(each) for each in self.partition.list(REVISIONS).items]

    def pod(self, ordinal: int) -> Object | None:
        return next((each for each in self.pods() if each.name == f"db-{ordinal}"), None)

    def images(self) -> dict[str, str]:
        return {pod.name: pod.spec["containers"][0]["image"] for pod in self.pods()}

    def note(self) -> None:
        """Remember this moment."""
        statefulset, images = self.set(), {}
        for each in self.revisions():
            images[each.name] = each.rest["data"]["spec"]["template"]["spec"]["containers"][0]["image"]
        current = images.get(statefulset.status.get("currentRevision", ""), "")
        update = images.get(statefulset.status.get("updateRevision", ""), "")
        told = bool(current) and update == statefulset.spec["template"]["spec"]["containers"][0]["image"]
        pods = {int(pod.name.removeprefix("db-")): known(pod) for pod in self.pods()}
        self.moments.append(Moment(self.revision, statefulset.spec, current, told, pods, self.now_ms))

    # --------------------------------------------------------------------------------------------------------- writes

    def write(self, operations: Sequence[pb.Operation]) -> list[pb.Result]:
        results = []
        for operation in operations:
            [result] = self.partition.write(pb.Operation.FromString(operation.SerializeToString()))
            results.append(result)
            self.note()
        return results

    def do(self, operation: pb.Operation) -> None:
        self.partition.do(operation)
        self.note()

    # ---------------------------------------------------------------------------------------------- everybody else's

    def run(self, pod: Object, *, ready: bool = True) -> None:
        if not pod.spec.get("nodeName"):
            self.do(bind_operation(pod.key, uid=pod.uid, resource_partition="rp-1", node="n1"))
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": format_time(self.now_ms)}
        self.set_status(pod, phase="Running", conditions=[condition])

    def set_status(self, pod: Object, **status: Any) -> None:
        current = self.partition.get(PODS, pod.name)
        self.do(update_status_operation(current.with_status(status)))

    def delete(self, pod: Object, grace_seconds: int | None = None) -> None:
        """By a user; with no grace by its kubelet."""
        self.do(delete_operation(PODS, pod.key, uid=pod.uid, grace_seconds=grace_seconds))

    def change(self, **spec: Any) -> None:
        statefulset = self.set()
        operation = pb.Operation(resource=SETS)
        operation.update.object.CopyFrom(statefulset.with_spec({**statefulset.spec, **spec}).message)
        self.do(operation)

    def pass_time(self, seconds: int) -> None:
        self.now_ms += seconds * 1000
        self.note()

    def go_on(self, steps: int = 4) -> None:
        """The controller sees all there is, and does what it finds to do."""
        for _ in range(steps):
            self.life.deliver_all()
            self.life.step()

    def settle(self, rounds: int = 60) -> None:
        """Time passes, everything is delivered, every pod runs, what is deleted ends; until nothing changes."""
        quiet = 0
        for _ in range(rounds):
            before = self.revision
            self.life.deliver_all()
            self.life.step()
            for pod in self.pods():
                if pod.deletion_ms:
                    self.delete(pod, grace_seconds=0)
                elif pod.status.get("phase") not in FINAL and not known(pod).ready_ms:
                    self.run(pod)
            self.pass_time(20)
            waits = any(pod.status.get("phase") in FINAL for pod in self.pods())
            quiet = quiet + 1 if self.revision == before and not waits else 0
            if quiet > 3:
                return


class Life:
    """One life of the controller: it begins with all there is then, and knows nothing of what was before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.views = [View(world.partition, resource, lambda _: None) for resource in (SETS, REVISIONS, PODS)]
        self._failed = FailedPods()
        self.awaited = 0
        self.deliver_all()

    def deliver_all(self) -> None:
        for view in self.views:
            self.deliver(view)

    def deliver(self, view: View, count: int = 1_000_000) -> None:
        view.gather()
        while view.pending and count:
            view.deliver()
            count -= 1

    def plan(self) -> Plan | None:
        """None: the views are not fit for it."""
        for view in self.views:
            view.gather()
        sets, revisions, pods = self.views
        pods_at = complete_up_to(self._world.partition, pods)
        others_at = complete_up_to(self._world.partition, sets, revisions)
        shown = list(sets.objects.values())
        if not shown or not one_moment(shown[0], others_at, pods_at) or pods_at < self.awaited:
            return None
        now_ms = self._world.now_ms
        made = plan(shown[0], list(revisions.objects.values()), list(pods.objects.values()), self._failed, now_ms)
        for ordinal in made.replaced:
            self._failed.replaced(shown[0].uid, ordinal, now_ms)
        judge(made, self._world.moments, self.awaited)
        return made

    def step(self, *, told: bool = True, reach: float = 1.0) -> Plan | None:
        """Plan, and write. `reach`: how much of it arrives; `told`: whether there is an answer."""
        made = self.plan()
        if made is None or not made.operations:
            return made
        results = self._world.write(made.operations[: round(len(made.operations) * reach)])
        if told and reach == 1.0:
            self.awaited = max(result.resource_version or result.error.resource_version for result in results)
        else:
            self.awaited = self._world.revision
        return made
