"""Devices for checkers: each is a resource of its own, so that sums over resources judge devices, too.

    a node with ursa.dev/gpu-milli 2000          has 1000 "ursa.dev/gpu-milli of device 0", and 1000 of device 1
    a placement of 600 on device 1               takes 600 of device 1
    a placement of 2000 on devices 0 and 1       takes 1000 of each: whole ones are whole
    a placement of 600 that names no device,
      or not as many as it asks for              takes 600 of UNNAMED, of which no node has any

It says again what `proto/devices.py` says, because a check must not lean on what it checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...proto.devices import DEVICES_ANNOTATION
from ...proto.quantities import GPU_MILLI

_DEVICE_MILLI: Final = 1000
UNNAMED: Final = f"{GPU_MILLI} of no device"


def devices_of_node(allocatable: Mapping[str, int]) -> dict[str, int]:
    """What each of its devices has."""
    return {_device(number): _DEVICE_MILLI for number in range(allocatable.get(GPU_MILLI, 0) // _DEVICE_MILLI)}


def devices_of_placement(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a placement with this spec takes of each device."""
    return _taken(spec["requests"].get(GPU_MILLI, 0), spec.get("devices") or ())


def devices_of_pod(annotations: Mapping[str, str], requests: Mapping[str, int]) -> dict[str, int]:
    """The same of a bound pod, by what it says."""
    written = annotations.get(DEVICES_ANNOTATION, "")
    return _taken(requests.get(GPU_MILLI, 0), [int(each) for each in written.split("-") if each.isdecimal()])


def _taken(milli: int, numbers: Sequence[int]) -> dict[str, int]:
    if not milli:
        return {}
    amount, rest = divmod(milli, _DEVICE_MILLI)
    whole = amount >= 1 and not rest
    if len(dict.fromkeys(numbers)) != (amount if whole else 1) or (rest and amount):
        return {UNNAMED: milli}
    return {_device(number): _DEVICE_MILLI if whole else milli for number in numbers}


def _device(number: int) -> str:
    return f"{GPU_MILLI} of device {number}"
