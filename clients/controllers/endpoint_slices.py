"""Packs the endpoints of a Service into EndpointSlices, a hundred to each, so that few slices change when pods do.

A slice has one list of ports, so endpoints with different ports are in different slices. An endpoint stays in the slice
that it is in. What is new fills first the slices that change anyway, then the fullest one that takes all the rest, then
new ones; so what happens to one pod changes one slice. What goes leaves room behind, and slices are not merged for
that alone: it would write more than it saves. A Service without endpoints keeps one slice, which says so.

    a1 .. a100 | a101 .. a150     a7 goes, a151 comes:   a1 .. a100 without a7, with a151 | unchanged
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, ObjectKey
from ..operations import create_operation, delete_operation, update_operation
from .endpoints_core import Endpoint, Port, Ports

SLICE = BY_KIND["EndpointSlice"]
ENDPOINTS_PER_SLICE = 100

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"

_ADDRESS_TYPE = "IPv6"
# What a slice's name takes of its Service's, before a dash and the digits that follow from who made it.
_NAME_PART_MAX = 50
_NAME_DIGITS = 5


class _Slice:
    """A slice as it shall be. `kept` None: it is new."""

    __slots__ = ("changed", "endpoints", "kept", "ports")

    def __init__(self, kept: Object | None, ports: Ports) -> None:
        self.kept, self.ports = kept, ports
        self.endpoints: list[dict[str, Any]] = []
        self.changed = kept is None

    @property
    def room(self) -> int:
        return ENDPOINTS_PER_SLICE - len(self.endpoints)


def plan_slices(
    service: Object, endpoints: Sequence[Endpoint], present: Sequence[Object], is_taken: Callable[[ObjectKey], bool]
) -> list[pb.Operation]:
    """What makes the slices of a Service say just these endpoints, each once.

    Args:
        present: those slices that are this controller's, by their labels.
        is_taken: whether there is a slice of this name.
    """
    wanted: dict[Ports, dict[str, dict[str, Any]]] = {}
    for each in endpoints:
        wanted.setdefault(each.ports, {})[each.uid] = written(each)
    operations: list[pb.Operation] = []
    slices: list[_Slice] = []
    for obj in sorted(present, key=lambda each: each.key):
        if obj.deletion_ms:
            continue
        if is_of(obj, service):
            slices.append(_kept(obj, wanted.get(ports_of(obj), {})))
        else:
            operations.append(_delete(obj))  # Of a Service of this name that is gone.
    for ports, left in wanted.items():
        _fill(slices, ports, list(left.values()))
    if not slices:
        slices.append(_Slice(None, ()))
    return operations + _written(service, slices, is_taken)


def _kept(obj: Object, wanted: dict[str, dict[str, Any]]) -> _Slice:
    """What of a slice stays; it is taken from what is wanted."""
    made = _Slice(obj, ports_of(obj))
    before = obj.rest.get("endpoints") or ()
    for endpoint in before:
        uid = (endpoint.get("targetRef") or {}).get("uid", "")
        if made.room and uid in wanted:
            made.endpoints.append(wanted.pop(uid))
    made.changed = made.endpoints != list(before)
    return made


def _fill(slices: list[_Slice], ports: Ports, left: list[dict[str, Any]]) -> None:
    """Find a place for each endpoint that has none."""
    for each in slices:
        if left and each.changed and each.room and (each.ports == ports or not each.endpoints):
            _put(each, ports, left)
    while len(left) >= ENDPOINTS_PER_SLICE:
        slices.append(_Slice(None, ports))
        _put(slices[-1], ports, left)
    if not left:
        return
    fitting = [each for each in slices if each.room >= len(left) and (each.ports == ports or not each.endpoints)]
    if not fitting:
        slices.append(_Slice(None, ports))
        fitting = slices[-1:]
    _put(min(fitting, key=lambda each: each.room), ports, left)


def _put(into: _Slice, ports: Ports, left: list[dict[str, Any]]) -> None:
    into.ports, into.changed = ports, True
    taken, left[:] = left[: into.room], left[into.room :]
    into.endpoints.extend(taken)


def _written(service: Object, slices: list[_Slice], is_taken: Callable[[ObjectKey], bool]) -> list[pb.Operation]:
    labels = labels_for(service, SERVICE_LABEL, MANAGER_LABEL, MANAGER)
    operations = []
    full = [each for each in slices if each.endpoints]
    spare = [each for each in slices if not each.endpoints]
    for each in spare if full else spare[1:]:
        if each.kept is not None:
            operations.append(_delete(each.kept))
    names = _free_names(service, is_taken)
    for each in full or spare[:1]:
        kept = each.kept
        if kept is not None and not each.changed and dict(kept.labels) == labels:
            continue
        rest = {
            "addressType": _ADDRESS_TYPE,
            "endpoints": each.endpoints,
            "ports": [_written_port(port) for port in each.ports],
        }
        if kept is None:
            operations.append(create_operation(_new(service, next(names), labels, rest)))
        else:
            operations.append(update_operation(kept.with_rest(rest).with_metadata(labels=labels)))
    return operations


def labels_for(service: Object, name_label: str, manager_label: str, manager: str) -> dict[str, str]:
    """Those of the Service, and what says whose this is. `name_label` empty: the name says it."""
    labels = {**service.labels, manager_label: manager}
    labels.pop(HEADLESS_LABEL, None)
    if name_label:
        labels[name_label] = service.name
    if service.spec.get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return labels


def owner_of(service: Object) -> pb.OwnerReference:
    return pb.OwnerReference(
        api_version=service.api_version,
        kind=service.kind,
        name=service.name,
        uid=service.uid,
        controller=True,
        block_owner_deletion=True,
    )


def is_of(obj: Object, service: Object) -> bool:
    controller = obj.controller
    return controller is not None and controller.uid == service.uid


def ports_of(obj: Object) -> Ports:
    return tuple(
        Port(
            each.get("name") or "", each.get("protocol") or "TCP", each.get("port") or 0, each.get("appProtocol") or ""
        )
        for each in obj.rest.get("ports") or ()
    )


def written(endpoint: Endpoint) -> dict[str, Any]:
    """As it stands in a slice."""
    pod = endpoint.pod
    made: dict[str, Any] = {
        "addresses": [endpoint.address],
        "conditions": {
            "ready": endpoint.ready,
            "serving": endpoint.serving,
            "terminating": endpoint.terminating,
        },
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": endpoint.uid},
    }
    if endpoint.node:
        made["nodeName"] = endpoint.node
    if endpoint.hostname:
        made["hostname"] = endpoint.hostname
    return made


def _written_port(port: Port) -> dict[str, Any]:
    made: dict[str, Any] = {"name": port.name, "port": port.number, "protocol": port.protocol}
    return {**made, "appProtocol": port.app_protocol} if port.app_protocol else made


def _new(service: Object, name: str, labels: Mapping[str, str], rest: Mapping[str, Any]) -> Object:
    metadata = {
        "tenant": service.tenant,
        "namespace": service.namespace,
        "name": name,
        "labels": labels,
    }
    made = Object.from_dict({"apiVersion": SLICE.api_version, "kind": SLICE.kind, "metadata": metadata, **rest})
    return made.with_metadata(owner_references=[owner_of(service)])


def _delete(obj: Object) -> pb.Operation:
    return delete_operation(SLICE.resource, obj.key, uid=obj.uid, resource_version=obj.resource_version)


def _free_names(service: Object, is_taken: Callable[[ObjectKey], bool]) -> Iterator[str]:
    """Names follow from what there is, so what is created twice, as after an answer that was lost, exists already."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{service.uid}/{number}".encode()).hexdigest()
        name = f"{service.name[:_NAME_PART_MAX]}-{digest[:_NAME_DIGITS]}"
        if not is_taken(ObjectKey(service.tenant, service.namespace, name)):
            yield name
        number += 1
