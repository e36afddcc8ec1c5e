"""Static pods: what a kubelet runs because it was told to when it started, whatever any partition says. No I/O.

Each is shown by a mirror, a pod in the node's resource partition that says what it is and how it does. The mirror has
another uid than the static pod, and does not decide about it:

    no mirror, and the partition has been seen whole, and the node is registered   -> create it
    a mirror that shows another status                                             -> write the status
    a mirror that is being deleted, or is of another manifest, or of another Node  -> delete it for good; see above
    a mirror of no static pod of this kubelet                                      -> delete it for good

A refused write is repeated as for other pods. That there is no mirror is concluded only from a complete view.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.kinds import SYSTEM_TENANT
from ...proto.objects import Object, ObjectKey, encode
from ..operations import create_operation
from .pod import Pod, State, final_delete, status_update
from .pod_spec import pod_spec

if TYPE_CHECKING:
    from .core import Kubelet

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
HASH_ANNOTATION = "kubernetes.io/config.hash"
SOURCE_ANNOTATION = "kubernetes.io/config.source"
_SOURCE = "file"


class _Mirror(NamedTuple):
    """A mirror as its partition shows it. `node_uid`: of the Node that owns it."""

    uid: str
    hash: str
    going: bool
    node_uid: str
    status: bytes


class StaticPod(Pod):
    """Its `uid` is made from the manifest and the node, so that it is the same when the kubelet starts again."""

    __slots__ = ("message", "mirror")

    def __init__(self, kubelet: Kubelet, message: pb.Object) -> None:
        metadata = message.metadata
        key = ObjectKey(metadata.tenant, metadata.namespace, metadata.name)
        super().__init__(kubelet, kubelet.home, key, metadata.uid, pod_spec(message.spec))
        self.message = message
        self.mirror: _Mirror | None = None

    @property
    def hash(self) -> str:
        return self.message.metadata.annotations[HASH_ANNOTATION]

    def operation(self) -> pb.Operation | None:
        """The write that brings the mirror nearer to what it should be."""
        return self.kubelet.static.operation(self) if self.pending else None


class StaticPods:
    """Of one kubelet."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._pods: dict[ObjectKey, StaticPod] = {}
        self._node_uid = ""  # Empty while the Node has not been seen.
        self._viewed = False  # What the partition has for this node is known.
        # Mirrors of nothing, by uid: what an earlier kubelet ran, by another manifest.
        self._strangers: dict[str, Pod] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def pods(self) -> list[Pod]:
        return list(self._pods.values())

    # ------------------------------------------------------------------------------------------------------- life

    def start(self, manifests: Iterable[Object], now: float) -> None:
        """Run these from now on. They are admitted one after the other, before any other pod."""
        for manifest in manifests:
            message = _message(manifest, self._kubelet.name, self._kubelet.home)
            pod = StaticPod(self._kubelet, message)
            self._pods[pod.key] = pod
            self._kubelet.admit(pod, message, now)

    def close(self) -> None:
        for pod in self._pods.values():
            self._kubelet.kill(pod)
        self._pods.clear()

    # ----------------------------------------------------------------------------------- what the partition says

    def node_seen(self, uid: str) -> None:
        """The Node is registered, under this uid. Without it there is nobody to own a mirror."""
        if uid != self._node_uid:
            self._node_uid = uid
            self._look_at_all()

    def view_started(self) -> None:
        self._viewed = False

    def view_complete(self, view: dict[str, pb.Object]) -> None:
        """Takes the mirrors out of the view of all pods on this node, by uid."""
        found = {uid: message for uid, message in view.items() if is_mirror(message)}
        for uid in found:
            del view[uid]
        for pod in self._pods.values():
            pod.mirror, pod.acknowledged_revision = None, 0  # Another history may begin here.
        self._viewed = True
        for message in found.values():
            self.observe(message)
        self._look_at_all()

    def observe(self, message: pb.Object) -> None:
        """A mirror was added or modified."""
        metadata = message.metadata
        pod = self._pods.get(ObjectKey(metadata.tenant, metadata.namespace, metadata.name))
        if pod is None:
            self._end_stranger(message)
            return
        node_uid = next((owner.uid for owner in metadata.owner_references if owner.controller), "")
        mirror_hash = metadata.annotations.get(MIRROR_ANNOTATION, "")
        pod.mirror = _Mirror(metadata.uid, mirror_hash, bool(metadata.deletion_ms), node_uid, message.status)
        if metadata.resource_version > pod.acknowledged_revision:  # Else it is older than what we have written.
            self._look_at(pod)

    def deleted(self, uid: str) -> bool:
        """Whether it was a mirror. What it showed goes on, and is shown again."""
        stranger = self._strangers.pop(uid, None)
        if stranger is not None:
            stranger.state, stranger.pending = State.GONE, False
            return True
        for pod in self._pods.values():
            if pod.mirror is not None and pod.mirror.uid == uid:
                pod.mirror = None
                pod.acknowledged_revision = 0
                self._look_at(pod)
                return True
        return False

    # ------------------------------------------------------------------------------------------------------ writes

    def operation(self, pod: StaticPod) -> pb.Operation | None:
        mirror = pod.mirror
        if not self._viewed:
            return None
        if mirror is None:
            return self._creation(pod) if self._node_uid else None
        if mirror.going or mirror.hash != pod.hash or (self._node_uid and mirror.node_uid != self._node_uid):
            return final_delete(pod.key, mirror.uid)
        return status_update(pod.key, mirror.uid, pod.status) if pod.status and mirror.status != pod.status else None

    def _look_at_all(self) -> None:
        for pod in self._pods.values():
            self._look_at(pod)

    def _look_at(self, pod: StaticPod) -> None:
        if self.operation(pod) is not None:
            self._kubelet.want(pod)

    def _creation(self, pod: StaticPod) -> pb.Operation:
        message = pb.Object()
        message.CopyFrom(pod.message)
        metadata = message.metadata
        metadata.uid = ""
        metadata.annotations[MIRROR_ANNOTATION] = pod.hash
        metadata.owner_references.add(
            api_version="v1", kind="Node", name=self._kubelet.name, uid=self._node_uid, controller=True
        )
        return create_operation(Object(message))

    def _end_stranger(self, message: pb.Object) -> None:
        metadata = message.metadata
        if metadata.uid not in self._strangers:
            key = ObjectKey(metadata.tenant, metadata.namespace, metadata.name)
            stranger = Pod(self._kubelet, self._kubelet.home, key, metadata.uid, pod_spec(message.spec))
            stranger.state = State.STOPPED
            self._strangers[stranger.uid] = stranger
            self._kubelet.want(stranger)


def is_mirror(message: pb.Object) -> bool:
    annotations = message.metadata.annotations
    return bool(annotations) and MIRROR_ANNOTATION in annotations


def _message(manifest: Object, node: str, home: str) -> pb.Object:
    """The static pod of a manifest on a node. Its mirror is called the same."""
    message = pb.Object()
    message.CopyFrom(manifest.message)
    message.spec = encode({**manifest.spec, "nodeName": node, "resourcePartition": home})
    message.status = b""
    metadata = message.metadata
    metadata.tenant = SYSTEM_TENANT
    metadata.namespace = metadata.namespace or "default"
    metadata.name = f"{metadata.name}-{node}"
    digest = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
    metadata.annotations[SOURCE_ANNOTATION] = _SOURCE
    metadata.annotations[HASH_ANNOTATION] = digest.hex()[:32]
    metadata.uid = str(uuid.UUID(bytes=digest[:16], version=4))
    return message
