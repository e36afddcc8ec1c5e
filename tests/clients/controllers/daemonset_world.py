"""A DaemonSet, its pods and its nodes in a real apiserver, seen through views that lag, each by itself; and who judges.

A plan must be right, as a whole, at one moment of the partition that contains all that this life of the controller has
written before. How many pods a node has is judged at every moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ursa.clients.controllers.daemonset_core import plan
from ursa.clients.controllers.failed_pods import FailedPods
from ursa.clients.controllers.job_core import one_moment
from ursa.clients.controllers.workload_plan import Plan
from ursa.clients.operations import create_operation, delete_operation, update_operation, update_status_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey, format_time

from ...partitions.conftest import Partition
from .lagging import View, complete_up_to

SETS, REVISIONS, PODS, NODES = "daemonsets.apps", "controllerrevisions.apps", "pods", "nodes"
PLACEMENTS = "placements.ursa.dev"
FINAL = ("Succeeded", "Failed")
WORKER = {"role": "worker"}


def template(image: str, cpu: str = "300m") -> dict[str, Any]:
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}
    return {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [container], "nodeSelector": WORKER}}


def manifest(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "agent", "tenant": "system", "namespace": "kube-system"}
    fields = {"selector": {"matchLabels": {"app": "agent"}}, "template": template("app:1"), **spec}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": fields}


class Known(NamedTuple):
    """Of a pod, at some moment."""

    uid: str
    image: str
    terminating: bool
    finished: bool
    ready: bool


class Moment(NamedTuple):
    revision: int
    spec: Any
    wanted: tuple[str, ...]
    may_stay: tuple[str, ...]
    pods: dict[str, list[Known]]  # By node.

    @property
    def image(self) -> str:
        return str(self.spec["template"]["spec"]["containers"][0]["image"])

    def alive(self, node: str) -> list[Known]:
        return [each for each in self.pods.get(node, ()) if not each.terminating and not each.finished]

    def is_available(self, node: str) -> bool:
        return any(each.ready for each in self.alive(node))

    def limit(self, name: str) -> int:
        value = self.spec["updateStrategy"].get("rollingUpdate", {}).get(name, 0)
        return -(-len(self.wanted) * int(value[:-1]) // 100) if isinstance(value, str) else int(value)


class World:
    """`now_ms` is the clock of everybody. Nodes have room for three pods."""

    def __init__(self, nodes: int = 3, **spec: Any) -> None:
        self.now_ms = 1_800_000_000_000
        self.partition = Partition(Role.RESOURCE)
        for number in range(nodes):
            self.partition.create(node(f"n{number}"))
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
        return self.partition.get(SETS, "agent", namespace="kube-system")

    def pods(self) -> list[Object]:
        return [Object(each) for each in self.partition.list(PODS).items]

    def nodes(self) -> list[Object]:
        return [Object(each) for each in self.partition.list(NODES).items]

    def images(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for pod in self.pods():
            found.setdefault(pod.spec["nodeName"], []).append(pod.spec["containers"][0]["image"])
        return found

    def note(self) -> None:
        """Remember this moment, and judge what no moment may show."""
        nodes, pods = self.nodes(), {}
        for pod in self.pods():
            pods.setdefault(pod.spec["nodeName"], []).append(_known(pod))
        may_stay = [each for each in nodes if dict(each.labels) == WORKER and not _tainted(each, "NoExecute")]
        wanted = [each.name for each in may_stay if not _tainted(each, "NoSchedule")]
        spec = self.set().spec
        moment = Moment(self.revision, spec, tuple(wanted), tuple(each.name for each in may_stay), pods)
        self.moments.append(moment)
        for name in pods:
            alive = moment.alive(name)
            assert len(alive) <= 2, f"{name} has {len(alive)} pods"
            if not self.surges:
                assert len(alive) <= 1, f"{name} has two pods, and no update surges"
        used: dict[str, int] = {}
        for each in map(Object, self.partition.list(PLACEMENTS).items):
            used[each.spec["node"]] = used.get(each.spec["node"], 0) + each.spec["requests"]["cpu"]
        assert all(units <= 1000 for units in used.values())

    @property
    def surges(self) -> bool:
        return bool(self.set().spec["updateStrategy"].get("rollingUpdate", {}).get("maxSurge"))

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
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": format_time(self.now_ms)}
        self.set_status(pod, phase="Running", conditions=[condition])

    def set_status(self, pod: Object, **status: Any) -> None:
        current = self.partition.get(PODS, pod.name, namespace="kube-system")
        self.do(update_status_operation(current.with_status(status)))

    def delete(self, pod: Object, grace_seconds: int | None = None) -> None:
        """By a user; with no grace by its kubelet."""
        self.do(delete_operation(PODS, pod.key, uid=pod.uid, grace_seconds=grace_seconds))

    def change(self, **spec: Any) -> None:
        daemonset = self.set()
        self.do(update_operation(daemonset.with_spec({**daemonset.spec, **spec})))

    def change_node(self, name: str, *effects: str, labels: dict[str, str] | None = None) -> None:
        obj = self.partition.get(NODES, name, "", "")
        taints = [{"key": f"test/{effect}", "effect": effect} for effect in effects]
        changed = obj.with_spec({"taints": taints}).with_metadata(labels=WORKER if labels is None else labels)
        self.do(update_operation(changed))

    def claim(self, name: str, uid: str, cpu: int) -> pb.Result:
        """What a scheduler of a tenant partition does."""
        of_pod = {"tenant": "t", "namespace": "default", "name": uid, "uid": uid}
        node_uid = self.partition.get(NODES, name, "", "").uid
        spec = {"node": name, "nodeUID": node_uid, "tenantPartition": "tp-1", "pod": of_pod, "requests": {"cpu": cpu}}
        fields = {"apiVersion": "ursa.dev/v1", "kind": "Placement", "metadata": {"name": uid}, "spec": spec}
        [result] = self.write([create_operation(Object.from_dict(fields))])
        return result

    def release(self, uid: str) -> None:
        self.write([delete_operation(PLACEMENTS, ObjectKey("", "", uid))])
        self.life.crowded.clear("n0")

    def pass_time(self, seconds: int) -> None:
        self.now_ms += seconds * 1000

    def go_on(self, steps: int = 4) -> None:
        """The controller sees all there is, and does what it finds to do."""
        for _ in range(steps):
            self.life.deliver_all()
            self.life.step()

    def settle(self, rounds: int = 80) -> None:
        """Time passes, everything is delivered, every pod runs, what is deleted ends; until nothing changes."""
        quiet = 0
        for _ in range(rounds):
            before = self.revision
            self.go_on(1)
            names = [each.name for each in self.nodes()]
            for pod in self.pods():
                if pod.deletion_ms or pod.spec["nodeName"] not in names:
                    self.delete(pod, grace_seconds=0)
                elif pod.status.get("phase") not in FINAL and not _known(pod).ready:
                    self.run(pod)
            self.pass_time(30)
            waits = any(pod.status.get("phase") in FINAL for pod in self.pods())
            quiet = quiet + 1 if self.revision == before and not waits else 0
            if quiet > 3:
                return


class Life:
    """One life of the controller: it begins with all there is then, and knows nothing of what was before."""

    def __init__(self, world: World) -> None:
        self._world = world
        resources = (SETS, REVISIONS, NODES, PODS)
        self.views = [View(world.partition, resource, lambda _: None) for resource in resources]
        self.failed, self.crowded = FailedPods(), FailedPods(15_000)
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
        sets, revisions, nodes, pods = self.views
        pods_at = complete_up_to(self._world.partition, pods)
        others_at = complete_up_to(self._world.partition, sets, revisions, nodes)
        shown = list(sets.objects.values())
        if not shown or not one_moment(shown[0], others_at, pods_at) or pods_at < self.awaited:
            return None
        contents = [list(view.objects.values()) for view in (revisions, pods, nodes)]
        made = plan(shown[0], *contents, self.failed, self.crowded, self._world.now_ms)
        for place in made.replaced:
            self.failed.replaced(shown[0].uid, place, self._world.now_ms)
        judge(made, self._world.moments, self.awaited)
        return made

    def step(self, *, told: bool = True, reach: float = 1.0) -> Plan | None:
        """Plan, and write. `reach`: how much of it arrives; `told`: whether there is an answer."""
        made = self.plan()
        if made is None or not made.operations:
            return made
        operations = made.operations[: round(len(made.operations) * reach)]
        results = self._world.write(operations)
        for operation, result in zip(operations, results, strict=True):
            if operation.HasField("create") and result.error.reason == "Conflict":
                node_name = Object(operation.create.object).spec["nodeName"]
                self.crowded.replaced(self._world.set().uid, node_name, self._world.now_ms)
        if told and reach == 1.0:
            self.awaited = max(result.resource_version or result.error.resource_version for result in results)
        else:
            self.awaited = self._world.revision
        return made


# ----------------------------------------------------------------------------------------------------------- the judge


def judge(made: Plan, moments: Sequence[Moment], since: int) -> None:
    """What it does to pods is right at one moment that contains all that was written before."""
    if not made.pods:
        return
    first = max((at for at, each in enumerate(moments) if each.revision <= since), default=0)
    reasons = [_wrong(made.pods, moment) for moment in moments[first:]]
    assert not all(reasons), f"right at no moment: {sorted(set(reasons))}"


def _wrong(operations: Sequence[pb.Operation], moment: Moment) -> str:
    """Why this is wrong at that moment; empty: it is right."""
    surge = moment.limit("maxSurge")
    spent, surging = 0, sum(_surges(name, moment) for name in moment.wanted)
    for operation in operations:
        if operation.HasField("create"):
            made = Object(operation.create.object)
            name, present = made.spec["nodeName"], moment.pods.get(made.spec["nodeName"], [])
            if name not in moment.wanted:
                return f"no pod is wanted on {name}"
            if made.spec["containers"][0]["image"] != moment.image:
                return "not the present template"
            if present:
                if not surge or len(present) > 1 or present[0].image == moment.image:
                    return f"{name} has a pod"
                surging += present[0].ready
        elif reason := _wrong_delete(operation.delete.preconditions.uid, moment):
            return reason
        else:
            [(name, pod)] = _places(operation.delete.preconditions.uid, moment)
            is_update = name in moment.may_stay and not pod.finished and len(moment.alive(name)) == 1
            spent += is_update and pod.ready and name in moment.wanted
    unavailable = sum(not moment.is_available(name) for name in moment.wanted)
    if spent and unavailable + spent > moment.limit("maxUnavailable"):
        return "more are unavailable than may be"
    return "more surge than may" if surge and surging > surge and any(o.HasField("create") for o in operations) else ""


def _surges(name: str, moment: Moment) -> bool:
    """Whether it has a second pod, which is not ready: once it is, the first goes, and is no hindrance to others."""
    is_ready = any(each.ready and each.image == moment.image for each in moment.alive(name))
    return len(moment.pods.get(name, ())) > 1 and not is_ready


def _places(uid: str, moment: Moment) -> list[tuple[str, Known]]:
    return [(name, pod) for name, of_node in moment.pods.items() for pod in of_node if pod.uid == uid]


def _wrong_delete(uid: str, moment: Moment) -> str:
    found = _places(uid, moment)
    if not found:
        return "there is no such pod"
    [(name, pod)] = found
    if pod.terminating:
        return "it is deleted already"
    if pod.finished or name not in moment.may_stay:
        return ""
    others = [each for each in moment.alive(name) if each.uid != uid]
    if others:
        return "" if any(each.ready and each.image == moment.image for each in others) else "its successor is not ready"
    if moment.spec["updateStrategy"]["type"] == "OnDelete" or pod.image == moment.image:
        return f"nothing is wrong with the pod on {name}"
    if moment.limit("maxSurge"):
        return "an update that surges takes an old pod away before there is a new one"
    return "" if name in moment.wanted else "an update where no pod is wanted"


def node(name: str) -> dict[str, Any]:
    status = {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": 10}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": WORKER}, "status": status}


def _tainted(obj: Object, effect: str) -> bool:
    return any(taint["effect"] == effect for taint in obj.spec.get("taints") or ())


def _known(pod: Object) -> Known:
    phase = pod.status.get("phase")
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in pod.status.get("conditions", ()))
    image = pod.spec["containers"][0]["image"]
    return Known(pod.uid, image, bool(pod.deletion_ms), phase in FINAL, ready and phase == "Running")
