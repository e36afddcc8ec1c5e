"""What a pod is charged to the quotas of its namespace and tenant.

As Kubernetes counts: containers run together, so their requests add up; init containers run before them and one by one,
so only the largest counts, beside the sidecars (init containers that are restarted Always) started before it; overhead
comes on top. Pods of one template share their spec byte for byte, and so their charge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ...proto.objects import decode_shared
from ...proto.quantities import PODS, resource_list

REQUESTS, LIMITS = "requests.", "limits."
# A quota of one of these is for pods that say what they want, as Kubernetes insists; of other resources, none is zero.
COMPUTE_RESOURCES = ("cpu", "memory", "ephemeral-storage")
# A pod that asks for none of these is of the best-effort class.
_CLASS_RESOURCES = ("cpu", "memory")


class Charge:
    """`units`: by the names a quota uses (`pods`, `cpu` and `requests.cpu`, `limits.memory`, ...), as proto.quantities.

    `unsaid`: by name, the containers that do not say what they want of a compute resource. Pods that are charged the
    same share one of these, and it is compared by identity: counting them must cost next to nothing.
    """

    __slots__ = ("best_effort", "units", "unsaid")

    def __init__(self, units: Mapping[str, int], best_effort: bool, unsaid: Mapping[str, tuple[str, ...]]) -> None:
        self.units = units
        self.best_effort = best_effort
        self.unsaid = unsaid


@lru_cache(maxsize=8192)
def charge_of(spec: bytes) -> Charge:
    """Of a pod's encoded spec, which has passed validation."""
    decoded = decode_shared(spec)
    containers = tuple(decoded.get("containers") or ())
    starters = tuple(decoded.get("initContainers") or ())
    overhead = resource_list(decoded.get("overhead"))
    units: dict[str, int] = {PODS: 1}
    for name, amount in effective_requests(containers, starters, overhead).items():
        units[name] = units[REQUESTS + name] = amount
    for name, amount in _effective(containers, starters, "limits", overhead).items():
        units[LIMITS + name] = amount
    everyone = (*containers, *starters)
    best_effort = not any(
        name in _resources(container, part)
        for container in everyone
        for part in ("requests", "limits")
        for name in _CLASS_RESOURCES
    )
    return _shared(tuple(units.items()), best_effort, tuple(_unsaid(everyone).items()))


def effective_requests(
    containers: Sequence[Any], starters: Sequence[Any], overhead: Mapping[str, int]
) -> dict[str, int]:
    """What a pod of these containers and init containers requests, in units."""
    return _effective(containers, starters, "requests", overhead)


@lru_cache(maxsize=65536)
def _shared(
    units: tuple[tuple[str, int], ...], best_effort: bool, unsaid: tuple[tuple[str, tuple[str, ...]], ...]
) -> Charge:
    return Charge(dict(units), best_effort, dict(unsaid))


def _effective(
    containers: Sequence[Any], starters: Sequence[Any], part: str, overhead: Mapping[str, int]
) -> dict[str, int]:
    sidecars: dict[str, int] = {}
    largest: dict[str, int] = {}
    for starter in starters:
        wanted = resource_list(_resources(starter, part))
        for name, amount in wanted.items():
            largest[name] = max(largest.get(name, 0), amount + sidecars.get(name, 0))
        if starter.get("restartPolicy") == "Always":
            _add(sidecars, wanted)
    total = dict(sidecars)
    for container in containers:
        _add(total, resource_list(_resources(container, part)))
    for name, amount in largest.items():
        total[name] = max(total.get(name, 0), amount)
    if part == "requests":
        _add(total, overhead)
    else:
        _add(total, {name: amount for name, amount in overhead.items() if name in total})
    return total


def _unsaid(containers: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for part, prefixes in (("requests", ("", REQUESTS)), ("limits", (LIMITS,))):
        for resource in COMPUTE_RESOURCES:
            names = tuple(str(each["name"]) for each in containers if resource not in _resources(each, part))
            if names:
                found.update({prefix + resource: names for prefix in prefixes})
    return found


def _resources(container: Any, part: str) -> Mapping[str, Any]:
    return (container.get("resources") or {}).get(part) or {}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount
