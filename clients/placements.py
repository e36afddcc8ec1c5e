"""Placements as clients make them: a scheduler's claim, and what a controller makes again where one was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..proto import ursa_pb2 as pb
from ..proto.host_ports import HostPort
from ..proto.kinds import BY_KIND
from ..proto.objects import ObjectKey
from ..proto.quantities import CPU, MEMORY, PODS
from .pods import pod_requests

PLACEMENT = BY_KIND["Placement"]
PLACEMENTS = PLACEMENT.resource


def placed_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod with this spec holds of its node, in the units of `proto.quantities`. cpu and memory are always there,
    possibly 0; `pods` is 1; other resources are there if more than 0.

    Raises:
        ValueError: a quantity does not parse.
    """
    total = pod_requests(spec)
    extended = {name: units for name, units in sorted(total.items()) if units and name not in (CPU, MEMORY, PODS)}
    return {CPU: total.get(CPU, 0), MEMORY: total.get(MEMORY, 0), PODS: 1, **extended}


def placement_spec(
    node: str,
    node_uid: str,
    tenant_partition: str,
    pod: ObjectKey,
    pod_uid: str,
    requests: Mapping[str, int],
    *,
    history: str = "",
    host_ports: Sequence[HostPort] = (),
    devices: Sequence[int] = (),
) -> dict[str, Any]:
    """The spec of a claim. `history`: the incarnation of the tenant partition in which it was decided on."""
    return {
        **({"history": history} if history else {}),
        **({"devices": list(devices)} if devices else {}),
        **({"hostPorts": [port.written() for port in host_ports]} if host_ports else {}),
        "node": node,
        "nodeUID": node_uid,
        "tenantPartition": tenant_partition,
        "pod": {"tenant": pod.tenant, "namespace": pod.namespace, "name": pod.name, "uid": pod_uid},
        "requests": requests,
    }


def create_placement(pod_uid: str, spec: bytes) -> pb.Operation:
    """A Placement is named by its pod's uid, so a pod has one in a partition, and asking again does no harm."""
    operation = pb.Operation(resource=PLACEMENTS)
    placement = operation.create.object
    placement.api_version, placement.kind = PLACEMENT.api_version, PLACEMENT.kind
    placement.metadata.name = pod_uid
    placement.spec = spec
    return operation
