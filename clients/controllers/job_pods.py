"""The pods of a Job: what each is to it, and the operations that make, release and delete them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.batch import INDEX_KEY, INDEX_VARIABLE, TRACKING_FINALIZER
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey, decode, decode_shared, encode, parse_time
from ..operations import PODS, create_operation, delete_operation, patch_operation
from ..pods import FAILED, SUCCEEDED
from .pods import ready_condition

JOB = BY_KIND["Job"]
KIND, RESOURCE, API_VERSION = JOB.kind, JOB.resource, JOB.api_version

NO_INDEX = -1
NAME_LENGTH_MAX = 63
# Without vowels and look-alikes, as the names of a ReplicaSet's pods.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_FINAL_HEADS = {phase: encode("phase") + encode(phase) for phase in (SUCCEEDED, FAILED)}
_SHORT_MAP = 0x80
_PHASE_RANK = {"Pending": 0, "Unknown": 1}


class JobPod(NamedTuple):
    """`phase`: Succeeded or Failed, where it has ended; else empty. `stopped`: nothing of it runs any more."""

    pod: Object
    tracked: bool
    phase: str
    terminating: bool
    stopped: bool
    completion_index: int

    @property
    def is_active(self) -> bool:
        return not self.phase and not self.terminating


def read_pod(pod: Object) -> JobPod:
    metadata = pod.message.metadata
    phase = final_phase(pod.message.status)
    terminating = bool(metadata.deletion_ms)
    # A kubelet that has stopped a pod deletes it without grace; the finalizer keeps what is left of it.
    stopped = bool(phase) or (terminating and not metadata.deletion_grace_seconds)
    return JobPod(pod, is_tracked(pod), phase, terminating, stopped, _index(metadata))


def final_phase(status: bytes) -> str:
    """Empty: it has none.

    A Job of ten thousand pods looks at all of them in each of its steps, so the phase is read without decoding the rest
    where it is the first of the fields, as kubelets write it: the head of a short map, "phase", a short string.
    """
    for phase in (SUCCEEDED, FAILED):
        head = _FINAL_HEADS[phase]
        if status[1 : 1 + len(head)] == head and status[0] & 0xF0 == _SHORT_MAP:
            return phase
    if b"Succeeded" not in status and b"Failed" not in status:
        return ""
    phase = decode(status).get("phase")
    return phase if phase in _FINAL_HEADS else ""


def is_tracked(pod: Object) -> bool:
    """Its end has not been counted yet."""
    return TRACKING_FINALIZER in pod.message.metadata.finalizers


def _index(metadata: pb.ObjectMeta) -> int:
    text = metadata.annotations.get(INDEX_KEY, "") if metadata.annotations else ""
    return int(text) if text.isascii() and text.isdecimal() else NO_INDEX


def is_ready(pod: Object) -> bool:
    data = pod.message.status
    return b"Ready" in data and ready_condition(decode_shared(data)) is not None


def restarts(pod: Object) -> int:
    return sum(int(each.get("restartCount") or 0) for each in _container_statuses(pod))


def finished_ms(pod: Object) -> int:
    """When the last of its containers ended, as far as anybody says."""
    ends = [((each.get("state") or {}).get("terminated") or {}).get("finishedAt") for each in _container_statuses(pod)]
    known = [moment for moment in (time_ms(end) for end in ends) if moment]
    metadata = pod.message.metadata
    asked_ms = metadata.deletion_ms - metadata.deletion_grace_seconds * 1000
    return max(known, default=0) or max(asked_ms, 0) or time_ms(pod.status.get("startTime")) or metadata.creation_ms


def _container_statuses(pod: Object) -> list[Mapping[str, Any]]:
    return [each for each in pod.status.get("containerStatuses") or () if isinstance(each, Mapping)]


def time_ms(text: Any) -> int:
    """0: there is no time, or none that can be read."""
    try:
        return parse_time(text) if isinstance(text, str) else 0
    except ValueError:
        return 0


def order_of_deletion(each: JobPod) -> tuple[bool, bool, int, bool, int, str]:
    """Who is to go first: what is not counted, unbound, not running, not ready, young; of indexes the last."""
    pod = each.pod
    phase = decode_shared(pod.message.status).get("phase", "Pending")
    bound = bool(decode(pod.message.spec).get("nodeName"))
    young = -each.completion_index if each.completion_index != NO_INDEX else -pod.creation_ms
    return each.tracked, bound, _PHASE_RANK.get(phase, 2), is_ready(pod), young, pod.name


# ------------------------------------------------------------------------------------------------------- operations


def release(pod: Object) -> pb.Operation:
    """Take the finalizer away, if the pod is still as it was seen."""
    metadata = {
        "finalizers": [each for each in pod.finalizers if each != TRACKING_FINALIZER],
        "uid": pod.uid,
        "resourceVersion": str(pod.resource_version),
    }
    return patch_operation(PODS, pod.key, {"metadata": metadata})


def deletion(pod: Object) -> pb.Operation:
    return delete_operation(PODS, pod.key, uid=pod.uid)


class PodMaker:
    """Makes the pods of one Job.

    A name follows from the Job's uid and from how many pods it has had, as far as they are still there. So whoever
    decides twice that a pod is missing, as after an answer that was lost or in another life of the controller, makes
    the same pod twice, and the second time it exists already.
    """

    def __init__(self, job: Object, taken: Callable[[ObjectKey], bool]) -> None:
        self._job = job
        self._taken = taken
        self._template = job.spec.get("template") or {}

    def create(self, count: int) -> tuple[pb.Operation, int]:
        """Of a Job without indexes. `count`: of its pods; the answer says with how many to go on."""
        key, following = self._free_key(self._job.name, count)
        return self._creation(key, self._template.get("spec") or {}, {}, {}), following

    def create_indexed(self, index: int, count: int) -> pb.Operation:
        """`count`: of its pods with this index."""
        key, _ = self._free_key(f"{self._job.name}-{index}", count)
        own = {INDEX_KEY: str(index)}
        return self._creation(key, _with_index(self._template.get("spec") or {}), own, own)

    def _free_key(self, prefix: str, count: int) -> tuple[ObjectKey, int]:
        job = self._job
        prefix = prefix[: NAME_LENGTH_MAX - _SUFFIX_LENGTH - 1]
        while True:
            key = ObjectKey(job.tenant, job.namespace, f"{prefix}-{_suffix(f'{job.uid}/{prefix}/{count}')}")
            count += 1
            if not self._taken(key):
                return key, count

    def _creation(
        self, key: ObjectKey, spec: Any, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> pb.Operation:
        job, of_template = self._job, self._template.get("metadata") or {}
        message = pb.Object(api_version="v1", kind="Pod", spec=encode(spec))
        metadata = message.metadata
        metadata.tenant, metadata.namespace, metadata.name = key
        metadata.labels.update({**(of_template.get("labels") or {}), **labels})
        metadata.annotations.update({**(of_template.get("annotations") or {}), **annotations})
        metadata.finalizers.extend(dict.fromkeys([*(of_template.get("finalizers") or ()), TRACKING_FINALIZER]))
        metadata.owner_references.add(
            api_version=API_VERSION, kind=KIND, name=job.name, uid=job.uid, controller=True, block_owner_deletion=True
        )
        return create_operation(Object(message), resource=PODS)


def _suffix(text: str) -> str:
    number = zlib.crc32(text.encode())
    letters = []
    for _ in range(_SUFFIX_LENGTH):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def _with_index(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The containers learn their index; the spec is the same for all of them."""
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX_KEY}']"}}
    variable = {"name": INDEX_VARIABLE, "valueFrom": source}
    changed = dict(spec)
    for group in ("initContainers", "containers"):
        if spec.get(group):
            changed[group] = [_with_variable(container, variable) for container in spec[group]]
    return changed


def _with_variable(container: Mapping[str, Any], variable: Mapping[str, Any]) -> Mapping[str, Any]:
    known = container.get("env") or []
    if any(each.get("name") == variable["name"] for each in known):
        return container
    return {**container, "env": [*known, variable]}


__all__ = [
    "API_VERSION",
    "FAILED",
    "JOB",
    "KIND",
    "NO_INDEX",
    "RESOURCE",
    "SUCCEEDED",
    "JobPod",
    "PodMaker",
    "deletion",
    "finished_ms",
    "is_ready",
    "is_tracked",
    "order_of_deletion",
    "read_pod",
    "release",
    "restarts",
    "time_ms",
]
