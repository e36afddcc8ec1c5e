"""The pods of a StatefulSet: what each is to it, and the operations that make them and give them back their names."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey, encode
from ..operations import PODS, create_operation, patch_operation
from .controller_revisions import POD_LABEL, template_of
from .pods import is_finished, ready_since_ms

STATEFULSET = BY_KIND["StatefulSet"]

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


class Replica(NamedTuple):
    """`ready_since_ms`: 0 where it is not running and ready. `finished`: it has failed, or succeeded, which is as bad.
    `revision`: the name of the one that it was made of."""

    pod: Object
    ordinal: int
    revision: str
    terminating: bool
    finished: bool
    ready_since_ms: int

    @property
    def is_healthy(self) -> bool:
        return bool(self.ready_since_ms) and not self.terminating

    def unavailable_ms(self, min_ready_ms: int, now_ms: int) -> int | None:
        """For how long it is not available yet; 0: it is; None: nobody knows."""
        if not self.is_healthy:
            return None
        return max(self.ready_since_ms + min_ready_ms - now_ms, 0)


def read_replicas(statefulset: Object, pods: list[Object]) -> list[Replica]:
    """Those that are called as one of the set's, by their ordinals."""
    prefix = f"{statefulset.name}-"
    found = []
    for pod in pods:
        text = pod.name.removeprefix(prefix)
        if pod.name.startswith(prefix) and text.isascii() and text.isdecimal() and str(int(text)) == text:
            found.append(_read(pod, int(text)))
    return sorted(found, key=lambda each: each.ordinal)


def _read(pod: Object, ordinal: int) -> Replica:
    revision = pod.message.metadata.labels.get(POD_LABEL, "")
    return Replica(pod, ordinal, revision, bool(pod.deletion_ms), is_finished(pod), ready_since_ms(pod))


def pod_key(statefulset: Object, ordinal: int) -> ObjectKey:
    return ObjectKey(statefulset.tenant, statefulset.namespace, f"{statefulset.name}-{ordinal}")


def creation(statefulset: Object, revision: Object, ordinal: int) -> pb.Operation:
    """Of the pod of this ordinal, as the revision says."""
    template = template_of(revision)
    of_template = template.get("metadata") or {}
    key = pod_key(statefulset, ordinal)
    spec: dict[str, Any] = {**(template.get("spec") or {}), "hostname": key.name}
    if statefulset.spec.get("serviceName"):
        spec["subdomain"] = statefulset.spec["serviceName"]
    message = pb.Object(api_version="v1", kind="Pod", spec=encode(spec))
    metadata = message.metadata
    metadata.tenant, metadata.namespace, metadata.name = key
    metadata.labels.update({**(of_template.get("labels") or {}), **_identity(key.name, ordinal)})
    metadata.labels[POD_LABEL] = revision.name
    metadata.annotations.update(of_template.get("annotations") or {})
    metadata.finalizers.extend(of_template.get("finalizers") or ())
    metadata.owner_references.add(
        api_version=STATEFULSET.api_version,
        kind=STATEFULSET.kind,
        name=statefulset.name,
        uid=statefulset.uid,
        controller=True,
        block_owner_deletion=True,
    )
    return create_operation(Object(message), resource=PODS)


def has_identity(replica: Replica) -> bool:
    """Whether it bears the labels that it is known by."""
    labels = replica.pod.message.metadata.labels
    return all(labels.get(name) == value for name, value in _identity(replica.pod.name, replica.ordinal).items())


def identification(replica: Replica) -> pb.Operation:
    """Give it its labels back, if it is still as it was seen."""
    pod = replica.pod
    metadata = {
        "labels": _identity(pod.name, replica.ordinal),
        "uid": pod.uid,
        "resourceVersion": str(pod.resource_version),
    }
    return patch_operation(PODS, pod.key, {"metadata": metadata})


def _identity(name: str, ordinal: int) -> dict[str, str]:
    return {NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
