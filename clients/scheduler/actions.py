"""What the scheduler asks of partitions, for claims of nodes, volumes, bindings and evictions.

Each may be repeated any number of times: a claim of the same pod for the same node, a binding of the same pod to the
same node and the deletion of the same Placement all succeed again, or say that they have happened.
"""

from __future__ import annotations

from typing import ClassVar, Final

from ...proto import ursa_pb2 as pb
from ...proto.objects import Object, ObjectKey, encode
from ..operations import patch_operation
from ..placements import PLACEMENTS, create_placement
from .pending import PendingPod

PODS = "pods"
# Of a Placement that another process of the scheduler relies on than the one that has claimed it.
TAKEN_OVER_ANNOTATION: Final = "ursa.dev/taken-over"


class Action:
    """`partition`: whom it is for. `history`: its incarnation that this was decided on; empty: it does not matter."""

    __slots__ = ("failures", "history", "in_doubt", "partition", "waiting")

    # Without an answer it is asked again until there is one.
    repeats: ClassVar[bool] = True

    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.history = ""
        self.failures = 0
        # It may have happened: an answer was lost.
        self.in_doubt = False
        # It is not on its way, but waits to be repeated.
        self.waiting = False

    def operation(self) -> pb.Operation:
        raise NotImplementedError


class Claim(Action):
    """Create the Placement of a pod on a node, named by the pod's uid, in the node's resource partition."""

    __slots__ = ("pod", "spec")

    def __init__(self, pod: PendingPod, spec: bytes) -> None:
        super().__init__(pod.partition)
        self.pod, self.spec = pod, spec

    def operation(self) -> pb.Operation:
        return create_placement(self.pod.uid, self.spec)


class Bind(Action):
    """Bind a pod, in the home partition, to the node it holds a claim of: this very pod, in this very history, as long
    as it asks for what it asked for when the node was chosen."""

    __slots__ = ("generation", "placement_uid", "pod")

    def __init__(self, home: str, pod: PendingPod, placement_uid: str, history: str) -> None:
        super().__init__(home)
        self.pod, self.placement_uid, self.history = pod, placement_uid, history
        self.generation = pod.generation

    def operation(self) -> pb.Operation:
        pod = self.pod
        operation = pb.Operation(resource=PODS)
        bind = operation.bind
        bind.resource_partition = pod.partition
        bind.node = pod.node
        bind.preconditions.uid = pod.uid
        bind.generation = self.generation
        if pod.devices:
            bind.devices.extend(pod.devices)
        target = bind.target
        target.resource = PODS
        target.tenant, target.namespace, target.name = pod.object.key
        return operation


class TakeOver(Action):
    """Write into a Placement that an earlier process has claimed, before the pod is bound by it. Its revision
    is another one then, so what that process may have sent to give it up for a plugin's sake is refused (`Release`)."""

    __slots__ = ("placement_uid", "pod")

    def __init__(self, pod: PendingPod, placement_uid: str) -> None:
        super().__init__(pod.partition)
        self.pod, self.placement_uid = pod, placement_uid

    def operation(self) -> pb.Operation:
        metadata = {"uid": self.placement_uid, "annotations": {TAKEN_OVER_ANNOTATION: "true"}}
        return patch_operation(PLACEMENTS, ObjectKey("", "", self.pod.uid), {"metadata": metadata})


class Release(Action):
    """Delete a Placement. `pod` is the one it was for, None where another claim of the pod holds. `revision`: only if
    the Placement still has this one; 0: whichever it has, since home has said that the pod is never bound by it."""

    __slots__ = ("placement_uid", "pod", "pod_uid", "revision")

    def __init__(
        self, partition: str, pod_uid: str, placement_uid: str, pod: PendingPod | None, revision: int = 0
    ) -> None:
        super().__init__(partition)
        self.pod_uid, self.placement_uid, self.pod, self.revision = pod_uid, placement_uid, pod, revision

    def operation(self) -> pb.Operation:
        operation = pb.Operation(resource=PLACEMENTS)
        delete = operation.delete
        delete.target.resource = PLACEMENTS
        delete.target.name = self.pod_uid
        delete.preconditions.uid = self.placement_uid
        delete.preconditions.resource_version = self.revision
        return operation


class Evict(Action):
    """Delete a bound pod, this very one, gracefully, to make room for another."""

    __slots__ = ("key", "uid")

    def __init__(self, home: str, victim: Object, history: str) -> None:
        super().__init__(home)
        self.key, self.uid, self.history = victim.key, victim.uid, history

    def operation(self) -> pb.Operation:
        operation = pb.Operation(resource=PODS)
        delete = operation.delete
        target = delete.target
        target.resource = PODS
        target.tenant, target.namespace, target.name = self.key
        delete.preconditions.uid = self.uid
        return operation


class Nominate(Action):
    """Say in a pod's status for which node room is being made; empty: for none any more. Only people read it, so it is
    not repeated."""

    __slots__ = ("key", "node")

    repeats = False

    def __init__(self, home: str, pod: PendingPod, node: str, history: str) -> None:
        super().__init__(home)
        self.key, self.node, self.history = pod.object.key, node, history

    def operation(self) -> pb.Operation:
        operation = pb.Operation(resource=PODS)
        patch = operation.patch
        target = patch.target
        target.resource = PODS
        target.tenant, target.namespace, target.name = self.key
        patch.type, patch.subresource = pb.Patch.MERGE, "status"
        patch.body = encode({"status": {"nominatedNodeName": self.node or None}})
        return operation


class ForVolumes(Action):
    """A step towards the volumes of a pod: a volume is given to a claim, or a claim gets its node. It is over the
    revision of what it changes, so it is not carried out over what others have done."""

    __slots__ = ("_operation", "claim", "pod")

    def __init__(self, home: str, pod: PendingPod, claim: ObjectKey, operation: pb.Operation, history: str) -> None:
        super().__init__(home)
        self.pod, self.claim, self.history = pod, claim, history
        self._operation = operation

    def operation(self) -> pb.Operation:
        return self._operation


class Probe(Action):
    """Ask a resource partition for anything at all, on the way that claims take, to learn whether it answers again."""

    __slots__ = ()

    repeats = False

    def operation(self) -> pb.Operation:
        operation = pb.Operation(resource=PLACEMENTS, dry_run=True)
        operation.delete.target.resource = PLACEMENTS
        operation.delete.target.name = "probe"
        return operation
