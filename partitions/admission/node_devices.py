"""What placements hold of the devices of one node."""

from __future__ import annotations

from typing import Final

from ...proto.devices import MILLI_PER_DEVICE, DeviceRequest, HeldDevices, tightest_devices
from ...proto.quantities import GPU_MILLI


class NodeDevices:
    def __init__(self) -> None:
        self._held: dict[int, int] = {}  # milli, by number of the device
        self._unnamed = 0  # Placements that hold devices, and do not say which.

    def change(self, devices: HeldDevices | None, sign: int) -> None:
        """A placement with these has come (1) or gone (-1)."""
        if devices is None:
            self._unnamed += sign
            return
        for number in devices.numbers:
            self._held[number] = self._held.get(number, 0) + sign * devices.wanted.milli

    def why_not(self, devices: HeldDevices | None, count: int) -> str:
        """Why a node with so many devices cannot give these; empty: it can."""
        if devices is None:
            return f"its placement must say which devices it holds of {GPU_MILLI}"
        if self._unnamed:
            return f"{self._unnamed} of its placements do not say which devices they hold of {GPU_MILLI}"
        for number in devices.numbers:
            if number >= count:
                return f"there is no device {number}, it has {count}"
            free = self._free(number)
            if devices.wanted.milli > free:
                return f"wants {GPU_MILLI} {devices.wanted.milli} of device {number}, {free} is free"
        return ""

    def choose(self, wanted: DeviceRequest, count: int) -> tuple[int, ...]:
        """Devices that can give it; none: there are none."""
        return () if self._unnamed else tightest_devices([self._free(number) for number in range(count)], wanted)

    def _free(self, number: int) -> int:
        return max(0, MILLI_PER_DEVICE - self._held.get(number, 0))


NO_DEVICES_HELD: Final = NodeDevices()
