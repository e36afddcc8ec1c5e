"""What a pod may ask of GPUs: a share of one, or whole ones, as a sum over its containers (see proto/devices.py).

A scheduler finds no node for anything else, so it is told to whoever creates the pod, or the workload that would make
it, and in the scheduler's own words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...proto.devices import device_request
from ...proto.quantities import GPU_MILLI, parse_quantity, resource_list
from .usage import effective_requests
from .validation import Causes


def check_gpu_request(spec: Mapping[str, Any], field: str, causes: Causes) -> None:
    """Of a pod's spec that keeps all other rules. Requests that are left out are the limits, as they will be."""
    containers = [_with_limits(each) for each in spec["containers"]]
    starters = [_with_limits(each) for each in spec.get("initContainers") or ()]
    known = len(causes.found)
    for group, members in (("containers", containers), ("initContainers", starters)):
        for number, container in enumerate(members):
            quantity = container["resources"]["requests"].get(GPU_MILLI, 0)
            if parse_quantity(quantity) % 1:
                place = f"{field}.{group}[{number}].resources.requests[{GPU_MILLI}]"
                causes.add(place, f"must be a whole number of thousandths of a GPU, not {quantity}")
    if len(causes.found) == known:
        try:
            device_request(effective_requests(containers, starters, resource_list(spec.get("overhead"))))
        except ValueError as error:
            causes.add(field, str(error))


def asks_for_gpus(spec: Mapping[str, Any]) -> bool:
    return any(GPU_MILLI in amounts for amounts in _amounts(spec))


def _amounts(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield spec.get("overhead") or {}
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        yield resources.get("requests") or {}
        yield resources.get("limits") or {}


def _with_limits(container: Mapping[str, Any]) -> dict[str, Any]:
    resources = container.get("resources") or {}
    requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {**container, "resources": {"requests": requests}}
