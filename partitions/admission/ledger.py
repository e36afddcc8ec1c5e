"""The placement ledger of a resource partition: who holds how much of which node.

Schedulers of several tenant partitions place on the same nodes without knowing one another. Each claims: it creates a
Placement, and the ledger admits it only if the node's allocatable, less all placements already on it, has room, and
none of them has taken one of its host ports. The check and the write are one step of one loop, so **no claim ever
over-commits a node**.

A placement may say that its pod is `bound` there already: it was lost, when this partition was set back to an older
snapshot, and is made again. The pod is there, whatever the ledger says of it, so it is counted and not refused, even if
its room was given away meanwhile. Then the node has more pods than room, and claims are refused until it has not.

A partition that was set back has lost placements whose pods nobody has told it of yet. So there, in each incarnation of
its store, **a node takes no claim before its kubelet has said what runs on it** (clients/kubelet/telling.py). One
that was never set back has lost nothing, and asks for nothing.

    node n1 allocatable cpu 1000m
    placement a: cpu 600m  -> admitted, 600 used
    placement b: cpu 600m  -> Conflict: wants 600m, 400m free
    placement a again      -> admitted (the same pod on the same node), nothing changes
    delete placement a     -> 0 used

    placement b: 600m      -> admitted, 600 used
    placement c: 600m, bound -> admitted, 1200 used
    placement d: cpu 1m    -> Conflict: wants 1m, 0 is free

Of `ursa.dev/gpu-milli` a placement also says which devices it holds, and each of them must have the room (see
proto/devices.py). One that is `bound` has them from its pod; if that does not know, its node gives no GPU to anybody
else as long as the placement is there.

    node n2, two devices
    placement e: gpu-milli 600, devices [0]   -> admitted, device 0 has 400 left
    placement f: gpu-milli 600, devices [0]   -> Conflict: device 0 has 400
    placement f: gpu-milli 600, devices [1]   -> admitted
    placement g: gpu-milli 600, devices [0]   -> Conflict, though 800 are left of both
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.devices import HeldDevices, device_count, device_request, held_devices
from ...proto.errors import AlreadyExists, Conflict, NotFound
from ...proto.host_ports import HostPort, read_written
from ...proto.objects import decode_shared
from ...proto.quantities import GPU_MILLI, format_quantity, resource_list
from ...proto.restores import TOLD_ANNOTATION
from .node_devices import NO_DEVICES_HELD, NodeDevices


class _Claim(NamedTuple):
    node: str
    requests: dict[str, int]
    ports: tuple[HostPort, ...]
    history: str  # Of the tenant partition; empty: it does not say.
    devices: HeldDevices | None = None


class Ledger:
    """Follows the newest (staged) state; owned by the apiserver's loop. Quantities in units of `proto.quantities`."""

    def __init__(self) -> None:
        self._allocatable: dict[str, tuple[str, dict[str, int]]] = {}  # node -> uid, resources
        self._used: dict[str, dict[str, int]] = {}
        self._claims: dict[str, _Claim] = {}
        self._ports: dict[str, list[HostPort]] = {}  # Taken, by node.
        self._devices: dict[str, NodeDevices] = {}  # By node; those of which any device was ever held.
        self._told: dict[str, str] = {}  # By node: the incarnation to which its kubelet has said what runs there.
        self._incarnation = ""

    def begin_restored(self, incarnation: str) -> None:
        """This store was set back: each node is to be told of to this incarnation before it takes a claim."""
        self._incarnation = incarnation

    def admit(self, placement: pb.Object) -> bool:
        """Whether the placement is new; False: it is there already, on the same node.

        Raises:
            AlreadyExists: the pod is placed on another node, or was in another history of its partition.
            NotFound: there is no such node, or it is another one of the same name.
            Conflict: no room, or its kubelet has not said yet what runs there.
        """
        spec = decode_shared(placement.spec)
        node = spec["node"]
        held = self._claims.get(placement.metadata.name)
        if held is not None:
            history = spec.get("history", "")
            if held.node == node and history and held.history not in ("", history):
                # Whoever ended it in that history may be about to delete it.
                raise AlreadyExists(
                    f"pod {_pod_name(spec)} was placed on node {node!r} in another history of its partition: delete "
                    "that placement first",
                    key=f"nodes///{node}",
                )
            if held.node == node:
                return False
            raise AlreadyExists(
                f"pod {_pod_name(spec)} is placed on node {held.node!r} already", key=f"nodes///{held.node}"
            )
        uid, allocatable = self._allocatable.get(node, ("", {}))
        if uid != spec["nodeUID"]:
            reason = "there is no such node" if not uid else f"its uid is {uid}, not {spec['nodeUID']}"
            raise NotFound(f"node {node!r}: {reason}", key=f"nodes///{node}")
        if not spec.get("bound"):
            self._check_told(spec, node)
            self._check_room(spec, node, allocatable)
            self._check_ports(spec, node)
        return True

    def _check_told(self, spec: Any, node: str) -> None:
        if self._incarnation and self._told.get(node) != self._incarnation:
            raise Conflict(
                f"node {node!r} takes no pod {_pod_name(spec)} yet: its partition was set back, and its kubelet has "
                "not said what runs there",
                key=f"nodes///{node}",
            )

    def _check_room(self, spec: Any, node: str, allocatable: dict[str, int]) -> None:
        used = self._used.get(node, {})
        for resource, wanted in spec["requests"].items():
            free = max(0, allocatable.get(resource, 0) - used.get(resource, 0))
            if wanted > free:
                raise Conflict(
                    f"node {node!r} has no room for pod {_pod_name(spec)}: wants {resource} "
                    f"{format_quantity(resource, wanted)}, {format_quantity(resource, free)} is free",
                    key=f"nodes///{node}",
                )
        if spec["requests"].get(GPU_MILLI):
            self._check_devices(spec, node, device_count(allocatable))

    def _check_devices(self, spec: Any, node: str, count: int) -> None:
        held = held_devices(spec)
        problem = self._devices.get(node, NO_DEVICES_HELD).why_not(held, count)
        if problem:
            raise Conflict(f"node {node!r} has no room for pod {_pod_name(spec)}: {problem}", key=f"nodes///{node}")

    def choose_devices(self, node: str, requests: dict[str, int]) -> tuple[int, ...]:
        """For a pod that no scheduler places; none: it wants none, or there is no room for it."""
        _, allocatable = self._allocatable.get(node, ("", {}))
        return self._devices.get(node, NO_DEVICES_HELD).choose(device_request(requests), device_count(allocatable))

    def _check_ports(self, spec: Any, node: str) -> None:
        wanted = read_written(spec.get("hostPorts") or ())
        taken = self._ports.get(node, ()) if wanted else ()
        for port in wanted:
            if any(port.collides(other) for other in taken):
                raise Conflict(
                    f"node {node!r} has no room for pod {_pod_name(spec)}: its port {port} is taken",
                    key=f"nodes///{node}",
                )

    def node_changed(self, node: pb.Object) -> None:
        status = decode_shared(node.status)
        metadata = node.metadata
        self._allocatable[metadata.name] = (metadata.uid, resource_list(status.get("allocatable")))
        self._told[metadata.name] = metadata.annotations.get(TOLD_ANNOTATION, "")

    def node_deleted(self, node: pb.Object) -> None:
        """Its placements stay until the tenant partitions say that their pods are gone."""
        self._allocatable.pop(node.metadata.name, None)
        self._told.pop(node.metadata.name, None)

    def placement_created(self, placement: pb.Object) -> None:
        spec = decode_shared(placement.spec)
        ports = read_written(spec.get("hostPorts") or ())
        claim = _Claim(spec["node"], spec["requests"], ports, spec.get("history", ""), held_devices(spec))
        self._claims[placement.metadata.name] = claim
        if ports:
            self._ports.setdefault(claim.node, []).extend(ports)
        used = self._used.setdefault(claim.node, {})
        for resource, units in claim.requests.items():
            used[resource] = used.get(resource, 0) + units
        if claim.requests.get(GPU_MILLI):
            self._devices.setdefault(claim.node, NodeDevices()).change(claim.devices, 1)

    def placement_deleted(self, placement: pb.Object) -> None:
        claim = self._claims.pop(placement.metadata.name)
        used = self._used[claim.node]
        for resource, units in claim.requests.items():
            used[resource] -= units
        for port in claim.ports:
            self._ports[claim.node].remove(port)
        if claim.requests.get(GPU_MILLI):
            self._devices[claim.node].change(claim.devices, -1)


def _pod_name(spec: Any) -> str:
    pod = spec["pod"]
    return f"{pod['tenant']}/{pod['namespace']}/{pod['name']}"
