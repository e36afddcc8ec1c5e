"""What a node has for pods, and what of it those hold that were admitted: by resource, and device by device."""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.devices import recorded_devices
from ...proto.objects import Object
from ...proto.quantities import GPU_MILLI, resource_list
from .devices import Devices
from .pod import Pod


class Room:
    """Of one node. `allocatable`, `used`: units by resource."""

    def __init__(self, node: Object) -> None:
        status = node.status
        self.allocatable = resource_list(status.get("allocatable") or status.get("capacity"))
        self.used: dict[str, int] = dict.fromkeys(self.allocatable, 0)
        self._name = node.name
        self._labels = dict(node.labels)
        self._devices = Devices()

    def refusal(self, pod: Pod) -> tuple[str, str] | None:
        """Reason and message, in Kubernetes' words; None: it can be admitted."""
        if pod.spec.error:
            return "UnexpectedAdmissionError", f"the pod's requests cannot be read: {pod.spec.error}"
        labels = self._labels
        for name, value in pod.spec.node_selector.items():
            if labels.get(name) != value:
                return "NodeAffinity", f"node {self._name} does not match the pod's node selector {name}={value}"
        return self.lack(pod)

    def lack(self, pod: Pod) -> tuple[str, str] | None:
        """As `refusal`, but for room alone."""
        used, allocatable = self.used, self.allocatable
        for name, units in pod.spec.requests.items():
            if units and used.get(name, 0) + units > allocatable.get(name, 0):
                return f"OutOf{name}", (
                    f"node {self._name} has not enough {name}, requested: {units}, used: {used.get(name, 0)},"
                    f" capacity: {allocatable.get(name, 0)}"
                )
        if taken := self._devices.why_not(pod):
            return f"OutOf{GPU_MILLI}", f"node {self._name} has not enough {GPU_MILLI} {taken}"
        return None

    def hold(self, pod: Pod) -> None:
        used = self.used
        for name, units in pod.spec.requests.items():
            used[name] = used.get(name, 0) + units
        self._devices.hold(pod)

    def release(self, pod: Pod) -> None:
        used = self.used
        for name, units in pod.spec.requests.items():
            used[name] -= units
        self._devices.release(pod)

    def read_devices(self, pod: Pod, message: pb.Object) -> None:
        """Where its partition was set back, the same pod may have been bound to other ones of ours."""
        if GPU_MILLI in pod.spec.requests:
            pod.devices = recorded_devices(message.metadata.annotations, pod.spec.requests)
            if self._devices.holds(pod):
                self._devices.hold(pod)
