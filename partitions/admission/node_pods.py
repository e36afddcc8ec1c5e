"""The pods of a resource partition itself: those of its DaemonSets, and the mirrors of what kubelets run by themselves.

They are of the system tenant, and bound from the start: nobody schedules in a resource partition.
"""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.kinds import SYSTEM_TENANT, Kind
from ...proto.objects import decode, decode_shared, encode
from .pods import PodStrategy, check_no_devices
from .validation import Causes

# A pod that a kubelet runs whatever its partition says, and shows there: its room is taken already.
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


def check_system_tenant(message: pb.Object, causes: Causes) -> None:
    if message.metadata.tenant != SYSTEM_TENANT:
        told = f"must be {SYSTEM_TENANT} in a resource partition: what other tenants have lives in tenant partitions"
        causes.add("metadata.tenant", told)


class NodePodStrategy(PodStrategy):
    """`partition`: whose nodes these are."""

    def __init__(self, kind: Kind, partition: str) -> None:
        super().__init__(kind)
        self._partition = partition

    def prepare_create(self, message: pb.Object) -> None:
        """Which partition its node is of goes without saying."""
        try:
            spec = decode(message.spec)
        except ValueError:
            return  # That is told when it is checked.
        if isinstance(spec, dict) and spec.get("nodeName") and not spec.get("resourcePartition"):
            message.spec = encode({**spec, "resourcePartition": self._partition})

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        check_system_tenant(message, causes)
        check_no_devices(message, causes)
        spec = decode_shared(message.spec)
        if not spec.get("nodeName"):
            causes.add("spec.nodeName", "is required: nobody schedules in a resource partition; or use a DaemonSet")
        elif spec["resourcePartition"] != self._partition:
            causes.add("spec.resourcePartition", f"must be {self._partition}, where the pod's node is")
