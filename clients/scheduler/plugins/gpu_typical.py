"""Typical pods: the distribution of what is asked for, from which a plugin judges what a node is still good for.

As `args` of a plugin, `typicalPods` is a list of {"cpu": a quantity, "gpuMilli": whole number, "weight": number}: pods
like this are so frequent, relative to one another. The idea, and to leave out the rarest, are those of the paper of
`gpu_fragmentation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ....proto.devices import DeviceRequest, device_request
from ....proto.quantities import CPU, GPU_MILLI, resource_units

# The most frequent pods that together make up this share of all.
POPULAR_SHARE: Final = 0.95
_FIELDS: Final = ("cpu", "gpuMilli", "weight")


class TypicalPod(NamedTuple):
    cpu: int  # millicores
    devices: DeviceRequest
    weight: float


def typical_pods(requests: Sequence[Mapping[str, int]]) -> list[TypicalPod]:
    """Of pods that request this (units of `proto.quantities`), the most frequent; weights add up to 1."""
    counts: dict[tuple[int, DeviceRequest], int] = {}
    for each in requests:
        wish = (each.get(CPU, 0), device_request(each))
        counts[wish] = counts.get(wish, 0) + 1
    popular, covered = [], 0
    for wish, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if covered >= POPULAR_SHARE * len(requests):
            break
        popular.append((wish, count))
        covered += count
    return [TypicalPod(cpu, devices, count / covered) for (cpu, devices), count in popular]


def typical_args(pods: Sequence[TypicalPod]) -> list[dict[str, Any]]:
    """The same as `args` of a plugin."""
    return [
        {"cpu": f"{pod.cpu}m", "gpuMilli": pod.devices.amount * pod.devices.milli, "weight": pod.weight} for pod in pods
    ]


def read_typical(plugin: str, args: Mapping[str, Any] | None) -> list[TypicalPod]:
    """Raises ValueError: there are none, or one makes no sense."""
    entries = dict(args or {})
    listed = entries.pop("typicalPods", None)
    if entries:
        raise ValueError(f"{plugin} takes no arguments but typicalPods, not {sorted(entries)}")
    if not isinstance(listed, list) or not listed:
        raise ValueError(
            f"{plugin} needs typicalPods, a list like [{{cpu: 8, gpuMilli: 1000, weight: 3}}]: what pods ask for, and "
            "how often"
        )
    pods = [_read(f"{plugin}: typicalPods[{number}]", entry) for number, entry in enumerate(listed)]
    total = sum(pod.weight for pod in pods)
    if total <= 0:
        raise ValueError(f"{plugin}: the weights of typicalPods must add up to more than 0")
    return [pod._replace(weight=pod.weight / total) for pod in pods]


def _read(place: str, entry: Any) -> TypicalPod:
    if not isinstance(entry, Mapping) or any(field not in _FIELDS for field in entry):
        raise ValueError(f"{place} must have cpu, gpuMilli and weight, and nothing else, not {entry!r}")
    weight, milli = entry.get("weight", 1), entry.get("gpuMilli", 0)
    if not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
        raise ValueError(f"{place}.weight must be a number from 0 on, not {weight!r}")
    if not isinstance(milli, int) or milli < 0:
        raise ValueError(f"{place}.gpuMilli must be a whole number from 0 on, not {milli!r}")
    try:
        cpu = resource_units(CPU, entry.get("cpu", 0))
        return TypicalPod(cpu, device_request({GPU_MILLI: milli}), float(weight))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
