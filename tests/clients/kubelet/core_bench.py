"""A kubelet without a cluster: messages as its partitions would send them, and short forms for what tests look at."""

from __future__ import annotations

from random import Random
from typing import Any

from ursa.clients.kubelet import HollowNodesOptions, Kubelet, hollow_node
from ursa.clients.kubelet.pod import Outbox, Pod, Sent, State
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, decode, encode

PARTITIONS = ("tp-1", "tp-2")
NOW = 1_790_000_000.0
HOME = "rp-1"
NODE = "node-1"


def pod_message(
    name: str = "web",
    uid: str = "uid-1",
    *,
    tenant: str = "acme",
    cpu: str = "100m",
    phase: str = "Pending",
    status: dict[str, Any] | None = None,
    revision: int = 10,
    deletion_ms: int = 0,
    grace_seconds: int = 30,
    created_ms: int = 1,
    annotations: dict[str, str] | None = None,
    node: str = NODE,
    home: str = HOME,
    **spec: Any,
) -> pb.Object:
    message = pb.Object(api_version="v1", kind="Pod")
    metadata = message.metadata
    metadata.tenant, metadata.namespace, metadata.name, metadata.uid = tenant, "default", name, uid
    metadata.resource_version = revision
    metadata.creation_ms = created_ms
    metadata.deletion_ms = deletion_ms
    metadata.deletion_grace_seconds = grace_seconds if deletion_ms else 0
    metadata.annotations.update(annotations or {})
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
    message.spec = encode({"containers": [container], "nodeName": node, "resourcePartition": home, **spec})
    message.status = encode({"phase": phase, **(status or {})})
    return message


class Bench:
    """One kubelet whose views are complete, unless told otherwise."""

    def __init__(
        self,
        options: HollowNodesOptions | None = None,
        *,
        node: Object | None = None,
        synced: bool = True,
        random: Random | None = None,
    ) -> None:
        self.now = NOW
        self.outbox = Outbox(PARTITIONS)
        self.kubelet = Kubelet(
            node or hollow_node(NODE, cpu="1", memory="1Gi", pods=4),
            HOME,
            PARTITIONS,
            self.outbox,
            random or Random(1),
            options or HollowNodesOptions(),
        )
        if synced:
            for partition in PARTITIONS:
                self.view(partition)

    def view(self, partition: str, *messages: pb.Object) -> None:
        self.kubelet.view_started(partition)
        for message in messages:
            self.kubelet.pod_changed(partition, message, self.now)
        self.kubelet.view_complete(partition, self.now)
        self.say_gone()

    def say_gone(self) -> None:
        """What the kubelet asks about, its partition does not have, and its tenant has not moved."""
        questions, self.outbox.questions = self.outbox.questions, []
        for question in questions:
            self.kubelet.pod_found(question.pod, question.partition, None, self.now)

    def deleted(self, partition: str, uid: str, *, moved_to: str = "") -> None:
        self.kubelet.pod_deleted(partition, uid, self.now, moved_to=moved_to)

    def changed(self, partition: str, message: pb.Object) -> None:
        self.kubelet.pod_changed(partition, message, self.now)

    def pods(self) -> dict[tuple[str, str], Pod]:
        return {(pod.partition, pod.uid): pod for pod in self.kubelet.pods()}

    def states(self) -> dict[tuple[str, str], State]:
        return {key: pod.state for key, pod in self.pods().items()}

    def take(self, partition: str) -> list[Sent]:
        return self.outbox.take(partition, 256)

    def taken(self, partition: str) -> list[tuple[str, Any]]:
        """The writes wanted at a partition: (uid, status), or (uid, None) for a final delete. They stay unanswered."""
        return [described(sent.operation) for sent in self.take(partition)]

    def answer(self, sent: Sent, *, revision: int = 0, error: str = "") -> None:
        result = pb.Result(resource_version=revision)
        if error:
            result.error.reason = error
        self.kubelet.write_answered(sent, result, self.now)

    def acknowledge(self, partition: str, revision: int = 20) -> list[tuple[str, Any]]:
        """Everything wanted at a partition is written."""
        batch = self.take(partition)
        for sent in batch:
            self.answer(sent, revision=revision)
        return [described(sent.operation) for sent in batch]

    def pass_time(self, seconds: float) -> None:
        """Timers that are due fire, in their order."""
        self.now += seconds
        while due := [timer for timer in self.outbox.timers if timer.when <= self.now]:
            self.outbox.timers = [timer for timer in self.outbox.timers if timer.when > self.now]
            for timer in sorted(due, key=lambda timer: timer.when):
                self.kubelet.timer_fired(timer, self.now)


def described(operation: pb.Operation) -> tuple[str, Any]:
    assert operation.resource == "pods"
    if operation.HasField("delete"):
        assert operation.delete.grace_seconds == 0
        return operation.delete.preconditions.uid, None
    assert operation.update.subresource == "status"
    assert operation.update.object.metadata.resource_version == 0
    return operation.update.object.metadata.uid, decode(operation.update.object.status)
