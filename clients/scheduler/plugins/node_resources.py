"""What a pod's resources are to the columns of the node table; what NodeResourcesFit and BalancedAllocation share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ....proto.quantities import CPU, MEMORY
from ..columns import (
    NONZERO_CPU,
    NONZERO_CPU_MILLICORES,
    NONZERO_MEMORY,
    NONZERO_MEMORY_BYTES,
    NodeColumns,
)
from ..framework.arguments import Arguments

WEIGHT_MAX: Final = 100
DEFAULT_RESOURCES: Final = ((CPU, 1), (MEMORY, 1))


class Scored(NamedTuple):
    """A resource that counts: its column, what the pod takes of it, its weight."""

    column: int
    units: int
    weight: int


def read_resources(objects: Sequence[Arguments] | None) -> tuple[tuple[str, int], ...]:
    """`resources` of the arguments: a weight by name; cpu and memory with 1 if there are none.

    Raises:
        ValueError
    """
    if objects is None:
        return DEFAULT_RESOURCES
    weights: dict[str, int] = {}
    for each in objects:
        name = each.free_text("name")
        if name in weights:
            raise each.error("name", f"{name} is there twice")
        weights[name] = each.number("weight", 1, 1, WEIGHT_MAX)
        each.done()
    return tuple(weights.items())


def assumed(weights: Sequence[tuple[str, int]], requests: Mapping[str, int], nodes: NodeColumns) -> tuple[Scored, ...]:
    """With what is assumed of a pod that says nothing of its cpu and memory. Others count if the pod requests them."""
    scored = []
    for resource, weight in weights:
        if resource == CPU:
            scored.append(Scored(NONZERO_CPU, requests.get(CPU) or NONZERO_CPU_MILLICORES, weight))
        elif resource == MEMORY:
            scored.append(Scored(NONZERO_MEMORY, requests.get(MEMORY) or NONZERO_MEMORY_BYTES, weight))
        elif requests.get(resource) and resource in nodes.resource_columns:
            scored.append(Scored(nodes.resource_columns[resource], requests[resource], weight))
    return tuple(scored)


def requested(
    weights: Sequence[tuple[str, int]], requests: Mapping[str, int], nodes: NodeColumns
) -> tuple[Scored, ...]:
    """As it is requested."""
    return tuple(
        Scored(nodes.resource_columns[resource], requests.get(resource, 0), weight)
        for resource, weight in weights
        if resource in (CPU, MEMORY) or (requests.get(resource) and resource in nodes.resource_columns)
    )
