"""Shares of devices: what a request for `ursa.dev/gpu-milli` means on a node with several GPUs.

A node with d devices has 1000 x d of the resource. A request of up to 1000 is a share of one device, and must fit into
one; a request of n x 1000 takes n devices, each whole. Nothing else can be asked for: half of three devices is no
share that any of them could give.

A Placement says which devices it holds (`devices`, counted from 0). The milli of each follow from its requests. The
pod that is bound by it says so, too, in an annotation (an idea of Alibaba's gpushare, `alibabacloud.com/gpu-index`):
whoever makes a lost Placement again has them from there.

    ursa.dev/gpu-devices: "1-3"   the second and the fourth GPU of its node
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from .quantities import GPU_MILLI

MILLI_PER_DEVICE: Final = 1000
DEVICES_ANNOTATION: Final = "ursa.dev/gpu-devices"


class DeviceRequest(NamedTuple):
    """So many devices, and so many thousandths of each. (0, 0): none."""

    amount: int
    milli: int

    @property
    def is_share(self) -> bool:
        return self.amount == 1 and self.milli < MILLI_PER_DEVICE


NO_DEVICES: Final = DeviceRequest(0, 0)


class HeldDevices(NamedTuple):
    """The devices, by number, that a pod with this request holds."""

    numbers: tuple[int, ...]
    wanted: DeviceRequest


def device_request(requests: Mapping[str, int]) -> DeviceRequest:
    """What a pod with these requests wants of a node's devices.

    Raises:
        ValueError: more than one device, and not whole ones.
    """
    units = requests.get(GPU_MILLI, 0)
    if units <= 0:
        return NO_DEVICES
    if units <= MILLI_PER_DEVICE:
        return DeviceRequest(1, units)
    if units % MILLI_PER_DEVICE:
        raise ValueError(
            f"{GPU_MILLI}: {units} is more than one device and not whole ones: ask for up to {MILLI_PER_DEVICE}, "
            f"or for a multiple of {MILLI_PER_DEVICE}"
        )
    return DeviceRequest(units // MILLI_PER_DEVICE, MILLI_PER_DEVICE)


def device_count(allocatable: Mapping[str, int]) -> int:
    """How many devices a node has."""
    return allocatable.get(GPU_MILLI, 0) // MILLI_PER_DEVICE


def tightest_devices(free: Sequence[float], wanted: DeviceRequest) -> tuple[int, ...]:
    """Where a request goes if nobody knows better: a share to the device with the least room that has enough, whole
    devices to the first that are free. `free`: milli left of each; empty answer: it does not fit."""
    fitting = [device for device, milli in enumerate(free) if milli >= wanted.milli]
    if not wanted.amount or len(fitting) < wanted.amount:
        return ()
    if wanted.is_share:
        return (min(fitting, key=lambda device: free[device]),)
    return tuple(fitting[: wanted.amount])


def held_devices(spec: Mapping[str, Any]) -> HeldDevices | None:
    """The devices that a Placement with this spec says it holds; None: it says nothing of devices.

    Raises:
        ValueError: they do not go with what it requests.
    """
    devices = spec.get("devices")
    if devices is None:
        return None
    wanted = device_request(spec["requests"])
    if not isinstance(devices, list) or not all(type(device) is int and device >= 0 for device in devices):
        raise ValueError(f"devices must be a list of numbers from 0 on, not {devices!r}")
    check_devices(devices, wanted)
    return HeldDevices(tuple(devices), wanted)


def check_devices(devices: Sequence[int], wanted: DeviceRequest) -> None:
    """Raises ValueError: they are not as many as are wanted, or one is there twice."""
    if len(dict.fromkeys(devices)) != len(devices):
        raise ValueError(f"devices names one twice: {list(devices)}")
    if len(devices) != wanted.amount:
        raise ValueError(f"devices must name {wanted.amount}, as it requests, not {len(devices)}")


def written_devices(devices: Sequence[int]) -> str:
    """As DEVICES_ANNOTATION has them."""
    return "-".join(str(device) for device in devices)


def recorded_devices(annotations: Mapping[str, str], requests: Mapping[str, int]) -> tuple[int, ...]:
    """The devices that a bound pod with these annotations and requests holds; none: it holds none, or does not know,
    or what it says does not go with what it requests."""
    written = annotations.get(DEVICES_ANNOTATION, "")
    if not written or not all(part.isdecimal() for part in written.split("-")):
        return ()
    devices = tuple(int(part) for part in written.split("-"))
    try:
        check_devices(devices, device_request(requests))
    except ValueError:
        return ()
    return devices
