"""The Endpoints of a Service: one object that says all of them, for those who do not read EndpointSlices.

It has a thousand addresses at most, as in Kubernetes, those that are ready first, and says by an annotation that it has
not got all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND
from ...proto.objects import Object
from ..operations import create_operation, update_operation
from .endpoint_slices import is_of, labels_for, owner_of
from .endpoints_core import Endpoint, Ports

ENDPOINTS = BY_KIND["Endpoints"]
ADDRESSES_MAX = 1000

MANAGER_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


def plan_endpoints(service: Object, endpoints: Sequence[Endpoint], present: Object | None) -> list[pb.Operation]:
    """What makes the Endpoints say these.

    One of this name that is not the Service's (a user's, or of a Service before it) is taken over, as in Kubernetes.
    """
    shown = [each for each in endpoints if each.ready or not each.terminating]
    kept = sorted(shown, key=lambda each: not each.ready)[:ADDRESSES_MAX]
    subsets = _subsets(sorted(kept, key=lambda each: each.pod))
    labels = labels_for(service, "", MANAGER_LABEL, MANAGER)
    annotations = {} if present is None else {k: v for k, v in present.annotations.items() if k != OVER_CAPACITY}
    if len(shown) > ADDRESSES_MAX:
        annotations[OVER_CAPACITY] = "truncated"
    if present is None:
        metadata = {
            "tenant": service.tenant,
            "namespace": service.namespace,
            "name": service.name,
            "labels": labels,
            "annotations": annotations,
        }
        made = {"apiVersion": ENDPOINTS.api_version, "kind": ENDPOINTS.kind, "metadata": metadata, "subsets": subsets}
        return [create_operation(Object.from_dict(made).with_metadata(owner_references=[owner_of(service)]))]
    same = present.rest.get("subsets", []) == subsets
    if same and dict(present.labels) == labels and dict(present.annotations) == annotations and is_of(present, service):
        return []
    changed = present.with_rest({**present.rest, "subsets": subsets})
    owners = present.owner_references if is_of(present, service) else (owner_of(service),)
    return [update_operation(changed.with_metadata(labels=labels, annotations=annotations, owner_references=owners))]


def _subsets(endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
    by_ports: dict[Ports, list[Endpoint]] = {}
    for each in endpoints:
        by_ports.setdefault(each.ports, []).append(each)
    subsets = []
    for ports, group in sorted(by_ports.items()):
        subset: dict[str, Any] = {}
        for name, ready in (("addresses", True), ("notReadyAddresses", False)):
            addresses = [_address(each) for each in group if each.ready is ready]
            if addresses:
                subset[name] = addresses
        if ports:
            subset["ports"] = [_port(each) for each in ports]
        subsets.append(subset)
    return subsets


def _address(endpoint: Endpoint) -> dict[str, Any]:
    pod = endpoint.pod
    made: dict[str, Any] = {"ip": endpoint.address}
    if endpoint.hostname:
        made["hostname"] = endpoint.hostname
    if endpoint.node:
        made["nodeName"] = endpoint.node
    made["targetRef"] = {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": endpoint.uid}
    return made


def _port(port: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": port.name} if port.name else {}
    made |= {"port": port.number, "protocol": port.protocol}
    return {**made, "appProtocol": port.app_protocol} if port.app_protocol else made
