"""One pod on one node, and the outbox in which the kubelets of a process leave what they want done.

    (taken on) --refused-----------------------------------------> FINISHED (Failed)
        |                                                             ^  |
        v            start delay             run time over            |  |
     STARTING ------------------> RUNNING ----------------------------+  |
        |                            |  ^ failed, restarted: OnFailure   |
        |                            | deletion asked for                | deletion asked for
        | deletion asked for         v                                   |
        |                        STOPPING                                |
        |                            | stop delay                        |
        +-------------------------> STOPPED <----------------------------+
                                     | final delete: the partition forgets the pod
                                     v
                                    GONE   (from every state, when the partition says that the pod is no more)

STARTING, RUNNING and STOPPING hold resources of the node; RUNNING and STOPPING are an instance.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.objects import ObjectKey
from .pod_spec import PodSpec
from .runs import Run

if TYPE_CHECKING:
    from .core import Kubelet

PODS_RESOURCE = "pods"

_STATUS_UPDATE = pb.Operation(
    resource=PODS_RESOURCE,
    update=pb.Update(object=pb.Object(api_version="v1", kind="Pod"), subresource="status"),
).SerializeToString(deterministic=True)


class State(enum.Enum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    GONE = "gone"


class Pod:
    """What a kubelet knows of a pod. The API's copy is not kept: at most its status, as bytes."""

    __slots__ = (
        "acknowledged_revision",
        "devices",
        "failures",
        "foreign_revision",
        "ip",
        "key",
        "kubelet",
        "lost",
        "node_bound",
        "observed_seconds",
        "partition",
        "pending",
        "restarts",
        "run",
        "running_ms",
        "spec",
        "start_ms",
        "state",
        "status",
        "timer",
        "uid",
        "version",
    )

    def __init__(self, kubelet: Kubelet, partition: str, key: ObjectKey, uid: str, spec: PodSpec) -> None:
        self.kubelet = kubelet
        self.partition = partition
        self.key = key
        self.uid = uid
        self.spec = spec
        self.devices: tuple[int, ...] = ()  # Those of the node's GPUs that it holds, as far as it says.
        self.node_bound = False  # It can run here and nowhere else.
        self.state = State.STARTING
        self.status = b""  # What the API is to show, and shows unless `pending`.
        self.pending = False  # A write is wanted and not yet acknowledged.
        self.version = 0  # Of the wanted write.
        self.failures = 0
        self.acknowledged_revision = 0  # The pod's partition's revision of our last status.
        self.foreign_revision = 0  # Of the last status that was not ours.
        self.timer = 0  # The token of the one timer that counts.
        self.observed_seconds: float | None = None  # Until its start has been measured.
        self.run: Run | None = None  # None: for ever.
        self.restarts = 0
        self.lost = False  # Its partition has it no more; another is being asked.
        self.ip = ""
        self.start_ms = 0
        self.running_ms = 0

    @property
    def is_instance(self) -> bool:
        return self.state is State.RUNNING or self.state is State.STOPPING

    @property
    def holds_resources(self) -> bool:
        return self.state is State.STARTING or self.is_instance

    def operation(self) -> pb.Operation | None:
        """The write wanted now, for the pod's own partition."""
        if not self.pending:
            return None
        if self.state is State.STOPPED:
            return final_delete(self.key, self.uid)
        return status_update(self.key, self.uid, self.status)

    def __repr__(self) -> str:
        return f"<Pod {self.key} {self.uid} of {self.partition}: {self.state.value}>"


def status_update(key: ObjectKey, uid: str, status: bytes) -> pb.Operation:
    operation = pb.Operation.FromString(_STATUS_UPDATE)
    update = operation.update.object
    update.status = status
    metadata = update.metadata
    metadata.tenant, metadata.namespace, metadata.name = key
    metadata.uid = uid
    return operation


def final_delete(key: ObjectKey, uid: str) -> pb.Operation:
    """Nothing of it runs any more."""
    tenant, namespace, name = key
    return pb.Operation(
        resource=PODS_RESOURCE,
        delete=pb.Delete(
            target=pb.GetRequest(resource=PODS_RESOURCE, tenant=tenant, namespace=namespace, name=name),
            preconditions=pb.Preconditions(uid=uid),
            grace_seconds=0,
        ),
    )


class Timer(NamedTuple):
    """To be given back to `pod.kubelet.timer_fired` at `when` (seconds since 1970) or later."""

    when: float
    pod: Pod
    token: int


class Sent(NamedTuple):
    """A write on its way to a partition: `version` is that of the pod when it was built."""

    pod: Pod
    version: int
    operation: pb.Operation
    partition: str


class Question(NamedTuple):
    """Ask this partition for the pod, and those to which its tenant has moved from there; see `Kubelet.pod_found`."""

    pod: Pod
    partition: str


class InstanceChange(NamedTuple):
    """An instance was started, or adopted, or it has stopped."""

    pod: Pod
    started: bool


class Outbox:
    """What the kubelets of a process want done, and what they have done. They fill it, the shell empties it.

    Args:
        tells_instances: whether anybody wants to know which instances start and stop.
    """

    def __init__(self, partitions: Iterable[str], *, tells_instances: bool = False) -> None:
        self.instances: list[InstanceChange] | None = [] if tells_instances else None
        self.writes: dict[str, dict[Pod, None]] = {partition: {} for partition in partitions}
        self.timers: list[Timer] = []
        self.questions: list[Question] = []
        self.handed_over: dict[str, None] = {}
        self.rejections: dict[str, int] = {}  # by reason
        self.start_seconds: list[float] = []  # from the first sight of a bound pod to its acknowledged Running

    def add_partition(self, partition: str) -> None:
        self.writes.setdefault(partition, {})

    def remove_partition(self, partition: str) -> None:
        """Nobody takes what was to be told to it."""
        del self.writes[partition]

    def take_handed_over(self) -> list[str]:
        """Partitions to which pods belong now that have something to be written, since this was asked last."""
        partitions, self.handed_over = list(self.handed_over), {}
        return partitions

    def take(self, partition: str, count: int) -> list[Sent]:
        """The writes that have waited longest, at most `count`, each as it is wanted now."""
        waiting = self.writes[partition]
        batch: list[Sent] = []
        while waiting and len(batch) < count:
            for pod in list(islice(waiting, count - len(batch))):
                del waiting[pod]
                operation = pod.operation()
                if operation is not None:
                    batch.append(Sent(pod, pod.version, operation, partition))
        return batch

    def put_back(self, batch: Iterable[Sent]) -> None:
        """After a lost link: what is still wanted waits again."""
        for sent in batch:
            if sent.pod.pending:
                self.writes[sent.pod.partition][sent.pod] = None
