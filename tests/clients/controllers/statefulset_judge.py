"""Who judges the plans of the StatefulSet controller, by what the partition had at each moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ursa.clients.controllers.workload_plan import Plan
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, parse_time

FINAL = ("Succeeded", "Failed")


class Known(NamedTuple):
    """Of a pod, at some moment."""

    uid: str
    image: str
    terminating: bool
    finished: bool
    ready_ms: int  # Since when; 0: it is not.


class Moment(NamedTuple):
    revision: int
    spec: Any
    current_image: str
    told: bool  # The status names the revision of the present template.
    pods: dict[int, Known]
    now_ms: int

    @property
    def ordinals(self) -> range:
        start = self.spec.get("ordinals", {}).get("start", 0)
        return range(start, start + self.spec["replicas"])

    @property
    def partition(self) -> int:
        return self.ordinals.start + self.spec["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)

    @property
    def image(self) -> str:
        return str(self.spec["template"]["spec"]["containers"][0]["image"])

    def is_available(self, ordinal: int) -> bool:
        pod = self.pods.get(ordinal)
        if pod is None or pod.terminating or not pod.ready_ms:
            return False
        return self.now_ms - pod.ready_ms >= self.spec.get("minReadySeconds", 0) * 1000


def known(pod: Object) -> Known:
    phase = pod.status.get("phase")
    ready = [each for each in pod.status.get("conditions", ()) if each["type"] == "Ready" and each["status"] == "True"]
    ready_ms = parse_time(ready[0]["lastTransitionTime"]) if ready and phase == "Running" else 0
    return Known(pod.uid, pod.spec["containers"][0]["image"], bool(pod.deletion_ms), phase in FINAL, ready_ms)


def judge(made: Plan, moments: Sequence[Moment], since: int) -> None:
    """What it does to pods is right at one moment that contains all that was written before."""
    if not made.pods:
        return
    creates = {_ordinal(each.create.object.metadata.name): each for each in made.pods if each.HasField("create")}
    deletes = {_ordinal(each.delete.target.name): each for each in made.pods if each.HasField("delete")}
    # The last moment before `since`, too: its revision lasts until the next one.
    first = max((at for at, each in enumerate(moments) if each.revision <= since), default=0)
    reasons = [_wrong(creates, deletes, moment) for moment in moments[first:]]
    assert not all(reasons), f"right at no moment: {sorted(set(reasons))}"


def _wrong(creates: dict[int, pb.Operation], deletes: dict[int, pb.Operation], moment: Moment) -> str:
    """Why this is wrong at that moment; empty: it is right."""
    if not moment.told:
        return "pods are made of revisions that the status does not name"
    ordered = moment.spec["podManagementPolicy"] == "OrderedReady"
    if ordered and len(creates) + len(deletes) > _max_unavailable(moment):
        return "one at a time"
    for ordinal, operation in creates.items():
        if reason := _wrong_create(ordinal, operation, moment, ordered=ordered):
            return reason
    spent = 0
    for ordinal, operation in deletes.items():
        if reason := _wrong_delete(ordinal, operation, moment, ordered=ordered):
            return reason
        is_update = ordinal in moment.ordinals and not moment.pods[ordinal].finished
        spent += is_update and moment.is_available(ordinal)
    unavailable = sum(not moment.is_available(ordinal) for ordinal in moment.ordinals)
    if spent and unavailable + spent > _max_unavailable(moment):
        return "more are unavailable than may be"
    return ""


def _wrong_delete(ordinal: int, operation: pb.Operation, moment: Moment, *, ordered: bool) -> str:
    pod = moment.pods.get(ordinal)
    if pod is None or pod.uid != operation.delete.preconditions.uid:
        return f"there is no such pod {ordinal}"
    if pod.terminating:
        return f"pod {ordinal} is deleted already"
    if pod.finished:
        return ""
    if ordinal not in moment.ordinals:
        if ordered and max(moment.pods) != ordinal:
            return "not the highest is taken away"
        if ordered and not all(map(moment.is_available, moment.ordinals)):
            return "taken away while one that stays is not available"
        return ""
    if moment.spec["updateStrategy"]["type"] == "OnDelete" or pod.image == moment.image:
        return f"nothing is wrong with pod {ordinal}"
    return f"pod {ordinal} is below the partition" if ordinal < moment.partition else ""


def _wrong_create(ordinal: int, operation: pb.Operation, moment: Moment, *, ordered: bool) -> str:
    if ordinal in moment.pods:
        return f"there is a pod {ordinal}"
    if ordinal not in moment.ordinals:
        return f"pod {ordinal} is not wanted"
    if ordered and not all(moment.is_available(each) for each in moment.ordinals if each < ordinal):
        return f"pod {ordinal} comes before one below it is ready"
    rolls = moment.spec["updateStrategy"]["type"] == "RollingUpdate"
    wanted = moment.current_image if rolls and ordinal < moment.partition else moment.image
    made = Object(operation.create.object)
    if made.spec["containers"][0]["image"] != wanted:
        return f"pod {ordinal} is made of another revision"
    return ""


def _max_unavailable(moment: Moment) -> int:
    limit = moment.spec["updateStrategy"].get("rollingUpdate", {}).get("maxUnavailable", 1)
    return max(int(limit[:-1]) * moment.spec["replicas"] // 100 if isinstance(limit, str) else limit, 1)


def _ordinal(name: str) -> int:
    return int(name.removeprefix("db-"))
