"""One ReplicaSet and its pods, as counts that each event of a pod keeps true.

A ReplicaSet of thousands of pods is looked at for every one of them that changes; so nothing here is computed by
walking over the pods, and a pod is kept as one small number, its flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, decode_shared, encode
from ..informer import EventType
from ..operations import PODS
from ..pods import FAILED
from .pods import FINISHED_PHASES, ready_condition, transition_ms

KIND = "ReplicaSet"
RESOURCE = "replicasets.apps"
API_VERSION = "apps/v1"

# Creates of one ReplicaSet on their way at once. Kubernetes' BurstReplicas: enough to fill two batches, little enough
# that one wrong template does not flood the partition.
BURST_REPLICAS = 500

KNOWN = 1  # Every pod has it, so that flags are never 0.
FINISHED = 2
DELETING = 4
DOOMED = 8  # Its deletion was asked for, and the informer does not show it yet.
READY = 16
LABELED = 32
INACTIVE = FINISHED | DELETING | DOOMED


class Members:
    """A ReplicaSet, by uid. `replicaset` is None while only pods that name it as their owner have been seen."""

    __slots__ = (
        "active",
        "available_from_ms",
        "burst",
        "creates_from_ms",
        "expected",
        "failed",
        "failed_pause_seconds",
        "failure",
        "flags",
        "labeled",
        "labels",
        "min_ready_ms",
        "ready",
        "refused_pause_seconds",
        "replicas",
        "replicaset",
        "status",
        "status_delay_ms",
        "status_due",
        "status_from_ms",
        "template",
        "unresolved",
        "writes_from_ms",
    )

    def __init__(self) -> None:
        self.replicaset: Object | None = None
        self.replicas = 0
        self.min_ready_ms = 0
        self.labels: tuple[tuple[str, str], ...] = ()
        self.template = b""  # A serialized Operation that creates a pod; only the name is missing.
        # Its pods.
        self.flags: dict[ObjectKey, int] = {}
        self.active = self.ready = self.labeled = 0
        self.available_from_ms: dict[ObjectKey, int] = {}  # Of ready pods; kept only with minReadySeconds.
        self.failed = False  # A pod has failed since the last plan.
        # What was asked for and not observed yet. The revision is 0 while it is not known.
        self.expected: dict[ObjectKey, int] = {}
        self.unresolved: dict[ObjectKey, pb.Operation] = {}
        # How fast it may go on.
        self.burst = BURST_REPLICAS
        self.refused_pause_seconds = 0.0
        self.failed_pause_seconds = 0.0
        self.writes_from_ms = 0
        self.creates_from_ms = 0
        # Its status: what the partition has as far as known, and the ReplicaFailure condition.
        self.status: dict[str, Any] | None = None
        self.status_due = False
        self.status_delay_ms = 0
        self.status_from_ms = 0
        self.failure: dict[str, Any] | None = None

    @property
    def missing(self) -> int:
        """Pods to create; negative: to delete."""
        return self.replicas - self.active - len(self.expected)

    @property
    def wants_more_writes(self) -> bool:
        """Pods are to be created or deleted, and the burst leaves room for it."""
        missing = self.missing
        return missing < 0 or (missing > 0 and len(self.expected) < self.burst)

    def observe(self, pod: Object, kind: EventType, old: Object | None) -> None:
        """The informer has shown this pod; `old` is what it had shown before of the same uid."""
        key = pod.key
        appeared = self.expected.pop(key, None) is not None
        if kind is EventType.DELETED:
            flags = 0
            self.available_from_ms.pop(key, None)
        else:
            flags = self._read_pod(pod, key, old)
        self.set_flags(key, flags)
        if self.unresolved and (appeared or not flags or flags & DELETING):
            self.unresolved.pop(key, None)

    def set_flags(self, key: ObjectKey, flags: int) -> None:
        """Replace a pod's flags (0: it is gone) and keep the counts true."""
        if flags:
            old = self.flags.get(key, 0)
            self.flags[key] = flags
        else:
            old = self.flags.pop(key, 0)
        if old and not old & INACTIVE:
            self.active -= 1
            self.ready -= bool(old & READY)
            self.labeled -= bool(old & LABELED)
        if flags and not flags & INACTIVE:
            self.active += 1
            self.ready += bool(flags & READY)
            self.labeled += bool(flags & LABELED)

    def doom(self, key: ObjectKey) -> None:
        """Its deletion is being asked for: it counts no more."""
        self.set_flags(key, self.flags[key] | DOOMED)

    def spare(self, key: ObjectKey) -> None:
        """Its deletion did not happen."""
        if key in self.flags:
            self.set_flags(key, self.flags[key] & ~DOOMED)

    def forget_unresolved(self) -> None:
        """Whether it happened or not, it is of a history that is gone. What is of the new one too, its view shows."""
        for key in self.unresolved:
            self.expected.pop(key, None)
        self.unresolved.clear()

    def _read_pod(self, pod: Object, key: ObjectKey, old: Object | None) -> int:
        message = pod.message
        known = self.flags.get(key, 0) if old is not None else 0
        flags = KNOWN | (known & DOOMED)
        if known and old is not None and old.message.status == message.status:
            flags |= known & (FINISHED | READY)
        else:
            flags |= self._read_status(key, message.status, known)
        if message.metadata.deletion_ms:
            flags |= DELETING
        labels = message.metadata.labels
        for name, value in self.labels:
            if labels.get(name) != value:
                return flags
        return flags | LABELED

    def _read_status(self, key: ObjectKey, data: bytes, known: int) -> int:
        status = decode_shared(data)
        phase = status.get("phase")
        if phase in FINISHED_PHASES:
            if phase == FAILED and known and not known & INACTIVE:
                self.failed = True
            self.available_from_ms.pop(key, None)
            return FINISHED
        condition = ready_condition(status) if b"Ready" in data else None
        if condition is None:
            self.available_from_ms.pop(key, None)
            return 0
        self.failed_pause_seconds = 0.0
        if self.min_ready_ms:
            self.available_from_ms[key] = transition_ms(condition) + self.min_ready_ms
        return READY

    def read_spec(self, replicaset: Object, pods: Mapping[ObjectKey, Object]) -> None:
        """The spec is new. `pods` is the informer's cache."""
        spec = replicaset.spec
        replicas = spec.get("replicas")
        labels = tuple((((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}).items())
        min_ready_ms = round((spec.get("minReadySeconds") or 0) * 1000)
        pods_read_differently = (labels, min_ready_ms) != (self.labels, self.min_ready_ms)
        self.replicas = 1 if replicas is None else replicas
        self.labels, self.min_ready_ms = labels, min_ready_ms
        self.template = creation_of_pod(replicaset)
        self.writes_from_ms = 0  # What was refused for the old spec may be right with the new one.
        if not pods_read_differently:
            return
        self.available_from_ms.clear()
        for key, flags in list(self.flags.items()):
            if key in pods:
                self.set_flags(key, self._read_pod(pods[key], key, None) | (flags & DOOMED))


def creation_of_pod(replicaset: Object) -> bytes:
    """A serialized Operation that creates one pod of this set, but for the name. All its pods share these bytes."""
    template = replicaset.spec.get("template") or {}
    template_metadata = template.get("metadata") or {}
    operation = pb.Operation(resource=PODS)
    pod = operation.create.object
    pod.api_version, pod.kind = "v1", "Pod"
    pod.spec = encode(template.get("spec") or {})
    metadata = pod.metadata
    metadata.tenant, metadata.namespace = replicaset.tenant, replicaset.namespace
    metadata.generate_name = f"{replicaset.name}-"
    metadata.labels.update(template_metadata.get("labels") or {})
    metadata.annotations.update(template_metadata.get("annotations") or {})
    metadata.finalizers.extend(template_metadata.get("finalizers") or ())
    metadata.owner_references.add(
        api_version=API_VERSION,
        kind=KIND,
        name=replicaset.name,
        uid=replicaset.uid,
        controller=True,
        block_owner_deletion=True,
    )
    # Deterministic: the order of a protobuf map differs between processes.
    return operation.SerializeToString(deterministic=True)


def status_operation(replicaset: Object, status: Mapping[str, Any]) -> pb.Operation:
    """Only the controller writes a ReplicaSet's status, so the uid is precondition enough."""
    operation = pb.Operation(resource=RESOURCE)
    update = operation.update
    update.subresource = "status"
    update.object.api_version, update.object.kind = API_VERSION, KIND
    metadata, source = update.object.metadata, replicaset.message.metadata
    metadata.tenant, metadata.namespace, metadata.name = source.tenant, source.namespace, source.name
    metadata.uid = source.uid
    update.object.status = encode(status)
    return operation
